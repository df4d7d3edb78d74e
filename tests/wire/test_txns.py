"""The bodies of txns by themselves, as they stand in a multi."""

from __future__ import annotations

import pytest

from coterie.errors import MarshallingError
from coterie.wire.cursor import Reader
from coterie.wire.requests import Op
from coterie.wire.txns import BODIES, CloseSessionTxn, DeleteTxn, SetDataTxn, read_body


def test_bodies_read_alone_leave_what_follows() -> None:
    reader = Reader(DeleteTxn(b"/a").encode() + b"rest")
    assert DeleteTxn.read(reader) == DeleteTxn(b"/a")
    assert reader.raw(4) == b"rest"


def test_each_type_has_its_body_and_others_have_none() -> None:
    for kind, body in ((Op.DELETE, DeleteTxn(b"/a")), (Op.SET_DATA, SetDataTxn(b"/a", None, 3))):
        reader = Reader(body.encode() + b"rest")
        assert read_body(kind, reader) == body
        assert reader.raw(4) == b"rest"
    assert read_body(Op.CLOSE_SESSION, Reader(b"")) == CloseSessionTxn([])
    for kind in set(range(-20, 120)) - set(BODIES):
        with pytest.raises(MarshallingError):
            read_body(kind, Reader(bytes(64)))
