"""Txns: header, bodies and digest, as they are logged and as they are proposed.

A txn is the only thing that changes a znode. Its encoding is the same in the log and in a
PROPOSAL, so a `Txn` carries it along: `encoded` is made once, by the server that numbered the
txn, often from slices of the client's request.
"""

from __future__ import annotations

import struct
from typing import Final, Self

from coterie.errors import MarshallingError
from coterie.wire.jute import (
    Acls,
    Bool,
    Buffer,
    Int,
    Long,
    Path,
    Paths,
    Reader,
    Record,
    record,
    write_buffer,
    write_int,
)
from coterie.wire.requests import Op

HEADER: Final = struct.Struct(">qiqqi")
"""session id, cxid, zxid, time (ms since 1970), type."""
DIGEST: Final = struct.Struct(">iq")
DIGEST_VERSION: Final = 2


@record
class CreateTxn(Record):
    """create and create2. `parent_cversion` is the parent's stored one after this create."""

    path: Path
    data: Buffer
    acl: Acls
    ephemeral: Bool
    parent_cversion: Int


@record
class CreateContainerTxn(Record):
    path: Path
    data: Buffer
    acl: Acls
    parent_cversion: Int


@record
class CreateTTLTxn(Record):
    path: Path
    data: Buffer
    acl: Acls
    parent_cversion: Int
    ttl_ms: Long


@record
class DeleteTxn(Record):
    path: Path


@record
class SetDataTxn(Record):
    """`version` is the new one."""

    path: Path
    data: Buffer
    version: Int


@record
class SetACLTxn(Record):
    """`version` is the new ACL version."""

    path: Path
    acl: Acls
    version: Int


@record
class CheckVersionTxn(Record):
    path: Path
    version: Int


@record
class CreateSessionTxn(Record):
    timeout_ms: Int


@record
class CloseSessionTxn(Record):
    """`paths` are the session's ephemerals. Servers older than 3.6 log no body, nor do newer
    ones with closeSessionTxn.enabled=false, but these add a digest."""

    paths: Paths


@record
class ErrorTxn(Record):
    """A write that was refused: it has a zxid, and changes nothing."""

    error: Int


class MultiTxn(Record):
    """The operations of a multi: each a type, and its txn body as a buffer."""

    __slots__ = ("operations",)

    def __init__(self, operations: list[tuple[int, Record]]) -> None:
        self.operations = operations

    def write(self, out: bytearray) -> None:
        write_int(out, len(self.operations))
        for kind, body in self.operations:
            write_int(out, kind)
            write_buffer(out, body.encode())

    @classmethod
    def read(cls, reader: Reader) -> Self:
        operations: list[tuple[int, Record]] = []
        for _ in range(reader.count()):
            kind = reader.int32()
            body = Reader(reader.buffer() or b"")
            if kind == Op.MULTI:
                raise MarshallingError
            operations.append((kind, _read_body(kind, body)))
        return cls(operations)


BODIES: Final[dict[int, type[Record]]] = {
    Op.CREATE: CreateTxn,
    Op.CREATE2: CreateTxn,
    Op.CREATE_CONTAINER: CreateContainerTxn,
    Op.CREATE_TTL: CreateTTLTxn,
    Op.DELETE: DeleteTxn,
    Op.DELETE_CONTAINER: DeleteTxn,
    Op.SET_DATA: SetDataTxn,
    Op.RECONFIG: SetDataTxn,
    Op.SET_ACL: SetACLTxn,
    Op.CHECK: CheckVersionTxn,
    Op.MULTI: MultiTxn,
    Op.CREATE_SESSION: CreateSessionTxn,
    Op.CLOSE_SESSION: CloseSessionTxn,
    Op.ERROR: ErrorTxn,
}


class Txn:
    """One numbered change. `digest` is the tree's digest after it, or None where none is kept.

    `shares` are the digests of the znodes that it changes, where the server that numbered it is
    the one that applies it: they need not be computed twice. They do not travel.
    """

    __slots__ = (
        "body",
        "cxid",
        "digest",
        "encoded",
        "session_id",
        "shares",
        "time_ms",
        "type",
        "zxid",
    )

    def __init__(
        self,
        session_id: int,
        cxid: int,
        zxid: int,
        time_ms: int,
        type: int,
        body: Record,
        digest: int | None = None,
        encoded_body: bytes | None = None,
    ) -> None:
        self.session_id = session_id
        self.cxid = cxid
        self.zxid = zxid
        self.time_ms = time_ms
        self.type = type
        self.body = body
        self.digest = digest
        self.shares: dict[bytes, int] | None = None
        header = HEADER.pack(session_id, cxid, zxid, time_ms, type)
        if encoded_body is None:
            encoded_body = body.encode()
        if digest is None:
            self.encoded = header + encoded_body
        else:
            self.encoded = b"".join((header, encoded_body, DIGEST.pack(DIGEST_VERSION, digest)))

    def __repr__(self) -> str:
        return f"<txn {self.zxid:#x} session {self.session_id:#x} cxid {self.cxid} {self.body!r}>"


def _read_body(kind: int, reader: Reader) -> Record:
    cls = BODIES.get(kind)
    if cls is None:
        raise MarshallingError
    if cls is CreateTxn:
        return _read_create(reader)
    if cls is CloseSessionTxn and _has_no_body(reader):
        return CloseSessionTxn([])
    return cls.read(reader)


def _has_no_body(reader: Reader) -> bool:
    """Whether nothing but a digest is there. As a body it would be two empty paths."""
    rest = reader.data[reader.pos : reader.end]
    return not rest or (len(rest) == DIGEST.size and DIGEST.unpack(rest)[0] == DIGEST_VERSION)


def _read_create(reader: Reader) -> CreateTxn:
    """CreateTxn, or the shorter one of 3.3, which did not have the parent's cversion."""
    path, data, acl = CreateTxn._codecs[:3]
    values = (path[1].read(reader), data[1].read(reader), acl[1].read(reader))
    ephemeral = reader.boolean()
    return CreateTxn(*values, ephemeral, -1 if reader.at_end() else reader.int32())


def decode(entry: bytes) -> Txn:
    """A txn from its log entry or PROPOSAL. Raises `MarshallingError` for what is none."""
    if len(entry) < HEADER.size:
        raise MarshallingError
    session_id, cxid, zxid, time_ms, kind = HEADER.unpack_from(entry)
    reader = Reader(entry, HEADER.size)
    txn = Txn.__new__(Txn)
    txn.session_id = session_id
    txn.cxid = cxid
    txn.zxid = zxid
    txn.time_ms = time_ms
    txn.type = kind
    txn.body = _read_body(kind, reader)
    txn.digest = None
    txn.shares = None
    if not reader.at_end():
        version, digest = DIGEST.unpack(reader.raw(DIGEST.size))
        if version == DIGEST_VERSION:
            txn.digest = digest
    txn.encoded = entry
    return txn


_EPOCH: Final = 2**32


def follows(zxid: int, last_zxid: int) -> bool:
    """Whether `zxid` may come next: every write takes one number, a new epoch begins with 1."""
    if zxid == last_zxid + 1:
        return True
    return zxid // _EPOCH > last_zxid // _EPOCH and zxid % _EPOCH <= 1
