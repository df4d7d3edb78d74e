"""What callers hold: Stat, ACL, Id, permissions, create modes, events and states.

Names and numbers are ZooKeeper's (`ZooDefs`, `CreateMode`, `Watcher.Event`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class Perms:
    """What an ACL entry permits: bits, as plain integers."""

    READ: Final = 1
    WRITE: Final = 2
    CREATE: Final = 4
    DELETE: Final = 8
    ADMIN: Final = 16
    ALL: Final = 31


class Id(NamedTuple):
    """An identity: the scheme that vouches for it, and its name there."""

    scheme: str
    id: str


class ACL(NamedTuple):
    """One entry of an access control list: `perms` (bits of `Perms`) for `id`."""

    perms: int
    id: Id


ACLs = tuple[ACL, ...]

ANYONE: Final = Id("world", "anyone")
AUTH_IDS: Final = Id("auth", "")
OPEN_ACL: Final[ACLs] = (ACL(Perms.ALL, ANYONE),)
READ_ACL: Final[ACLs] = (ACL(Perms.READ, ANYONE),)
CREATOR_ALL_ACL: Final[ACLs] = (ACL(Perms.ALL, AUTH_IDS),)


class Stat(NamedTuple):
    """The metadata of a znode as a client sees it. Times are milliseconds since 1970."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


class CreateMode(IntEnum):
    """The kinds of znode, numbered as the `flags` of a create request."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_TTL = 5
    PERSISTENT_SEQUENTIAL_TTL = 6

    def __init__(self, flags: int) -> None:
        # Attributes, since every create that a server prepares asks for all of them.
        self.ephemeral = flags in (1, 3)
        self.sequential = flags in (2, 3, 6)
        self.ttl = flags in (5, 6)


MODES: Final[dict[int, CreateMode]] = {int(mode): mode for mode in CreateMode}
"""The create modes by their `flags`."""


class EventType(IntEnum):
    """What happened to a znode, in a watch event."""

    NONE = -1
    NODE_CREATED = 1
    NODE_DELETED = 2
    NODE_DATA_CHANGED = 3
    NODE_CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7


class KeeperState(IntEnum):
    """The state of a client's connection, in a watch event."""

    DISCONNECTED = 0
    SYNC_CONNECTED = 3
    AUTH_FAILED = 4
    CONNECTED_READ_ONLY = 5
    SASL_AUTHENTICATED = 6
    CLOSED = 7
    EXPIRED = -112


class AddWatchMode(IntEnum):
    """How a watch set with addWatch fires: on the znode, or on its whole subtree."""

    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1


class WatcherType(IntEnum):
    """Which watches checkWatches and removeWatches mean."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5


class SessionState(IntEnum):
    """What a client knows of its session."""

    CONNECTING = 0
    """There is no session yet."""
    CONNECTED = 1
    CONNECTED_READ_ONLY = 2
    """At a server that has no quorum: it reads what may be old, and cannot write."""
    SUSPENDED = 3
    """No server is there; the session may live."""
    LOST = 4
    """The session is over, by a server's word or by the client's own clock."""
    CLOSED = 5
    """The client was closed."""
    AUTH_FAILED = 6
    """A server refused who the client said it is; it does not try again."""

    @property
    def connected(self) -> bool:
        return self in _CONNECTED


_CONNECTED: Final = frozenset((SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY))


class WatchEvent(NamedTuple):
    """What a watch tells; of type NONE: the connection was away, look again."""

    type: EventType
    state: KeeperState
    path: str


class Znode(NamedTuple):
    """What a znode holds, and its metadata."""

    data: bytes
    stat: Stat


class Children(NamedTuple):
    """The names of a znode's children, sorted, and its metadata."""

    names: list[str]
    stat: Stat


class Created(NamedTuple):
    """The path under which a znode was made, and its metadata."""

    path: str
    stat: Stat
