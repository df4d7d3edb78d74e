"""What the requests that wait for the log may take, and who is not read because of it.

Rules:
- a connection is held when one more request of it waits while too many do, of all connections or
  of its own, or when its own are too large; nobody else's reading stops, and nothing is refused;
- it is let go when there is room again: for the whole server as soon as the limit holds again,
  for its own when half of them are answered, so that it is not held and let go for each;
- the size of what one has sent is counted by the chunk, from when it last had nothing waiting:
  one that never waits for its answers is held at times until it has them all.
The server counts (`Server.outstanding`, `Connection.fifo`) and asks in time.
"""

from __future__ import annotations

from coterie.config import Config
from coterie.core.connection import HOLD_OUTSTANDING, Connection
from coterie.core.remarks import Remarks
from coterie.core.stats import Stats


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
