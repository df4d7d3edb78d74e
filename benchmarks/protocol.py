"""The few bytes of ZooKeeper's client protocol that a benchmark sends, and a blocking session.

Encoders return whole frames. The reply encoders are for the canned responder and for the reply
lengths that the load generator counts by: they carry zeros where a server puts what it knows.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final, Self

CREATE: Final = 1
DELETE: Final = 2
GET_DATA: Final = 4
SET_DATA: Final = 5
MULTI: Final = 14
CLOSE_SESSION: Final = -11

NODE_EXISTS: Final = -110

CONNECT_REPLY_BYTES: Final = 41
SESSION_TIMEOUT_MS: Final = 40_000
"""The longest that a tickTime of 2000 allows, so that no load needs pings."""

PATIENCE_S: Final = 30.0
"""How long a server may leave a client without an answer."""

_INT: Final = struct.Struct(">i")
_HEADER: Final = struct.Struct(">ii")
_REPLY_HEADER: Final = struct.Struct(">iqi")
_MULTI_HEADER: Final = struct.Struct(">i?i")
_MULTI_END: Final = _MULTI_HEADER.pack(-1, True, -1)
_STAT: Final = bytes(68)
_OPEN_ACL: Final = struct.pack(">ii", 1, 31) + b"\0\0\0\x05world" + b"\0\0\0\x06anyone"
_PERSISTENT: Final = _INT.pack(0)
_ANY_VERSION: Final = _INT.pack(-1)


class ProtocolError(Exception):
    """The server answered something that the benchmark's request does not allow."""


def frame(body: bytes) -> bytes:
    return _INT.pack(len(body)) + body


def buffer(data: bytes) -> bytes:
    return _INT.pack(len(data)) + data


def connect_request() -> bytes:
    """A new session: no zxid seen, no id, sixteen zero bytes of password, not read-only."""
    return frame(struct.pack(">iqiq", 0, 0, SESSION_TIMEOUT_MS, 0) + buffer(bytes(16)) + b"\0")


def connect_reply() -> bytes:
    return frame(struct.pack(">iiq", 0, SESSION_TIMEOUT_MS, 1) + buffer(bytes(16)) + b"\0")


def request(xid: int, opcode: int, body: bytes = b"") -> bytes:
    return frame(_HEADER.pack(xid, opcode) + body)


def reply(xid: int, body: bytes = b"") -> bytes:
    return frame(_REPLY_HEADER.pack(xid, 0, 0) + body)


def create_body(path: bytes, data: bytes) -> bytes:
    return buffer(path) + buffer(data) + _OPEN_ACL + _PERSISTENT


def delete_body(path: bytes) -> bytes:
    return buffer(path) + _ANY_VERSION


def get_data_body(path: bytes) -> bytes:
    return buffer(path) + b"\0"


def set_data_body(path: bytes, data: bytes) -> bytes:
    return buffer(path) + buffer(data) + _ANY_VERSION


def get_data_reply(xid: int, data: bytes) -> bytes:
    return reply(xid, buffer(data) + _STAT)


def set_data_reply(xid: int) -> bytes:
    return reply(xid, _STAT)


def create_reply(xid: int, path: bytes) -> bytes:
    return reply(xid, buffer(path))


def multi_body(opcode: int, bodies: Sequence[bytes]) -> bytes:
    header = _MULTI_HEADER.pack(opcode, False, -1)
    return b"".join(header + body for body in bodies) + _MULTI_END


def multi_reply(xid: int, opcode: int, results: Sequence[bytes]) -> bytes:
    header = _MULTI_HEADER.pack(opcode, False, 0)
    return reply(xid, b"".join(header + result for result in results) + _MULTI_END)


class Session:
    """One session, one request at a time, each waiting for its reply."""

    def __init__(self, port: int, handshake_s: float = PATIENCE_S) -> None:
        self._xid = 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=handshake_s)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(connect_request())
            opened = self._read_frame()
        except BaseException:
            self.socket.close()
            raise
        if not int.from_bytes(opened[8:16]):
            self.socket.close()
            raise ProtocolError("the server refused to open a session")
        self.socket.settimeout(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.socket.close()

    def close(self) -> None:
        """End the session in the server too, and wait until it has."""
        try:
            self.call(CLOSE_SESSION)
        finally:
            self.socket.close()

    def call(self, opcode: int, body: bytes = b"", *, allowed: Sequence[int] = (0,)) -> bytes:
        """The body of the reply; an error code that is not `allowed` raises."""
        self._xid += 1
        self.socket.sendall(request(self._xid, opcode, body))
        answer = self._read_frame()
        xid, _, error = _REPLY_HEADER.unpack_from(answer)
        if xid != self._xid or error not in allowed:
            raise ProtocolError(f"opcode {opcode}: got xid {xid} and error {error}")
        return answer[_REPLY_HEADER.size :]

    def ensure(self, path: bytes, data: bytes = b"") -> None:
        """Create the znode unless it is there."""
        self.call(CREATE, create_body(path, data), allowed=(0, NODE_EXISTS))

    def get(self, path: bytes) -> bytes:
        answer = self.call(GET_DATA, get_data_body(path))
        (length,) = _INT.unpack_from(answer)
        return answer[4 : 4 + length]

    def set(self, path: bytes, data: bytes) -> None:
        self.call(SET_DATA, set_data_body(path, data))

    def _read_frame(self) -> bytes:
        (length,) = _INT.unpack(self._read(4))
        return self._read(length)

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            data = self.socket.recv(length - len(parts))
            if not data:
                raise ConnectionResetError("the server closed the connection")
            parts += data
        return bytes(parts)
