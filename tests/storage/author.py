"""Writes txns as a server would: numbered, over a tree of its own, with the digest after each."""

from __future__ import annotations

from random import Random
from typing import Final

from coterie.core.tree import Tree
from coterie.core.znode import Node
from coterie.testing.files import Disk, FakeFiles
from coterie.values import ACL, OPEN_ACL, ACLs, Id
from coterie.wire.entries import decode
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
)

DIRECTORY: Final = "data/version-2"
_NAMES: Final = (b"/a", b"/b", b"/a/x", b"/a/y", b"/b/z", b"/a/x/deep", "/ü".encode())
_TIME_MS: Final = 1_700_000_000_000


def disk() -> tuple[Disk, FakeFiles]:
    """A fake disk with a data directory whose name is durable."""
    made = Disk("machine", Random(1))
    files = made.mount()
    files.make_directory(DIRECTORY)
    return made, files


def remount(disk: Disk) -> FakeFiles:
    """Start again after the process was killed; nothing is lost."""
    disk.kill()
    return disk.mount()


class Author:
    """`tree` is what a server has that applied every txn written so far."""

    def __init__(self, zxid: int = 0, tree: Tree | None = None) -> None:
        self.tree = Tree() if tree is None else tree
        self.tree.zxid = max(self.tree.zxid, zxid)

    def write(self, kind: int, body: Record, session_id: int = 1) -> Txn:
        zxid = self.tree.zxid + 1
        cxid = zxid % 2**31
        bare = Txn(session_id, cxid, zxid, _TIME_MS + zxid, kind, body)
        self.tree.apply(bare)
        digest = None if kind == Op.ERROR else self.tree.digest
        # As the log hands it out, so that nobody shares a body with this tree.
        return decode(Txn(session_id, cxid, zxid, bare.time_ms, kind, body, digest).encoded)

    def session(self, session_id: int) -> Txn:
        return self.write(Op.CREATE_SESSION, CreateSessionTxn(30_000), session_id)

    def create(
        self,
        path: bytes,
        data: bytes | None = b"",
        acl: ACLs = OPEN_ACL,
        owner: int = 0,
    ) -> Txn:
        body = CreateTxn(path, data, acl, bool(owner), self._next_cversion(path))
        return self.write(Op.CREATE, body, owner or 1)

    def _next_cversion(self, path: bytes) -> int:
        return self._node(path[: path.rindex(b"/")]).cversion + 1

    def set(self, path: bytes, data: bytes | None) -> Txn:
        return self.write(Op.SET_DATA, SetDataTxn(path, data, self._node(path).version + 1))

    def some(self, count: int, size: int = 3) -> list[Txn]:
        """That many txns of about the same size, of any kind that is small."""
        self_made = [] if b"/n" in self.tree.nodes else [self.create(b"/n", bytes(size))]
        more = [self.set(b"/n", b"x" * size) for _ in range(count - len(self_made))]
        return (self_made + more)[:count]

    def any(self, dice: Random) -> Txn:
        """A txn of a random kind, that a server would have found to be valid."""
        there = [path for path in _NAMES if path in self.tree.nodes]
        free = [p for p in _NAMES if p not in there and (p[: p.rindex(b"/")] in self.tree.nodes)]
        leaves = [path for path in there if not self._node(path).children]
        choice = dice.randrange(9)
        if choice <= 2 and free:
            return self._any_create(dice, dice.choice(free))
        if choice == 3 and leaves:
            return self.write(Op.DELETE, DeleteTxn(dice.choice(leaves)))
        if choice <= 5 and there:
            data = dice.choice((None, b"", dice.randbytes(dice.randrange(40))))
            return self.set(dice.choice(there), data)
        if choice == 6 and there:
            path = dice.choice(there)
            acl = (ACL(31, Id("world", "anyone")), ACL(dice.randrange(32), Id("ip", "10.0.0.1")))
            return self.write(Op.SET_ACL, SetACLTxn(path, acl, self._node(path).aversion + 1))
        if choice == 7 and there:
            path = dice.choice(there)
            part = SetDataTxn(path, b"multi", self._node(path).version + 1)
            return self.write(Op.MULTI, MultiTxn([(Op.SET_DATA, part)]))
        return self._any_session(dice)

    def _any_create(self, dice: Random, path: bytes) -> Txn:
        if dice.random() < 0.3:
            body = CreateContainerTxn(path, None, OPEN_ACL, self._next_cversion(path))
            return self.write(Op.CREATE_CONTAINER, body)
        owned = bool(self.tree.sessions) and path.count(b"/") == 3
        owner = dice.choice(sorted(self.tree.sessions)) if owned else 0
        return self.create(path, dice.choice((None, b"", b"data")), owner=owner)

    def _any_session(self, dice: Random) -> Txn:
        live = sorted(self.tree.sessions)
        if live and dice.random() < 0.4:
            session_id = dice.choice(live)
            paths = sorted(self.tree.ephemerals.get(session_id, ()))
            return self.write(Op.CLOSE_SESSION, CloseSessionTxn(paths), session_id)
        if dice.random() < 0.3:
            return self.write(Op.ERROR, ErrorTxn(-101))
        return self.session(dice.randrange(2, 2**40))

    def _node(self, path: bytes) -> Node:
        return self.tree.nodes[path]


def contents(tree: Tree) -> dict[bytes, tuple[object, ...]]:
    """All that a tree says of each znode, to compare trees by."""
    return {
        path: (
            *(node.data, node.acl, node.owner, node.czxid, node.mzxid, node.pzxid),
            *(node.ctime, node.mtime, node.version, node.cversion, node.aversion),
            tuple(sorted(node.children or ())),
        )
        for path, node in tree.nodes.items()
    }


def same(one: Tree, other: Tree) -> None:
    """Two servers hold the same state."""
    assert contents(one) == contents(other)
    assert one.sessions == other.sessions
    assert one.ephemerals == other.ephemerals
    assert (one.containers, one.ttls) == (other.containers, other.ttls)
    assert one.digest == other.digest
    assert one.zxid == other.zxid
