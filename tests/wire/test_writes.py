"""The records that are written out: they read what the general way reads, and behave as others."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.values import OPEN_ACL
from coterie.wire.cursor import Reader
from coterie.wire.record import Plain, Record
from coterie.wire.writes import CreateRequest, CreateTxn, SetDataRequest, SetDataTxn
from tests.wire import records

_CLASSES: list[type[Record]] = [SetDataRequest, SetDataTxn, CreateRequest, CreateTxn]


def _damaged(cls: type[Record]) -> st.SearchStrategy[bytes]:
    """Encoded records of a class, with a few bytes overwritten anywhere."""

    def change(body: Record, at: int, other: bytes) -> bytes:
        data = body.encode()
        return data[:at] + other + data[at + len(other) :]

    return st.builds(change, records.of(cls), st.integers(0, 40), st.binary(max_size=4))


def _same_as_the_general_way(cls: type[Record], data: bytes) -> None:
    def general(reader: Reader) -> Record:
        return cls(*[codec.read(reader) for _, codec in cls._codecs])

    results: list[object] = []
    for read in (cls.read, general):
        reader = Reader(b"before" + data + b"behind", 6, 6 + len(data))
        try:
            results.append((read(reader), reader.pos))
        except MarshallingError:
            results.append(MarshallingError)
    assert results[0] == results[1]


@settings(deadline=None)
@given(_damaged(SetDataRequest))
@example(b"\0\0\0\x02/a\xff\xff\xff\xff\0\0\0\x07")
@example(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x07")  # a null path
@example(b"\xff\xff\xff\xfe\0\0\0\0\0\0\0\x07")
def test_the_quick_way_to_read_set_data_is_the_general_one(data: bytes) -> None:
    _same_as_the_general_way(SetDataRequest, data)
    _same_as_the_general_way(SetDataTxn, data)


@settings(deadline=None)
@given(_damaged(CreateRequest))
def test_the_quick_way_to_read_create_is_the_general_one(data: bytes) -> None:
    _same_as_the_general_way(CreateRequest, data)


@pytest.mark.parametrize("cls", _CLASSES, ids=lambda cls: cls.__name__)
def test_what_is_written_is_read(cls: type[Record]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(records.of(cls))
    def check(body: Record) -> None:
        reader = Reader(body.encode() + b"rest")
        assert cls.read(reader) == body
        assert reader.raw(4) == b"rest"

    check()


def test_a_create_of_3_3_has_no_cversion() -> None:
    body = CreateTxn(b"/a", b"x", OPEN_ACL, True, 7)
    assert CreateTxn.decode(body.encode()[:-4]) == CreateTxn(b"/a", b"x", OPEN_ACL, True, -1)
    for cut in range(len(body.encode()) - 4):
        with pytest.raises(MarshallingError):
            CreateTxn.decode(body.encode()[:cut])


@pytest.mark.parametrize(
    ("body", "others", "shown"),
    [
        (
            SetDataTxn(b"/a", None, 3),
            (SetDataTxn(b"/b", None, 3), SetDataTxn(b"/a", b"", 3), SetDataTxn(b"/a", None, 4)),
            "SetDataTxn(path=b'/a', data=None, version=3)",
        ),
        (
            CreateRequest(b"/a", b"x", (), 1),
            (CreateRequest(b"/a", b"x", OPEN_ACL, 1), CreateRequest(b"/a", b"x", (), 0)),
            "CreateRequest(path=b'/a', data=b'x', acl=(), flags=1)",
        ),
    ],
)
def test_they_are_equal_and_shown_by_their_fields(
    body: Plain, others: tuple[Plain, ...], shown: str
) -> None:
    assert body == type(body).decode(body.encode())
    assert all(body != other for other in others)
    assert repr(body) == shown
