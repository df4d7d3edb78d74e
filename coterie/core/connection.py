"""One client connection as the server machine sees it: bytes in, bytes out, and who is behind it.

A driver makes one for each accepted connection, hands it to every event, sends what is in `out`
and stops reading while `hold` is not 0. It holds no socket and forms no cycle that outlives it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from coterie.values import Id
from coterie.wire.framing import Framing

if TYPE_CHECKING:
    from coterie.core.prepare import Write
    from coterie.core.sessions import Session
    from coterie.wire.sasl import Handshake

HOLD_CONNECT: Final = 1
"""Nothing is read until the session exists."""
HOLD_OUTPUT: Final = 2
"""Nothing is read until the client has taken what waits for it."""
HOLD_OUTSTANDING: Final = 4
"""Nothing is read until the log has caught up."""
HOLD_CLOSED: Final = 8
"""Nothing is read any more."""
HOLD_ENDING: Final = 16
"""Nothing is read any more: what was read last ends the connection, when its turn comes."""

Waiting = tuple[int, int, bytes]
"""A read that waits for a write before it: xid, opcode, body."""


class Refusal:
    """The answer to a write that came to no txn, when its turn comes: not before what it follows,
    and with the zxid of that moment."""

    __slots__ = ("code", "xid")

    def __init__(self, xid: int, code: int) -> None:
        self.xid = xid
        self.code = code


class Connection:
    """What the server keeps of a connection. Compared and hashed by identity."""

    __slots__ = (
        "backlog",
        "established_ms",
        "fifo",
        "framing",
        "gone",
        "handshake",
        "hold",
        "ids",
        "ip",
        "last_latency_ms",
        "last_op",
        "last_response_ms",
        "last_xid",
        "last_zxid",
        "late",
        "latency_count",
        "latency_max_ms",
        "latency_min_ms",
        "latency_total_ms",
        "number",
        "opened_ms",
        "out",
        "port",
        "read_only_known",
        "received",
        "secure",
        "sent",
        "session",
        "taken_bytes",
        "touched",
        "turn_bytes",
    )

    def __init__(
        self,
        number: int,
        ip: str,
        port: int,
        frame_bytes_max: int,
        now_ms: float,
        wall_ms: int,
    ) -> None:
        self.number = number
        self.ip = ip
        self.port = port
        self.opened_ms = now_ms
        self.established_ms = wall_ms
        self.framing = Framing(frame_bytes_max)
        self.backlog = b""
        """Bytes that came while it was on hold."""
        self.out: list[bytes] = []
        self.hold = 0
        self.gone = False
        self.touched = False
        """Already among the outputs of this turn."""
        self.secure = False
        """By TLS."""
        self.session: Session | None = None
        self.read_only_known = False
        """Its ConnectRequest had a readOnly byte, so the response must have one."""
        self.ids: tuple[Id, ...] = (Id("ip", ip),)
        self.handshake: Handshake | None = None
        """How it proves a password, once it has begun to."""
        self.fifo: deque[Write | Waiting | Refusal | bytes | None] = deque()
        """What has not been answered since the oldest write that is in flight: writes, reads
        that wait for them, finished replies, and None where the connection is to be closed."""
        self.late = 0
        """How many at the head of the `fifo` wait for the client to take what it has, and for no
        write any more."""
        self.turn_bytes = 0
        """The size of what was answered out of the `fifo` in this turn."""
        self.taken_bytes = 0
        """The size of the requests that were taken since the `fifo` was last empty."""
        self.reset_stats()

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}"

    @property
    def session_id(self) -> int:
        return self.session.id if self.session is not None else 0

    def reset_stats(self) -> None:
        self.received = self.sent = 0
        self.last_op = "NA"
        self.last_xid = -1
        self.last_zxid = -1
        self.last_response_ms = 0.0
        self.last_latency_ms = 0
        self.latency_min_ms = -1
        self.latency_max_ms = 0
        self.latency_total_ms = 0
        self.latency_count = 0

    def answered(
        self, op: str, xid: int, zxid: int, now_ms: float, latency_ms: int, count: int
    ) -> None:
        """`count` requests were answered, the last of them this one."""
        self.sent += count
        self.last_op = op
        self.last_xid = xid
        self.last_zxid = zxid
        self.last_response_ms = now_ms
        self.last_latency_ms = latency_ms
        self.latency_count += count
        self.latency_total_ms += latency_ms
        if latency_ms > self.latency_max_ms:
            self.latency_max_ms = latency_ms
        if latency_ms < self.latency_min_ms or self.latency_min_ms < 0:
            self.latency_min_ms = latency_ms
