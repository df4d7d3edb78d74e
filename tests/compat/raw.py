"""ZooKeeper's client protocol with nothing but sockets, written apart from `coterie.wire`.

Rules: nothing here imports coterie, so that one mistake cannot be made on both sides. A request is
bytes and a reply keeps its body as bytes, so null and empty data, and bytes that no sane client
would send, are all at hand. Replies are read in the order in which they come.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

NOTIFICATION_XID: Final = -1
PING_XID: Final = -2
AUTH_XID: Final = -4
SET_WATCHES_XID: Final = -8

CREATE: Final = 1
DELETE: Final = 2
EXISTS: Final = 3
GET_DATA: Final = 4
SET_DATA: Final = 5
GET_ACL: Final = 6
SET_ACL: Final = 7
GET_CHILDREN: Final = 8
SYNC: Final = 9
PING: Final = 11
GET_CHILDREN2: Final = 12
CHECK: Final = 13
MULTI: Final = 14
CREATE2: Final = 15
RECONFIG: Final = 16
CHECK_WATCHES: Final = 17
REMOVE_WATCHES: Final = 18
CREATE_CONTAINER: Final = 19
DELETE_CONTAINER: Final = 20
CREATE_TTL: Final = 21
MULTI_READ: Final = 22
AUTH: Final = 100
SET_WATCHES: Final = 101
SASL: Final = 102
GET_EPHEMERALS: Final = 103
GET_ALL_CHILDREN_NUMBER: Final = 104
SET_WATCHES2: Final = 105
ADD_WATCH: Final = 106
WHO_AM_I: Final = 107
CREATE_SESSION: Final = -10
CLOSE_SESSION: Final = -11

PERSISTENT: Final = 0
EPHEMERAL: Final = 1
PERSISTENT_SEQUENTIAL: Final = 2
EPHEMERAL_SEQUENTIAL: Final = 3
CONTAINER: Final = 4
PERSISTENT_TTL: Final = 5
PERSISTENT_SEQUENTIAL_TTL: Final = 6

READ: Final = 1
WRITE: Final = 2
CREATE_PERM: Final = 4
DELETE_PERM: Final = 8
ADMIN: Final = 16
ALL: Final = 31

_EVENTS_MAX: Final = 10_000


class Acl(NamedTuple):
    perms: int
    scheme: str
    id: str


OPEN: Final = (Acl(ALL, "world", "anyone"),)


class Stat(NamedTuple):
    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


class Reply(NamedTuple):
    xid: int
    zxid: int
    error: int
    body: bytes


class Event(NamedTuple):
    type: int
    state: int
    path: str


STAT: Final = struct.Struct(">qqqqiiiqiiq")


def buffer(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def string(text: str | None) -> bytes:
    return buffer(None if text is None else text.encode("utf-8", "surrogatepass"))


def vector(items: Iterable[bytes] | None) -> bytes:
    if items is None:
        return struct.pack(">i", -1)
    listed = list(items)
    return struct.pack(">i", len(listed)) + b"".join(listed)


def acls(entries: Iterable[Acl] | None) -> bytes:
    if entries is None:
        return vector(None)
    return vector(struct.pack(">i", a.perms) + string(a.scheme) + string(a.id) for a in entries)


def path_watch(path: str, watch: bool = False) -> bytes:
    """The request of exists, getData, getChildren and getChildren2."""
    return string(path) + struct.pack(">?", watch)


def path_int(path: str, number: int) -> bytes:
    """The request of delete, check, checkWatches, removeWatches and addWatch."""
    return string(path) + struct.pack(">i", number)


def create(
    path: str,
    data: bytes | None = b"",
    flags: int = PERSISTENT,
    acl: Iterable[Acl] | None = OPEN,
    ttl_ms: int | None = None,
) -> bytes:
    """The request of create, create2, createContainer and, with a time, createTTL."""
    body = string(path) + buffer(data) + acls(acl) + struct.pack(">i", flags)
    return body if ttl_ms is None else body + struct.pack(">q", ttl_ms)


def set_data(path: str, data: bytes | None, version: int = -1) -> bytes:
    return string(path) + buffer(data) + struct.pack(">i", version)


def set_acl(path: str, acl: Iterable[Acl] | None, version: int = -1) -> bytes:
    return string(path) + acls(acl) + struct.pack(">i", version)


def auth(scheme: str, data: bytes | None) -> bytes:
    return struct.pack(">i", 0) + string(scheme) + buffer(data)


def multi(operations: Iterable[tuple[int, bytes]]) -> bytes:
    """The request of multi and multiRead, out of requests."""
    parts = [struct.pack(">i?i", op, False, -1) + body for op, body in operations]
    return b"".join(parts) + struct.pack(">i?i", -1, True, -1)


def set_watches(relative_zxid: int, *lists: Iterable[str]) -> bytes:
    """The request of setWatches with three lists of paths, of setWatches2 with five."""
    return struct.pack(">q", relative_zxid) + b"".join(vector(map(string, each)) for each in lists)


class Reader:
    """Takes the fields of a record off bytes, one by one. What is too short raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _fields(self, form: struct.Struct) -> tuple[int, ...]:
        try:
            values = form.unpack_from(self._data, self._at)
        except struct.error as error:
            raise ValueError(f"{error} in {self._data.hex()}") from None
        self._at += form.size
        return values

    def byte(self) -> int:
        return self._fields(struct.Struct(">B"))[0]

    def int32(self) -> int:
        return self._fields(struct.Struct(">i"))[0]

    def int64(self) -> int:
        return self._fields(struct.Struct(">q"))[0]

    def buffer(self) -> bytes | None:
        length = self.int32()
        if length == -1:
            return None
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise ValueError(f"a length of {length} in {self._data.hex()}")
        part = self._data[self._at : end]
        self._at = end
        return part

    def string(self) -> str | None:
        part = self.buffer()
        return None if part is None else part.decode("utf-8", "surrogateescape")

    def strings(self) -> list[str | None]:
        return [self.string() for _ in range(self.int32())]

    def acls(self) -> list[Acl]:
        return [
            Acl(self.int32(), self.string() or "", self.string() or "")
            for _ in range(self.int32())
        ]

    def stat(self) -> Stat:
        return Stat(*self._fields(STAT))

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes left over: {self._data.hex()}")


def event_of(reply: Reply) -> Event:
    reader = Reader(reply.body)
    event = Event(reader.int32(), reader.int32(), reader.string() or "")
    reader.end()
    return event


class ClosedError(Exception):
    """The server closed the connection."""


class Client:
    """One connection and its session."""

    def __init__(
        self,
        port: int,
        *,
        timeout_ms: int = 30_000,
        session_id: int = 0,
        password: bytes = bytes(16),
        wait_s: float = 20.0,
        seen_zxid: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.events: list[Event] = []
        self._xid = 0
        self.sock = socket.create_connection((host, port), timeout=wait_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = struct.pack(">iqiq", 0, seen_zxid, timeout_ms, session_id)
        self.hello = head + buffer(password) + b"\0"
        try:
            self.send_frame(self.hello)
            self.welcome = self.receive_frame()
        except BaseException:
            self.sock.close()
            raise
        reader = Reader(self.welcome)
        reader.int32()
        self.timeout_ms = reader.int32()
        self.session_id = reader.int64()
        self.password = reader.buffer() or b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.sock.close()

    def send_frame(self, payload: bytes) -> None:
        try:
            self.sock.sendall(buffer(payload))
        except (BrokenPipeError, ConnectionResetError):
            raise ClosedError from None

    def receive_frame(self) -> bytes:
        return self._exactly(struct.unpack(">i", self._exactly(4))[0])

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            try:
                part = self.sock.recv(count)
            except ConnectionResetError:
                part = b""
            if not part:
                raise ClosedError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def send(self, op: int, body: bytes = b"", xid: int | None = None) -> int:
        """Send a request and return its xid, without waiting for the reply."""
        if xid is None:
            self._xid += 1
            xid = self._xid
        self.send_frame(struct.pack(">ii", xid, op) + body)
        return xid

    def receive(self) -> Reply:
        """The next packet, which may be a notification."""
        frame = self.receive_frame()
        xid, zxid, error = struct.unpack_from(">iqi", frame)
        return Reply(xid, zxid, error, frame[16:])

    def reply(self) -> Reply:
        """The next reply; the notifications before it are added to `events`."""
        for _ in range(_EVENTS_MAX):
            packet = self.receive()
            if packet.xid != NOTIFICATION_XID:
                return packet
            self.events.append(event_of(packet))
        raise AssertionError(f"{_EVENTS_MAX} notifications and no reply")

    def call(self, op: int, body: bytes = b"", xid: int | None = None) -> Reply:
        sent = self.send(op, body, xid)
        reply = self.reply()
        assert reply.xid == sent, f"a reply to {reply.xid} where {sent} was asked"
        return reply

    def ok(self, op: int, body: bytes = b"", xid: int | None = None) -> Reply:
        """A call that has to succeed."""
        reply = self.call(op, body, xid)
        assert reply.error == 0, f"error {reply.error} for op {op}, {body!r}"
        return reply

    def authenticate(self, scheme: str, data: bytes) -> None:
        self.ok(AUTH, auth(scheme, data), AUTH_XID)

    def ping(self) -> Reply:
        return self.call(PING, xid=PING_XID)

    def close_session(self) -> None:
        """End the session; its ephemerals are gone when this returns."""
        self.ok(CLOSE_SESSION)
        self.sock.close()


def word(port: int, text: bytes, host: str = "127.0.0.1", wait_s: float = 10.0) -> str:
    """What a four-letter word answers."""
    with socket.create_connection((host, port), timeout=wait_s) as sock:
        sock.sendall(text)
        parts: list[bytes] = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts).decode()
