"""Jute against protocol facts: known bytes, round trips, and every way to lie about a length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.values import OPEN_ACL
from coterie.wire import cursor
from coterie.wire.cursor import Reader
from coterie.wire.jute import Buffer, Int, Paths, Record, Text, record


@record
class _Sample(Record):
    number: Int
    data: Buffer
    names: Paths
    text: Text


def _written(write: Callable[[bytearray, Any], None], value: Any) -> bytes:
    out = bytearray()
    write(out, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("write", "value", "wire"),
    [
        (cursor.write_int, 1, "00000001"),
        (cursor.write_int, -2, "fffffffe"),
        (cursor.write_long, 2**40, "0000010000000000"),
        (cursor.write_long, -1, "ffffffffffffffff"),
        (cursor.write_boolean, True, "01"),
        (cursor.write_boolean, False, "00"),
        (cursor.write_buffer, None, "ffffffff"),
        (cursor.write_buffer, b"", "00000000"),
        (cursor.write_buffer, b"ab", "000000026162"),
        (cursor.write_string, "ü", "00000002c3bc"),
        (
            cursor.write_acls,
            OPEN_ACL,
            "000000010000001f00000005776f726c6400000006616e796f6e65",
        ),
        (cursor.write_acls, (), "00000000"),
    ],
)
def test_known_bytes(write: Callable[[bytearray, Any], None], value: Any, wire: str) -> None:
    assert _written(write, value).hex() == wire


def test_null_and_empty_are_two_things_for_a_buffer_and_one_elsewhere() -> None:
    null = b"\xff\xff\xff\xff"
    assert Reader(null).buffer() is None
    assert Reader(bytes(4)).buffer() == b""
    assert Reader(null).path() == b""
    assert Reader(null).string() == ""
    assert Reader(null).count() == 0
    assert cursor.read_acls(Reader(null)) == ()


def test_a_reader_of_a_part_does_not_look_beyond_its_end() -> None:
    data = _written(cursor.write_buffer, b"abcdef")
    with pytest.raises(MarshallingError):
        Reader(data, 0, 9).buffer()
    with pytest.raises(MarshallingError):
        Reader(data, 0, 3).raw(4)


@settings(deadline=None)
@given(
    st.integers(-(2**31), 2**31 - 1),
    st.none() | st.binary(),
    st.lists(st.binary(max_size=5), max_size=5),
    st.text(),
)
def test_a_record_is_its_fields_in_order(
    number: int, data: bytes | None, names: list[bytes], text: str
) -> None:
    sample = _Sample(number, data, names, text)
    parts = [
        _written(cursor.write_int, number),
        _written(cursor.write_buffer, data),
        _written(cursor.write_int, len(names)),
        *(_written(cursor.write_buffer, name) for name in names),
        _written(cursor.write_string, text),
    ]
    assert sample.encode() == b"".join(parts)
    assert _Sample.decode(sample.encode()) == sample


def test_what_does_not_fit_a_field_is_no_silent_wrong_number() -> None:
    with pytest.raises(Exception, match="format requires"):
        _Sample(2**31, None, [], "").encode()


def test_a_record_leaves_what_follows_it() -> None:
    sample = _Sample(1, b"x", [b"/a"], "y")
    reader = Reader(sample.encode() + b"rest")
    assert _Sample.read(reader) == sample
    assert reader.raw(4) == b"rest"
    assert reader.at_end()
