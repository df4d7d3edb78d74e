"""Numbers writes, expires sessions and reaps znodes: what a leader does, and a server alone.

There is one authority at a time for a tree. It turns each write into the next txn; it says when a
session is over and which containers and TTL znodes go, by writes of its own. When a txn counts is
not its matter.

While a server is late it hears nobody, though they may have spoken: what they said waits in its
sockets, or with the learners that it did not ask. So between two turns at most half a tick counts
as silence, and it asks for a turn every quarter. Who speaks three times in a time-out, as clients
do, is not expired by a server that was busy, stopped or asleep, or whose every turn is late; and
as each turn counts for something, who is really silent is expired by that server, too.
"""

from __future__ import annotations

from collections.abc import Callable

from coterie.config import Config
from coterie.core.acl import AccessControl
from coterie.core.effects import Effects
from coterie.core.prepare import Limits, Prepare, Write
from coterie.core.quota import Quotas
from coterie.core.reaper import Reaper
from coterie.core.sessions import Sessions
from coterie.core.tree import Tree
from coterie.core.znode import TTL_MS_MAX
from coterie.errors import MarshallingError
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op, PathRequest


def access_control(config: Config) -> AccessControl:
    """The rules of access that a configuration states."""
    return AccessControl(
        config.super_digest,
        config.digest_algorithm,
        config.digest_auth_enabled,
        config.skip_acl,
        config.super_subject,
        config.has_users,
        config.sasl_super_user,
        config.sasl_any_user,
    )


class Authority:
    """The one that numbers the writes to a tree."""

    def __init__(
        self,
        config: Config,
        tree: Tree,
        sessions: Sessions,
        access: AccessControl,
        now_ms: float,
    ) -> None:
        self.sessions = sessions
        self._tick_ms = float(config.tick_time_ms)
        self._turn_ms = now_ms
        """When the last turn began."""
        self.quotas = Quotas(tree, config.enforce_quota)
        self.prepare = Prepare(
            tree,
            sessions,
            access,
            self.quotas,
            Limits(
                config.extended_types_enabled,
                TTL_MS_MAX,
                config.digest_enabled,
                config.close_session_paths,
            ),
        )
        self._reaper = Reaper(
            tree,
            config.container_check_interval_ms,
            config.container_per_minute_max,
            config.container_never_used_ms,
        )
        for session_id in sorted(tree.sessions):
            sessions.track(session_id, tree.sessions[session_id], now_ms)

    def number(self, write: Write, now_ms: float, wall_ms: int) -> Txn:
        """The next txn. Raises `MarshallingError` for a request that cannot be read, or makes a
        session anew that is about to end."""
        if write.op != Op.CREATE_SESSION:
            return self.prepare.txn(write, wall_ms)
        session = self.sessions.by_id.get(write.session_id)
        if session is not None and session.closing:
            # The session would outlive its end, and nobody would watch over it.
            raise MarshallingError
        txn = self.prepare.txn(write, wall_ms)
        timeout_ms = int.from_bytes(write.payload[:4], "big", signed=True)
        if session is None:
            session = self.sessions.track(write.session_id, timeout_ms, now_ms)
        else:  # its server said so twice
            self.sessions.retime(session, timeout_ms, now_ms)
        session.owner = write.owner
        return txn

    def tick(
        self,
        now_ms: float,
        wall_ms: int,
        effects: Effects,
        submit: Callable[[Write], None],
        reaps: bool,
    ) -> None:
        """Submit the writes that no client asks for: ends of sessions and, if it `reaps`, of
        znodes whose time is over."""
        self._allow_for_lateness(now_ms, effects)
        for session in self.sessions.expired(now_ms):
            effects.notes.append(
                f"session {session.id:#x} expired after {session.timeout_ms} ms of silence"
            )
            submit(Write(None, session.id, 0, Op.CLOSE_SESSION, b"", (), now_ms))
        if reaps:
            for path in self._reaper.due(now_ms, wall_ms):
                payload = PathRequest(path).encode()
                submit(Write(None, 0, 0, Op.DELETE_CONTAINER, payload, (), now_ms))

    def _allow_for_lateness(self, now_ms: float, effects: Effects) -> None:
        """Give every session the time in which nobody was heard."""
        since_ms, self._turn_ms = self._turn_ms, now_ms
        late_ms = now_ms - since_ms - self._tick_ms / 2
        if late_ms > 0 and self.sessions.by_id:
            self.sessions.lengthen(since_ms, late_ms, now_ms)
            if late_ms > self._tick_ms:
                effects.notes.append(f"{late_ms:.0f} ms late: all sessions get as much longer")

    def next_due_ms(self) -> float | None:
        """When `tick` next has something to do, as far as is known, and before it is late."""
        turn_ms = self._turn_ms + self._tick_ms / 4 if self.sessions.by_id else None
        due = (self._reaper.next_due_ms(), self.sessions.next_due_ms(), turn_ms)
        return min((when for when in due if when is not None), default=None)
