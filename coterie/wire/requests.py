"""The client protocol: opcodes, headers, and every request and response, in one table.

Records carry the field names and the order of ZooKeeper's `zookeeper.jute`. Paths are bytes.
`TABLE` says for each opcode which record its body is and what answers it. Those of create and
setData are in `wire/writes.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from coterie.errors import MarshallingError
from coterie.values import Stat
from coterie.wire.cursor import Reader, write_buffer
from coterie.wire.jute import (
    Acls,
    Bool,
    Buffer,
    Int,
    Long,
    Path,
    Paths,
    Record,
    Text,
    record,
)
from coterie.wire.writes import CreateRequest, SetDataRequest

__all__ = ["CreateRequest", "SetDataRequest"]

NOTIFICATION_XID: Final = -1
PING_XID: Final = -2
AUTH_XID: Final = -4
SET_WATCHES_XID: Final = -8


class Op:
    """What a request asks for; also the type of a txn, where one comes of it.

    Plain integers: looking a member up in an enum costs 80 ns, and a request does it ten times.
    """

    NOTIFICATION: Final = 0
    CREATE: Final = 1
    DELETE: Final = 2
    EXISTS: Final = 3
    GET_DATA: Final = 4
    SET_DATA: Final = 5
    GET_ACL: Final = 6
    SET_ACL: Final = 7
    GET_CHILDREN: Final = 8
    SYNC: Final = 9
    PING: Final = 11
    GET_CHILDREN2: Final = 12
    CHECK: Final = 13
    MULTI: Final = 14
    CREATE2: Final = 15
    RECONFIG: Final = 16
    CHECK_WATCHES: Final = 17
    REMOVE_WATCHES: Final = 18
    CREATE_CONTAINER: Final = 19
    DELETE_CONTAINER: Final = 20
    CREATE_TTL: Final = 21
    MULTI_READ: Final = 22
    AUTH: Final = 100
    SET_WATCHES: Final = 101
    SASL: Final = 102
    GET_EPHEMERALS: Final = 103
    GET_ALL_CHILDREN_NUMBER: Final = 104
    SET_WATCHES2: Final = 105
    ADD_WATCH: Final = 106
    WHO_AM_I: Final = 107
    CREATE_SESSION: Final = -10
    CLOSE_SESSION: Final = -11
    ERROR: Final = -1


OP_NAMES: Final[dict[int, str]] = {
    code: name for name, code in vars(Op).items() if isinstance(code, int)
}


REPLY_HEADER: Final = struct.Struct(">iiqi")
"""frame length, xid, zxid, error: what every reply starts with."""

_INT: Final = struct.Struct(">i").unpack_from
STAT: Final = struct.Struct(">qqqqiiiqiiq")
"""A Stat as clients see it, 68 bytes, in the order of `values.Stat`."""


def reply(xid: int, zxid: int, error: int, body: bytes = b"") -> bytes:
    """A whole reply frame."""
    return REPLY_HEADER.pack(16 + len(body), xid, zxid, error) + body


def read_stat(reader: Reader) -> Stat:
    return Stat(*STAT.unpack(reader.raw(STAT.size)))


@record
class ConnectRequest(Record):
    """The first packet of a client; a trailing readOnly byte follows from 3.4 on."""

    protocol_version: Int
    last_zxid_seen: Long
    timeout_ms: Int
    session_id: Long
    password: Buffer


@record
class ConnectResponse(Record):
    """The answer to it; the readOnly byte follows only if the request had one."""

    protocol_version: Int
    timeout_ms: Int
    session_id: Long
    password: Buffer


@record
class RequestHeader(Record):
    xid: Int
    type: Int


@record
class CreateTTLRequest(Record):
    path: Path
    data: Buffer
    acl: Acls
    flags: Int
    ttl_ms: Long


@record
class DeleteRequest(Record):
    path: Path
    version: Int


@record
class PathWatchRequest(Record):
    """exists, getData, getChildren and getChildren2."""

    path: Path
    watch: Bool


@record
class PathRequest(Record):
    """getACL, sync, getAllChildrenNumber, getEphemerals and deleteContainer."""

    path: Path


@record
class SetACLRequest(Record):
    path: Path
    acl: Acls
    version: Int


@record
class CheckVersionRequest(Record):
    path: Path
    version: Int


@record
class WatchesRequest(Record):
    """checkWatches, removeWatches (a `WatcherType`) and addWatch (an `AddWatchMode`)."""

    path: Path
    type: Int


@record
class AuthPacket(Record):
    type: Int
    scheme: Text
    auth: Buffer


@record
class SetWatches(Record):
    relative_zxid: Long
    data_watches: Paths
    exist_watches: Paths
    child_watches: Paths


@record
class SetWatches2(Record):
    relative_zxid: Long
    data_watches: Paths
    exist_watches: Paths
    child_watches: Paths
    persistent_watches: Paths
    persistent_recursive_watches: Paths


@record
class ReconfigRequest(Record):
    joining_servers: Text
    leaving_servers: Text
    new_members: Text
    current_config_id: Long


@record
class Empty(Record):
    """No body at all."""


@record
class PathResponse(Record):
    """create and sync."""

    path: Path


@record
class ChildrenResponse(Record):
    children: Paths


@record
class WatcherEvent(Record):
    type: Int
    state: Int
    path: Path


@record
class IntResponse(Record):
    """getAllChildrenNumber's total, and the error 0 that answers addWatch."""

    value: Int


@dataclass(frozen=True, slots=True)
class Shape:
    """One opcode: the record of its body, and whether it goes through the log."""

    request: type[Record]
    writes: bool = False


TABLE: Final[dict[int, Shape]] = {
    Op.CREATE: Shape(CreateRequest, writes=True),
    Op.CREATE2: Shape(CreateRequest, writes=True),
    Op.CREATE_CONTAINER: Shape(CreateRequest, writes=True),
    Op.CREATE_TTL: Shape(CreateTTLRequest, writes=True),
    Op.DELETE: Shape(DeleteRequest, writes=True),
    Op.DELETE_CONTAINER: Shape(PathRequest, writes=True),
    Op.SET_DATA: Shape(SetDataRequest, writes=True),
    Op.SET_ACL: Shape(SetACLRequest, writes=True),
    Op.CHECK: Shape(CheckVersionRequest, writes=True),
    Op.MULTI: Shape(Empty, writes=True),
    Op.RECONFIG: Shape(ReconfigRequest, writes=True),
    Op.CREATE_SESSION: Shape(Empty, writes=True),
    Op.CLOSE_SESSION: Shape(Empty, writes=True),
    Op.EXISTS: Shape(PathWatchRequest),
    Op.GET_DATA: Shape(PathWatchRequest),
    Op.GET_CHILDREN: Shape(PathWatchRequest),
    Op.GET_CHILDREN2: Shape(PathWatchRequest),
    Op.GET_ACL: Shape(PathRequest),
    Op.SYNC: Shape(PathRequest),
    Op.PING: Shape(Empty),
    Op.AUTH: Shape(AuthPacket),
    Op.SET_WATCHES: Shape(SetWatches),
    Op.SET_WATCHES2: Shape(SetWatches2),
    Op.ADD_WATCH: Shape(WatchesRequest),
    Op.CHECK_WATCHES: Shape(WatchesRequest),
    Op.REMOVE_WATCHES: Shape(WatchesRequest),
    Op.GET_EPHEMERALS: Shape(PathRequest),
    Op.GET_ALL_CHILDREN_NUMBER: Shape(PathRequest),
    Op.MULTI_READ: Shape(Empty),
    Op.WHO_AM_I: Shape(Empty),
}

MULTI_HEADER: Final = struct.Struct(">i?i")
MULTI_END: Final = MULTI_HEADER.pack(-1, True, -1)

_IN_MULTI: Final = frozenset(
    {
        Op.CREATE,
        Op.CREATE2,
        Op.CREATE_CONTAINER,
        Op.CREATE_TTL,
        Op.DELETE,
        Op.SET_DATA,
        Op.CHECK,
    }
)
_IN_MULTI_READ: Final = frozenset({Op.GET_CHILDREN, Op.GET_DATA})


def read_multi(reader: Reader, reads: bool = False) -> list[tuple[int, Record]]:
    """The operations of a multi (or, with `reads`, of a multiRead) request.

    Raises `MarshallingError` for anything else in it, as ZooKeeper's MultiOperationRecord does.
    """
    allowed = _IN_MULTI_READ if reads else _IN_MULTI
    operations: list[tuple[int, Record]] = []
    while True:
        op, done, _ = MULTI_HEADER.unpack(reader.raw(MULTI_HEADER.size))
        if done:
            return operations
        if op not in allowed:
            raise MarshallingError
        operations.append((op, TABLE[op].request.read(reader)))


def write_multi(operations: list[tuple[int, Record]]) -> bytes:
    """The body of a multi or multiRead request."""
    out = bytearray()
    for op, body in operations:
        out += MULTI_HEADER.pack(op, False, -1)
        body.write(out)
    return bytes(out + MULTI_END)


def error_result(code: int) -> bytes:
    """One failed (or not executed) operation in a multi's response."""
    return MULTI_HEADER.pack(-1, False, code) + struct.pack(">i", code)


def notification(event: int, path: bytes, zxid: int) -> bytes:
    """A whole frame that tells of a watch event; the state is always SyncConnected."""
    body = bytearray(struct.pack(">ii", event, 3))
    write_buffer(body, path)
    return reply(NOTIFICATION_XID, zxid, 0, bytes(body))
