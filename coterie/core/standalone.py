"""A server alone: the ensemble of one, in which what its own log has made durable is committed.

It is what a driver talks to: events come as method calls, `take` gives what is to be done. The
same calls on `member.Member` run a server that is one of several.
"""

from __future__ import annotations

from collections import deque

from coterie.config import Config
from coterie.core.authority import Authority
from coterie.core.front import Front
from coterie.core.prepare import Write
from coterie.core.tree import Tree
from coterie.errors import ServerFailureError
from coterie.wire.numbered import Txn

SERVER_ID = 1
"""What a standalone server calls itself in session ids, as Apache's does."""


class Standalone(Front):
    """A server alone, over a tree that was recovered from its log."""

    def __init__(self, config: Config, tree: Tree, now_ms: float, wall_ms: int) -> None:
        super().__init__(config, tree, SERVER_ID, now_ms, wall_ms)
        self._authority = Authority(config, tree, self.sessions, self.access, now_ms)
        self.quotas = self._authority.quotas
        self._in_flight: deque[tuple[Txn, Write]] = deque()

    @property
    def mode(self) -> str:
        return "standalone"

    @property
    def outstanding_txns(self) -> int:
        return len(self._in_flight)

    def tick(self, now_ms: float, wall_ms: int) -> None:
        """Time has passed: sessions expire, empty containers go, strangers are shown out."""
        super().tick(now_ms, wall_ms)
        # What is due is due in any case: it is queued even while the log fails.
        self._authority.tick(now_ms, wall_ms, self.effects, self._number, self.failure is None)

    def submit(self, write: Write) -> None:
        if self.failure is not None:
            raise ServerFailureError(None, self.failure)
        self._number(write)

    def _number(self, write: Write) -> None:
        txn = self._authority.number(write, self.server.now_ms, self.wall_ms)
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
            self._authority.prepare.applied(txn.zxid)
        self.server.committed()

    def log_failed(self, reason: str) -> None:
        """The log could not be made durable. Nothing more is acknowledged until `synced` comes:
        what is in flight waits, new writes are refused, reads go on."""
        if self.failure is None:
            self.effects.notes.append(f"no write is acknowledged: {reason}")
        self.failure = reason

    def next_due_ms(self) -> float:
        """When `tick` has something to do at the latest, as far as is known now."""
        due_ms = self._authority.next_due_ms()
        return self.server.now_ms if due_ms is None else due_ms
