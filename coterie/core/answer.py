"""A read request and the tree give a response.

One method for each opcode, `(connection, reader) -> body`; an error is raised as its class. A
watch is set only when the read succeeds, except that exists also watches for a znode to come.
A multiRead whose answer is larger than a client may leave unread is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from coterie import paths
from coterie.core.acl import AccessControl, masked
from coterie.core.tree import Outcome, Tree
from coterie.core.watches import ONE_SHOT, PERSISTENT, RECURSIVE, Watches
from coterie.core.znode import Node
from coterie.errors import (
    BadArgumentsError,
    MarshallingError,
    NoAuthError,
    NoNodeError,
    NoWatcherError,
    ThrottledError,
    ZooKeeperError,
)
from coterie.values import AddWatchMode, EventType, Perms
from coterie.wire import requests
from coterie.wire.cursor import Reader, write_acls, write_buffer, write_int, write_string
from coterie.wire.requests import Op

if TYPE_CHECKING:
    from coterie.core.connection import Connection

_INT = struct.Struct(">i").pack
_CREATE2_BEGINS: Final = requests.MULTI_HEADER.pack(Op.CREATE2, False, -1)[:5]


class Answers:
    """Answers reads from one tree."""

    def __init__(
        self, tree: Tree, watches: Watches, access: AccessControl, bytes_max: int
    ) -> None:
        self._tree = tree
        self._watches = watches
        self._access = access
        self._bytes_max = bytes_max
        self.table: dict[int, Callable[[Connection, Reader], bytes]] = {
            Op.EXISTS: self._exists,
            Op.GET_DATA: self._get_data,
            Op.GET_CHILDREN: self._get_children,
            Op.GET_CHILDREN2: self._get_children2,
            Op.GET_ACL: self._get_acl,
            Op.SYNC: self._sync,
            Op.PING: lambda connection, reader: b"",
            Op.SET_WATCHES: self._set_watches,
            Op.SET_WATCHES2: self._set_watches2,
            Op.ADD_WATCH: self._add_watch,
            Op.CHECK_WATCHES: self._check_watches,
            Op.REMOVE_WATCHES: self._remove_watches,
            Op.GET_EPHEMERALS: self._get_ephemerals,
            Op.GET_ALL_CHILDREN_NUMBER: self._get_all_children_number,
            Op.MULTI_READ: self._multi_read,
            Op.WHO_AM_I: self._who_am_i,
        }

    def _readable(self, connection: Connection, path: bytes, perms: int = Perms.READ) -> Node:
        node = self._tree.get(path)
        if node is None:
            raise NoNodeError
        if not self._access.allows(node.acl, perms, connection.ids):
            raise NoAuthError
        return node

    def _exists(self, connection: Connection, reader: Reader) -> bytes:
        request = requests.PathWatchRequest.read(reader)
        if b"\0" in request.path:
            raise BadArgumentsError
        node = self._tree.get(request.path)
        if node is not None and not self._access.allows(node.acl, Perms.READ, connection.ids):
            raise NoAuthError
        if request.watch:
            self._watches.data.add(request.path, connection, ONE_SHOT)
        if node is None:
            raise NoNodeError
        return node.stat()

    def _get_data(self, connection: Connection, reader: Reader) -> bytes:
        request = requests.PathWatchRequest.read(reader)
        node = self._readable(connection, request.path)
        if request.watch:
            self._watches.data.add(request.path, connection, ONE_SHOT)
        return self._tree.data_reply(node)

    def _children(self, connection: Connection, request: requests.PathWatchRequest) -> Node:
        node = self._readable(connection, request.path)
        if request.watch:
            self._watches.children.add(request.path, connection, ONE_SHOT)
        return node

    def _get_children(self, connection: Connection, reader: Reader) -> bytes:
        request = requests.PathWatchRequest.read(reader)
        node = self._children(connection, request)
        return _vector(self._tree.names(request.path, node))

    def _get_children2(self, connection: Connection, reader: Reader) -> bytes:
        request = requests.PathWatchRequest.read(reader)
        node = self._children(connection, request)
        return _vector(self._tree.names(request.path, node)) + node.stat()

    def _get_acl(self, connection: Connection, reader: Reader) -> bytes:
        path = requests.PathRequest.read(reader).path
        node = self._readable(connection, path, Perms.READ | Perms.ADMIN)
        acl = node.acl
        if not self._access.allows(acl, Perms.ADMIN, connection.ids):
            acl = masked(acl)
        out = bytearray()
        write_acls(out, acl)
        return bytes(out) + node.stat()

    def _sync(self, connection: Connection, reader: Reader) -> bytes:
        """Alone, a server is always up to date; the reply's place in the order says the rest."""
        return requests.PathResponse(requests.PathRequest.read(reader).path).encode()

    def _get_all_children_number(self, connection: Connection, reader: Reader) -> bytes:
        path = requests.PathRequest.read(reader).path
        node = self._readable(connection, path)
        return _INT(self._tree.descendants(path, node))

    def _get_ephemerals(self, connection: Connection, reader: Reader) -> bytes:
        prefix = requests.PathRequest.read(reader).path
        owned = self._tree.ephemerals.get(connection.session_id, ())
        if prefix.strip() in (b"", paths.ROOT):
            prefix = b""
        return _vector(sorted(path for path in owned if path.startswith(prefix)))

    def _who_am_i(self, connection: Connection, reader: Reader) -> bytes:
        out = bytearray()
        write_int(out, len(connection.ids))
        for scheme, name in connection.ids:
            write_string(out, scheme)
            write_string(out, name.partition(":")[0] if scheme == "digest" else name)
        return bytes(out)

    def _multi_read(self, connection: Connection, reader: Reader) -> bytes:
        out = bytearray()
        for op, request in requests.read_multi(reader, reads=True):
            assert isinstance(request, requests.PathWatchRequest)
            if len(out) > self._bytes_max:
                raise ThrottledError
            try:
                node = self._readable(connection, request.path)
            except ZooKeeperError as error:
                out += requests.error_result(error.code)
                continue
            out += requests.MULTI_HEADER.pack(op, False, 0)
            if op == Op.GET_DATA:
                out += self._tree.data_reply(node)
            else:
                out += _vector(self._tree.names(request.path, node))
        return bytes(out + requests.MULTI_END)

    def _add_watch(self, connection: Connection, reader: Reader) -> bytes:
        request = requests.WatchesRequest.read(reader)
        if request.type == AddWatchMode.PERSISTENT:
            self._watches.add(request.path, connection, PERSISTENT)
        elif request.type == AddWatchMode.PERSISTENT_RECURSIVE:
            self._watches.add(request.path, connection, RECURSIVE)
        else:
            raise MarshallingError
        return requests.IntResponse(0).encode()

    def _check_watches(self, connection: Connection, reader: Reader) -> bytes:
        return self._need_watch(connection, reader, self._watches.has)

    def _remove_watches(self, connection: Connection, reader: Reader) -> bytes:
        return self._need_watch(connection, reader, self._watches.remove)

    def _need_watch(
        self,
        connection: Connection,
        reader: Reader,
        found: Callable[[bytes, Connection, int], bool],
    ) -> bytes:
        request = requests.WatchesRequest.read(reader)
        try:
            if not found(request.path, connection, request.type):
                raise NoWatcherError
        except ValueError:
            raise MarshallingError from None
        return b""

    def _set_watches(self, connection: Connection, reader: Reader) -> bytes:
        self._rearm(connection, requests.SetWatches.read(reader))
        return b""

    def _set_watches2(self, connection: Connection, reader: Reader) -> bytes:
        request = requests.SetWatches2.read(reader)
        self._rearm(connection, request)
        for path in request.persistent_watches:
            self._watches.add(path, connection, PERSISTENT)
        for path in request.persistent_recursive_watches:
            self._watches.add(path, connection, RECURSIVE)
        return b""

    def _rearm(
        self, connection: Connection, request: requests.SetWatches | requests.SetWatches2
    ) -> None:
        """Set a reconnected client's watches again, or tell at once what it has missed."""
        seen = request.relative_zxid
        for path in request.data_watches:
            node = self._tree.get(path)
            if node is None:
                self._missed(connection, EventType.NODE_DELETED, path)
            elif node.mzxid > seen:
                self._missed(connection, EventType.NODE_DATA_CHANGED, path)
            else:
                self._watches.data.add(path, connection, ONE_SHOT)
        for path in request.exist_watches:
            if self._tree.get(path) is not None:
                self._missed(connection, EventType.NODE_CREATED, path)
            else:
                self._watches.data.add(path, connection, ONE_SHOT)
        for path in request.child_watches:
            node = self._tree.get(path)
            if node is None:
                self._missed(connection, EventType.NODE_DELETED, path)
            elif node.pzxid > seen:
                self._missed(connection, EventType.NODE_CHILDREN_CHANGED, path)
            else:
                self._watches.children.add(path, connection, ONE_SHOT)

    def _missed(self, connection: Connection, event: int, path: bytes) -> None:
        """Events that are caught up on bear no zxid of their own."""
        connection.out.append(requests.notification(event, path, -1))


def _vector(names: list[bytes]) -> bytes:
    out = bytearray(_INT(len(names)))
    for name in names:
        write_buffer(out, name)
    return bytes(out)


def changed(op: int, outcome: Outcome) -> bytes:
    """The body that answers a write of kind `op` that succeeded."""
    if op in (Op.SET_DATA, Op.SET_ACL):
        return outcome.stat()
    if op == Op.CREATE:
        return len(outcome.path).to_bytes(4, "big") + outcome.path
    if op in (Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL):
        return len(outcome.path).to_bytes(4, "big") + outcome.path + outcome.stat()
    return b""


def parts(payload: bytes, outcomes: list[Outcome]) -> list[bytes]:
    """The results in the response of a multi. Its txn has create2 as create; who asked knows."""
    kinds = [outcome.type for outcome in outcomes]
    if _CREATE2_BEGINS in payload:
        asked = requests.read_multi(Reader(payload))
        kinds = [
            Op.CREATE2 if op == Op.CREATE2 else kind
            for kind, (op, _) in zip(kinds, asked, strict=True)
        ]
    return [_part(kind, outcome) for kind, outcome in zip(kinds, outcomes, strict=True)]


def _part(kind: int, outcome: Outcome) -> bytes:
    """One operation's result in the response of a multi."""
    if outcome.type == Op.ERROR:
        return requests.error_result(outcome.error)
    if kind in (Op.CREATE_CONTAINER, Op.CREATE_TTL):
        kind = Op.CREATE2
    return requests.MULTI_HEADER.pack(kind, False, 0) + changed(kind, outcome)
