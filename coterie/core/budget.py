"""What requests that wait, and answers that nobody takes, may hold; and who is not read for it.

Rules:
- a connection is held when one more request of it waits while too many do, of all connections or
  of its own, or when its own are too large; nobody else's reading stops, and nothing is refused;
- it is let go when there is room again: for the whole server as soon as the limit holds again,
  for its own when half of them are answered, so that it is not held and let go for each;
- the size of what one has sent is counted by the chunk, from when it last had nothing waiting:
  one that never waits for its answers is held at times until it has them all;
- what waits for its own client to take answers, and not for the log, takes no room from others,
  and that client's silence counts.
The server counts (`Server.outstanding`, `Connection.fifo`) and asks in time.
"""

from __future__ import annotations

from coterie.config import Config
from coterie.core.connection import HOLD_OUTSTANDING, Connection, Refusal
from coterie.core.remarks import Remarks
from coterie.core.stats import Stats
from coterie.wire.requests import Op


class Budget:
    """The limits of one server, and who has gone beyond them."""

    def __init__(self, config: Config, stats: Stats, remarks: Remarks) -> None:
        self._stats = stats
        self._remarks = remarks
        self.all_max = config.outstanding_max
        """Requests of all connections that may wait."""
        if config.requests_in_process_max:
            self.all_max = min(self.all_max, config.requests_in_process_max)
        self.own_max = config.own_outstanding_bound
        """Requests of one connection that may wait."""
        self.own_bytes_max = config.own_outstanding_bytes_bound
        self.unread_bytes_max = config.own_unread_bytes_bound
        """Answers to one connection that may be made ahead of its taking them."""
        self.held: dict[Connection, None] = {}
        """Who is not read at present."""

    def hold(self, connection: Connection, outstanding: int, now_ms: float) -> None:
        """Read nothing more of a connection, whose requests and others wait."""
        if connection in self.held:
            return
        self.held[connection] = None
        connection.hold |= HOLD_OUTSTANDING
        self._stats.holds += 1
        self._remarks.say(
            "held",
            f"not reading from {connection} for a while: {len(connection.fifo)} of its requests "
            f"wait for the log, of {outstanding} in all",
            now_ms,
        )

    def put_off(self, connection: Connection, now_ms: float) -> int:
        """The head of a `fifo` has to wait until its client has taken what it has. Returns how
        many more requests than before wait for that, and no longer for the log."""
        late = 0
        for entry in connection.fifo:
            if entry is not None and not isinstance(entry, (tuple, bytes, Refusal)):
                break
            late += 1
        if connection.session is not None:
            # The log went on or the client took something; it may have spoken all the while.
            connection.session.heard_ms = now_ms
        more = late - connection.late
        connection.late = late
        return more

    def cuts_off(self, connection: Connection, now_ms: float) -> bool:
        """Whether the answers that are made for a connection and not taken are too large."""
        if connection.turn_bytes <= self.unread_bytes_max:
            return False
        self._stats.cut_off += 1
        line = f"cutting off {connection}: it does not read what it asked for"
        self._remarks.say("unread", line, now_ms)
        return True

    def throttled(self, connection: Connection, op: int, now_ms: float) -> None:
        """Tell of a read that was refused."""
        self._stats.throttled_ops += 1
        if op == Op.MULTI_READ:
            line = f"{connection} asked for more in one multiRead than it may leave unread"
            self._remarks.say("multiRead", line, now_ms)
        else:
            self._remarks.say("watches", f"{connection} has all watches that it may", now_ms)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.held.pop(connection, None)

    def relieved(self, outstanding: int, now_ms: float) -> list[Connection]:
        """Those who may be read again, now that this many requests wait."""
        if outstanding > self.all_max:
            return []
        free = [connection for connection in self.held if self._has_room(connection)]
        for connection in free:
            del self.held[connection]
            connection.hold &= ~HOLD_OUTSTANDING
            if connection.session is not None:
                # It may have spoken all the while.
                connection.session.heard_ms = now_ms
        return free

    def _has_room(self, connection: Connection) -> bool:
        if not connection.fifo:
            return True
        few = len(connection.fifo) <= self.own_max // 2
        return few and connection.taken_bytes <= self.own_bytes_max
