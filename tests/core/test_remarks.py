"""One line of each kind in a minute."""

from __future__ import annotations

from coterie.core.remarks import EVERY_MS, Remarks


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
