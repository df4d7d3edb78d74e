"""One line of each kind in a minute."""

from __future__ import annotations

from coterie.core.remarks import EVERY_MS, STRANGERS_MS, Remarks


def test_of_many_lines_one_is_told_and_how_many_were_not() -> None:
    told: list[str] = []
    remarks = Remarks(told.append)
    for i in range(3):
        remarks.say("kind", f"no {i}", 5.0 + i)
    remarks.say("other", "of another kind", 6)
    remarks.say("kind", "no 3", 5 + EVERY_MS)
    remarks.say("kind", "no 4", 5 + 2 * EVERY_MS)
    assert told == [
        "no 0",
        "of another kind",
        "no 3 (and 2 more since this was last said)",
        "no 4",
    ]


def test_kinds_without_end_take_no_memory_without_end() -> None:
    remarks = Remarks()
    for number in range(1000):
        assert remarks.line(str(number), "text", 0) == "text"
    assert len(remarks._kinds) <= 100


def test_how_long_is_said_by_who_tells() -> None:
    remarks = Remarks(every_ms=STRANGERS_MS)
    lines = [remarks.line("speech", f"{number}", now_ms=1000 * number) for number in range(21)]
    assert [line for line in lines if line is not None] == [
        "0",
        "10 (and 9 more since this was last said)",
        "20 (and 9 more since this was last said)",
    ]
