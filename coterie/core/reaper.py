"""Which empty containers and expired TTL znodes go next.

A candidate goes by a deleteContainer txn, which checks again that it is still empty. Rules, as
in ZooKeeper's `ContainerManager`: a container that has had children and has none goes; one that
never had any goes after `never_used_ms` (0: never); a TTL znode goes when it has no children and
was not changed for its time to live. Ages are wall-clock, from mtime, and at most `per_minute_max`
znodes go in a minute.
"""

from __future__ import annotations

from collections import deque

from coterie.core.tree import Tree
from coterie.core.znode import ttl_ms


class Reaper:
    """Looks at a tree every `interval_ms` and hands out what may go, spread over time."""

    def __init__(
        self, tree: Tree, interval_ms: int, per_minute_max: int, never_used_ms: int
    ) -> None:
        self._tree = tree
        self._interval_ms = interval_ms
        self._pace_ms = 60_000 / per_minute_max
        self._never_used_ms = never_used_ms
        self._looks_ms: float | None = None
        self._next_ms = 0.0
        self._waiting: deque[bytes] = deque()

    def due(self, now_ms: float, wall_ms: int) -> list[bytes]:
        """The znodes to delete now; `now_ms` is monotonic, `wall_ms` the time of the txns."""
        if self._looks_ms is None:
            self._looks_ms = now_ms + self._interval_ms
        if now_ms >= self._looks_ms:
            self._looks_ms = now_ms + self._interval_ms
            self._waiting = deque(self._candidates(wall_ms))
            self._next_ms = now_ms
        going: list[bytes] = []
        while self._waiting and self._next_ms <= now_ms:
            going.append(self._waiting.popleft())
            self._next_ms += self._pace_ms
        return going

    def next_due_ms(self) -> float | None:
        """When `due` may next have something, or None before it was first asked."""
        return self._next_ms if self._waiting else self._looks_ms

    def _candidates(self, wall_ms: int) -> list[bytes]:
        found: list[bytes] = []
        for path in sorted(self._tree.containers):
            node = self._tree.nodes[path]
            age_ms = wall_ms - node.mtime
            never_used = node.cversion == 0
            if not node.children and (
                (never_used and 0 < self._never_used_ms < age_ms) or not never_used
            ):
                found.append(path)
        for path in sorted(self._tree.ttls):
            node = self._tree.nodes[path]
            limit_ms = ttl_ms(node.owner)
            if not node.children and limit_ms is not None and wall_ms - node.mtime > limit_ms:
                found.append(path)
        return found
