"""What is asked of a server: each load as ready-made requests and the replies they must get.

Rules: every reply's length is known before its request is sent, so replies are counted by bytes;
an error reply has another length and so cannot be counted as a success. What can be encoded
beforehand is. Requests that name a znode of their own have numbers of a fixed width.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Protocol

from benchmarks import protocol

ROOT: Final = b"/bench"
DATA_ROOT: Final = ROOT + b"/data"
OWN_ROOT: Final = ROOT + b"/own"
FILL_ROOT: Final = ROOT + b"/fill"

CONNECTIONS_MAX: Final = 48
DATA_ZNODES: Final = 48
VALUE_1K: Final = b"v" * 1024
VALUE_100: Final = b"v" * 100
BATCH: Final = 50

_RING: Final = 240
_SAME_REPLIES: Final = 64
_XID: Final = 1


class Tape:
    """Messages back to back, twice over: a run of them is one slice, wherever it begins."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.count = len(messages)
        self.view = memoryview(b"".join(messages) * 2)
        self.ends = [0, *accumulate(len(message) for message in [*messages, *messages])]
        self.heads = [message[:8] for message in messages]

    def cut(self, first: int, count: int) -> memoryview:
        return self.view[self.ends[first] : self.ends[first + count]]


class Counter:
    """Counts the messages of a tape in a stream of bytes, by their lengths.

    The length and the xid of a message that begins a chunk are compared with the tape's: cheap
    enough for every chunk, and with one outstanding request every chunk is such a beginning.
    """

    __slots__ = ("_bytes", "_ends", "_heads", "_index", "_tape_bytes", "_tape_count")

    def __init__(self, tape: Tape, first: int = 0) -> None:
        self._ends = tape.ends
        self._heads = tape.heads
        self._tape_count = tape.count
        self._tape_bytes = tape.ends[tape.count]
        self._index = first
        self._bytes = tape.ends[first]

    @property
    def index(self) -> int:
        """Which message of the tape comes next."""
        return self._index

    def count(self, data: bytes) -> int:
        index = self._index
        if self._bytes == self._ends[index] and data[:8] != self._heads[index][: len(data)]:
            raise protocol.ProtocolError(
                f"a reply begins with {data[:20].hex()} instead of {self._heads[index].hex()}"
            )
        self._bytes += len(data)
        found = bisect_right(self._ends, self._bytes) - 1 - index
        index += found
        if index >= self._tape_count:
            index -= self._tape_count
            self._bytes -= self._tape_bytes
        self._index = index
        return found


class Requests(Protocol):
    """Where a connection takes its next requests from."""

    def take(self, count: int) -> bytes | memoryview: ...


class Repeated:
    """The same requests over and over: taking some is one slice."""

    def __init__(self, tape: Tape, first: int) -> None:
        self._tape = tape
        self._next = first

    def take(self, count: int) -> memoryview:
        first = self._next
        self._next = (first + count) % self._tape.count
        return self._tape.cut(first, count)


class Numbered:
    """Requests 0, 1, 2 ..., each encoded when it is taken."""

    def __init__(self, encode: Callable[[int], bytes]) -> None:
        self._encode = encode
        self.taken = 0

    def take(self, count: int) -> bytes:
        first = self.taken
        self.taken = last = first + count
        return b"".join(map(self._encode, range(first, last)))


@dataclass(frozen=True, slots=True)
class Load:
    """A load: its name, its words for the table, and its requests and replies in a cycle."""

    name: str
    label: str
    requests: Tape
    replies: Tape
    encoder: Callable[[int, int], bytes] | None = None
    """(connection, number) -> request, where every request is another; else the tape's are sent"""

    def first(self, connection: int, connections: int) -> int:
        """Where on the tape a connection begins, so that they do not march in step."""
        return connection * self.requests.count // connections

    def source(self, connection: int, connections: int) -> Requests:
        if self.encoder is None:
            return Repeated(self.requests, self.first(connection, connections))
        return Numbered(own_encoder(self.encoder, connection))


def own_encoder(encoder: Callable[[int, int], bytes], connection: int) -> Callable[[int], bytes]:
    return lambda number: encoder(connection, number)


def data_path(znode: int) -> bytes:
    return b"%b/d%02d" % (DATA_ROOT, znode)


def own_parent(connection: int) -> bytes:
    return b"%b/c%02d" % (OWN_ROOT, connection)


def own_path(connection: int, number: int) -> bytes:
    return b"%b/c%02d/n%09d" % (OWN_ROOT, connection, number)


def _ring(name: str, label: str, writes_in_ten: int) -> Load:
    """getData and setData of 1 KiB over all data znodes, in one shuffled order for every run."""
    writes = [number % 10 < writes_in_ten for number in range(_RING)]
    dice = random.Random(name)
    dice.shuffle(writes)
    requests, replies = [], []
    for number, is_write in enumerate(writes):
        xid = number + 1
        path = data_path(dice.randrange(DATA_ZNODES))
        if is_write:
            body = protocol.set_data_body(path, VALUE_1K)
            requests.append(protocol.request(xid, protocol.SET_DATA, body))
            replies.append(protocol.set_data_reply(xid))
        else:
            body = protocol.get_data_body(path)
            requests.append(protocol.request(xid, protocol.GET_DATA, body))
            replies.append(protocol.get_data_reply(xid, VALUE_1K))
    return Load(name, label, Tape(requests), Tape(replies))


def _numbered(name: str, label: str, encoder: Callable[[int, int], bytes], reply: bytes) -> Load:
    requests = Tape([encoder(0, 0)] * _SAME_REPLIES)
    return Load(name, label, requests, Tape([reply] * _SAME_REPLIES), encoder)


def _creates(name: str, label: str, value: bytes) -> Load:
    def encode(connection: int, number: int) -> bytes:
        body = protocol.create_body(own_path(connection, number), value)
        return protocol.request(_XID, protocol.CREATE, body)

    return _numbered(name, label, encode, protocol.create_reply(_XID, own_path(0, 0)))


def deletes(batch: int, firsts: Sequence[int]) -> Load:
    """Multis of `batch` deletes of what a connection created, from its number in `firsts` on."""

    def encode(connection: int, number: int) -> bytes:
        begin = firsts[connection] + number * batch
        bodies = [
            protocol.delete_body(own_path(connection, each))
            for each in range(begin, begin + batch)
        ]
        return protocol.request(_XID, protocol.MULTI, protocol.multi_body(protocol.DELETE, bodies))

    reply = protocol.multi_reply(_XID, protocol.DELETE, [b""] * batch)
    return _numbered("deletes", "delete", encode, reply)


def fill_parent(parent: int) -> bytes:
    return b"%b/p%04d" % (FILL_ROOT, parent)


def fill(znodes: int, parents: int, connections: int, batch: int) -> Load:
    """`znodes` of 100 bytes spread over `parents`: plain creates, or multis of `batch` of them.

    Connection c sends requests c, c + connections, ...: neighbours in time are neighbours by name.
    """

    def path(znode: int) -> bytes:
        return b"%b/n%09d" % (fill_parent(znode * parents // znodes), znode)

    def encode(connection: int, number: int) -> bytes:
        begin = (number * connections + connection) * batch
        bodies = [
            protocol.create_body(path(znode), VALUE_100) for znode in range(begin, begin + batch)
        ]
        if batch == 1:
            return protocol.request(_XID, protocol.CREATE, bodies[0])
        return protocol.request(_XID, protocol.MULTI, protocol.multi_body(protocol.CREATE, bodies))

    if batch == 1:
        reply = protocol.create_reply(_XID, path(0))
    else:
        results = [protocol.buffer(path(0))] * batch
        reply = protocol.multi_reply(_XID, protocol.CREATE, results)
    return _numbered("fill", "create", encode, reply)


LOADS: Final = {
    load.name: load
    for load in (
        _ring("reads", "getData, 1 KiB", writes_in_ten=0),
        _ring("writes", "setData, 1 KiB", writes_in_ten=10),
        _ring("mix", "90 % getData, 10 % setData, 1 KiB", writes_in_ten=1),
        _creates("creates-100", "create, 100 B", VALUE_100),
        _creates("creates-1k", "create, 1 KiB", VALUE_1K),
    )
}


def prepare(session: protocol.Session) -> None:
    """The znodes that the loads use, made unless they are there."""
    for path in (ROOT, DATA_ROOT, OWN_ROOT):
        session.ensure(path)
    for znode in range(DATA_ZNODES):
        session.ensure(data_path(znode), VALUE_1K)
    for connection in range(CONNECTIONS_MAX):
        session.ensure(own_parent(connection))


def prepare_fill(session: protocol.Session, parents: int) -> None:
    for path in (ROOT, FILL_ROOT, *map(fill_parent, range(parents))):
        session.ensure(path)
