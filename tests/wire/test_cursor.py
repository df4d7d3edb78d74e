"""The primitives of jute, and ACLs: signs, nulls, lies about lengths, ends that come too early."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.values import ACL, OPEN_ACL, ACLs, Id
from coterie.wire.cursor import (
    Reader,
    read_acls,
    read_setting,
    write_acls,
    write_buffer,
    write_int,
)


def test_numbers_are_signed_and_big_endian() -> None:
    reader = Reader(bytes.fromhex("80 fffffffe 7fffffff ffffffffffffff00 02"))
    assert reader.byte() == 0x80
    assert reader.int32() == -2
    assert reader.int32() == 2**31 - 1
    assert reader.int64() == -256
    assert reader.boolean() is True, "any byte but 0 is true"
    assert reader.at_end()


def test_broken_utf8_is_read_as_java_does() -> None:
    assert Reader(b"\0\0\0\x03a\xffb").string() == "a\ufffdb"
    # Java writes what is beyond 16 bits as two surrogates of three bytes each.
    cesu = bytes.fromhex("eda0bdedb880")
    assert set(Reader(b"\0\0\0\x06" + cesu).string()) == {"\ufffd"}


@pytest.mark.parametrize("length", [-2, -(2**31), 1, 5, 2**31 - 1])
@pytest.mark.parametrize("read", [Reader.buffer, Reader.path, Reader.string, Reader.count])
def test_a_length_that_lies(read: Callable[[Reader], object], length: int) -> None:
    with pytest.raises(MarshallingError):
        read(Reader(length.to_bytes(4, "big", signed=True)))


def test_a_vector_may_not_promise_more_items_than_bytes() -> None:
    """An attacker's four bytes must not make a list of two thousand million."""
    assert Reader(b"\0\0\0\x03abc").count() == 3
    with pytest.raises(MarshallingError):
        Reader(b"\0\0\0\x04abc").count()


@pytest.mark.parametrize(
    ("read", "size"),
    [(Reader.byte, 1), (Reader.boolean, 1), (Reader.int32, 4), (Reader.int64, 8)],
)
def test_a_number_cut_short(read: Callable[[Reader], object], size: int) -> None:
    for have in range(size):
        with pytest.raises(MarshallingError):
            read(Reader(bytes(have)))
        with pytest.raises(MarshallingError):
            read(Reader(bytes(20), 3, 3 + have))


def test_a_failed_read_of_a_buffer_moves_nothing() -> None:
    """The snapshot reader tries again from the same place with more bytes."""
    reader = Reader(b"\0\0\0\x05abc")
    with pytest.raises(MarshallingError):
        reader.buffer()
    assert reader.pos == 0


def _setting(path: bytes | None, data: bytes | None, version: int) -> bytes:
    out = bytearray()
    write_buffer(out, path)
    write_buffer(out, data)
    write_int(out, version)
    return bytes(out)


@given(
    st.none() | st.binary(max_size=9),
    st.none() | st.binary(max_size=9),
    st.integers(-9, 9),
    st.integers(-1, 20),
    st.binary(min_size=1, max_size=4),
    st.integers(0, 4),
)
def test_a_setting_is_read_as_field_by_field(
    path: bytes | None, data: bytes | None, version: int, at: int, damage: bytes, cut: int
) -> None:
    wire = _setting(path, data, version)
    if at >= 0:
        wire = wire[:at] + damage + wire[at + len(damage) :]
    whole, parts = Reader(wire, 0, len(wire) - cut), Reader(wire, 0, len(wire) - cut)
    try:
        expected = parts.path(), parts.buffer(), parts.int32()
    except MarshallingError:
        with pytest.raises(MarshallingError):
            read_setting(whole)
    else:
        assert read_setting(whole) == expected
        assert whole.pos == parts.pos


def _written(acls: ACLs) -> bytes:
    out = bytearray()
    write_acls(out, acls)
    return bytes(out)


_IDS = st.builds(Id, st.text(max_size=5), st.text(max_size=5))
_ACLS = st.lists(st.builds(ACL, st.integers(0, 31), _IDS), max_size=4).map(tuple)


@settings(deadline=None)
@given(_ACLS | st.just(OPEN_ACL))
def test_acls_come_back(acls: tuple[ACL, ...]) -> None:
    reader = Reader(_written(acls))
    assert read_acls(reader) == acls
    assert reader.at_end()


def test_the_open_acl_is_one_object() -> None:
    data = _written(OPEN_ACL)
    assert read_acls(Reader(b"xx" + data, 2)) is OPEN_ACL
    two = (*OPEN_ACL, ACL(1, Id("ip", "127.0.0.1")))
    assert read_acls(Reader(_written(two))) == two


def test_acls_cut_short() -> None:
    data = _written(OPEN_ACL)
    for end in range(len(data)):
        with pytest.raises(MarshallingError):
            read_acls(Reader(data, 0, end))
