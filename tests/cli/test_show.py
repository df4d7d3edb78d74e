"""What is shown: nothing that a terminal would obey, nothing that JSON would round."""

from __future__ import annotations

import json

import pytest

from coterie.cli import show
from coterie.errors import BadVersionError
from coterie.values import EventType, KeeperState, Stat, WatchEvent

_STAT = Stat(2**32 + 1, -1, 0, 1_700_000_000_123, 3, 1, 0, -(2**56), 5, 2, 7)


@pytest.mark.parametrize("data", [b"", b"plain", "zwölf\n\tzeilen".encode()])
def test_text_is_shown_as_it_is(data: bytes) -> None:
    assert show.data_lines(data) == data.decode()


@pytest.mark.parametrize("data", [b"\xff", b"\x1b[2J", b"a\0", "\u202egnp".encode(), b"\x9b1m"])
def test_what_a_terminal_might_obey_is_hexadecimal(data: bytes) -> None:
    assert show.as_text(data) is None
    assert show.data_inline(data) == f"0x{data.hex()}"


def test_hexdump_is_as_the_tool_of_that_name_shows_it() -> None:
    assert show.hexdump(b"0123456789abcdef\x1b") == (
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n"
        "00000010  1b                                               |.|"
    )


def test_data_within_a_line_is_one_line_and_short() -> None:
    assert show.data_inline(b"a\n  b") == "a b"
    assert show.data_inline(b"x" * 1000) == "x" * 60 + "..."
    assert show.data_inline(b"\xff" * 1000) == "0x" + "ff" * 60 + "..."


def test_data_for_programs_is_never_lost() -> None:
    assert show.data_fields(b"\x1b") == {"data": "\x1b"}
    assert show.data_fields(b"\xff\0") == {"data_base64": "/wA="}


def test_numbers_that_javascript_would_round_are_text() -> None:
    fields = json.loads(json.dumps(show.stat_fields(_STAT)))
    assert fields["czxid"] == "0x100000001"
    assert fields["mzxid"] == "0xffffffffffffffff"
    assert fields["ephemeral_owner"] == "0xff00000000000000"
    assert fields["mtime"] == "2023-11-14T22:13:20.123Z"
    assert fields["version"] == 3


def test_metadata_for_people() -> None:
    lines = show.stat_lines(_STAT).splitlines()
    assert len(lines) == len(Stat._fields)
    assert "mtime           2023-11-14 22:13:20 UTC" in lines
    assert "ephemeralOwner  0xff00000000000000" in lines
    assert "ephemeralOwner  -" in show.stat_lines(_STAT._replace(ephemeral_owner=0))


@pytest.mark.parametrize("ms", [2**63 - 1, -(2**63), 10**17])
def test_a_time_that_no_calendar_has_is_no_failure(ms: int) -> None:
    assert show.time_for_people(ms) == f"{ms} ms"
    assert show.time_for_programs(ms) is None


@pytest.mark.parametrize("type", EventType)
def test_every_event_has_words(type: EventType) -> None:
    event = WatchEvent(type, KeeperState.SYNC_CONNECTED, "/a")
    assert show.event_line(event, 3_661_000).startswith("01:01:01 /a ")
    assert show.event_fields(event, 0)["event"] == type.name


def test_errors_for_programs_have_zookeepers_code() -> None:
    fields = show.error_fields(BadVersionError("/a", "set"))
    assert (fields["error"], fields["code"], fields["path"]) == ("BadVersion", -103, "/a")


def test_a_table_has_columns() -> None:
    assert show.table([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"
