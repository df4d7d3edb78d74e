"""The tree as bytes: what a snapshot holds, and what a leader sends to a learner far behind it.

The layout is ZooKeeper's (`SerializeUtils.serializeSnapshot`): sessions, the table of ACLs, then
the znodes from the root down, each behind its parent; the root's path is empty, and "/" is the
end. From a leader a signature follows. Rules:
- an image is fuzzy: a znode is written as it is when its turn comes. The txns beyond the image's
  zxid, which follow it, make it exact, for each says how a znode is after it, not what is added;
- a znode that is newer than that zxid is left out, and with it all below it, which is newer
  still: the txns that made them follow. (ZooKeeper writes them. Then a txn may delete a znode
  whose younger namesake, and what is below that, is in the image: `Tree` knows.)
- the table of ACLs stands before the znodes. An ACL that a znode gets later is not in it; until
  its txn follows the znode has one that permits nothing. ZooKeeper writes a number that is not in
  the table, which is read in the same way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from coterie.core.tree import Tree
from coterie.core.znode import Node
from coterie.errors import MarshallingError, NoNodeError
from coterie.paths import ROOT
from coterie.values import ACL, ANYONE, OPEN_ACL, ACLs, Id
from coterie.wire.cursor import write_acls

END_PATH: Final = b"\0\0\0\x01/"
SIGNATURE: Final = b"\0\0\0\x0aBenWasHere"
OPEN_ACL_ID: Final = -1
NOBODY_ACL: Final[ACLs] = (ACL(0, ANYONE),)
"""It permits nothing to anyone."""

_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")
_LONG_INT: Final = struct.Struct(">qi")
_NODE: Final = struct.Struct(">qqqqqiiiqq")
"""Behind path and data: ACL id, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner,
pzxid. (The digest takes them in another order.)"""
_NULL: Final = b"\xff\xff\xff\xff"
_STEP_BYTES: Final = 2**18
_VALUE_BYTES_MAX: Final = 2**26


def write_head(out: bytearray, sessions: dict[int, int], acl_ids: dict[ACLs, int]) -> None:
    """Sessions with their time-outs, and the table of ACLs: all but the open one, known to all."""
    out += _INT.pack(len(sessions))
    for session in sessions.items():
        out += _LONG_INT.pack(*session)
    table = [(acl_id, acl) for acl, acl_id in acl_ids.items() if acl_id != OPEN_ACL_ID]
    out += _INT.pack(len(table))
    for acl_id, acl in table:
        out += _LONG.pack(acl_id)
        write_acls(out, acl)


def write_node(out: bytearray, path: bytes, node: Node, acl_id: int) -> None:
    if path == ROOT:
        path = b""
    out += _INT.pack(len(path))
    out += path
    data = node.data
    if data is None:
        out += _NULL
    else:
        out += _INT.pack(len(data))
        out += data
    out += _NODE.pack(
        acl_id,
        node.czxid,
        node.mzxid,
        node.ctime,
        node.mtime,
        node.version,
        node.cversion,
        node.aversion,
        node.owner,
        node.pzxid,
    )


class ImageWriter:
    """Writes a tree for a learner: join what `step` gives until `done`."""

    def __init__(self, tree: Tree) -> None:
        self.zxid = tree.zxid
        self.done = False
        self._sessions = dict(tree.sessions)
        self._acl_ids: dict[ACLs, int] = {OPEN_ACL: OPEN_ACL_ID, NOBODY_ACL: 1}
        self._nodes = tree.walk()
        self._acls: Iterator[ACLs] = iter(())
        """Where ACLs are to be collected from before anything can be written."""
        self._has_acls = False
        known = tree.acls()
        if known is not None:
            self._add_acls(known)
            self._has_acls = True
        else:
            self._acls = (node.acl for _, node in tree.walk())
        self._has_head = False

    def _add_acls(self, acls: Iterable[ACLs]) -> int:
        """Number the ACLs that have no number; how many there were to see."""
        ids = self._acl_ids
        seen = 0
        for acl in acls:
            seen += 1
            if acl not in ids:
                ids[acl] = len(ids)
        return seen

    def step(self, count: int) -> bytes:
        """Up to `count` more znodes, fewer if they are large; b"" while ACLs are collected."""
        assert not self.done
        if not self._has_acls:
            self._has_acls = self._add_acls(islice(self._acls, count)) < count
            return b""
        out = bytearray()
        if not self._has_head:
            self._has_head = True
            write_head(out, self._sessions, self._acl_ids)
        seen = 0
        ids, zxid = self._acl_ids, self.zxid
        nobody_id = ids[NOBODY_ACL]
        for path, node in islice(self._nodes, count):
            seen += 1
            if node.czxid > zxid:
                continue
            acl = node.acl
            acl_id = OPEN_ACL_ID if acl is OPEN_ACL else ids.get(acl, nobody_id)
            write_node(out, path, node, acl_id)
            if len(out) >= _STEP_BYTES:
                return bytes(out)
        if seen < count:
            self.done = True
            out += END_PATH
            out += SIGNATURE
        return bytes(out)


class TreeReader:
    """Makes a tree of the bytes of one, in pieces of any size, up to the end path.

    The tree's zxid and what is to be thought of its digest are its owner's to say.
    """

    def __init__(self, value_bytes_max: int = _VALUE_BYTES_MAX) -> None:
        self.tree = Tree()
        self.tree.checks_digest = False
        self.count = 0
        """How many znodes there were so far."""
        self.rest = b""
        """What came behind the end."""
        self._value_bytes_max = value_bytes_max
        self._acls: dict[int, ACLs] = {OPEN_ACL_ID: OPEN_ACL}
        self._data = b""
        self._pos = 0
        self._parts: list[bytes] = []
        """What came behind `_data`."""
        self._have = 0
        self._need = 0
        self._parser = self._parse()

    def feed(self, data: bytes) -> bool:
        """Take more; whether the end has come. Raises `MarshallingError` for what is no tree, and
        `NoNodeError` for a znode without parent."""
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return False
        self._data = b"".join((self._data[self._pos :], *self._parts))
        self._pos = 0
        self._parts.clear()
        for need in self._parser:
            if len(self._data) - self._pos < need:
                self._need = need
                self._have = len(self._data) - self._pos
                return False
        self.rest = self._data[self._pos :]
        self._data = b""
        return True

    def _parse(self) -> Iterator[int]:
        """Parse, yielding how many bytes have to be there from `_pos` on before it goes on."""
        yield 4
        for _ in range(self._count()):
            yield _LONG_INT.size
            session_id, timeout_ms = _LONG_INT.unpack_from(self._data, self._pos)
            self._pos += _LONG_INT.size
            self.tree.sessions[session_id] = timeout_ms
        yield 4
        for _ in range(self._count()):
            yield _LONG_INT.size
            acl_id: int = _LONG.unpack_from(self._data, self._pos)[0]
            self._pos += _LONG.size
            entries: list[ACL] = []
            for _ in range(self._count()):
                yield 8
                scheme_end = 8 + self._length(self._pos + 4)
                yield scheme_end + 4
                end = scheme_end + 4 + self._length(self._pos + scheme_end)
                yield end
                entries.append(self._acl(scheme_end, end))
            self._acls[acl_id] = self.tree.intern(tuple(entries))
        while True:
            need = self._read_nodes()
            if not need:
                break
            yield need

    def _count(self) -> int:
        count: int = _INT.unpack_from(self._data, self._pos)[0]
        self._pos += 4
        if count < 0:
            raise MarshallingError
        return count

    def _length(self, at: int) -> int:
        """The length of a string of an ACL; null is empty."""
        length: int = _INT.unpack_from(self._data, at)[0]
        if not -1 <= length <= self._value_bytes_max:
            raise MarshallingError
        return max(length, 0)

    def _acl(self, scheme_end: int, end: int) -> ACL:
        data, start = self._data, self._pos
        perms: int = _INT.unpack_from(data, start)[0]
        scheme = data[start + 8 : start + scheme_end].decode("utf-8", "replace")
        name = data[start + scheme_end + 4 : start + end].decode("utf-8", "replace")
        self._pos = start + end
        return ACL(perms, Id(scheme, name))

    def _read_nodes(self) -> int:
        """The loop that a start waits for: one round for each znode, no call that can be spared.

        How many bytes the next znode needs at least, or 0 behind the end path. Equal numbers
        become one object: most znodes have one zxid and one time.
        """
        restore, acls = self.tree.restore, self._acls
        read_int, read_node, limit = _INT.unpack_from, _NODE.unpack_from, self._value_bytes_max
        data, pos, count = self._data, self._pos, self.count
        length = data_length = 0
        while True:
            need = pos + 4
            try:
                length = read_int(data, pos)[0]
                path_end = need + length
                path = data[need:path_end]
                if path == ROOT and length == 1:
                    self._pos, self.count = path_end, count
                    return 0
                need = path_end + 4
                data_length = read_int(data, path_end)[0]
                data_end = need + data_length if data_length > 0 else need
                content = data[need:data_end] if data_length >= 0 else None
                need = data_end + _NODE.size
                acl_id, czxid, mzxid, ctime, mtime, *versions, owner, pzxid = read_node(
                    data, data_end
                )
            except struct.error:
                # The rest of the znode has not come, or one of its lengths cannot be.
                self._pos, self.count = pos, count
                if not 0 <= length <= limit or not -1 <= data_length <= limit:
                    raise MarshallingError from None
                if 4 <= len(data) - pos < 4 + length:
                    return 4 + length
                return need - pos
            if length < 0 or length > limit or data_length < -1 or data_length > limit:
                self.count = count
                raise MarshallingError
            node = Node(content, acls.get(acl_id, NOBODY_ACL), owner, czxid, ctime)
            node.version, node.cversion, node.aversion = versions
            if mzxid != czxid:
                node.mzxid = mzxid
            if pzxid != czxid:
                node.pzxid = pzxid
            if mtime != ctime:
                node.mtime = mtime
            restore(path or ROOT, node)
            count += 1
            pos = need


class ImageReader:
    """Makes a tree of what a leader sends, in pieces of any size."""

    def __init__(self, value_bytes_max: int = _VALUE_BYTES_MAX) -> None:
        self._reader = TreeReader(value_bytes_max)
        self._ended = False
        self.rest = b""
        """What came behind the image, once all of it has come."""

    def feed(self, data: bytes) -> bool:
        """Take more; whether all has come. Raises `MarshallingError` for what is no image."""
        if self._ended:
            rest = self.rest + data
        else:
            try:
                self._ended = self._reader.feed(data)
            except NoNodeError as error:
                raise MarshallingError(error.path) from error
            if not self._ended:
                return False
            rest = self._reader.rest
        if rest[: len(SIGNATURE)] != SIGNATURE[: len(rest)]:
            raise MarshallingError
        if len(rest) < len(SIGNATURE):
            self.rest = rest
            return False
        self.rest = rest[len(SIGNATURE) :]
        return True

    def tree(self, zxid: int) -> Tree:
        """The tree, as the txn `zxid` and those that follow will make it exact."""
        assert self._ended
        tree = self._reader.tree
        tree.zxid = zxid
        return tree
