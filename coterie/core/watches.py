"""Who watches what, and whom an event reaches: one-shot, persistent and recursive watches.

Two tables, as in ZooKeeper: `data` (getData, exists) and `children` (getChildren). A persistent
watch is in both, a recursive one in `data` only, where it stands for a whole subtree. Rules:
- a one-shot watch is gone when it fires, even when its event may not be delivered;
- one event reaches a watcher once for each table, however many of its watches match;
- watches belong to a connection, not to a session, and go with it;
- a connection that watches as many paths as it may gets no watch of another, in each table.
Watchers are told apart by identity and met in the order in which they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.errors import ThrottledError
from coterie.paths import ROOT
from coterie.values import EventType, WatcherType

if TYPE_CHECKING:
    from coterie.core.connection import Connection

ONE_SHOT: Final = 1
PERSISTENT: Final = 2
RECURSIVE: Final = 4
_ANY: Final = ONE_SHOT | PERSISTENT | RECURSIVE
_NO_LIMIT: Final = 2**60


class Table:
    """One table of watches: for each path who watches it and how (bits of the modes)."""

    __slots__ = ("_own_max", "by_path", "by_watcher", "recursive")

    def __init__(self, own_max: int = _NO_LIMIT) -> None:
        self._own_max = own_max
        self.by_path: dict[bytes, dict[Connection, int]] = {}
        self.by_watcher: dict[Connection, set[bytes]] = {}
        self.recursive = 0
        """How many recursive watches there are, so that without any nobody looks upwards."""

    def demand_room(self, path: bytes, watcher: Connection) -> None:
        """Raise `ThrottledError` where a watcher has as many watches as it may."""
        own = self.by_watcher.get(watcher)
        if own is not None and len(own) >= self._own_max and path not in own:
            raise ThrottledError

    def add(self, path: bytes, watcher: Connection, mode: int) -> None:
        """Raises `ThrottledError`, as `demand_room` does."""
        self.demand_room(path, watcher)
        watchers = self.by_path.setdefault(path, {})
        modes = watchers.get(watcher, 0)
        if not modes:
            self.by_watcher.setdefault(watcher, set()).add(path)
        if mode & ~modes & RECURSIVE:
            self.recursive += 1
        watchers[watcher] = modes | mode

    def has(self, path: bytes, watcher: Connection, mode: int) -> bool:
        return bool(self.by_path.get(path, {}).get(watcher, 0) & mode)

    def remove(self, path: bytes, watcher: Connection, mode: int) -> bool:
        """Take `mode` from a watcher's watch of `path`; whether it had any of it."""
        watchers = self.by_path.get(path)
        modes = watchers.get(watcher, 0) if watchers is not None else 0
        if watchers is None or not modes & mode:
            return False
        if modes & mode & RECURSIVE:
            self.recursive -= 1
        if modes & ~mode:
            watchers[watcher] = modes & ~mode
            return True
        del watchers[watcher]
        if not watchers:
            del self.by_path[path]
        paths = self.by_watcher[watcher]
        paths.discard(path)
        if not paths:
            del self.by_watcher[watcher]
        return True

    def forget(self, watcher: Connection) -> None:
        for path in list(self.by_watcher.get(watcher, ())):
            self.remove(path, watcher, _ANY)

    def fire(self, path: bytes) -> dict[Connection, None]:
        """Whom an event at `path` reaches; their one-shot watches of it are used up."""
        reached: dict[Connection, None] = {}
        for watcher, modes in list(self.by_path.get(path, {}).items()):
            reached[watcher] = None
            if modes & ONE_SHOT:
                self.remove(path, watcher, ONE_SHOT)
        if self.recursive:
            above = path
            while above != ROOT:
                above = above[: above.rindex(b"/")] or ROOT
                for watcher, modes in self.by_path.get(above, {}).items():
                    if modes & RECURSIVE:
                        reached[watcher] = None
        return reached

    def count(self) -> int:
        return sum(map(len, self.by_path.values()))


class Watches:
    """Both tables."""

    def __init__(self, own_max: int = _NO_LIMIT) -> None:
        self.data = Table(own_max)
        self.children = Table(own_max)

    def add(self, path: bytes, watcher: Connection, mode: int) -> None:
        """Set a persistent or recursive watch; the znode need not exist."""
        if mode == PERSISTENT:
            self.children.demand_room(path, watcher)
        self.data.add(path, watcher, mode)
        if mode == PERSISTENT:
            self.children.add(path, watcher, mode)

    def _where(self, kind: int) -> list[tuple[Table, int]]:
        """Which tables and modes checkWatches and removeWatches of a `WatcherType` mean."""
        return {
            WatcherType.CHILDREN: [(self.children, ONE_SHOT)],
            WatcherType.DATA: [(self.data, ONE_SHOT)],
            WatcherType.ANY: [(self.children, _ANY), (self.data, _ANY)],
            WatcherType.PERSISTENT: [(self.children, PERSISTENT), (self.data, PERSISTENT)],
            WatcherType.PERSISTENT_RECURSIVE: [(self.data, RECURSIVE)],
        }[WatcherType(kind)]

    def has(self, path: bytes, watcher: Connection, kind: int) -> bool:
        """Raises `ValueError` for a kind that is no `WatcherType`, as `remove` does."""
        return any(table.has(path, watcher, modes) for table, modes in self._where(kind))

    def remove(self, path: bytes, watcher: Connection, kind: int) -> bool:
        found = [table.remove(path, watcher, modes) for table, modes in self._where(kind)]
        return any(found)

    def forget(self, watcher: Connection) -> None:
        """The connection is gone, and its watches with it."""
        self.data.forget(watcher)
        self.children.forget(watcher)

    def fire(self, event: int, path: bytes) -> list[Connection]:
        """Whom this event reaches, one entry for each time that it has to be told."""
        if event == EventType.NODE_CHILDREN_CHANGED:
            return list(self.children.fire(path))
        reached = self.data.fire(path)
        if event == EventType.NODE_DELETED:
            return list(reached | self.children.fire(path))
        return list(reached)
