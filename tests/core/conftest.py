"""A server alone on virtual time, and clients that talk to it in frames.

The disk is as slow as a test wants: `turn` makes durable what was asked for, unless the server was
made `slow`, when only `sync` does. Everything a client hears is kept in order in `heard`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from coterie.config import Config
from coterie.core.audit import Told
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.values import OPEN_ACL, ACLs, Stat
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

WALL_MS = 1_700_000_000_000
NO_SESSION = bytes(16)


class Reply(NamedTuple):
    """One packet from the server; an event has xid -1."""

    xid: int
    zxid: int
    error: int
    body: bytes

    @property
    def stat(self) -> Stat:
        return requests.read_stat(Reader(self.body[-68:]))

    @property
    def path(self) -> bytes:
        return Reader(self.body).path()

    @property
    def names(self) -> list[bytes]:
        reader = Reader(self.body)
        return sorted(reader.path() for _ in range(reader.count()))

    @property
    def event(self) -> tuple[int, bytes]:
        assert self.xid == requests.NOTIFICATION_XID
        event = requests.WatcherEvent.decode(self.body)
        assert event.state == 3
        return event.type, event.path


def create(path: bytes, data: bytes | None = b"", flags: int = 0, acl: ACLs = OPEN_ACL) -> Record:
    return requests.CreateRequest(path, data, acl, flags)


def read(path: bytes, watch: bool = False) -> Record:
    return requests.PathWatchRequest(path, watch)


class Client:
    """One connection. `connect` says hello; without, it is a stranger."""

    def __init__(self, alone: Alone, ip: str = "127.0.0.1") -> None:
        self.alone = alone
        self.connection = alone.member.connected(ip, 4000, alone.now_ms)
        self.heard: list[Reply] = []
        self.closed = False
        self.hello: requests.ConnectResponse | None = None
        self.session_id = self.timeout_ms = 0
        self.password = NO_SESSION
        self.greeted = False
        self.heard_bytes = 0
        self._xid = 0
        alone.clients.append(self)

    def connect(
        self,
        session_id: int = 0,
        password: bytes = NO_SESSION,
        timeout_ms: int = 400,
        seen_zxid: int = 0,
        read_only: bytes = b"\0",
    ) -> Client:
        hello = requests.ConnectRequest(0, seen_zxid, timeout_ms, session_id, password)
        self.say(framed(hello.encode() + read_only))
        self.alone.turn()
        return self

    def say(self, data: bytes) -> None:
        self.alone.member.receive(self.connection, data, self.alone.now_ms)

    def frame(self, op: int, body: Record | bytes = b"", xid: int = 0) -> bytes:
        """A request, not sent; its xid is the next one if none is given."""
        if not xid:
            self._xid += 1
            xid = self._xid
        payload = body if isinstance(body, bytes) else body.encode()
        return framed(requests.RequestHeader(xid, op).encode() + payload)

    def send(self, op: int, body: Record | bytes = b"", xid: int = 0) -> None:
        self.say(self.frame(op, body, xid))

    def call(self, op: int, body: Record | bytes = b"", xid: int = 0) -> Reply:
        """Send a request and take the answer, which has to come in this turn."""
        self.send(op, body, xid)
        self.alone.turn()
        sought = xid or self._xid
        for reply in self.heard:
            if reply.xid == sought:
                self.heard.remove(reply)
                return reply
        raise AssertionError(f"no answer to opcode {op}")

    def create(self, path: bytes, data: bytes | None = b"", flags: int = 0) -> Reply:
        return self.call(Op.CREATE2, create(path, data, flags))

    def set(self, path: bytes, data: bytes | None, version: int = -1) -> Reply:
        return self.call(Op.SET_DATA, requests.SetDataRequest(path, data, version))

    def delete(self, path: bytes, version: int = -1) -> Reply:
        return self.call(Op.DELETE, requests.DeleteRequest(path, version))

    def exists(self, path: bytes, watch: bool = False) -> Reply:
        return self.call(Op.EXISTS, read(path, watch))

    def events(self) -> list[tuple[int, bytes]]:
        """The events that came since this was last asked."""
        came = [reply for reply in self.heard if reply.xid == requests.NOTIFICATION_XID]
        self.heard = [reply for reply in self.heard if reply not in came]
        return [reply.event for reply in came]

    def answers(self) -> list[tuple[int, int]]:
        """xid and error of all that came since this was last asked, events included."""
        came, self.heard = self.heard, []
        return [(reply.xid, reply.error) for reply in came]

    def hear(self) -> None:
        """Take what the server has put into the connection's output."""
        data = b"".join(self.connection.out)
        self.connection.out.clear()
        self.heard_bytes += len(data)
        reader = Reader(data)
        while not reader.at_end():
            frame = Reader(reader.raw(reader.int32()))
            if not self.greeted:
                self._welcomed(frame.data)
            else:
                head = frame.int32(), frame.int64(), frame.int32()
                self.heard.append(Reply(*head, frame.data[frame.pos :]))

    def _welcomed(self, body: bytes) -> None:
        self.greeted = True
        self.hello = requests.ConnectResponse.decode(body[:36])
        self.session_id, self.timeout_ms = self.hello.session_id, self.hello.timeout_ms
        self.password = self.hello.password or b""

    def gone(self) -> None:
        """The connection breaks."""
        self.closed = True
        self.alone.member.disconnected(self.connection)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


class Alone:
    """A server alone, the time, and the log that its disk has."""

    def __init__(self, slow: bool = False, tree: Tree | None = None, **settings: Any) -> None:
        self.now_ms = 10_000.0
        self.slow = slow
        self.config = Config(data_dir="data", **{"tick_time_ms": 100, **settings})
        self.tree = Tree() if tree is None else tree
        self.member = Standalone(self.config, self.tree, self.now_ms, self.wall_ms)
        self.clients: list[Client] = []
        self.asked: list[Txn] = []
        """What the disk was asked to write and has not made durable."""
        self.log: list[Txn] = []
        self.notes: list[str] = []
        self.told: list[Told] = []
        self.tick(0)

    @property
    def wall_ms(self) -> int:
        return WALL_MS + int(self.now_ms)

    def client(self, ip: str = "127.0.0.1", **hello: Any) -> Client:
        """A client with a session."""
        return Client(self, ip).connect(**hello)

    def stranger(self) -> Client:
        return Client(self)

    def turn(self) -> None:
        """Carry out what the server wants, until it wants nothing more."""
        for _ in range(100):
            effects = self.member.take()
            self.notes += effects.notes
            self.told += effects.audits
            self.asked += effects.appends
            for client in self.clients:
                client.hear()
            for connection in effects.closes:
                for client in self.clients:
                    if client.connection is connection and not client.closed:
                        client.gone()
            for connection in effects.resumes:
                self.member.resume(connection, self.now_ms)
            if self.asked and not self.slow:
                self._durable(len(self.asked))
            if not self.member.effects and not any(c.connection.out for c in self.clients):
                return
        raise AssertionError("the server never comes to rest")

    def sync(self, count: int | None = None) -> None:
        """Make durable what the disk has, or the oldest `count` txns of it."""
        self.turn()
        self._durable(len(self.asked) if count is None else count)
        self.turn()

    def _durable(self, count: int) -> None:
        done, self.asked = self.asked[:count], self.asked[count:]
        self.log += done
        if done:
            self.member.synced(done[-1].zxid, self.now_ms)

    def tick(self, ms: float) -> None:
        """Let time pass, in turns none of which is late."""
        end_ms, step_ms = self.now_ms + ms, self.config.tick_time_ms / 2
        while self.now_ms + step_ms < end_ms:
            self.now_ms += step_ms
            self.member.tick(self.now_ms, self.wall_ms)
        self.now_ms = end_ms
        self.member.tick(self.now_ms, self.wall_ms)
        self.turn()


@pytest.fixture
def make_alone() -> Callable[..., Alone]:
    """Makes servers with settings other than the defaults."""
    return Alone


@pytest.fixture
def alone() -> Alone:
    """A server whose disk is as fast as its turns."""
    return Alone()


@pytest.fixture
def slow() -> Alone:
    """A server whose disk makes nothing durable until `sync`."""
    return Alone(slow=True)
