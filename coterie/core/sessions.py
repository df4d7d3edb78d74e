"""Session ids, passwords, time-outs and expiry.

The tree says which sessions exist; this says how long each may stay silent. Expiry goes in
buckets of one tick: a session ends with the first bucket boundary after its time-out, never
before it. A packet costs one store (`heard_ms`): where a session really belongs is looked up only
when its bucket comes due. Silence that is this server's own doing does not count: that of a client
that it does not read from because the log is behind, and that of the time in which it was late
(`Authority`). All times here are monotonic milliseconds.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Final

from coterie.core.connection import HOLD_OUTSTANDING

if TYPE_CHECKING:
    from coterie.core.connection import Connection
    from coterie.core.link import Link

_PASSWORD_SECRET: Final = 0xB3415C00
_JAVA_MULTIPLIER: Final = 0x5DEECE66D
_48_BITS: Final = 2**48 - 1
_HAIR_MS: Final = 0.001


def password(session_id: int) -> bytes:
    """The 16 bytes that prove a session is one's own.

    Every ZooKeeper server computes them alike: `java.util.Random` seeded with the id and a
    constant. They keep honest clients apart; they are no secret from a dishonest one.
    """
    state = ((session_id ^ _PASSWORD_SECRET) ^ _JAVA_MULTIPLIER) & _48_BITS
    out = bytearray()
    for _ in range(4):
        state = (state * _JAVA_MULTIPLIER + 0xB) & _48_BITS
        out += (state >> 16).to_bytes(4, "little")
    return bytes(out)


def first_id(server_id: int, wall_ms: int, zxid: int = 0) -> int:
    """Where a server starts to number its sessions: its id in the top byte, then the time, then
    the end of the last `zxid`.

    ZooKeeper takes a clock that starts again when the machine does; with the wall clock an id
    does not come back while a session of an earlier life still has it. Each session took a txn:
    should the clock be set back to the very millisecond of another start, the ids are others yet.
    """
    value = (((wall_ms << 24) % 2**64) >> 8) | (server_id << 56) | (zxid & 0xFFFF)
    return value - 2**64 if value >= 2**63 else value


class Session:
    """One session, as the server that expires it sees it."""

    __slots__ = ("closing", "connection", "due_ms", "heard_ms", "id", "owner", "timeout_ms")

    def __init__(self, id: int, timeout_ms: int, now_ms: float) -> None:
        self.id = id
        self.timeout_ms = timeout_ms
        self.heard_ms = now_ms
        self.due_ms = 0
        self.closing = False
        """Its end is on the way through the log; it may not write any more."""
        self.connection: Connection | None = None
        self.owner: Link | None = None
        """The learner whose client it is; None where it is this server's own."""

    @property
    def held(self) -> bool:
        """Whether its client may have spoken and is not read from, for the log is behind; and not
        because it does not read itself."""
        connection = self.connection
        return (
            connection is not None
            and bool(connection.hold & HOLD_OUTSTANDING)
            and not connection.late
        )


class Sessions:
    """All sessions that this server may expire, in buckets of when they are due."""

    def __init__(self, tick_ms: int, next_id: int, taken: Container[int] = ()) -> None:
        self._tick_ms = tick_ms
        self._next_id = next_id
        self._taken = taken
        self._buckets: dict[int, dict[int, Session]] = {}
        self._checked_ms = 0
        self.by_id: dict[int, Session] = {}

    def new_id(self) -> int:
        """An id that no session has."""
        taken = self._taken
        while self._next_id in self.by_id or self._next_id in taken or self._next_id == 0:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def track(self, id: int, timeout_ms: int, now_ms: float) -> Session:
        """Start to watch over a session, giving it a whole time-out from now."""
        assert id not in self.by_id
        session = self.by_id[id] = Session(id, timeout_ms, now_ms)
        self._file(session)
        return session

    def retime(self, session: Session, timeout_ms: int, now_ms: float) -> None:
        """The session was taken up again, perhaps with another time-out."""
        self._unfile(session)
        session.timeout_ms = timeout_ms
        session.heard_ms = now_ms
        self._file(session)

    def forget(self, id: int) -> Session | None:
        session = self.by_id.pop(id, None)
        if session is not None:
            self._unfile(session)
        return session

    def lengthen(self, since_ms: float, late_ms: float, now_ms: float) -> None:
        """The server was late: so much of everybody's silence does not count. Who was heard in
        the turn that began at `since_ms` may have spoken until now.

        Where a session belongs is seen when its bucket comes due, as ever.
        """
        for session in self.by_id.values():
            if session.heard_ms >= since_ms:
                # Just before now: in the turn that begins now it has not been heard yet.
                session.heard_ms = now_ms - _HAIR_MS
            else:
                session.heard_ms += late_ms

    def expired(self, now_ms: float) -> list[Session]:
        """The sessions whose time is over, each told once; they count as closing from now on."""
        over: list[Session] = []
        if now_ms < self._checked_ms:
            return over
        for due_ms in sorted(due for due in self._buckets if due <= now_ms):
            for session in self._buckets.pop(due_ms).values():
                if session.held:
                    session.heard_ms = now_ms
                self._file(session)
                if session.due_ms <= now_ms and not session.closing:
                    session.closing = True
                    over.append(session)
                if session.closing:
                    self._unfile(session)
        self._checked_ms = min(self._buckets, default=int(now_ms) + self._tick_ms)
        return over

    def next_due_ms(self) -> int | None:
        """When `expired` may next have something to tell, or None."""
        return min(self._buckets, default=None)

    def buckets(self) -> dict[int, list[int]]:
        """Which ids are due when, for the `dump` command."""
        filed: dict[int, list[int]] = {}
        for session in self.by_id.values():
            filed.setdefault(self._due_ms(session), []).append(session.id)
        return {due_ms: filed[due_ms] for due_ms in sorted(filed)}

    def _due_ms(self, session: Session) -> int:
        return (int(session.heard_ms + session.timeout_ms) // self._tick_ms + 1) * self._tick_ms

    def _file(self, session: Session) -> None:
        session.due_ms = self._due_ms(session)
        self._buckets.setdefault(session.due_ms, {})[session.id] = session
        self._checked_ms = min(self._checked_ms, session.due_ms)

    def _unfile(self, session: Session) -> None:
        bucket = self._buckets.get(session.due_ms)
        if bucket is not None:
            bucket.pop(session.id, None)
            if not bucket:
                del self._buckets[session.due_ms]
