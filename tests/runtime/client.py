"""A small blocking client over a real socket, for tests of real server processes.

It speaks through `coterie.wire`, pipelines as it is told, and knows what was acknowledged.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Self

from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.framing import LENGTH
from coterie.wire.jute import Record
from coterie.wire.requests import Op

Reply = tuple[int, int, int, bytes]
"""xid, zxid, error, body."""


class Client:
    """One connection and its session. Any failure of the connection is an `OSError`."""

    def __init__(
        self,
        port: int,
        timeout_ms: int = 10_000,
        session_id: int = 0,
        password: bytes = bytes(16),
        wait_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._xid = 0
        self.events: list[tuple[int, bytes]] = []
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=wait_s)
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
            hello = requests.ConnectRequest(0, 0, timeout_ms, session_id, password)
            self._send(hello.encode() + b"\0")
            answer = requests.ConnectResponse.decode(self._frame())
        except BaseException:
            self.sock.close()
            raise
        self.session_id = answer.session_id
        self.password = answer.password or b""
        self.timeout_ms = answer.timeout_ms

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def _send(self, payload: bytes) -> None:
        self.sock.sendall(LENGTH.pack(len(payload)) + payload)

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = self.sock.recv(count)
            if not part:
                raise ConnectionResetError("the server closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _frame(self) -> bytes:
        return self._exactly(LENGTH.unpack(self._exactly(4))[0])

    def send(self, op: int, body: Record | bytes = b"") -> int:
        """Send a request and return its xid, without waiting."""
        self._xid += 1
        payload = body if isinstance(body, bytes) else body.encode()
        self._send(struct.pack(">ii", self._xid, op) + payload)
        return self._xid

    def receive(self) -> Reply:
        """The next reply; watch events that come before it are kept in `events`."""
        while True:
            frame = self._frame()
            xid, zxid, error = struct.unpack_from(">iqi", frame)
            if xid != requests.NOTIFICATION_XID:
                return xid, zxid, error, frame[16:]
            event = requests.WatcherEvent.decode(frame[16:])
            self.events.append((event.type, event.path))

    def call(self, op: int, body: Record | bytes = b"") -> Reply:
        xid = self.send(op, body)
        reply = self.receive()
        assert reply[0] == xid, f"reply to {reply[0]} where {xid} was asked"
        return reply

    def create(self, path: bytes, data: bytes = b"", flags: int = 0) -> Reply:
        return self.call(Op.CREATE, requests.CreateRequest(path, data, OPEN_ACL, flags))

    def set(self, path: bytes, data: bytes) -> Reply:
        return self.call(Op.SET_DATA, requests.SetDataRequest(path, data, -1))

    def children(self, path: bytes) -> list[bytes]:
        _, _, error, body = self.call(Op.GET_CHILDREN, requests.PathWatchRequest(path, False))
        assert error == 0, f"error {error} for the children of {path!r}"
        return requests.ChildrenResponse.decode(body).children or []

    def prune(self, path: bytes) -> None:
        """Delete what is below a znode, and then the znode."""
        for name in self.children(path):
            self.prune(path + b"/" + name)
        assert self.call(Op.DELETE, requests.DeleteRequest(path, -1))[2] == 0

    def get(self, path: bytes) -> bytes | None:
        """The data of a znode, or None when it does not exist."""
        _, _, error, body = self.call(Op.GET_DATA, requests.PathWatchRequest(path, False))
        if error:
            return None
        return body[4 : 4 + LENGTH.unpack_from(body)[0]]


def word(port: int, text: bytes) -> bytes:
    """What a four-letter word answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(text)
        parts: list[bytes] = []
        while part := sock.recv(65536):
            parts.append(part)
        return b"".join(parts)
