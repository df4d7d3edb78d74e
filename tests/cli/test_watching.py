"""What `coterie top` draws of what members said."""

from __future__ import annotations

import re

from coterie.cli.watching import Rates, frame, named, sparkline, standing

_LEADER = {
    "id": 1,
    "address": "a:2181",
    "mode": "leader",
    "zxid": "0x700000012",
    "received": 100,
    "latency_ms": [0.0, 1.25, 87.0],
    "connections": 3,
    "outstanding": 0,
    "znodes": 27,
}
_DOWN = {"id": 2, "address": "b:2181", "mode": "down", "why": "it does not answer"}
_ALONE = {**_LEADER, "id": None, "mode": "standalone"}


def test_who_serves_and_who_leads() -> None:
    assert standing([_LEADER]) == (True, "1 of 1 serve, server 1 leads")
    assert standing([_LEADER, _DOWN]) == (False, "1 of 2 serve, server 1 leads")
    assert standing([{**_LEADER, "mode": "looking"}, _DOWN])[1] == "0 of 2 serve, nobody leads"
    assert standing([_ALONE]) == (True, "1 of 1 serve")
    assert named(_ALONE) == "a:2181"


def test_rates_are_of_what_was_counted_meanwhile() -> None:
    rates = Rates()
    rates.take([{**_LEADER}], 10.0)
    after = {**_LEADER, "received": 150}
    rates.take([after], 12.0)
    assert after["rate"] == 25.0
    again = {**_LEADER, "received": 3}
    rates.take([again], 14.0)
    assert again["rate"] == 0, "its counters were reset"
    assert list(rates.history["server 1"]) == [25.0, 0.0]


def test_who_was_away_is_not_compared_with_before() -> None:
    rates = Rates()
    rates.take([{**_LEADER}], 10.0)
    rates.take([{**_DOWN, "id": 1}], 12.0)
    back = {**_LEADER, "received": 9000}
    rates.take([back], 14.0)
    assert "rate" not in back


def test_bars() -> None:
    assert sparkline([0, 1, 2, 7], 10) == "▁▂▃█"
    assert sparkline([5, 0, 7], 2) == "▁█"
    assert sparkline([0, 0], 9) == "▁▁"
    assert sparkline([], 9) == sparkline([1], 0) == ""


def test_a_picture_fits_the_room() -> None:
    rates = Rates()
    for turn in range(100):
        rates.take([{**_LEADER, "received": turn * turn}], float(turn))
    for width, height in ((120, 40), (60, 6), (20, 3), (1, 1)):
        lines = frame([_LEADER, _DOWN], rates, width, height, colour=False)
        assert len(lines) <= max(1, height - 1)
        assert all(len(line) <= width for line in lines)
        painted = frame([_LEADER, _DOWN], rates, width, height, colour=True)
        assert [re.sub("\x1b\\[[0-9;]*m", "", line) for line in painted] == lines


def test_each_member_has_a_line() -> None:
    lines = frame([{**_LEADER, "rate": 12.5}, _DOWN], Rates(), 120, 40, colour=False)
    assert lines[0] == "coterie top   1 of 2 serve, server 1 leads"
    found = lines[3].split()
    assert found == ["server", "1", "leader", "0x700000012", "12.5", "1.25", "87", "3", "0", "27"]
    assert "down" in lines[4]
    assert "does not answer" in lines[4]
