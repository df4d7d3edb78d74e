"""The znode tree: apply a txn, look a znode up; nothing else changes a znode.

Rules, each ZooKeeper's own (`DataTree`):
- a txn is applied as it stands, never checked again: the server that numbered it did that;
- applying is idempotent, since a snapshot may hold effects of txns that are replayed over it: a
  parent's cversion and pzxid only grow, and a failure while replaying is ignored;
- the digest is the sum of the CRC-32 of every znode outside /zookeeper/..., so two trees can be
  compared by one number after every txn;
- quota statistics are local to a server and no txn: `set_local` writes them.

Paths are UTF-8 bytes. The root is also known as b"", as in Apache's tree, where a parent path is
what stands before the last slash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from coterie.core.znode import (
    CONTAINER_OWNER,
    Node,
    add_child,
    batches,
    node_digest,
    ttl_owner,
)
from coterie.errors import OK, NodeExistsError, NoNodeError, RuntimeInconsistencyError
from coterie.paths import CONFIG, QUOTA, ROOT, ZOOKEEPER
from coterie.values import OPEN_ACL, READ_ACL, ACLs, EventType
from coterie.wire import txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

_QUOTAS: Final = QUOTA + b"/"
_DIGEST_MASK: Final = 127
_ACLS_MAX: Final = 4096
_REPLY_BYTES_MAX: Final = 65_536
_REPLIES_BYTES_MAX: Final = 32 * 2**20
_REPLIES_MAX: Final = 100_000
# Looking a member of an enum up takes as long as looking a znode up.
_CREATED: Final = EventType.NODE_CREATED
_DELETED: Final = EventType.NODE_DELETED
_DATA_CHANGED: Final = EventType.NODE_DATA_CHANGED
_CHILDREN_CHANGED: Final = EventType.NODE_CHILDREN_CHANGED

Event = tuple[int, bytes, ACLs]
"""What a txn did to one znode: `EventType`, path, and the ACL that says who may hear of it."""


class Outcome:
    """What applying a txn came to: an error code, the znode it made or changed, a multi's parts.

    A part's Stat is taken at once, for a later part may change the znode again.
    """

    __slots__ = ("error", "node", "parts", "path", "stat_then", "type")

    def __init__(self, type: int, error: int = OK) -> None:
        self.type = type
        self.error = error
        self.path: bytes = b""
        self.node: Node | None = None
        self.parts: list[Outcome] = []
        self.stat_then: bytes | None = None

    def stat(self) -> bytes:
        """The Stat of the znode as this txn left it."""
        assert self.node is not None
        return self.node.stat() if self.stat_then is None else self.stat_then


class Tree:
    """The replicated state: znodes, and the sessions that exist with their time-outs.

    `zxid` is the last txn applied. `nodes` is for looking up only. Who keeps quotas is told of
    every znode that comes, goes or changes its size (`resized`: path, bytes more, znodes more)
    and of every one under /zookeeper/quota that comes or goes (`quota_changed`).
    """

    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.sessions: dict[int, int] = {}
        self.ephemerals: dict[int, set[bytes]] = {}
        self.containers: set[bytes] = set()
        self.ttls: set[bytes] = set()
        self.zxid = 0
        self.digest = 0
        self.digest_mismatches = 0
        self.digests: deque[tuple[int, int]] = deque(maxlen=1024)
        """The digest after every 128th txn, for comparing servers with each other."""
        self.checks_digest = True
        """Off while a fuzzy snapshot is being made right by replaying the log over it."""
        self.data_bytes = 0
        self.resized: Callable[[bytes, int, int], None] | None = None
        self.quota_changed: Callable[[bytes, bool], None] | None = None
        self._acls: dict[ACLs, ACLs] = {OPEN_ACL: OPEN_ACL, READ_ACL: READ_ACL}
        self._knows_acls = True
        self._cached: list[Node] = []
        self._cached_bytes = 0
        self._events: list[Event] | None = None
        self._shares: dict[bytes, int] | None = None
        self._appliers: dict[int, Callable[[Txn, Outcome], None]] = {
            Op.CREATE: self._apply_create,
            Op.CREATE2: self._apply_create,
            Op.CREATE_CONTAINER: self._apply_create_container,
            Op.CREATE_TTL: self._apply_create_ttl,
            Op.DELETE: self._apply_delete,
            Op.DELETE_CONTAINER: self._apply_delete,
            Op.SET_DATA: self._apply_set_data,
            Op.RECONFIG: self._apply_set_data,
            Op.SET_ACL: self._apply_set_acl,
            Op.CHECK: self._apply_check,
            Op.MULTI: self._apply_multi,
            Op.ERROR: self._apply_error,
            Op.CREATE_SESSION: self._apply_create_session,
            Op.CLOSE_SESSION: self._apply_close_session,
        }
        for path in (ROOT, ZOOKEEPER, QUOTA):
            self.restore(path, Node(b"", OPEN_ACL, 0, 0, 0))
        config = Node(b"", READ_ACL, 0, 0, 0)
        config.aversion = -1
        self.restore(CONFIG, config)

    def get(self, path: bytes) -> Node | None:
        return self.nodes.get(path)

    def intern(self, acl: ACLs) -> ACLs:
        """The one object for this ACL, so that a million znodes share it."""
        known = self._acls.get(acl)
        if known is None:
            if len(self._acls) > _ACLS_MAX:
                self._acls = {OPEN_ACL: OPEN_ACL, READ_ACL: READ_ACL}
                self._knows_acls = False
            known = self._acls[acl] = acl
        return known

    def acls(self) -> list[ACLs] | None:
        """All the ACLs that znodes may have, or None if there were too many to keep in mind."""
        return list(self._acls) if self._knows_acls else None

    def data_reply(self, node: Node) -> bytes:
        """The body that answers getData, remembered until the znode changes or room runs out."""
        reply = node.reply
        if reply is None:
            data = node.data
            if data is None:
                reply = b"\xff\xff\xff\xff" + node.stat()
            else:
                reply = len(data).to_bytes(4, "big") + data + node.stat()
            if len(reply) <= _REPLY_BYTES_MAX:
                self._cached_bytes += len(reply)
                if self._cached_bytes > _REPLIES_BYTES_MAX or len(self._cached) > _REPLIES_MAX:
                    for cached in self._cached:
                        cached.reply = None
                    self._cached.clear()
                    self._cached_bytes = len(reply)
                self._cached.append(node)
                node.reply = reply
        return reply

    def names(self, path: bytes, node: Node) -> list[bytes]:
        """The names of a znode's children, in no order."""
        skip = 1 if path in (b"", ROOT) else len(path) + 1
        return [child[skip:] for child in node.children or ()]

    def descendants(self, path: bytes, node: Node) -> int:
        """How many znodes are below `path`; costs a visit to each."""
        count = 0
        stack = [node]
        while stack:
            for child in stack.pop().children or ():
                count += 1
                below = self.nodes[child]
                if below.children:
                    stack.append(below)
        return count

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Every znode, a parent always before its children; the tree may change meanwhile.

        A znode that comes or goes while the walk is under way may be met or missed: that is what
        makes a snapshot fuzzy. No step copies more than one set of a crowd.
        """
        yield ROOT, self.nodes[ROOT]
        stack: list[Iterator[list[bytes]]] = [batches(self.nodes[ROOT])]
        while stack:
            batch = next(stack[-1], None)
            if batch is None:
                stack.pop()
                continue
            for path in batch:
                node = self.nodes.get(path)
                if node is not None:
                    yield path, node
                    if node.children:
                        stack.append(batches(node))

    def restore(self, path: bytes, node: Node) -> None:
        """Put a znode of a snapshot (or one that every tree has) in its place.

        Raises `NoNodeError` when its parent is not there.
        """
        old = self.nodes.get(path)
        if path == ROOT:
            self.nodes[ROOT] = self.nodes[b""] = node
            node.children = old.children if old else None
        else:
            cut = path.rfind(b"/")
            parent = self.nodes.get(path[:cut]) if cut >= 0 else None
            if parent is None:
                raise NoNodeError(path.decode("utf-8", "replace"))
            self.nodes[path] = node
            if old is None:
                add_child(parent, path)
            else:
                node.children = old.children
                self._unlist(path, old)
        if old is not None:
            self._count(path, old, -1)
        node.acl = self.intern(node.acl)
        self._list(path, node)
        self._count(path, node, 1)

    def _count(self, path: bytes, node: Node, sign: int) -> None:
        share = self._shares.get(path) if self._shares is not None and sign > 0 else None
        self.digest += sign * (node_digest(path, node) if share is None else share)
        self.data_bytes += sign * (len(path) + len(node.data or b""))

    def set_config(self, text: bytes, version: int, wall_ms: int) -> None:
        """Show who the members are. Each server writes this for itself: it is no txn."""
        node = self.nodes[CONFIG]
        self.data_bytes += len(text) - len(node.data or b"")
        node.data = text
        node.version = -1
        node.mzxid = version
        node.mtime = wall_ms
        self._forget(node)

    def set_local(self, path: bytes, data: bytes) -> None:
        """Change the data of a quota statistics znode: no txn, no version, no watch."""
        node = self.nodes[path]
        self.data_bytes += len(data) - len(node.data or b"")
        node.data = data
        self._forget(node)

    def apply(self, txn: Txn, events: list[Event] | None = None) -> Outcome:
        """Do what `txn` says; what it did to each znode is added to `events` for the watches."""
        outcome = Outcome(txn.type)
        self._events = events
        self._shares = txn.shares
        self._appliers[txn.type](txn, outcome)
        self.zxid = max(self.zxid, txn.zxid)
        if not txn.zxid & _DIGEST_MASK:
            self.digests.append((txn.zxid, self.digest))
        if txn.digest is not None and txn.digest != self.digest and self.checks_digest:
            self.digest_mismatches += 1
        return outcome

    def _apply_create(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.CreateTxn)
        owner = txn.session_id if body.ephemeral else 0
        self._create(txn, outcome, body.path, body.data, body.acl, owner, body.parent_cversion)

    def _apply_create_container(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.CreateContainerTxn)
        self._create(
            txn, outcome, body.path, body.data, body.acl, CONTAINER_OWNER, body.parent_cversion
        )

    def _apply_create_ttl(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.CreateTTLTxn)
        owner = ttl_owner(body.ttl_ms)
        self._create(txn, outcome, body.path, body.data, body.acl, owner, body.parent_cversion)

    def _create(
        self,
        txn: Txn,
        outcome: Outcome,
        path: bytes,
        data: bytes | None,
        acl: ACLs,
        owner: int,
        parent_cversion: int,
    ) -> None:
        outcome.path = path
        parent_path = path[: path.rindex(b"/")] or ROOT
        parent = self.nodes.get(parent_path)
        if parent is None:
            outcome.error = NoNodeError.code
            return
        if parent_cversion == -1:
            parent_cversion = parent.cversion + 1
        acl = self.intern(acl)
        existing = self.nodes.get(path)
        if parent_cversion > parent.cversion:
            before = self._share(parent_path, parent)
            parent.cversion = parent_cversion
            parent.pzxid = txn.zxid
            self._changed(parent_path, parent, before)
        if existing is not None:
            existing.acl = acl
            outcome.error = NodeExistsError.code
            return
        node = Node(data, acl, owner, txn.zxid, txn.time_ms)
        self.nodes[path] = node
        add_child(parent, path)
        self._forget(parent)
        self._list(path, node)
        self._count(path, node, 1)
        if self.resized is not None:
            self.resized(path, len(data or b""), 1)
        if path.startswith(_QUOTAS) and self.quota_changed is not None:
            self.quota_changed(path, True)
        if self._events is not None:
            self._events.append((_CREATED, path, acl))
            self._events.append((_CHILDREN_CHANGED, parent_path, parent.acl))
        outcome.node = node

    def _apply_delete(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.DeleteTxn)
        self._delete(txn.zxid, outcome, body.path)

    def _delete(self, zxid: int, outcome: Outcome, path: bytes) -> None:
        outcome.path = path
        parent_path = path[: path.rindex(b"/")] or ROOT
        parent = self.nodes.get(parent_path)
        if parent is None:
            outcome.error = NoNodeError.code
            return
        if zxid > parent.pzxid:
            before = self._share(parent_path, parent)
            parent.pzxid = zxid
            self._changed(parent_path, parent, before)
        node = self.nodes.get(path)
        if node is None:
            outcome.error = NoNodeError.code
            return
        if node.children:
            self._delete_below(zxid, node)
        del self.nodes[path]
        assert parent.children is not None
        parent.children.discard(path)
        if not parent.children:
            parent.children = None
        self._forget(parent)
        self._forget(node)
        self._unlist(path, node)
        self._count(path, node, -1)
        if self.resized is not None:
            self.resized(path, -len(node.data or b""), -1)
        if path.startswith(_QUOTAS) and self.quota_changed is not None:
            self.quota_changed(path, False)
        if self._events is not None:
            self._events.append((_DELETED, path, node.acl))
            self._events.append((_CHILDREN_CHANGED, parent_path, parent.acl))

    def _delete_below(self, zxid: int, node: Node) -> None:
        """Delete what a znode that is deleted still has below it.

        Only an image's znode can have: it is one that was made later in the place of the one that
        this txn deleted. All that is below is newer still, and the txns that made it will follow.
        """
        below = list(node.children or ())
        for path in below:
            below += self.nodes[path].children or ()
        for path in reversed(below):
            self._delete(zxid, Outcome(Op.DELETE), path)

    def _apply_set_data(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.SetDataTxn)
        path = outcome.path = body.path
        node = self.nodes.get(path)
        if node is None:
            outcome.error = NoNodeError.code
            return
        before = self._share(path, node)
        more = len(body.data or b"") - len(node.data or b"")
        node.data = body.data
        node.version = body.version
        node.mtime = txn.time_ms
        node.mzxid = txn.zxid
        self.data_bytes += more
        self._changed(path, node, before)
        if self.resized is not None:
            self.resized(path, more, 0)
        if self._events is not None:
            self._events.append((_DATA_CHANGED, path, node.acl))
        outcome.node = node

    def _apply_set_acl(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.SetACLTxn)
        outcome.path = body.path
        node = self.nodes.get(body.path)
        if node is None:
            outcome.error = NoNodeError.code
            return
        before = self._share(body.path, node)
        node.acl = self.intern(body.acl)
        node.aversion = body.version
        self._changed(body.path, node, before)
        outcome.node = node

    def _apply_check(self, txn: Txn, outcome: Outcome) -> None:
        assert isinstance(txn.body, txns.CheckVersionTxn)
        outcome.path = txn.body.path

    def _apply_error(self, txn: Txn, outcome: Outcome) -> None:
        assert isinstance(txn.body, txns.ErrorTxn)
        outcome.error = txn.body.error

    def _apply_multi(self, txn: Txn, outcome: Outcome) -> None:
        body = txn.body
        assert isinstance(body, txns.MultiTxn)
        operations = body.operations
        if any(kind == Op.ERROR for kind, _ in operations):
            self._fail_multi(operations, outcome)
            return
        # The shares are of the whole txn's end, and a later part may change what an earlier made.
        self._shares = None
        for kind, part in operations:
            result = Outcome(kind)
            # It is not written anywhere, so nothing is encoded.
            sub = Txn(txn.session_id, txn.cxid, txn.zxid, txn.time_ms, kind, part, encoded=b"")
            self._appliers[kind](sub, result)
            if result.node is not None:
                result.stat_then = result.node.stat()
            outcome.parts.append(result)
            outcome.error = outcome.error or result.error

    def _fail_multi(self, operations: list[tuple[int, Record]], outcome: Outcome) -> None:
        """One operation failed: none is done, those before it say 0 and those after it -2."""
        failed = False
        for _, part in operations:
            if isinstance(part, txns.ErrorTxn):
                failed = True
                error = part.error
            else:
                error = RuntimeInconsistencyError.code if failed else OK
            outcome.parts.append(Outcome(Op.ERROR, error))
            outcome.error = outcome.error or error

    def _apply_create_session(self, txn: Txn, outcome: Outcome) -> None:
        assert isinstance(txn.body, txns.CreateSessionTxn)
        self.sessions[txn.session_id] = txn.body.timeout_ms

    def _apply_close_session(self, txn: Txn, outcome: Outcome) -> None:
        assert isinstance(txn.body, txns.CloseSessionTxn)
        self.sessions.pop(txn.session_id, None)
        paths = dict.fromkeys(txn.body.paths)
        paths.update(dict.fromkeys(sorted(self.ephemerals.get(txn.session_id, ()))))
        for path in paths:
            self._delete(txn.zxid, Outcome(Op.DELETE), path)
        self.ephemerals.pop(txn.session_id, None)

    def _share(self, path: bytes, node: Node) -> int:
        return node_digest(path, node) if node.digest is None else node.digest

    def _changed(self, path: bytes, node: Node, before: int) -> None:
        self._forget(node)
        share = self._shares.get(path) if self._shares is not None else None
        if share is None:
            share = node_digest(path, node)
        node.digest = share
        self.digest += share - before

    def _forget(self, node: Node) -> None:
        if node.reply is not None:
            self._cached_bytes -= len(node.reply)
            node.reply = None

    def _list(self, path: bytes, node: Node) -> None:
        """Note a znode that will not stay for ever where its end is looked for."""
        owner = node.owner
        if owner == 0:
            return
        if owner == CONTAINER_OWNER:
            self.containers.add(path)
        elif owner >> 56 == -1:
            self.ttls.add(path)
        else:
            self.ephemerals.setdefault(owner, set()).add(path)

    def _unlist(self, path: bytes, node: Node) -> None:
        owner = node.owner
        if owner == 0:
            return
        if owner == CONTAINER_OWNER:
            self.containers.discard(path)
        elif owner >> 56 == -1:
            self.ttls.discard(path)
        elif owner in self.ephemerals:
            self.ephemerals[owner].discard(path)
            if not self.ephemerals[owner]:
                del self.ephemerals[owner]
