"""Frames come out whole however the bytes come in, and lies about lengths are told at once."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.wire.framing import HEADER, Framing, frames

_MAX = 100


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


@settings(deadline=None)
@given(st.lists(st.binary(max_size=_MAX), max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_any_cut_of_the_stream_gives_the_same_frames(
    payloads: list[bytes], sizes: list[int]
) -> None:
    stream = b"".join(map(_framed, payloads))
    framing = Framing(_MAX)
    got: list[bytes] = []
    pos = 0
    for size in cycle(sizes):
        if pos >= len(stream):
            break
        got += frames(framing, stream[pos : pos + size])
        pos += size
    assert got == payloads
    assert framing.waiting_bytes == 0


def test_one_byte_at_a_time() -> None:
    framing = Framing(_MAX)
    stream = _framed(b"one") + _framed(b"") + _framed(b"two")
    got = [frame for byte in stream for frame in frames(framing, bytes([byte]))]
    assert got == [b"one", b"", b"two"]


def test_a_frame_of_exactly_the_limit_is_legal() -> None:
    assert list(frames(Framing(_MAX), _framed(bytes(_MAX)))) == [bytes(_MAX)]


@pytest.mark.parametrize("length", [_MAX + 1, 2**31 - 1, -1, -(2**31)])
def test_a_length_that_will_be_refused_is_refused_before_the_rest_comes(length: int) -> None:
    head = length.to_bytes(4, "big", signed=True)
    with pytest.raises(MarshallingError):
        Framing(_MAX).keep(head)
    with pytest.raises(MarshallingError):
        list(frames(Framing(_MAX), head + b"payload"))
    framing = Framing(_MAX)
    assert list(frames(framing, head[:3])) == []
    with pytest.raises(MarshallingError):
        list(frames(framing, head[3:]))


def test_frames_before_a_lie_are_still_had() -> None:
    coming = frames(Framing(_MAX), _framed(b"good") + b"\xff\xff\xff\xff")
    assert next(coming) == b"good"
    with pytest.raises(MarshallingError):
        next(coming)


def test_a_chunk_is_handed_on_uncopied_when_nothing_waits() -> None:
    framing = Framing(_MAX)
    chunk = _framed(b"payload")
    assert framing.feed(chunk) is chunk


def test_feed_tells_nothing_until_the_frame_is_whole() -> None:
    framing = Framing(_MAX)
    framing.keep(_framed(b"payload")[:6])
    assert framing.waiting_bytes == 6
    assert framing.feed(b"yloa") == b""
    assert framing.waiting_bytes == 10
    assert framing.feed(b"d" + _framed(b"next")) == _framed(b"payload") + _framed(b"next")
    assert framing.waiting_bytes == 0


def test_the_header_is_length_xid_and_type() -> None:
    assert HEADER.pack(8, -2, 11).hex() == "00000008" + "fffffffe" + "0000000b"
