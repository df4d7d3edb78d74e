"""Clients that go on whatever happens to the servers, and what they were told, to be checked.

Rules: a writer has one session at a time. It writes and reads at any member that lets it in,
re-attaches with id, password and the last zxid that it has seen, and never sends a write twice.
What is wrong at once (a read that goes back, a session that is refused in time, an ephemeral that
is gone) it notes in `wrong`; what can be judged only at the end is judged by `faults`.

Not checked: whether an unacknowledged write of a connection that ended takes effect after a later
one of the same session.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.compat import raw
from tests.compat.gardener import Znode
from tests.compat.raw import ClosedError, Reader, Reply

REGISTER: Final = "/register"
_WORK: Final = "/w"
_EPHEMERALS: Final = "/e"

_BATCH_MAX: Final = 6
_PACE_S: Final = 0.04
_RETRY_S: Final = 0.05
_PATIENCE_S: Final = 2.0
_SYSTEM_ERROR: Final = -1
_SESSION_ERRORS: Final = (-112, -118)


@dataclass
class Write:
    """A create of a znode that nobody else creates, and what became of it."""

    path: str
    data: bytes
    connection: int
    zxid: int | None = None
    """Its czxid, when it was acknowledged."""
    refused: int | None = None
    """The error, when it was answered by one."""


@dataclass
class Set:
    """An acknowledged set of the register."""

    data: bytes
    version: int
    zxid: int


@dataclass
class Told:
    """All that a writer was told."""

    writes: list[Write] = field(default_factory=list)
    sets: list[Set] = field(default_factory=list)
    sets_sent: int = 0
    attachments: int = 0
    sessions: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        return sum(write.zxid is not None for write in self.writes)


def prepare(client: raw.Client, names: Iterable[str]) -> None:
    """The znodes that writers work on."""
    for path in (REGISTER, _WORK, _EPHEMERALS, *(f"{_WORK}/{name}" for name in names)):
        client.ok(raw.CREATE, raw.create(path))


class Writer(threading.Thread):
    """One client; it works from `start` to `finish`."""

    def __init__(
        self, name: str, addresses: Sequence[tuple[str, int]], *, timeout_ms: int, tick_ms: int
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.told = Told()
        self._dice = random.Random(name)
        self._addresses = list(addresses)
        self._timeout_ms = timeout_ms
        self._margin_s = tick_ms / 1000
        self._stopping = threading.Event()
        self._session_id = 0
        self._password = bytes(16)
        self._seen_zxid = 0
        self._seen_version = 0
        self._alive_until = 0.0
        """Until when the servers have to keep the session, whichever of them fails.

        What a follower knows of a session it tells its leader within a tick.
        """

    def finish(self) -> Told:
        """Stop, end the session, and say what was told."""
        self._stopping.set()
        self.join(60)
        assert not self.is_alive(), f"{self.name} hangs"
        return self.told

    def run(self) -> None:
        while not self._stopping.is_set():
            client = self._attach()
            if client is None:
                time.sleep(_RETRY_S)
                continue
            with client:
                try:
                    self._serve(client)
                    if self._stopping.is_set():
                        client.close_session()
                except (ClosedError, OSError):
                    continue
                except Exception as error:
                    self.told.wrong.append(f"{self.name}: {error!r}")
                    return

    def _attach(self) -> raw.Client | None:
        """A connection with the session, or with a new one; None if nobody lets it in now."""
        host, port = self._dice.choice(self._addresses)
        asked_at = time.monotonic()
        try:
            client = raw.Client(
                port,
                host=host,
                timeout_ms=self._timeout_ms,
                session_id=self._session_id,
                password=self._password,
                seen_zxid=self._seen_zxid,
                wait_s=_PATIENCE_S,
            )
        except (ClosedError, OSError):
            return None
        if client.session_id == 0:
            client.sock.close()
            self._lose_session(asked_at)
            return None
        self.told.attachments += 1
        self._alive(asked_at, client)
        return client

    def _lose_session(self, asked_at: float) -> None:
        left = self._alive_until - asked_at
        if left > 0:
            self.told.wrong.append(
                f"{self.name}: session 0x{self._session_id:x} was refused with {left:.2f} s left"
            )
        self._session_id = 0
        self._password = bytes(16)

    def _alive(self, asked_at: float, client: raw.Client) -> None:
        self._alive_until = asked_at + client.timeout_ms / 1000 - self._margin_s

    def _serve(self, client: raw.Client) -> None:
        if client.session_id != self._session_id:
            self._session_id, self._password = client.session_id, client.password
            self.told.sessions += 1
            self._mark(client)
        else:
            self._check_mark(client)
        while not self._stopping.is_set():
            if not self._batch(client):
                return
            self._read(client)
            self._stopping.wait(_PACE_S)

    def _mark(self, client: raw.Client) -> None:
        """An ephemeral that has to be there as long as the session."""
        path = f"{_EPHEMERALS}/{self._session_id:x}"
        reply = client.call(raw.CREATE, raw.create(path, b"", raw.EPHEMERAL))
        if reply.error == _SYSTEM_ERROR:
            raise ClosedError
        assert reply.error == 0, f"{path}: error {reply.error}"

    def _check_mark(self, client: raw.Client) -> None:
        path = f"{_EPHEMERALS}/{self._session_id:x}"
        synced = client.call(raw.SYNC, raw.string("/"))
        reply = client.call(raw.GET_DATA, raw.path_watch(path))
        if reply.error:
            self.told.wrong.append(
                f"{self.name}: {path}: error {reply.error}, though its session lives ({synced})"
            )
            return
        reader = Reader(reply.body)
        reader.buffer()
        if reader.stat().ephemeral_owner != self._session_id:
            self.told.wrong.append(f"{self.name}: {path} belongs to somebody else")

    def _batch(self, client: raw.Client) -> bool:
        """Some writes at once; False when the session is over."""
        asked_at = time.monotonic()
        writes: dict[int, Write] = {}
        for _ in range(self._dice.randint(1, _BATCH_MAX)):
            number = len(self.told.writes)
            path = f"{_WORK}/{self.name}/{number:06}"
            write = Write(path, f"{self.name} {number}".encode(), self.told.attachments)
            self.told.writes.append(write)
            writes[client.send(raw.CREATE2, raw.create(path, write.data))] = write
        data = f"{self.name} {self.told.sets_sent}".encode()
        self.told.sets_sent += 1
        register = client.send(raw.SET_DATA, raw.set_data(REGISTER, data))
        for xid in (*writes, register):
            reply = client.reply()
            assert reply.xid == xid, f"{self.name}: a reply to {reply.xid} and not to {xid}"
            if reply.error in _SESSION_ERRORS:
                self._lose_session(asked_at)
                return False
            self._note(reply, writes.get(xid), data)
        self._alive(asked_at, client)
        return True

    def _note(self, reply: Reply, write: Write | None, data: bytes) -> None:
        self._seen_zxid = max(self._seen_zxid, reply.zxid)
        if reply.error:
            assert reply.error == _SYSTEM_ERROR, f"{self.name}: error {reply.error} for {write}"
            if write is not None:
                write.refused = reply.error
            return
        reader = Reader(reply.body)
        if write is not None:
            assert reader.string() == write.path
            write.zxid = reader.stat().czxid
            return
        stat = reader.stat()
        self.told.sets.append(Set(data, stat.version, stat.mzxid))
        self._see(stat.version)

    def _read(self, client: raw.Client) -> None:
        reply = client.ok(raw.GET_DATA, raw.path_watch(REGISTER))
        self._seen_zxid = max(self._seen_zxid, reply.zxid)
        reader = Reader(reply.body)
        reader.buffer()
        self._see(reader.stat().version)

    def _see(self, version: int) -> None:
        if version < self._seen_version:
            self.told.wrong.append(
                f"{self.name}: {REGISTER} goes back from {self._seen_version} to {version}"
            )
        self._seen_version = version


def faults(tree: dict[str, Znode], told: Sequence[Told]) -> list[str]:
    """What the tree that is there at the end and what writers were told do not agree upon."""
    found = [wrong for each in told for wrong in each.wrong]
    sent: dict[str, Write] = {write.path: write for each in told for write in each.writes}
    for path in tree:
        if path.startswith(f"{_WORK}/") and path.count("/") == 3 and path not in sent:
            found.append(f"{path} is there and nobody made it")
        if path.startswith(f"{_EPHEMERALS}/"):
            found.append(f"{path} is there and its session is over")
    for each in told:
        found += _order(tree, each.writes)
    for write in sent.values():
        found += _fate(tree.get(write.path), write)
    return found + _register(tree[REGISTER], told)


def _fate(znode: Znode | None, write: Write) -> list[str]:
    if znode is None:
        return [f"acknowledged and lost: {write}"] if write.zxid is not None else []
    if write.refused is not None:
        return [f"refused and there: {write}, {znode.stat}"]
    if znode.data != write.data:
        return [f"not what was written: {write}, {znode.data!r}"]
    if write.zxid is not None and znode.stat.czxid != write.zxid:
        return [f"acknowledged with another zxid: {write}, {znode.stat}"]
    return []


def _order(tree: dict[str, Znode], writes: Sequence[Write]) -> list[str]:
    """What a connection sent took effect in its order, and without a hole."""
    found: list[str] = []
    connection, hole, zxid, acknowledged = -1, "", 0, 0
    for write in writes:
        if write.connection != connection:
            connection, hole, zxid = write.connection, "", acknowledged
        znode = tree.get(write.path)
        if znode is None:
            hole = hole or ("" if write.refused is not None else write.path)
            continue
        if hole:
            found.append(f"{write.path} is there, and {hole}, which was sent before, is not")
        if znode.stat.czxid <= zxid:
            found.append(f"{write.path} took effect before what was sent before it")
        zxid = znode.stat.czxid
        if write.zxid is not None:
            acknowledged = zxid
    return found


def _register(znode: Znode, told: Sequence[Told]) -> list[str]:
    """Each acknowledged set had a version of its own, in the order of their zxids."""
    sets = sorted((each for one in told for each in one.sets), key=lambda each: each.version)
    found = [
        f"{REGISTER}: {one} and {other}"
        for one, other in pairwise(sets)
        if one.version >= other.version or one.zxid >= other.zxid
    ]
    last = sets[-1]
    if znode.stat.version < last.version:
        found.append(f"{REGISTER}: acknowledged and lost: {last}, there is {znode.stat}")
    if znode.stat.version == last.version and znode.data != last.data:
        found.append(f"{REGISTER}: {last} and {znode}")
    if znode.stat.version > sum(one.sets_sent for one in told):
        found.append(f"{REGISTER} was set more often than anybody asked: {znode.stat}")
    return found
