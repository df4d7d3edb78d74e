"""A naive ZooKeeper in one dict: no log, no bytes, no speed, and so plain that it is right.

It is what the real machines are compared with, and shares none of their code. Rules:
- a method is one request, done at once; it returns what the client gets, or raises the error;
- every write takes the next zxid, also one that fails;
- a watch is one entry of one list, and an event looks at every entry;
- a multi that fails puts back a copy of everything.
What it does not know: quotas, authentication, digests, containers' and TTL znodes' ends.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from coterie import paths
from coterie.errors import (
    OK,
    BadArgumentsError,
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    NoWatcherError,
    RuntimeInconsistencyError,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.values import (
    ANYONE,
    OPEN_ACL,
    READ_ACL,
    ACLs,
    CreateMode,
    EventType,
    Id,
    Perms,
    Stat,
    WatcherType,
)

DATA: Final = "data"
CHILD: Final = "child"
PERSISTENT: Final = "persistent"
RECURSIVE: Final = "recursive"

_KINDS: Final = {
    WatcherType.DATA: {DATA},
    WatcherType.CHILDREN: {CHILD},
    WatcherType.PERSISTENT: {PERSISTENT},
    WatcherType.PERSISTENT_RECURSIVE: {RECURSIVE},
    WatcherType.ANY: {DATA, CHILD, PERSISTENT, RECURSIVE},
}
_HEARS: Final = {
    DATA: {EventType.NODE_CREATED, EventType.NODE_DELETED, EventType.NODE_DATA_CHANGED},
    CHILD: {EventType.NODE_CHILDREN_CHANGED, EventType.NODE_DELETED},
    PERSISTENT: set(EventType),
    RECURSIVE: {EventType.NODE_CREATED, EventType.NODE_DELETED, EventType.NODE_DATA_CHANGED},
}
_SYSTEM: Final = (paths.ROOT, paths.ZOOKEEPER, paths.QUOTA, paths.CONFIG)


@dataclass
class Znode:
    """A znode; `created` counts the children it ever had, `changed` their comings and goings."""

    data: bytes | None
    acl: ACLs
    owner: int
    zxid: int
    time_ms: int
    created: int = 0
    changed: int = 0
    version: int = 0
    aversion: int = 0
    mzxid: int = field(init=False)
    mtime: int = field(init=False)
    pzxid: int = field(init=False)

    def __post_init__(self) -> None:
        self.mzxid = self.pzxid = self.zxid
        self.mtime = self.time_ms


class Watch(NamedTuple):
    watcher: int
    path: bytes
    kind: str


class Event(NamedTuple):
    """What a watcher was told. `zxid` is that of the change, -1 for what was caught up on."""

    watcher: int
    type: EventType
    path: bytes
    zxid: int


Result = tuple[bytes, Stat | None]
"""What a write answers: a path and a Stat, where it has them."""
Operation = Callable[[], Result]
"""One operation of a multi."""


class Model:
    """All there is, and whom it was told to (`events`)."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, Znode] = {
            path: Znode(b"", READ_ACL if path == paths.CONFIG else OPEN_ACL, 0, 0, 0)
            for path in _SYSTEM
        }
        self.nodes[paths.ROOT].changed = -1
        self.nodes[paths.ZOOKEEPER].changed = -2
        self.nodes[paths.CONFIG].aversion = -1
        self.sessions: set[int] = set()
        self.zxid = 0
        self.time_ms = 0
        self.watches: list[Watch] = []
        self.events: list[Event] = []
        self.ids: dict[int, tuple[Id, ...]] = {}
        """The identities of a watcher, and of a session."""

    # Looking

    def children(self, path: bytes) -> list[bytes]:
        """The names of a znode's children."""
        return sorted(
            each[len(path.rstrip(b"/")) + 1 :]
            for each in self.nodes
            if each != paths.ROOT and paths.parent(each) == path
        )

    def stat(self, path: bytes) -> Stat:
        node = self.nodes[path]
        return Stat(
            node.zxid,
            node.mzxid,
            node.time_ms,
            node.mtime,
            node.version,
            node.changed,
            node.aversion,
            node.owner if node.owner in self.ids else 0,
            len(node.data or b""),
            len(self.children(path)),
            node.pzxid,
        )

    def ephemerals(self, session: int) -> list[bytes]:
        return sorted(path for path, node in self.nodes.items() if node.owner == session)

    def _may(self, acl: ACLs, perms: int, who: int) -> bool:
        return any(
            granted & perms and (id == ANYONE or id in self.ids.get(who, ()))
            for granted, id in acl
        )

    def _find(self, path: bytes, perms: int, who: int) -> Znode:
        if path not in self.nodes:
            raise NoNodeError
        if perms and not self._may(self.nodes[path].acl, perms, who):
            raise NoAuthError
        return self.nodes[path]

    # Reading, perhaps with a watch

    def exists(self, who: int, path: bytes, watch: bool = False) -> Stat:
        if path in self.nodes:
            self._find(path, Perms.READ, who)
        if watch:
            self._watch(who, path, DATA)
        self._find(path, 0, who)
        return self.stat(path)

    def get_data(self, who: int, path: bytes, watch: bool = False) -> tuple[bytes | None, Stat]:
        node = self._find(path, Perms.READ, who)
        if watch:
            self._watch(who, path, DATA)
        return node.data, self.stat(path)

    def get_children(self, who: int, path: bytes, watch: bool = False) -> list[bytes]:
        self._find(path, Perms.READ, who)
        if watch:
            self._watch(who, path, CHILD)
        return self.children(path)

    # Watching

    def _watch(self, who: int, path: bytes, kind: str) -> None:
        if Watch(who, path, kind) not in self.watches:
            self.watches.append(Watch(who, path, kind))

    def add_watch(self, who: int, path: bytes, recursive: bool) -> None:
        self._watch(who, path, RECURSIVE if recursive else PERSISTENT)

    def check_watches(self, who: int, path: bytes, type: WatcherType) -> None:
        if not any(Watch(who, path, kind) in self.watches for kind in _KINDS[type]):
            raise NoWatcherError

    def remove_watches(self, who: int, path: bytes, type: WatcherType) -> None:
        self.check_watches(who, path, type)
        gone = [Watch(who, path, kind) for kind in _KINDS[type]]
        self.watches = [watch for watch in self.watches if watch not in gone]

    def set_watches(
        self,
        who: int,
        seen_zxid: int,
        data: Sequence[bytes],
        exist: Sequence[bytes],
        child: Sequence[bytes],
    ) -> None:
        """Watch again after a reconnect; what changed since `seen_zxid` is told at once."""
        for path in data:
            node = self.nodes.get(path)
            if node is None:
                self._tell(who, EventType.NODE_DELETED, path, -1)
            elif node.mzxid > seen_zxid:
                self._tell(who, EventType.NODE_DATA_CHANGED, path, -1)
            else:
                self._watch(who, path, DATA)
        for path in exist:
            if path in self.nodes:
                self._tell(who, EventType.NODE_CREATED, path, -1)
            else:
                self._watch(who, path, DATA)
        for path in child:
            node = self.nodes.get(path)
            if node is None:
                self._tell(who, EventType.NODE_DELETED, path, -1)
            elif node.pzxid > seen_zxid:
                self._tell(who, EventType.NODE_CHILDREN_CHANGED, path, -1)
            else:
                self._watch(who, path, CHILD)

    def forget(self, who: int) -> None:
        """A watcher is gone."""
        self.watches = [watch for watch in self.watches if watch.watcher != who]

    def _tell(self, who: int, event: EventType, path: bytes, zxid: int) -> None:
        self.events.append(Event(who, event, path, zxid))

    def fire(self, event: EventType, path: bytes, acl: ACLs = OPEN_ACL) -> None:
        """Tell everyone once who watches this and may read the znode; one-shots are used up."""
        hit = [
            watch
            for watch in self.watches
            if event in _HEARS[watch.kind]
            and (watch.path == path or (watch.kind == RECURSIVE and _above(watch.path, path)))
        ]
        self.watches = [
            watch for watch in self.watches if watch not in hit or watch.kind not in (DATA, CHILD)
        ]
        for who in dict.fromkeys(watch.watcher for watch in hit):
            if self._may(acl, Perms.READ, who):
                self._tell(who, event, path, self.zxid)

    # Writing

    def open_session(self, session: int, ids: tuple[Id, ...] = ()) -> None:
        self.zxid += 1
        self.sessions.add(session)
        self.ids.setdefault(session, ids)

    def close_session(self, session: int) -> None:
        self.zxid += 1
        for path in self.ephemerals(session) if session in self.sessions else ():
            self._delete(path)
        self.sessions.discard(session)

    def create(
        self,
        session: int,
        path: bytes,
        data: bytes | None,
        acl: ACLs = OPEN_ACL,
        mode: CreateMode = CreateMode.PERSISTENT,
    ) -> Result:
        self.zxid += 1
        return self._create(session, path, data, acl, mode)

    def delete(self, session: int, path: bytes, version: int = -1) -> Result:
        self.zxid += 1
        return self._checked_delete(session, path, version)

    def set_data(self, session: int, path: bytes, data: bytes | None, version: int = -1) -> Result:
        self.zxid += 1
        return self._set_data(session, path, data, version)

    def set_acl(self, session: int, path: bytes, acl: ACLs, version: int = -1) -> Result:
        self.zxid += 1
        self._alive(session)
        _need(paths.valid(path), BadArgumentsError)
        _need(acl, InvalidACLError)
        node = self._find(path, Perms.ADMIN, session)
        _need(version in (-1, node.aversion), BadVersionError)
        node.acl = acl
        node.aversion += 1
        return path, self.stat(path)

    def multi(
        self, session: int, operations: Sequence[tuple[object, ...]]
    ) -> list[Result] | list[int]:
        """`("create", path, data, acl, mode)`, `("delete", path, version)`,
        `("set", path, data, version)`, `("check", path, version)`: all of it or nothing.

        Gives a result for each, or, where one failed, an error code for each.
        """
        self.zxid += 1
        steps: dict[object, Callable[..., Result]] = {
            "create": self._create,
            "delete": self._checked_delete,
            "set": self._set_data,
            "check": self._check,
        }
        before = copy.deepcopy((self.nodes, self.watches, self.events))
        results: list[Result] = []
        for name, *arguments in operations:
            try:
                results.append(steps[name](session, *arguments))
            except ZooKeeperError as error:
                self.nodes, self.watches, self.events = before
                rest = len(operations) - len(results) - 1
                return [OK] * len(results) + [error.code] + [RuntimeInconsistencyError.code] * rest
        return results

    def _alive(self, session: int) -> None:
        _need(session in self.sessions, SessionExpiredError)

    def _create(
        self, session: int, path: bytes, data: bytes | None, acl: ACLs, mode: CreateMode
    ) -> Result:
        self._alive(session)
        _need(b"/" in path and b"\0" not in path, BadArgumentsError)
        _need(acl, InvalidACLError)
        parent_path = path[: path.rindex(b"/")] or paths.ROOT
        parent = self._find(parent_path, Perms.CREATE, session)
        if mode.sequential:
            path += b"%010d" % parent.created
        _need(paths.valid(path), BadArgumentsError)
        _need(path not in self.nodes, NodeExistsError)
        _need(parent.owner not in self.ids, NoChildrenForEphemeralsError)
        owner = session if mode.ephemeral else 0
        self.nodes[path] = Znode(data, acl, owner, self.zxid, self.time_ms)
        parent.created += 1
        parent.changed += 1
        parent.pzxid = self.zxid
        self.fire(EventType.NODE_CREATED, path, acl)
        self.fire(EventType.NODE_CHILDREN_CHANGED, parent_path, parent.acl)
        return path, self.stat(path)

    def _checked_delete(self, session: int, path: bytes, version: int) -> Result:
        self._alive(session)
        _need(b"/" in path and b"\0" not in path and path not in _SYSTEM, BadArgumentsError)
        self._find(path[: path.rindex(b"/")] or paths.ROOT, Perms.DELETE, session)
        node = self._find(path, 0, session)
        _need(version in (-1, node.version), BadVersionError)
        _need(not self.children(path), NotEmptyError)
        self._delete(path)
        return path, None

    def _delete(self, path: bytes) -> None:
        acl = self.nodes.pop(path).acl
        parent_path = paths.parent(path)
        parent = self.nodes[parent_path]
        parent.changed += 1
        parent.pzxid = self.zxid
        self.fire(EventType.NODE_DELETED, path, acl)
        self.fire(EventType.NODE_CHILDREN_CHANGED, parent_path, parent.acl)

    def _set_data(self, session: int, path: bytes, data: bytes | None, version: int) -> Result:
        self._alive(session)
        _need(paths.valid(path), BadArgumentsError)
        node = self._find(path, Perms.WRITE, session)
        _need(version in (-1, node.version), BadVersionError)
        node.data = data
        node.version += 1
        node.mzxid = self.zxid
        node.mtime = self.time_ms
        self.fire(EventType.NODE_DATA_CHANGED, path, node.acl)
        return path, self.stat(path)

    def _check(self, session: int, path: bytes, version: int) -> Result:
        self._alive(session)
        _need(paths.valid(path), BadArgumentsError)
        node = self._find(path, Perms.READ, session)
        _need(version in (-1, node.version), BadVersionError)
        return path, None


def _need(condition: object, error: type[ZooKeeperError]) -> None:
    if not condition:
        raise error


def _above(ancestor: bytes, path: bytes) -> bool:
    return path != ancestor and path.startswith(ancestor.rstrip(b"/") + b"/")
