"""One server: joins the machines, and decides when a write counts.

`Standalone` is the ensemble of one: what its own log has made durable is committed. It is what a
driver talks to: events come as method calls, `take` gives what is to be done.
"""

from __future__ import annotations

from collections import deque

from coterie.config import Config
from coterie.core.acl import AccessControl
from coterie.core.connection import Connection
from coterie.core.effects import Effects
from coterie.core.prepare import Limits, Prepare, Write
from coterie.core.quota import Quotas
from coterie.core.reaper import Reaper
from coterie.core.server import Server
from coterie.core.sessions import Sessions, first_id
from coterie.core.tree import TTL_MS_MAX, Tree
from coterie.errors import ServerFailureError
from coterie.wire.requests import Op, PathRequest
from coterie.wire.txns import Txn

SERVER_ID = 1
"""What a standalone server calls itself in session ids, as Apache's does."""


class Standalone:
    """A server alone, over a tree that was recovered from its log."""

    def __init__(self, config: Config, tree: Tree, now_ms: float, wall_ms: int) -> None:
        self.effects = Effects()
        self.tree = tree
        self.sessions = Sessions(config.tick_time_ms, first_id(SERVER_ID, wall_ms))
        self.quotas = Quotas(tree, config.enforce_quota)
        self.failure: str | None = None
        """Why nothing can be written at present, or None when all is well."""
        access = AccessControl(
            config.super_digest,
            config.digest_algorithm,
            config.digest_auth_enabled,
            config.skip_acl,
        )
        self.server = Server(
            tree,
            self.sessions,
            access,
            self.effects,
            self._submit,
            timeout_min_ms=config.min_session_timeout_ms,
            timeout_max_ms=config.max_session_timeout_ms,
            frame_bytes_max=config.frame_bytes_max,
            outstanding_max=config.outstanding_max,
            stranger_ms=config.sessionless_timeout_ms,
        )
        self._prepare = Prepare(
            tree,
            self.sessions,
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
        self._in_flight: deque[tuple[Txn, Write]] = deque()
        self._wall_ms = wall_ms
        for session_id in sorted(tree.sessions):
            self.sessions.track(session_id, tree.sessions[session_id], now_ms)

    @property
    def outstanding_txns(self) -> int:
        """How many txns wait for the log."""
        return len(self._in_flight)

    def connected(self, ip: str, port: int, now_ms: float) -> Connection:
        return self.server.connected(ip, port, now_ms, self._wall_ms)

    def receive(self, connection: Connection, data: bytes, now_ms: float) -> None:
        self.server.receive(connection, data, now_ms)

    def drained(self, connection: Connection, now_ms: float) -> None:
        self.server.drained(connection, now_ms)

    def resume(self, connection: Connection, now_ms: float) -> None:
        self.server.resume(connection, now_ms)

    def disconnected(self, connection: Connection) -> None:
        self.server.disconnected(connection)

    def tick(self, now_ms: float, wall_ms: int) -> None:
        """Time has passed: sessions expire, empty containers go, strangers are shown out."""
        self._wall_ms = wall_ms
        self.server.tick(now_ms)
        for session in self.sessions.expired(now_ms):
            self.effects.notes.append(
                f"session {session.id:#x} expired after {session.timeout_ms} ms of silence"
            )
            self._internal(Op.CLOSE_SESSION, session.id, b"")
        if self.failure is None:
            for path in self._reaper.due(now_ms, wall_ms):
                self._internal(Op.DELETE_CONTAINER, 0, PathRequest(path).encode())

    def _internal(self, op: int, session_id: int, payload: bytes) -> None:
        """A write that no client asked for. It is queued even while the log fails: what it does
        is due in any case."""
        self._number(Write(None, session_id, 0, op, payload, (), self.server.now_ms))

    def _submit(self, write: Write) -> None:
        if self.failure is not None:
            raise ServerFailureError(None, self.failure)
        self._number(write)

    def _number(self, write: Write) -> None:
        txn = self._prepare.txn(write, self._wall_ms)
        if write.op == Op.CREATE_SESSION:
            timeout_ms = int.from_bytes(write.payload[:4], "big", signed=True)
            self.sessions.track(write.session_id, timeout_ms, self.server.now_ms)
        self._in_flight.append((txn, write))
        self.effects.appends.append(txn)

    def synced(self, zxid: int, now_ms: float) -> None:
        """The log is durable up to `zxid`: those txns are committed."""
        self.server.now_ms = now_ms
        if self.failure is not None:
            self.effects.notes.append("the log can be written again; writes go on")
            self.failure = None
        in_flight = self._in_flight
        while in_flight and in_flight[0][0].zxid <= zxid:
            txn, write = in_flight.popleft()
            self.server.commit(txn, write)
            self._prepare.applied(txn.zxid)
        self.server.committed()

    def log_failed(self, reason: str) -> None:
        """The log could not be made durable. Nothing more is acknowledged until `synced` comes:
        what is in flight waits, new writes are refused, reads go on."""
        if self.failure is None:
            self.effects.notes.append(f"no write is acknowledged: {reason}")
        self.failure = reason

    def next_due_ms(self) -> float:
        """When `tick` has something to do at the latest, as far as is known now."""
        due_ms = self._reaper.next_due_ms()
        sessions_ms = self.sessions.next_due_ms()
        known = [when for when in (due_ms, sessions_ms) if when is not None]
        return min(known, default=self.server.now_ms)

    def take(self) -> Effects:
        """What is to be done since this was last asked."""
        effects, self.effects = self.effects, Effects()
        self.server.effects = self.effects
        for connection in effects.outputs:
            connection.touched = False
        return effects
