"""A znode: its data, ACL and numbers, its children, and what it adds to the tree's digest.

What is stored is ZooKeeper's: the owner also says container or time to live, and cversion counts
creates only. What a client sees of that is made in `Node.stat`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final
from zlib import crc32

from coterie.paths import ROOT
from coterie.values import ACLs
from coterie.wire.requests import STAT

CONTAINER_OWNER: Final = -(2**63)
TTL_OWNER: Final = 0xFF << 56
TTL_MS_MAX: Final = 2**40 - 1

_DIGEST_STAT: Final = Struct(">qqqqqiiiq").pack
_CROWD_MIN: Final = 16_384
_SORTED_MAX: Final = 1024


def int32(value: int) -> int:
    """`value` wrapped as Java's int: versions and sequence numbers may overflow."""
    return (value + 2**31) % 2**32 - 2**31


def ttl_owner(ttl_ms: int) -> int:
    """The stored ephemeralOwner of a znode with a time to live: 0xFF, two zero bytes, the ms."""
    return TTL_OWNER - 2**64 + ttl_ms


def ttl_ms(owner: int) -> int | None:
    """The time to live that an ephemeralOwner stands for, or None."""
    if owner >> 56 == -1:
        return owner & TTL_MS_MAX
    return None


def is_ephemeral(owner: int) -> bool:
    """Whether a stored ephemeralOwner is a session: neither none, a container nor a TTL znode."""
    return owner != 0 and owner != CONTAINER_OWNER and ttl_ms(owner) is None


class Crowd:
    """Very many children, in many small sets: no one insert or copy may take long."""

    __slots__ = ("_count", "_sets")

    def __init__(self, names: set[bytes]) -> None:
        self._sets: list[set[bytes]] = [set() for _ in range(256)]
        self._count = 0
        for name in names:
            self.add(name)

    def _set(self, name: bytes) -> set[bytes]:
        return self._sets[crc32(name) & 255]

    def add(self, name: bytes) -> None:
        names = self._set(name)
        self._count -= len(names)
        names.add(name)
        self._count += len(names)

    def discard(self, name: bytes) -> None:
        names = self._set(name)
        self._count -= len(names)
        names.discard(name)
        self._count += len(names)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for names in self._sets:
            yield from names

    def batches(self) -> Iterator[list[bytes]]:
        """The members as lists, each copied when it is asked for."""
        for names in self._sets:
            yield _in_order(names)


class Node:
    """A znode. `owner` and `cversion` are as stored: the client sees others (`stat`).

    `children` holds whole paths, the very objects that are the tree's keys. `reply` is the
    encoded answer to getData and `digest` the znode's share of the tree's, both made on demand.
    """

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "reply",
        "version",
    )

    def __init__(self, data: bytes | None, acl: ACLs, owner: int, zxid: int, time: int) -> None:
        self.data = data
        self.acl = acl
        self.owner = owner
        self.czxid = self.mzxid = self.pzxid = zxid
        self.ctime = self.mtime = time
        self.version = self.cversion = self.aversion = 0
        self.children: set[bytes] | Crowd | None = None
        self.reply: bytes | None = None
        self.digest: int | None = None

    def stat(self) -> bytes:
        """The 68 bytes of the Stat that clients see."""
        children = self.children
        count = len(children) if children else 0
        owner = self.owner
        return STAT.pack(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            int32(self.cversion * 2 - count),
            self.aversion,
            0 if owner == CONTAINER_OWNER or owner >> 56 == -1 else owner,
            len(self.data) if self.data else 0,
            count,
            self.pzxid,
        )

    def count(self) -> int:
        return len(self.children) if self.children else 0


def node_digest(path: bytes, node: Node) -> int:
    """A znode's share of the tree's digest (version 2 of ZooKeeper's `DigestCalculator`)."""
    if path.startswith(b"/zookeeper/"):
        return 0
    crc = crc32(b"" if path == ROOT else path)
    if node.data:
        crc = crc32(node.data, crc)
    stat = _DIGEST_STAT(
        node.czxid,
        node.mzxid,
        node.pzxid,
        node.ctime,
        node.mtime,
        node.version,
        node.cversion,
        node.aversion,
        node.owner,
    )
    return crc32(stat, crc)


def add_child(parent: Node, path: bytes) -> None:
    children = parent.children
    if children is None:
        parent.children = {path}
    elif isinstance(children, set) and len(children) >= _CROWD_MIN:
        parent.children = Crowd(children)
        parent.children.add(path)
    else:
        children.add(path)


def batches(node: Node) -> Iterator[list[bytes]]:
    children = node.children
    if isinstance(children, Crowd):
        return children.batches()
    return iter([_in_order(children)] if children else ())


def _in_order(names: set[bytes]) -> list[bytes]:
    """A copy, in the same order in every process; of very many that would take too long."""
    return sorted(names) if len(names) <= _SORTED_MAX else list(names)
