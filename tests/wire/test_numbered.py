"""A numbered txn: its bytes, and which may come next."""

from __future__ import annotations

import pytest

from coterie.wire.numbered import Txn, follows
from coterie.wire.requests import Op
from coterie.wire.txns import DeleteTxn, ErrorTxn


def test_the_header_is_32_bytes_in_zookeepers_order() -> None:
    entry = Txn(0x0102030405060708, 9, 10, 11, Op.ERROR, ErrorTxn(-101)).encoded
    assert entry.hex() == (
        "010203040506070800000009000000000000000a000000000000000bffffffffffffff9b"
    )


def test_a_body_that_is_there_is_not_encoded_again() -> None:
    body = DeleteTxn(b"/a")
    assert Txn(1, 2, 3, 4, Op.DELETE, body, 5, b"ready").encoded[32:-12] == b"ready"


@pytest.mark.parametrize(
    ("last_zxid", "zxid", "may"),
    [
        (0, 1, True),
        (0, 2, False),
        (5, 5, False),
        (5, 4, False),
        # A new epoch begins with the number of the leader's first txn, 1; the leader itself is 0.
        (5, (1 << 32) + 1, True),
        (5, 1 << 32, True),
        (5, (1 << 32) + 2, False),
        ((1 << 32) + 7, (3 << 32) + 1, True),
        ((3 << 32) + 7, (1 << 32) + 1, False),
    ],
)
def test_which_zxid_may_come_next(last_zxid: int, zxid: int, may: bool) -> None:
    assert follows(zxid, last_zxid) == may
