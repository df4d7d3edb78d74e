"""Count and byte quotas, kept as znodes under /zookeeper/quota.

`/zookeeper/quota<path>/zookeeper_limits` sets the limits of the subtree at `<path>`,
`zookeeper_stats` beside it holds what is used: znodes (the subtree's root included) and bytes of
data. Both are text, `count=N,bytes=M`, hard limits following behind an odd `=` that keeps old
parsers from seeing them. Statistics are local to each server, so they change without a txn. The
quota that counts is that of the nearest path above a znode.
"""

from __future__ import annotations

import re
from typing import Final

from coterie.core.tree import Tree
from coterie.errors import QuotaExceededError
from coterie.paths import QUOTA, ROOT

_LIMITS: Final = b"/zookeeper_limits"
_STATS: Final = b"/zookeeper_stats"


def parse(data: bytes | None) -> dict[str, int]:
    """The numbers of a limits or statistics znode; what cannot be read counts as not there."""
    numbers: dict[str, int] = {}
    for pair in re.split("[,;]+", (data or b"").decode("utf-8", "replace")):
        key, _, value = pair.partition("=")
        number = value.rstrip("=").strip()
        if re.fullmatch(r"[+-]?\d{1,19}", number):
            numbers[key.strip()] = int(number)
    return numbers


class Quotas:
    """Keeps the statistics of a tree, and says when a limit would be broken."""

    def __init__(self, tree: Tree, enforced: bool) -> None:
        self._tree = tree
        self._enforced = enforced
        self._limited: set[bytes] = set()
        self.exceeded = 0
        """How often a limit was broken, soft ones included."""
        self._rebuild()
        tree.quota_changed = self._quota_changed

    def _rebuild(self) -> None:
        stack = [QUOTA]
        while stack:
            path = stack.pop()
            node = self._tree.nodes[path]
            if path.endswith(_LIMITS) and not node.children:
                limited = path[len(QUOTA) : -len(_LIMITS)]
                self._limit(limited, True)
                self._recount(limited)
            stack.extend(sorted(node.children or ()))

    def _limit(self, limited: bytes, on: bool) -> None:
        """Quotas that nobody has set cost nothing: the tree tells of sizes only while one is."""
        if on:
            self._limited.add(limited)
        else:
            self._limited.discard(limited)
        self._tree.resized = self._resized if self._limited else None

    def _resized(self, path: bytes, more_bytes: int, more_nodes: int) -> None:
        limited = self._nearest(path)
        node = self._tree.get(QUOTA + limited + _STATS) if limited is not None else None
        if limited is not None and node is not None:
            used = parse(node.data)
            count = used.get("count", -1) + more_nodes
            size = used.get("bytes", -1) + more_bytes
            self._tree.set_local(QUOTA + limited + _STATS, _text(count, size))

    def _quota_changed(self, path: bytes, there: bool) -> None:
        if path.endswith(_LIMITS):
            self._limit(path[len(QUOTA) : -len(_LIMITS)], there)
        elif path.endswith(_STATS) and there:
            self._recount(path[len(QUOTA) : -len(_STATS)])

    def _nearest(self, path: bytes) -> bytes | None:
        """The nearest path at or above `path` that has limits; /zookeeper itself has none."""
        if not self._limited:
            return None
        while path and path != ROOT:
            if path in self._limited and path != b"/zookeeper":
                return path
            path = path[: path.rindex(b"/")]
        return None

    def _recount(self, limited: bytes) -> None:
        if self._tree.get(QUOTA + limited + _STATS) is None:
            return
        count = size = 0
        stack = [limited]
        while stack:
            node = self._tree.get(stack.pop())
            if node is not None:
                count += 1
                size += len(node.data or b"")
                stack.extend(node.children or ())
        self._tree.set_local(QUOTA + limited + _STATS, _text(count, size))

    def check(self, path: bytes, more_bytes: int, more_nodes: int) -> None:
        """Raises `QuotaExceededError` if a hard limit of the nearest quota would be broken.

        As in ZooKeeper what is used is what was committed: changes in flight do not count yet.
        """
        limited = self._nearest(path) if self._enforced else None
        if limited is None:
            return
        limits = self._tree.get(QUOTA + limited + _LIMITS)
        stats = self._tree.get(QUOTA + limited + _STATS)
        if limits is None or stats is None:
            return
        allowed, used = parse(limits.data), parse(stats.data)
        for name, hard_name, more in (
            ("count", "countHardLimit", more_nodes),
            ("bytes", "byteHardLimit", more_bytes),
        ):
            hard, soft = allowed.get(hard_name, -1), allowed.get(name, -1)
            limit = hard if hard > -1 else soft
            if more and limit > -1 and used.get(name, -1) + more > limit:
                self.exceeded += 1
                if hard > -1:
                    raise QuotaExceededError(limited.decode("utf-8", "replace"))


def _text(count: int, size: int) -> bytes:
    return b"count=%d,bytes=%d" % (count, size)
