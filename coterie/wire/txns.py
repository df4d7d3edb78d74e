"""The bodies of txns (a whole one is in `wire/numbered.py`, how it is read in `wire/entries.py`).

A txn is the only thing that changes a znode. Those of create and setData are in `wire/writes.py`.
"""

from __future__ import annotations

from typing import Final, Self

from coterie.errors import MarshallingError
from coterie.wire.cursor import Reader, write_buffer, write_int
from coterie.wire.jute import Acls, Buffer, Int, Long, Path, Paths, Record, record
from coterie.wire.numbered import DIGEST, DIGEST_VERSION
from coterie.wire.requests import Op
from coterie.wire.writes import CreateTxn, SetDataTxn

__all__ = ["CreateTxn", "SetDataTxn"]


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
            operations.append((kind, read_body(kind, body)))
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


def read_body(kind: int, reader: Reader) -> Record:
    """The body of a txn of this type. Raises `MarshallingError` for what is none."""
    cls = BODIES.get(kind)
    if cls is None:
        raise MarshallingError
    if cls is CloseSessionTxn and _has_no_body(reader):
        return CloseSessionTxn([])
    return cls.read(reader)


def _has_no_body(reader: Reader) -> bool:
    """Whether nothing but a digest is there. As a body it would be two empty paths."""
    rest = reader.data[reader.pos : reader.end]
    return not rest or (len(rest) == DIGEST.size and DIGEST.unpack(rest)[0] == DIGEST_VERSION)
