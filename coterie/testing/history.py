"""A second, naive account of what the txns come to, kept for every zxid.

It stands beside `core/tree.py` and `core/prepare.py`, written from ZooKeeper's rules and not from
theirs, so that what a client is told can be compared with the tree as it was at that moment.
Rules: each txn is one that somebody asked for, once, and is what should come of it there; a
session ends once, and its ephemerals with it. What is not here: ACLs, quotas, epochs.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from coterie.core.tree import Tree
from coterie.errors import (
    BadVersionError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RuntimeInconsistencyError,
    SessionExpiredError,
    SessionMovedError,
)
from coterie.paths import CONFIG
from coterie.values import CreateMode, EventType
from coterie.wire import requests, txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn, follows
from coterie.wire.requests import Op

_CONTAINER: Final = -(2**63)
_TTL: Final = -(2**56)
_TTL_MASK: Final = 2**40 - 1
STAT: Final = Struct(">qqqqiiiqiiq")
_DIGEST: Final = Struct(">qqqqqiiiq")
CREATES: Final = (Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL)


class Violation(Exception):  # noqa: N818
    """Something happened that must not: the run has failed."""


class Fields(NamedTuple):
    """A znode as it is stored, and how many children it has."""

    data: bytes | None
    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    owner: int
    pzxid: int
    children: int

    def ephemeral(self) -> bool:
        return self.owner > 0

    def stat(self) -> bytes:
        """The Stat that a client sees."""
        return STAT.pack(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion * 2 - self.children,
            self.aversion,
            max(self.owner, 0),
            len(self.data or b""),
            self.children,
            self.pzxid,
        )

    def digest(self, path: bytes) -> int:
        if path.startswith(b"/zookeeper/"):
            return 0
        stat = _DIGEST.pack(
            self.czxid,
            self.mzxid,
            self.pzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.owner,
        )
        return crc32((b"" if path == b"/" else path) + (self.data or b"") + stat)


def _above(path: bytes) -> bytes:
    return path[: path.rindex(b"/")] or b"/"


class Trigger(NamedTuple):
    """What fires a watch."""

    zxid: int
    event: int
    path: bytes


class History:
    """All txns in their one order, and every znode as it was after each of them."""

    def __init__(self, digest: bool = True, close_session_paths: bool = True) -> None:
        self.zxid = self._before = 0
        self.txns: dict[int, Txn] = {}
        self.of_request: dict[tuple[int, int], int] = {}
        """The zxid of the write that a session sent under a cxid."""
        self.triggers: list[Trigger] = []
        self.born: dict[int, tuple[int, int]] = {}
        """Of each session the zxid and the time-out."""
        self.ended: dict[int, int] = {}
        """Of each session that ended the zxid."""
        self.closes: set[tuple[int, int]] = set()
        """Sessions and the zxids of the txns that closed them."""
        self.closing: set[int] = set()
        """Sessions whose end was numbered, though it may have been lost again: clients may be told
        from then on."""
        self.epochs: set[int] = set()
        """The zxids of epochs that members have entered: clients see them before the first txn."""
        self.promised = 0
        """The highest zxid that any client was told: it must never be lost."""
        self._has_digest = digest
        self._close_session_paths = close_session_paths
        empty = Fields(b"", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        self._nodes: dict[bytes, list[tuple[int, Fields | None]]] = {
            b"/": [(0, empty._replace(children=1))],
            b"/zookeeper": [(0, empty._replace(children=2))],
            b"/zookeeper/quota": [(0, empty)],
            b"/zookeeper/config": [(0, empty._replace(aversion=-1))],
        }
        self._kids: dict[bytes, list[tuple[int, bytes, bool]]] = {
            b"/": [(0, b"zookeeper", True)],
            b"/zookeeper": [(0, b"quota", True), (0, b"config", True)],
        }
        self._digests = {0: sum(versions[-1][1].digest(p) for p, versions in self._all())}

    def _all(self) -> list[tuple[bytes, list[tuple[int, Fields]]]]:
        """Every path that has a znode now, with its versions."""
        return [(p, v) for p, v in self._nodes.items() if v and v[-1][1] is not None]  # type: ignore[misc]

    @property
    def digest(self) -> int:
        return self._digests[self.zxid]

    # Looking back

    def at(self, path: bytes, zxid: int) -> Fields | None:
        """A znode as it was after a txn; None if there was none."""
        for when, fields in reversed(self._nodes.get(path, ())):
            if when <= zxid:
                return fields
        return None

    def children(self, path: bytes, zxid: int) -> set[bytes]:
        names: set[bytes] = set()
        for when, name, came in self._kids.get(path, ()):
            if when > zxid:
                break
            (names.add if came else names.discard)(name)
        return names

    def alive(self, session_id: int) -> bool:
        return session_id in self.born and session_id not in self.ended

    def owned(self, session_id: int) -> list[bytes]:
        return [path for path, versions in self._all() if versions[-1][1].owner == session_id]

    # Going on

    def follow(self, txn: Txn, asked: tuple[int, Record] | None) -> None:
        """The next txn was numbered; `asked` is the request (opcode, body) that it came from."""
        if not follows(txn.zxid, self.zxid):
            raise Violation(f"after {self.zxid:#x} came {txn!r}")
        self._before = self.zxid
        self.zxid = txn.zxid
        self._digests[txn.zxid] = self._digests[self._before]
        self.txns[txn.zxid] = txn
        if txn.type in (Op.CREATE_SESSION, Op.CLOSE_SESSION):
            self._session(txn)
        elif asked is None:
            self._reap(txn)
        else:
            self._check_order(txn)
            op, request = asked
            if op == Op.MULTI:
                assert isinstance(request, Multi)
                self._multi(txn, request)
            else:
                self._single(txn, op, request)
        if self._has_digest and txn.type != Op.ERROR and txn.digest != self.digest:
            raise Violation(f"{txn!r} bears digest {txn.digest}, not {self.digest}")

    def _check_order(self, txn: Txn) -> None:
        key = (txn.session_id, txn.cxid)
        before = self.of_request.get(key)
        if before is not None:
            raise Violation(f"{txn!r} was done before, by {before:#x}")
        self.of_request[key] = txn.zxid

    def _single(self, txn: Txn, op: int, request: Record) -> None:
        error = self._refusal(txn.session_id, op, request)
        body = txn.body
        if isinstance(body, txns.ErrorTxn) and body.error == SessionMovedError.code:
            # Where a session is, and how late its requests come, is not kept here.
            return
        if error:
            if txn.type != Op.ERROR or not isinstance(body, txns.ErrorTxn) or body.error != error:
                raise Violation(f"{txn!r} should be refused with {error}")
        elif txn.type != op:
            raise Violation(f"{txn!r} should be done: {request!r}")
        else:
            self._do(txn, op, request, txn.body)

    def _multi(self, txn: Txn, request: Multi) -> None:
        if not isinstance(txn.body, txns.MultiTxn):
            raise Violation(f"{txn!r} is no multi")
        done = txn.body.operations
        failed = False
        for (op, part), (kind, body) in zip(request.operations, done, strict=True):
            error = self._refusal(txn.session_id, op, part)
            if failed:
                error = RuntimeInconsistencyError.code
            if isinstance(body, txns.ErrorTxn) and body.error == SessionMovedError.code:
                error = SessionMovedError.code
            if error:
                if not failed:
                    self._undo(txn.zxid)
                    self._digests[txn.zxid] = self._digests[self._before]
                failed = True
                if not isinstance(body, txns.ErrorTxn) or body.error != error:
                    raise Violation(f"{txn!r}: {part!r} should be refused with {error}")
            elif kind != (Op.CREATE if op == Op.CREATE2 else op):
                raise Violation(f"{txn!r}: {part!r} should be done")
            else:
                self._do(txn, op, part, body)

    def _refusal(self, session_id: int, op: int, request: Record) -> int:
        """The error that a request should meet now, or 0."""
        if not self.alive(session_id):
            return SessionExpiredError.code
        now = self.zxid
        path: bytes = request.path  # type: ignore[attr-defined]
        if op in CREATES:
            assert isinstance(request, (requests.CreateRequest, requests.CreateTTLRequest))
            parent = self.at(_above(path), now)
            if parent is None:
                return NoNodeError.code
            if self.at(_made(request, parent), now) is not None:
                return NodeExistsError.code
            return NoChildrenForEphemeralsError.code if parent.ephemeral() else 0
        node = self.at(path, now)
        if node is None:
            return NoNodeError.code
        version: int = request.version  # type: ignore[attr-defined]
        if version not in (-1, node.aversion if op == Op.SET_ACL else node.version):
            return BadVersionError.code
        return NotEmptyError.code if op == Op.DELETE and node.children else 0

    def _do(self, txn: Txn, op: int, request: Record, body: Record) -> None:
        """One operation takes effect; its txn body must say just that."""
        if op in CREATES:
            self._create(txn, op, request, body)
        elif op == Op.DELETE:
            if not isinstance(body, txns.DeleteTxn) or body.path != request.path:  # type: ignore[attr-defined]
                raise Violation(f"{body!r} is not {request!r}")
            self._delete(txn.zxid, body.path)
        elif op == Op.SET_DATA:
            assert isinstance(request, requests.SetDataRequest)
            old = self.at(request.path, txn.zxid)
            assert old is not None
            if body != txns.SetDataTxn(request.path, request.data, old.version + 1):
                raise Violation(f"{body!r} is not {request!r} of version {old.version}")
            new = old._replace(
                data=request.data, version=old.version + 1, mzxid=txn.zxid, mtime=txn.time_ms
            )
            self._put(txn.zxid, request.path, old, new)
            self._fire(txn.zxid, EventType.NODE_DATA_CHANGED, request.path)
        elif op == Op.SET_ACL:
            assert isinstance(request, requests.SetACLRequest)
            old = self.at(request.path, txn.zxid)
            assert old is not None
            self._put(txn.zxid, request.path, old, old._replace(aversion=old.aversion + 1))

    def _create(self, txn: Txn, op: int, request: Record, body: Record) -> None:
        assert isinstance(request, (requests.CreateRequest, requests.CreateTTLRequest))
        parent_path = _above(request.path)
        parent = self.at(parent_path, txn.zxid)
        assert parent is not None
        path = _made(request, parent)
        owner = 0
        if op == Op.CREATE_CONTAINER:
            owner = _CONTAINER
        elif isinstance(request, requests.CreateTTLRequest):
            owner = _TTL + request.ttl_ms
        elif CreateMode(request.flags).ephemeral:
            owner = txn.session_id
        made = (body.path, body.data, body.parent_cversion)  # type: ignore[attr-defined]
        if made != (path, request.data, parent.cversion + 1):
            raise Violation(f"{body!r} is not {request!r}")
        node = Fields(
            request.data, txn.zxid, txn.zxid, txn.time_ms, txn.time_ms, 0, 0, 0, owner, txn.zxid, 0
        )
        self._put(txn.zxid, path, None, node)
        above = parent._replace(
            cversion=parent.cversion + 1, pzxid=txn.zxid, children=parent.children + 1
        )
        self._put(txn.zxid, parent_path, parent, above)
        name = path[path.rindex(b"/") + 1 :]
        self._kids.setdefault(parent_path, []).append((txn.zxid, name, True))
        self._fire(txn.zxid, EventType.NODE_CREATED, path)
        self._fire(txn.zxid, EventType.NODE_CHILDREN_CHANGED, parent_path)

    def _delete(self, zxid: int, path: bytes) -> None:
        node = self.at(path, zxid)
        parent_path = _above(path)
        parent = self.at(parent_path, zxid)
        if node is None or parent is None or node.children:
            raise Violation(f"{path!r} cannot be deleted by {zxid:#x}: it is {node}")
        self._put(zxid, path, node, None)
        above = parent._replace(pzxid=zxid, children=parent.children - 1)
        self._put(zxid, parent_path, parent, above)
        name = path[path.rindex(b"/") + 1 :]
        self._kids.setdefault(parent_path, []).append((zxid, name, False))
        self._fire(zxid, EventType.NODE_DELETED, path)
        self._fire(zxid, EventType.NODE_CHILDREN_CHANGED, parent_path)

    def _put(self, zxid: int, path: bytes, old: Fields | None, new: Fields | None) -> None:
        self._nodes.setdefault(path, []).append((zxid, new))
        if self._has_digest:
            if old is not None:
                self._digests[zxid] -= old.digest(path)
            if new is not None:
                self._digests[zxid] += new.digest(path)

    def _fire(self, zxid: int, event: int, path: bytes) -> None:
        self.triggers.append(Trigger(zxid, event, path))

    def _session(self, txn: Txn) -> None:
        session_id = txn.session_id
        if txn.type == Op.CREATE_SESSION:
            assert isinstance(txn.body, txns.CreateSessionTxn)
            if session_id in self.born:
                raise Violation(f"{txn!r}: there was a session of that id")
            self.born[session_id] = (txn.zxid, txn.body.timeout_ms)
            return
        assert isinstance(txn.body, txns.CloseSessionTxn)
        self.closes.add((session_id, txn.zxid))
        if session_id in self.ended:
            # A client asked for it while it expired: as in Apache's server that is a txn, too.
            if txn.body.paths:
                raise Violation(f"{txn!r}: it had ended with {self.ended[session_id]:#x}")
            return
        owned = self.owned(session_id)
        self.closing.add(session_id)
        self.ended[session_id] = txn.zxid
        if self._close_session_paths and sorted(txn.body.paths) != sorted(owned):
            raise Violation(f"{txn!r} should delete {owned}")
        for path in owned:
            self._delete(txn.zxid, path)

    def _reap(self, txn: Txn) -> None:
        """A txn that no client asked for: a container or a TTL znode whose time is over."""
        if txn.session_id or txn.type not in (Op.DELETE_CONTAINER, Op.ERROR):
            raise Violation(f"nobody asked for {txn!r}")
        if isinstance(txn.body, txns.DeleteTxn):
            node = self.at(txn.body.path, txn.zxid)
            if node is None or node.children or node.owner >= 0:
                raise Violation(f"{txn!r} takes what should stay: {node}")
            if node.owner != _CONTAINER and txn.time_ms - node.mtime < node.owner & _TTL_MASK:
                raise Violation(f"{txn!r} comes too early: {node}")
            self._delete(txn.zxid, txn.body.path)

    # Going back

    def _undo(self, zxid: int) -> None:
        """Forget what `zxid` and all beyond did to the znodes."""
        for versions in self._nodes.values():
            while versions and versions[-1][0] >= zxid:
                versions.pop()
        for names in self._kids.values():
            while names and names[-1][0] >= zxid:
                names.pop()
        while self.triggers and self.triggers[-1].zxid >= zxid:
            self.triggers.pop()

    def cut(self, zxid: int) -> None:
        """The txns beyond `zxid` were lost in a crash."""
        if zxid < self.promised:
            raise Violation(f"{self.promised:#x} was promised, and {zxid:#x} is all there is")
        if zxid >= self.zxid:
            return
        self._undo(zxid + 1)
        for lost in range(zxid + 1, self.zxid + 1):
            del self.txns[lost], self._digests[lost]
        self.zxid = zxid
        self.of_request = {key: z for key, z in self.of_request.items() if z <= zxid}
        self.born = {session: at for session, at in self.born.items() if at[0] <= zxid}
        self.ended = {session: z for session, z in self.ended.items() if z <= zxid}

    def compare(self, tree: Tree, zxid: int) -> None:
        """A tree that has all up to `zxid` has to be the one of our last txn."""
        if zxid != self.zxid:
            raise Violation(f"the tree is at {zxid:#x}, not at {self.zxid:#x}")
        ours = dict(self._all())
        theirs = {path: node for path, node in tree.nodes.items() if path}
        if ours.keys() != theirs.keys():
            different = sorted(ours.keys() ^ theirs.keys())
            raise Violation(f"znodes that are only in the tree or missing there: {different}")
        digest = 0
        for path, node in theirs.items():
            fields = Fields(
                node.data,
                node.czxid,
                node.mzxid,
                node.ctime,
                node.mtime,
                node.version,
                node.cversion,
                node.aversion,
                node.owner,
                node.pzxid,
                node.count(),
            )
            if path == CONFIG:
                continue  # each server writes that for itself
            if fields != ours[path][-1][1]:
                raise Violation(f"{path!r} is {fields}, not {ours[path][-1][1]}")
            digest += fields.digest(path)
        if self._has_digest and not tree.digest == digest == self.digest:
            raise Violation(f"digest {tree.digest}, computed {digest}, of the txns {self.digest}")
        if tree.digest_mismatches:
            raise Violation(f"{tree.digest_mismatches} digests did not match")
        alive = {id: at[1] for id, at in self.born.items() if id not in self.ended}
        if tree.sessions != alive:
            raise Violation(f"the sessions are {tree.sessions}, not {alive}")
        self._compare_indexes(tree, ours)

    def _compare_indexes(self, tree: Tree, ours: dict[bytes, list[tuple[int, Fields]]]) -> None:
        """What a tree keeps beside its znodes has to agree with them."""
        owners = {path: versions[-1][1].owner for path, versions in ours.items()}
        found: dict[int, set[bytes]] = {}
        for path, owner in owners.items():
            if owner > 0:
                found.setdefault(owner, set()).add(path)
        if {id: paths for id, paths in tree.ephemerals.items() if paths} != found:
            raise Violation(f"the ephemerals are {tree.ephemerals}, not {found}")
        if tree.containers != {path for path, owner in owners.items() if owner == _CONTAINER}:
            raise Violation(f"the containers are {tree.containers}")
        if tree.ttls != {path for path, owner in owners.items() if _CONTAINER < owner < 0}:
            raise Violation(f"the TTL znodes are {tree.ttls}")
        for path in owners:
            names = set(tree.nodes[path].children or ())
            below = b"" if path == b"/" else path
            if names != {below + b"/" + name for name in self.children(path, self.zxid)}:
                raise Violation(f"{path!r} has the children {names}")


class Multi(Record):
    """The operations of a multi as a client asks for them."""

    __slots__ = ("operations",)

    def __init__(self, operations: list[tuple[int, Record]]) -> None:
        self.operations = operations

    def encode(self) -> bytes:
        return requests.write_multi(self.operations)

    def __repr__(self) -> str:
        return f"Multi({self.operations!r})"


def _made(request: requests.CreateRequest | requests.CreateTTLRequest, parent: Fields) -> bytes:
    """The path of the znode that a request makes."""
    if CreateMode(request.flags).sequential:
        return request.path + b"%010d" % parent.cversion
    return request.path
