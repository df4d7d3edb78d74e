"""What every member of an ensemble says of itself, by four-letter words: Coterie's or Apache's.

Rules:
- `srvr` is answered by every server; what `mntr` adds is there where it is allowed;
- all members are asked at the same time, each for `_ANSWER_S` at most, and what they said is kept
  for `_FRESH_S`: more watchers of a page are no more questions;
- who they are is read from /zookeeper/config, now and then (`Finder`); where that cannot be read,
  they are the servers that were named;
- members are told apart by their place among the addresses, not by what they say.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coterie.client.hosts import ConnectString
from coterie.ensemble import Endpoint, Ensemble, Seat
from coterie.errors import ZooKeeperError

if TYPE_CHECKING:
    from ssl import SSLContext

_ANSWER_S: Final = 1.5
_ANSWER_BYTES_MAX: Final = 64 * 1024
_FRESH_S: Final = 0.8
_AGAIN_S: Final = 30.0
_PATIENCE_S: Final = 3.0

_FIELDS: Final = {
    "version": (r"^Zookeeper version: ([^,\n]+)", str),
    "received": (r"^Received: (\d+)", int),
    "sent": (r"^Sent: (\d+)", int),
    "connections": (r"^Connections: (\d+)", int),
    "outstanding": (r"^Outstanding: (\d+)", int),
    "zxid": (r"^Zxid: (0x[0-9a-fA-F]+)", str),
    "mode": (r"^Mode: (\S+)", str),
    "znodes": (r"^Node count: (\d+)", int),
}
_MORE: Final = {
    "watches": "watch_count",
    "ephemerals": "ephemerals_count",
    "data_bytes": "approximate_data_size",
    "sessions": "global_sessions",
    "fsync_ms": "avg_fsynctime",
}
_LATENCY: Final = re.compile(r"^Latency min/avg/max: ([\d.]+)/([\d.]+)/([\d.]+)", re.MULTILINE)

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A member: its number if it has one, what it is, and where its clients connect, if known."""

    id: int | None
    role: str
    address: Endpoint | None
    why: str = "where its clients connect is not known"
    """Why it cannot be asked, if there is no address."""

    def shown(self) -> str:
        if self.address is None:
            return ""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def places(ensemble: Ensemble, port: int | None, *, secure: bool = False) -> list[Place]:
    """The members of an ensemble. Where the server lines do not say the client ports, and each
    member has a host of its own, theirs is taken to be `port`, as ours; `secure` are those for
    TLS."""
    hosts = [seat.quorum[0][0] for seat in ensemble.seats.values()]
    alike = len(set(hosts)) == len(hosts)
    return [
        Place(seat.id, seat.role.value, _clients(seat, port if alike else None, secure))
        for seat in ensemble.seats.values()
    ]


def _clients(seat: Seat, port: int | None, secure: bool) -> Endpoint | None:
    host = seat.quorum[0][0]
    said = seat.secure if secure else seat.client
    if said is None:
        return None if port is None else (host, port)
    named, port = said
    return (host if named in ("", "0.0.0.0", "::") else named, port)


def read_srvr(text: str) -> Told:
    """What an answer to `srvr` says; one who does not serve is looking for a leader."""
    told: Told = {"mode": "looking"}
    for name, (pattern, kind) in _FIELDS.items():
        match = re.search(pattern, text, re.MULTILINE)
        if match is not None:
            told[name] = kind(match[1])
    latency = _LATENCY.search(text)
    if latency is not None:
        told["latency_ms"] = [float(part) for part in latency.groups()]
    return told


def read_mntr(text: str) -> Told:
    """What an answer to `mntr` adds, if it is one."""
    pairs = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return of_monitor({name.removeprefix("zk_"): value for name, value in pairs})


def of_monitor(found: Mapping[str, Any]) -> Told:
    """What the page shows of the numbers that a server keeps."""
    told: Told = {}
    for name, key in _MORE.items():
        try:
            told[name] = float(found[key])
        except (KeyError, ValueError):
            continue
    return told


async def ask(address: Endpoint, word: str, tls: SSLContext | None = None) -> str | None:
    """What the server there answers to a word; None if nobody does."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(*address, ssl=tls)
            try:
                writer.write(word.encode())
                parts: list[bytes] = []
                size = 0
                while size < _ANSWER_BYTES_MAX and (part := await reader.read(8192)):
                    parts.append(part)
                    size += len(part)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return None
    return b"".join(parts).decode("utf-8", "replace")


class Finder:
    """Finds out who the members are, from outside."""

    def __init__(self, named: ConnectString, config: Callable[[], Awaitable[Ensemble]]) -> None:
        self._named = [Place(None, "member", (host.name, host.port)) for host in named.hosts]
        self._port = named.hosts[0].port
        self._config = config
        self._found: list[Place] | None = None
        self._looked_s = float("-inf")

    async def find(self) -> list[Place]:
        """The members, as they were at most half a minute ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s > _AGAIN_S:
            self._looked_s = now_s
            self._found = await self._look() or self._found
        return self._named if self._found is None else self._found

    async def _look(self) -> list[Place] | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = places(await self._config(), self._port)
        except (ZooKeeperError, TimeoutError):
            return None
        unknown = [each for each in found if each.address is None]
        return None if unknown and len(self._named) >= len(found) else found


class Members:
    """Asks all members, not too often."""

    def __init__(
        self,
        find: Callable[[], Awaitable[list[Place]]],
        tls: SSLContext | Callable[[], SSLContext | None] | None = None,
    ) -> None:
        self._find = find
        self._tls = tls
        self._asking: asyncio.Task[list[Told]] | None = None
        self._asked_s = float("-inf")

    async def told(self) -> list[Told]:
        """What each says now."""
        loop = asyncio.get_running_loop()
        task = self._asking
        if task is None or (task.done() and loop.time() - self._asked_s > _FRESH_S):
            self._asked_s = loop.time()
            task = self._asking = loop.create_task(self._ask())
        return await asyncio.shield(task)

    async def _ask(self) -> list[Told]:
        found = await self._find()
        tls = self._tls() if callable(self._tls) else self._tls
        return list(await asyncio.gather(*(_member(each, tls) for each in found)))


async def _member(place: Place, tls: SSLContext | None) -> Told:
    told: Told = {"id": place.id, "role": place.role, "address": place.shown()}
    if place.address is None:
        return {**told, "mode": "unknown", "why": place.why}
    srvr, mntr = await asyncio.gather(
        ask(place.address, "srvr", tls), ask(place.address, "mntr", tls)
    )
    if not srvr:
        return {**told, "mode": "down", "why": "it does not answer"}
    return {**told, **read_srvr(srvr), **read_mntr(mntr or "")}
