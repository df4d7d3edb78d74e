"""Path rules against those of Apache's `PathUtils`, written down a second time here."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coterie import paths

_PARTS = st.sampled_from([b"/", b".", b"..", b"a", b"\0", b" ", b"\xc3\xbc", b"\xe2\x98\x83"])
_ODD = st.sampled_from(
    [0x1F, 0x20, 0x7E, 0x7F, 0x9F, 0xA0, 0x7FF, 0x800, 0xD7FF, 0xF8FF, 0xF900, 0xFFEF, 0xFFF0]
)


def _allowed(path: bytes) -> bool:
    """As Java does it: decode, then look at each 16-bit unit."""
    text = path.decode("utf-8", "replace")
    if text == "/":
        return True
    if not text.startswith("/") or any(p in ("", ".", "..") for p in text[1:].split("/")):
        return False
    wide = text.encode("utf-16-be")
    units = [int.from_bytes(wide[i : i + 2], "big") for i in range(0, len(wide), 2)]
    return not any(
        unit <= 0x1F
        or 0x7F <= unit <= 0x9F
        or 0xD800 <= unit <= 0xF8FF
        or 0xFFF0 <= unit <= 0xFFFF
        for unit in units
    )


@settings(deadline=None)
@given(st.lists(_PARTS, max_size=8).map(b"".join))
@example(b"/")
@example(b"")
@example(b"//")
@example(b"/a/")
@example(b"a/b")
@example(b"/a/../b")
@example(b"/./a")
@example(b"/.a/a./..a/.../a..b")
@example(b"/a\n")
@example(b"/a/\n")
def test_parts_as_in_apache(path: bytes) -> None:
    assert paths.valid(path) == _allowed(path)


@settings(deadline=None)
@given(st.one_of(_ODD, st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF)))
def test_characters_as_in_apache(point: int) -> None:
    path = f"/a{chr(point)}b".encode()
    assert paths.valid(path) == _allowed(path)


@settings(deadline=None)
@given(st.binary(max_size=6).map(lambda tail: b"/" + tail))
@example(b"/\xed\xa0\x80")  # half of a surrogate pair
@example(b"/\xed\xa0\xbd\xed\xb8\x80")  # a whole one, as Java's jute writes it
@example(b"/\xf0\x9f\x98\x80")  # the same character in UTF-8
@example(b"/\xc0\x80")  # NUL, as Java's modified UTF-8 writes it
@example(b"/\xc0\xaf")  # a slash in two bytes
@example(b"/\xe0\x80\xaf")
@example(b"/\xc3")
@example(b"/\xee\x80\x80")  # for private use
@example(b"/\xef\xa3\xbf")
@example(b"/\xef\xbf\xbd")  # what broken UTF-8 is read as
def test_bytes_that_are_no_text_are_refused(path: bytes) -> None:
    assert paths.valid(path) == _allowed(path)


@pytest.mark.parametrize("text", ["/", "/zookeeper/config", "/a b", "/ü/☃", "/a:b?c#d\\e", "/豈"])
def test_usual_and_odd_paths_are_valid(text: str) -> None:
    assert paths.valid(text.encode())


def test_the_length_of_a_path_is_no_matter() -> None:
    assert paths.valid(b"/a" * 50_000)
    assert not paths.valid(b"/a" * 50_000 + b"/")


@pytest.mark.parametrize(
    ("path", "parent"), [(b"/a", b"/"), (b"/a/b", b"/a"), ("/ü/☃".encode(), "/ü".encode())]
)
def test_the_parent_is_what_stands_before_the_last_slash(path: bytes, parent: bytes) -> None:
    assert paths.parent(path) == parent


def test_the_root_has_no_parent() -> None:
    with pytest.raises(AssertionError):
        paths.parent(b"/")


@pytest.mark.parametrize(
    ("number", "suffix"),
    [
        (0, b"0000000000"),
        (12345, b"0000012345"),
        (2**31 - 1, b"2147483647"),
        # Java's String.format("%010d", int) of a counter that overflowed.
        (2**31, b"-2147483648"),
        (2**32 - 1, b"-000000001"),
        (2**32, b"0000000000"),
        (-1, b"-000000001"),
    ],
)
def test_the_suffix_of_a_sequential_znode(number: int, suffix: bytes) -> None:
    assert paths.sequence(number) == suffix


@settings(deadline=None)
@given(st.binary())
def test_any_path_can_be_shown(path: bytes) -> None:
    assert paths.text(path).encode("utf-8").decode("utf-8") == path.decode("utf-8", "replace")
