"""What every member does alike with what its clients do, whichever role it plays."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.config import Config
from coterie.core.authority import access_control
from coterie.core.connection import Connection
from coterie.core.effects import Effects
from coterie.core.prepare import Write
from coterie.core.quota import Quotas
from coterie.core.server import Server
from coterie.core.sessions import Sessions, first_id
from coterie.core.tree import Tree


class Front:
    """The side of a member that faces its clients. `submit` is what its role adds."""

    def __init__(
        self, config: Config, tree: Tree, server_id: int, now_ms: float, wall_ms: int
    ) -> None:
        self.config = config
        self.effects = Effects()
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.quotas: Quotas | None = None
        """Who keeps the quotas of the tree, while somebody is served from it."""
        self.failure: str | None = None
        """Why nothing can be written to the disk at present, or None when all is well."""
        self.access = access_control(config)
        sessions = Sessions(config.tick_time_ms, first_id(server_id, wall_ms, tree.zxid))
        self.server = Server(config, tree, sessions, self.access, self.effects, self.submit)

    @property
    def tree(self) -> Tree:
        """The tree that clients are served from."""
        return self.server.tree

    @property
    def sessions(self) -> Sessions:
        """The sessions that this member watches over, or whose clients it has."""
        return self.server.sessions

    @property
    def mode(self) -> str:
        """What the four-letter words call the role of this member."""
        raise NotImplementedError

    @property
    def leader_id(self) -> int | None:
        """Which member leads, as far as this one knows; None for who stands alone."""
        return None

    @property
    def outstanding_txns(self) -> int:
        """How many txns are logged, or on the way to the log, and not committed."""
        raise NotImplementedError

    def role_numbers(self) -> dict[str, float]:
        """What only this member's role can count, by Apache's metric names."""
        return {}

    def submit(self, write: Write) -> None:
        """Have a client's write numbered. Raises a `ZooKeeperError` to refuse it at once."""
        raise NotImplementedError

    def connected(self, ip: str, port: int, now_ms: float) -> Connection:
        return self.server.connected(ip, port, now_ms, self.wall_ms)

    def receive(self, connection: Connection, data: bytes, now_ms: float) -> None:
        self.server.receive(connection, data, now_ms)

    def drained(self, connection: Connection, now_ms: float) -> None:
        self.server.drained(connection, now_ms)

    def resume(self, connection: Connection, now_ms: float) -> None:
        self.server.resume(connection, now_ms)

    def disconnected(self, connection: Connection) -> None:
        self.server.disconnected(connection)

    def shed(self, connections: Sequence[Connection]) -> None:
        """Close connections, as soon as what is answered is sent: their clients are to come back
        at other servers, with their sessions."""
        for connection in connections:
            self.server.turn_away(connection)

    def tick(self, now_ms: float, wall_ms: int) -> None:
        """Time has passed: the first event of every turn."""
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.server.tick(now_ms)

    def take(self) -> Effects:
        """What is to be done since this was last asked."""
        effects, self.effects = self.effects, Effects()
        self.server.effects = self.effects
        for connection in effects.outputs:
            connection.touched = False
        for link in effects.link_outputs:
            link.touched = False
        return effects
