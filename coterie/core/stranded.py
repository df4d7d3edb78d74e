"""A member that has found no leader and serves reads meanwhile (ZooKeeper's read-only mode).

Only clients that said they can do with reads are let in. Their sessions are this member's own and
leave no trace; a session of the ensemble may be taken up by its id and password, and is the
ensemble's again once there is one. That a session is over is never said: only a leader knows.
Every write, and sync, is refused.
"""

from __future__ import annotations

from coterie.core.connection import Connection
from coterie.core.prepare import Write
from coterie.core.quota import Quotas
from coterie.core.replica import Replica
from coterie.errors import NotReadOnlyError
from coterie.wire.requests import Op


class Stranded:
    """The reads of one member, as long as it looks for a leader."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._sessions = replica.new_sessions()
        tree = replica.tree
        replica.quotas = Quotas(tree, replica.config.enforce_quota)
        replica.server.open(
            tree,
            self._sessions,
            self.submit,
            revalidate=self.revalidate,
            sync_goes_through=True,
            read_only=True,
        )
        replica.note("finds no leader and serves reads")

    def submit(self, write: Write) -> None:
        """Let a new session in; raises `NotReadOnlyError` for everything else."""
        if write.op != Op.CREATE_SESSION:
            raise NotReadOnlyError
        timeout_ms = int.from_bytes(write.payload[:4], "big", signed=True)
        session = self._sessions.track(write.session_id, timeout_ms, self.replica.now_ms)
        self.replica.server.admit(write, session)

    def revalidate(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        """Let in whoever has proved that a session is its own."""
        if session_id not in self._sessions.by_id:
            self._sessions.track(session_id, timeout_ms, self.replica.now_ms)
        self.replica.server.revalidated(connection, session_id, timeout_ms)

    def tick(self) -> None:
        for session in self._sessions.expired(self.replica.now_ms):
            self.replica.server.drop_session(session)
            self._sessions.forget(session.id)

    def next_due_ms(self) -> float | None:
        return self._sessions.next_due_ms()
