"""A write request becomes a txn or an error, seeing the changes that are still in flight.

Every request is checked against the tree as it will be when all txns numbered before it are
applied: `_changes` holds the next version of each znode that they touch. Checks are made in
Apache's order, since the first that fails is the error that the client sees. Rules:
- every attempt takes a zxid, also one that fails: it becomes an error txn;
- a multi is prepared operation by operation under one zxid and leaves no trace when one fails;
- the digest of the tree after each txn is computed here and travels with it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from coterie import paths
from coterie.core.acl import AccessControl
from coterie.core.quota import Quotas
from coterie.core.tree import Tree
from coterie.core.znode import (
    CONTAINER_OWNER,
    TTL_MS_MAX,
    Node,
    int32,
    is_ephemeral,
    node_digest,
    ttl_ms,
    ttl_owner,
)
from coterie.errors import (
    BadArgumentsError,
    BadVersionError,
    MarshallingError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    ReconfigDisabledError,
    RuntimeInconsistencyError,
    SessionExpiredError,
    SessionMovedError,
    UnimplementedError,
    ZooKeeperError,
)
from coterie.values import MODES, CreateMode, Id, Perms
from coterie.wire import requests, txns
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

if TYPE_CHECKING:
    from coterie.core.connection import Connection
    from coterie.core.link import Link
    from coterie.core.sessions import Sessions

_SPECIAL: Final = frozenset({paths.ROOT, b"", paths.ZOOKEEPER, paths.QUOTA, paths.CONFIG})
_INT: Final = struct.Struct(">i").pack
_CREATE_TAIL: Final = struct.Struct(">?i").pack


class Write:
    """A request that goes through the log: what a follower forwards, what the leader prepares."""

    __slots__ = ("arrived_ms", "connection", "cxid", "ids", "op", "owner", "payload", "session_id")

    def __init__(
        self,
        connection: Connection | None,
        session_id: int,
        cxid: int,
        op: int,
        payload: bytes,
        ids: Sequence[Id] = (),
        arrived_ms: float = 0.0,
        owner: Link | None = None,
    ) -> None:
        self.connection = connection
        self.session_id = session_id
        self.cxid = cxid
        self.op = op
        self.payload = payload
        self.ids = ids
        self.arrived_ms = arrived_ms
        self.owner = owner
        """The learner that forwarded it; None where it was made here."""


class Change:
    """The next version of a znode, or its absence (`node` None), and who made it so."""

    __slots__ = ("children", "digest", "node", "zxid")

    def __init__(self, zxid: int, node: Node | None, children: int, digest: int) -> None:
        self.zxid = zxid
        self.node = node
        self.children = children
        self.digest = digest


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration allows."""

    ttl_nodes: bool = False
    ttl_ms_max: int = TTL_MS_MAX
    digest: bool = True
    close_session_paths: bool = True


class Prepare:
    """Numbers writes: one for a leader, or for a server alone."""

    def __init__(
        self,
        tree: Tree,
        sessions: Sessions,
        access: AccessControl,
        quotas: Quotas,
        limits: Limits,
    ) -> None:
        self.zxid = tree.zxid
        self.digest = tree.digest
        self._tree = tree
        self._sessions = sessions
        self._access = access
        self._quotas = quotas
        self._limits = limits
        self._changes: dict[bytes, Change] = {}
        self._touched: deque[tuple[int, dict[bytes, int]]] = deque()
        self._shares: dict[bytes, int] = {}
        self._undo: list[tuple[bytes, Change | None]] | None = None
        self._write = Write(None, 0, 0, 0, b"")
        self._time_ms = 0
        create = self._create
        self._handlers: dict[int, Callable[[int, Record], Record]] = {
            Op.CREATE: create,
            Op.CREATE2: create,
            Op.CREATE_CONTAINER: create,
            Op.CREATE_TTL: create,
            Op.DELETE: self._delete,
            Op.DELETE_CONTAINER: self._delete_container,
            Op.SET_DATA: self._set_data,
            Op.SET_ACL: self._set_acl,
            Op.CHECK: self._check,
            Op.RECONFIG: self._reconfig,
        }
        self._readers: dict[int, Callable[[Reader], Record]] = {
            op: requests.TABLE[op].request.read for op in self._handlers
        }

    def txn(self, write: Write, wall_ms: int) -> Txn:
        """The txn for a write: what it asks for, or the error that it meets.

        Raises `MarshallingError`, and takes no zxid, when the request cannot be read.
        """
        self._write = write
        self._time_ms = wall_ms
        reader = Reader(write.payload)
        if write.op == Op.MULTI:
            return self._multi(reader)
        if write.op == Op.CREATE_SESSION:
            created = txns.CreateSessionTxn(reader.int32())
            self.zxid += 1
            return self._finish(write.op, created)
        if write.op == Op.CLOSE_SESSION:
            self.zxid += 1
            return self._finish(write.op, self._close_session(write))
        handler = self._handlers.get(write.op)
        if handler is None:
            # Another member may forward what it likes.
            raise MarshallingError
        request = self._readers[write.op](reader)
        self.zxid += 1
        try:
            body = handler(write.op, request)
        except ZooKeeperError as error:
            return self._finish(Op.ERROR, txns.ErrorTxn(error.code))
        return self._finish(write.op, body, self._sliced(request, body, reader.pos))

    def refused(self, write: Write, wall_ms: int, error: int) -> Txn:
        """An error txn for a write that could not even be read."""
        self._write = write
        self._time_ms = wall_ms
        self.zxid += 1
        return self._finish(Op.ERROR, txns.ErrorTxn(error))

    def _finish(self, kind: int, body: Record, encoded: bytes | None = None) -> Txn:
        write = self._write
        digest = self.digest if self._limits.digest and kind != Op.ERROR else None
        txn = Txn(
            write.session_id, write.cxid, self.zxid, self._time_ms, kind, body, digest, encoded
        )
        if self._shares:
            txn.shares = self._shares
            self._touched.append((self.zxid, self._shares))
            self._shares = {}
        return txn

    def _sliced(self, request: Record, body: Record, end: int) -> bytes | None:
        """The txn's body cut out of the request, where they agree but for the last fields."""
        if isinstance(body, txns.SetDataTxn):
            return self._write.payload[: end - 4] + _INT(body.version)
        if isinstance(body, txns.CreateTxn):
            assert isinstance(request, requests.CreateRequest)
            if body.path is request.path and body.acl is request.acl:
                tail = _CREATE_TAIL(body.ephemeral, body.parent_cversion)
                return self._write.payload[: end - 4] + tail
        return None

    def applied(self, zxid: int) -> None:
        """The txns up to `zxid` are in the tree: their changes are no longer in flight."""
        touched = self._touched
        while touched and touched[0][0] <= zxid:
            for path in touched.popleft()[1]:
                change = self._changes.get(path)
                if change is not None and change.zxid <= zxid:
                    del self._changes[path]

    def _multi(self, reader: Reader) -> Txn:
        try:
            operations = requests.read_multi(reader)
        except MarshallingError as error:
            self.zxid += 1
            return self._finish(Op.ERROR, txns.ErrorTxn(error.code))
        self.zxid += 1
        digest = self.digest
        self._undo = []
        done: list[tuple[int, Record]] = []
        failed = False
        for op, request in operations:
            if failed:
                done.append((Op.ERROR, txns.ErrorTxn(RuntimeInconsistencyError.code)))
                continue
            try:
                kind = _kind_in_multi(op, request)
                done.append((kind, self._handlers[kind](kind, request)))
            except ZooKeeperError as error:
                failed = True
                done.append((Op.ERROR, txns.ErrorTxn(error.code)))
                self._roll_back(digest)
        self._undo = None
        return self._finish(Op.MULTI, txns.MultiTxn(done))

    def _roll_back(self, digest: int) -> None:
        assert self._undo is not None
        for path, before in reversed(self._undo):
            if before is None:
                del self._changes[path]
            else:
                self._changes[path] = before
        self._shares = {}
        self.digest = digest

    def _close_session(self, write: Write) -> Record:
        session = self._sessions.by_id.get(write.session_id)
        if session is not None:
            session.closing = True
        gone = self._ephemerals(write.session_id)
        for path in gone:
            self._remove(path)
        return txns.CloseSessionTxn(gone if self._limits.close_session_paths else [])

    def _ephemerals(self, session_id: int) -> list[bytes]:
        """A session's ephemerals, as they will be when all that is in flight is applied."""
        owned = dict.fromkeys(sorted(self._tree.ephemerals.get(session_id, ())))
        for path, change in self._changes.items():
            if change.node is not None and change.node.owner == session_id:
                owned[path] = None
            else:
                # Gone, or gone and made again by somebody else.
                owned.pop(path, None)
        return list(owned)

    def _check_session(self) -> None:
        session = self._sessions.by_id.get(self._write.session_id)
        if session is None or session.closing:
            raise SessionExpiredError
        if session.owner is not self._write.owner:
            raise SessionMovedError

    def _look(self, path: bytes, perms: int = 0) -> tuple[Node, int, int]:
        """A znode as it will be, the number of its children, and its digest.

        Raises `NoNodeError`, and `NoAuthError` unless the client may do `perms` to it.
        """
        change = self._changes.get(path)
        if change is None:
            node = self._tree.nodes.get(path)
            if node is None:
                raise NoNodeError
            digest = node_digest(path, node) if node.digest is None else node.digest
            found = (node, node.count(), digest)
        elif change.node is None:
            raise NoNodeError
        else:
            found = (change.node, change.children, change.digest)
        if perms and not self._access.allows(found[0].acl, perms, self._write.ids):
            raise NoAuthError
        return found

    def _look_valid(self, path: bytes, perms: int) -> tuple[Node, int, int]:
        """As `_look`; a path that no znode can have is `BadArgumentsError`.

        Only what is not found needs the whole check: what is in the tree has a valid path, but
        for the root's other name.
        """
        if not path:
            raise BadArgumentsError
        try:
            return self._look(path, perms)
        except NoNodeError:
            if paths.valid(path):
                raise
            raise BadArgumentsError from None

    def _put(self, path: bytes, node: Node | None, children: int, before: int) -> None:
        if self._undo is not None:
            self._undo.append((path, self._changes.get(path)))
        digest = 0
        if node is not None and self._limits.digest:
            digest = node_digest(path, node)
        self.digest += digest - before
        self._changes[path] = Change(self.zxid, node, children, digest)
        self._shares[path] = digest

    def _create(self, op: int, request: Record) -> Record:
        assert isinstance(request, (requests.CreateRequest, requests.CreateTTLRequest))
        mode, owner = self._mode(op, request)
        self._check_session()
        path = request.path
        cut = path.rfind(b"/")
        if cut < 0 or 0 in path:
            raise BadArgumentsError
        parent_path = path[:cut] or paths.ROOT
        acl = self._access.fix(request.acl, self._write.ids)
        parent, siblings, parent_digest = self._look(parent_path, Perms.CREATE)
        if mode.sequential:
            path += paths.sequence(parent.cversion)
        if not paths.valid(path):
            raise BadArgumentsError
        if self._exists(path):
            raise NodeExistsError
        if is_ephemeral(parent.owner):
            raise NoChildrenForEphemeralsError
        self._quotas.check(path, len(request.data or b""), 1)
        cversion = int32(parent.cversion + 1)
        above = _next(parent)
        above.cversion = cversion
        above.pzxid = self.zxid
        self._put(parent_path, above, siblings + 1, parent_digest)
        node = Node(request.data, acl, owner, self.zxid, self._time_ms)
        self._put(path, node, 0, 0)
        if op == Op.CREATE_CONTAINER:
            return txns.CreateContainerTxn(path, request.data, acl, cversion)
        if isinstance(request, requests.CreateTTLRequest):
            return txns.CreateTTLTxn(path, request.data, acl, cversion, request.ttl_ms)
        return txns.CreateTxn(path, request.data, acl, mode.ephemeral, cversion)

    def _mode(
        self, op: int, request: requests.CreateRequest | requests.CreateTTLRequest
    ) -> tuple[CreateMode, int]:
        """The mode of a create, and the ephemeralOwner that its txn will store.

        The txn's type decides about containers: as with Apache, create with the container flag
        makes a persistent znode.
        """
        mode = MODES.get(request.flags)
        if mode is None:
            raise BadArgumentsError
        if mode.ttl and not self._limits.ttl_nodes:
            raise UnimplementedError
        if isinstance(request, requests.CreateTTLRequest):
            if not mode.ttl or not 0 < request.ttl_ms <= self._limits.ttl_ms_max:
                raise BadArgumentsError
            return mode, ttl_owner(request.ttl_ms)
        if mode.ttl:
            raise BadArgumentsError
        if op == Op.CREATE_CONTAINER:
            return mode, CONTAINER_OWNER
        return mode, self._write.session_id if mode.ephemeral else 0

    def _exists(self, path: bytes) -> bool:
        change = self._changes.get(path)
        return path in self._tree.nodes if change is None else change.node is not None

    def _parent_of_removable(self, path: bytes) -> bytes:
        cut = path.rfind(b"/")
        if cut < 0 or 0 in path or path in _SPECIAL:
            raise BadArgumentsError
        return path[:cut] or paths.ROOT

    def _delete(self, op: int, request: Record) -> Record:
        assert isinstance(request, requests.DeleteRequest)
        self._check_session()
        path = request.path
        self._look(self._parent_of_removable(path), Perms.DELETE)
        node, children, _ = self._look(path)
        _next_version(node.version, request.version)
        if children:
            raise NotEmptyError
        self._remove(path)
        return txns.DeleteTxn(path)

    def _delete_container(self, op: int, request: Record) -> Record:
        """The reaper's delete of a container or TTL znode; clients may not ask for it."""
        assert isinstance(request, requests.PathRequest)
        path = request.path
        self._parent_of_removable(path)
        node, children, _ = self._look(path)
        if children:
            raise NotEmptyError
        # It may have been changed, or made again, since the reaper has seen it. (Apache's server
        # would delete a znode that is to stay, if it stands where a container was.)
        limit_ms = ttl_ms(node.owner)
        if limit_ms is None:
            may_go = node.owner == CONTAINER_OWNER
        else:
            may_go = self._time_ms - node.mtime > limit_ms
        if not may_go:
            raise BadVersionError
        self._remove(path)
        return txns.DeleteTxn(path)

    def _remove(self, path: bytes) -> None:
        parent_path = path[: path.rindex(b"/")] or paths.ROOT
        parent, siblings, parent_digest = self._look(parent_path)
        _, _, digest = self._look(path)
        above = _next(parent)
        above.pzxid = self.zxid
        self._put(parent_path, above, siblings - 1, parent_digest)
        self._put(path, None, 0, digest)

    def _set_data(self, op: int, request: Record) -> Record:
        assert isinstance(request, requests.SetDataRequest)
        self._check_session()
        path = request.path
        node, children, digest = self._look_valid(path, Perms.WRITE)
        more = len(request.data or b"") - len(node.data or b"")
        self._quotas.check(path, more, 0)
        version = _next_version(node.version, request.version)
        after = _next(node)
        after.version = version
        after.mtime = self._time_ms
        after.mzxid = self.zxid
        after.data = request.data
        self._put(path, after, children, digest)
        return txns.SetDataTxn(path, request.data, version)

    def _set_acl(self, op: int, request: Record) -> Record:
        assert isinstance(request, requests.SetACLRequest)
        self._check_session()
        path = request.path
        if not paths.valid(path):
            raise BadArgumentsError
        acl = self._access.fix(request.acl, self._write.ids)
        node, children, digest = self._look(path, Perms.ADMIN)
        version = _next_version(node.aversion, request.version)
        after = _next(node)
        after.acl = acl
        after.aversion = version
        self._put(path, after, children, digest)
        return txns.SetACLTxn(path, acl, version)

    def _check(self, op: int, request: Record) -> Record:
        assert isinstance(request, requests.CheckVersionRequest)
        self._check_session()
        node, _, _ = self._look_valid(request.path, Perms.READ)
        version = _next_version(node.version, request.version)
        return txns.CheckVersionTxn(request.path, version)

    def _reconfig(self, op: int, request: Record) -> Record:
        """A server alone has no membership to change."""
        raise ReconfigDisabledError


def _kind_in_multi(op: int, request: Record) -> int:
    """What an operation of a multi is prepared and logged as.

    Here a create that has a container's flag makes a container. And Apache before 3.9 knows no
    create2 in a multi: replaying one, it drops the rest of the multi without a word.
    """
    if op in (Op.CREATE, Op.CREATE2):
        assert isinstance(request, requests.CreateRequest)
        return Op.CREATE_CONTAINER if request.flags == CreateMode.CONTAINER else Op.CREATE
    return op


def _next_version(current: int, expected: int) -> int:
    """The version after `current`; -1 is skipped, since as an expectation it means any.

    Raises `BadVersionError` unless `expected` is -1 or the current version.
    """
    if expected not in (-1, current):
        raise BadVersionError
    following = int32(current + 1)
    return 0 if following == -1 else following


def _next(node: Node) -> Node:
    """A copy of a znode's fields to be changed; its children are counted, not copied."""
    after = Node(node.data, node.acl, node.owner, node.czxid, node.ctime)
    after.mzxid = node.mzxid
    after.pzxid = node.pzxid
    after.mtime = node.mtime
    after.version = node.version
    after.cversion = node.cversion
    after.aversion = node.aversion
    return after
