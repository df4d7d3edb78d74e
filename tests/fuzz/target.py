"""What every fuzzer here attacks: a server machine with an attacker and a witness connected to it.

`attack` feeds one input to fresh connections, some of which have a session, and checks that the
server neither raises nor forgets the witness, and that it holds nothing when the attacker is gone.
"""

from __future__ import annotations

import struct

from coterie.config import embedded_default
from coterie.core.connection import Connection
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.wire import requests
from coterie.wire.framing import LENGTH
from coterie.wire.requests import Op

_BACKLOG_BYTES_MAX = 4 * 2**20
_SESSION_TICKS_MAX = 22
"""No session lives that long without a word, whatever timeout was asked for, while the server is
on time: the longest timeout is 20 ticks, and a session ends with the tick after it."""


def frame(payload: bytes) -> bytes:
    return LENGTH.pack(len(payload)) + payload


def request(xid: int, op: int, body: bytes = b"") -> bytes:
    return frame(struct.pack(">ii", xid, op) + body)


CONNECT = frame(requests.ConnectRequest(0, 0, 10_000, 0, bytes(16)).encode() + b"\0")
_GET = request(77, Op.GET_DATA, requests.PathWatchRequest(b"/zookeeper", False).encode())


class Target:
    """A server whose log is always durable at once, and a client that watches it."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.member = Standalone(embedded_default("data"), Tree(), self.now_ms, 1_000)
        self.witness = self._open()
        self.member.receive(self.witness, CONNECT, self.now_ms)
        self._settle()
        self.witness.out.clear()

    def _open(self) -> Connection:
        return self.member.connected("127.0.0.1", 1, self.now_ms)

    def _settle(self) -> None:
        """Carry out what the machine wants until it wants nothing."""
        for _ in range(10_000):
            if not self.member.effects:
                return
            effects = self.member.take()
            if effects.appends:
                self.member.synced(effects.appends[-1].zxid, self.now_ms)
            for connection in effects.closes:
                self.member.disconnected(connection)
            for connection in effects.resumes:
                self.member.resume(connection, self.now_ms)
        raise AssertionError("the machine never comes to rest")

    def attack(self, data: bytes) -> None:
        """`data` to a stranger, and to a client with a session: whole, and byte by byte."""
        for greeting in (b"", CONNECT):
            for step in (len(data) or 1, 7):
                attacker = self._open()
                self._feed(attacker, greeting, len(greeting) or 1)
                self._feed(attacker, data, step)
                self._check_witness()
                if not attacker.gone:
                    self.member.disconnected(attacker)
                self._settle()
                assert not attacker.fifo
                assert attacker not in self.member.server.watches.data.by_watcher
                assert attacker not in self.member.server.watches.children.by_watcher
        self._outlast_sessions()
        assert self.member.server.outstanding == 0
        assert self.member.outstanding_txns == 0
        assert len(self.member.server.connections) == 1
        assert list(self.member.sessions.by_id.values()) == [self.witness.session]
        assert not self.member.tree.ephemerals

    def _outlast_sessions(self) -> None:
        """Let all be silent for longer than any session may be, but for the witness."""
        half_ms = self.member.config.tick_time_ms / 2
        for turn in range(2 * _SESSION_TICKS_MAX):
            self.now_ms += half_ms
            self.member.tick(self.now_ms, int(self.now_ms))
            if turn % 2:
                self.member.receive(self.witness, _GET, self.now_ms)
                self.witness.out.clear()
        self._settle()

    def _feed(self, attacker: Connection, data: bytes, step: int) -> None:
        for start in range(0, len(data), step):
            if attacker.gone:
                return
            self.member.receive(attacker, data[start : start + step], self.now_ms)
            assert len(attacker.backlog) <= _BACKLOG_BYTES_MAX
            self._settle()
            attacker.out.clear()
            self.member.drained(attacker, self.now_ms)

    def _check_witness(self) -> None:
        self.member.receive(self.witness, _GET, self.now_ms)
        answer = b"".join(self.witness.out)
        self.witness.out.clear()
        xid, _, error = struct.unpack_from(">iqi", answer, 4)
        assert (xid, error) == (77, 0), "the witness is not served any more"
