"""A numbered txn: its header, body and digest, as it is logged and as it is proposed.

The encoding is the same in the log and in a PROPOSAL, so a `Txn` carries it along: `encoded` is
made once, by the server that numbered the txn, often from slices of the client's request. Every
part of a server reads the fields, so this is a module that mypyc compiles; the bodies are in
`wire/txns.py`, which it cannot, and `wire/writes.py`, and `wire/entries.py` reads both.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coterie.wire.jute import Record

HEADER: Final = struct.Struct(">qiqqi")
"""session id, cxid, zxid, time (ms since 1970), type."""
DIGEST: Final = struct.Struct(">iq")
DIGEST_VERSION: Final = 2


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
        encoded: bytes | None = None,
    ) -> None:
        self.session_id = session_id
        self.cxid = cxid
        self.zxid = zxid
        self.time_ms = time_ms
        self.type = type
        self.body = body
        self.digest = digest
        self.shares: dict[bytes, int] | None = None
        if encoded is None:
            header = HEADER.pack(session_id, cxid, zxid, time_ms, type)
            tail = b"" if digest is None else DIGEST.pack(DIGEST_VERSION, digest)
            middle = body.encode() if encoded_body is None else encoded_body
            encoded = b"".join((header, middle, tail))
        self.encoded = encoded

    def __repr__(self) -> str:
        return f"<txn {self.zxid:#x} session {self.session_id:#x} cxid {self.cxid} {self.body!r}>"


_EPOCH: Final = 2**32


def follows(zxid: int, last_zxid: int) -> bool:
    """Whether `zxid` may come next: every write takes one number, a new epoch begins with 1."""
    if zxid == last_zxid + 1:
        return True
    return zxid // _EPOCH > last_zxid // _EPOCH and zxid % _EPOCH <= 1
