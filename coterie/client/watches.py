"""The watches of a session: who is told of which event, and how they are armed again.

One-shot watches come with reads, as data, exist or child watches; persistent ones are asked for by
themselves, for a znode or its whole subtree. Paths here are the server's. Rules:
- all are armed again on every new connection, of an old session or a new one, in packets that
  fit (ZOOKEEPER-706). For one-shot watches the server tells at once what has changed since the
  last zxid that this client has seen, so nothing is missed;
- for persistent ones it does not, so each is told that there was a gap: an event of type NONE;
- an event of a znode's children is none for those who watch a subtree, as in ZooKeeper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from coterie.values import AddWatchMode, EventType
from coterie.wire.requests import Op, SetWatches, SetWatches2

Watcher = Callable[[EventType, bytes], None]
"""Is told what happened and to which znode."""
Table = dict[bytes, list[Watcher]]

_CHUNK_BYTES_MAX: Final = 100_000
_PATH_BYTES: Final = 4

DATA: Final = 0
EXIST: Final = 1
CHILD: Final = 2

_FIRES: Final[dict[EventType, tuple[int, ...]]] = {
    EventType.NODE_CREATED: (DATA, EXIST),
    EventType.NODE_DATA_CHANGED: (DATA, EXIST),
    EventType.NODE_DELETED: (DATA, EXIST, CHILD),
    EventType.NODE_CHILDREN_CHANGED: (CHILD,),
    EventType.DATA_WATCH_REMOVED: (DATA, EXIST),
    EventType.CHILD_WATCH_REMOVED: (CHILD,),
}


class Watches:
    """Every watch of one client."""

    __slots__ = ("_once", "persistent", "recursive")

    def __init__(self) -> None:
        self._once: tuple[Table, Table, Table] = ({}, {}, {})
        self.persistent: Table = {}
        self.recursive: Table = {}

    def once(self, kind: int, path: bytes, watcher: Watcher) -> None:
        """A read has armed a one-shot watch."""
        self._once[kind].setdefault(path, []).append(watcher)

    def forget(self, path: bytes, watcher: Watcher) -> None:
        """Nobody wants to hear of it any more: no one-shot watch of this path tells this one."""
        for table in self._once:
            watchers = table.get(path)
            if watchers is not None and watcher in watchers:
                watchers.remove(watcher)
                if not watchers:
                    del table[path]

    def add(self, mode: AddWatchMode, path: bytes, watcher: Watcher) -> None:
        self._lasting(mode).setdefault(path, []).append(watcher)

    def drop(self, mode: AddWatchMode, path: bytes, watcher: Watcher) -> bool:
        """Forget a persistent watch; whether the server may forget all watches of that path."""
        table = self._lasting(mode)
        watchers = table.get(path, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            table.pop(path, None)
        return not any(path in other for other in (*self._once, self.persistent, self.recursive))

    def _lasting(self, mode: AddWatchMode) -> Table:
        return self.persistent if mode == AddWatchMode.PERSISTENT else self.recursive

    def fired(self, event: EventType, path: bytes) -> list[Watcher]:
        """Who is told of an event; the one-shot ones among them are gone."""
        found = [w for kind in _FIRES.get(event, ()) for w in self._once[kind].pop(path, ())]
        found += self.persistent.get(path, ())
        if event != EventType.NODE_CHILDREN_CHANGED and self.recursive:
            for above in _upwards(path):
                found += self.recursive.get(above, ())
        return found

    def gap(self) -> list[tuple[bytes, Watcher]]:
        """Who is told that events may have been missed."""
        return [
            (path, watcher)
            for table in (self.persistent, self.recursive)
            for path, watchers in table.items()
            for watcher in watchers
        ]

    def arm(self, seen_zxid: int) -> Iterator[tuple[int, bytes]]:
        """The requests, opcode and body, that arm everything on a new connection."""
        tables = (*self._once, self.persistent, self.recursive)
        chunk: tuple[list[bytes], ...] = ([], [], [], [], [])
        size = 0
        for kind, table in enumerate(tables):
            for path in table:
                if size and size + len(path) > _CHUNK_BYTES_MAX:
                    yield _packet(seen_zxid, chunk)
                    chunk, size = ([], [], [], [], []), 0
                chunk[kind].append(path)
                size += _PATH_BYTES + len(path)
        if size:
            yield _packet(seen_zxid, chunk)


def _packet(seen_zxid: int, chunk: tuple[list[bytes], ...]) -> tuple[int, bytes]:
    """Servers before 3.6 do not know the second kind, and need it for nothing."""
    if chunk[3] or chunk[4]:
        return Op.SET_WATCHES2, SetWatches2(seen_zxid, *chunk).encode()
    return Op.SET_WATCHES, SetWatches(seen_zxid, *chunk[:3]).encode()


def _upwards(path: bytes) -> Iterator[bytes]:
    """A path and all above it."""
    while path != b"/":
        yield path
        path = path[: path.rindex(b"/")] or b"/"
    yield path
