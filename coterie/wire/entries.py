"""How a whole txn is read, from an entry of the log or from a PROPOSAL.

Every member reads each txn that another numbered, so this is a module that mypyc compiles.
"""

from __future__ import annotations

from coterie.errors import MarshallingError
from coterie.wire.cursor import Reader, read_setting
from coterie.wire.jute import Record
from coterie.wire.numbered import DIGEST, DIGEST_VERSION, HEADER, Txn
from coterie.wire.requests import Op
from coterie.wire.txns import read_body
from coterie.wire.writes import CreateTxn, SetDataTxn


def decode(entry: bytes) -> Txn:
    """A txn from its log entry or PROPOSAL. Raises `MarshallingError` for what is none."""
    if len(entry) < HEADER.size:
        raise MarshallingError
    session_id, cxid, zxid, time_ms, kind = HEADER.unpack_from(entry)
    reader = Reader(entry, HEADER.size)
    body: Record
    if kind == Op.SET_DATA:
        # This and create are nearly all txns: without the detour by the table.
        body = SetDataTxn(*read_setting(reader))
    elif kind == Op.CREATE or kind == Op.CREATE2:
        body = CreateTxn.read(reader)
    else:
        body = read_body(kind, reader)
    digest: int | None = None
    if not reader.at_end():
        version, found = DIGEST.unpack(reader.raw(DIGEST.size))
        if version == DIGEST_VERSION:
            digest = found
    return Txn(session_id, cxid, zxid, time_ms, kind, body, digest, encoded=entry)
