"""The syntax of Java properties: what Java's own reader makes of the same text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.properties import PropertiesError, entries


def pairs(text: str) -> list[tuple[str, str]]:
    return [(key, value) for _, key, value in entries(text)]


@pytest.mark.parametrize(
    "text",
    [
        "tickTime=700",
        "tickTime = 700  ",
        "tickTime:700",
        "tickTime 700",
        "\t tickTime\t:\f 700",
        "tick\\\n   Time=7\\\n\t00",
        "\\u0074ickTime=\\u003700",
        "# tickTime=1 \\\ntickTime=700",
        "! tickTime=1\n\n   \ntickTime=700",
        "tickTime=700\\",
        "tickTime=700\r\n#\r!",
    ],
)
def test_one_entry_written_in_many_ways(text: str) -> None:
    assert pairs(text) == [("tickTime", "700")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/a=b:c d", "/a=b:c d"),
        ("C:\\\\zk\\\\data", "C:\\zk\\data"),
        ("/a\\\n#b", "/a#b"),
        ("/a\\tb\\:c\\q", "/a\tb:cq"),
        ("/a # no comment", "/a # no comment"),
        ("/d\u00e9p\u00f4t", "/d\u00e9p\u00f4t"),
        ("/a\x85b\u2028c", "/a\x85b\u2028c"),
    ],
)
def test_a_value_is_what_java_reads(written: str, meant: str) -> None:
    assert pairs(f"dataDir={written}") == [("dataDir", meant)]


def test_a_key_without_a_value() -> None:
    assert pairs("a\nb=\nc") == [("a", ""), ("b", ""), ("c", "")]


def test_an_entry_bears_the_line_on_which_it_starts() -> None:
    assert [line for line, _, _ in entries("a=1\n# c\n\nb=\\\n\\\n x\nc=2")] == [1, 4, 7]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n=1", "'=1' has no key"),
        ("\na=\\u12", "\\u is not followed by four hexadecimal digits"),
        ("\na=\\\\\\ux", "\\u is not followed by four hexadecimal digits"),
    ],
)
def test_an_entry_that_is_none(text: str, reason: str) -> None:
    with pytest.raises(PropertiesError) as caught:
        list(entries(text))
    assert (caught.value.reason, caught.value.line) == (reason, 2)


@given(st.text(st.sampled_from("ab=1 :\\\n#!u\t")))
def test_any_text_gives_entries_or_an_error(text: str) -> None:
    with suppress(PropertiesError):
        assert all(key for key, _ in pairs(text))
