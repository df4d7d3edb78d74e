"""A member that has found no leader and serves reads meanwhile (ZooKeeper's read-only mode).

Only clients that said they can do with reads are let in. Their sessions are this member's own and
leave no trace; a session of the ensemble may be taken up by its id and password, and is the
ensemble's again once there is one. Every write, and sync, is refused.
"""

from __future__ import annotations

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
        for session_id in sorted(tree.sessions):
            self._sessions.track(session_id, tree.sessions[session_id], replica.now_ms)
        replica.quotas = Quotas(tree, replica.config.enforce_quota)
        replica.server.open(
            tree, self._sessions, self.submit, sync_goes_through=True, read_only=True
        )
        replica.note("finds no leader and serves reads")

    def submit(self, write: Write) -> None:
        """Let a new session in; raises `NotReadOnlyError` for everything else."""
        if write.op != Op.CREATE_SESSION:
            raise NotReadOnlyError
        timeout_ms = int.from_bytes(write.payload[:4], "big", signed=True)
        session = self._sessions.track(write.session_id, timeout_ms, self.replica.now_ms)
        self.replica.server.admit(write, session)

    def tick(self) -> None:
        for session in self._sessions.expired(self.replica.now_ms):
            self.replica.server.drop_session(session)
            self._sessions.forget(session.id)

    def next_due_ms(self) -> float | None:
        return self._sessions.next_due_ms()
