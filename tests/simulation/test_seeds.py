"""Whole runs of a server alone: the seeds that once found something, and a few dozen others.

A kept seed is added before the fault that it found is mended. What it does may change with what
the simulator draws, so `test_ablations.py` shows that the fault would still be found.
"""

from __future__ import annotations

import pytest

from coterie.testing.simulator import Simulation

KEPT = {
    30: "a refused write was answered with an older zxid than the writes before it",
    74: "txns of a killed process were served from the page cache and then lost",
    364: "a bit of a log's header that rotted made the whole file look unfinished",
    461: "a bit of a length that rotted before a torn tail passed for a part of it",
    9: "a bit of a length in a snapshot that rotted let the start wait for ever",
    2055: "a TTL znode was reaped that had just been changed",
    10922: "a server that stood still in a turn was said to have missed the end of a session",
    12458: "the clock was set back to an earlier start, and the id of an ended session came again",
}
FRESH = range(5120, 5160)


@pytest.mark.parametrize("seed", KEPT, ids=list(map(str, KEPT)))
def test_what_was_found_once_is_not_found_again(seed: int) -> None:
    Simulation(seed).run()


def test_fresh_seeds_pass_and_reach_what_they_are_there_for() -> None:
    marks: set[str] = set()
    for seed in FRESH:
        simulation = Simulation(seed)
        simulation.run()
        marks |= set(simulation.marks)
    assert marks >= {
        "a client had to wait for the log",
        "a container or a TTL znode was reaped",
        "a flipped bit did no harm",
        "a flipped bit was found and named",
        "a machine halted within a call",
        "a missed event was told",
        "a session expired",
        "a session was closed",
        "a session was taken up again",
        "a snapshot was taken",
        "a snapshot was taken while the tree changed",
        "a torn tail was cut off",
        "a watch fired",
        "a write was refused while the log failed",
        "files were purged",
        "the log could be written again",
        "the log could not be written",
        "a server stood still",
        "txns that nobody was told of were lost",
    }


@pytest.mark.slow
def test_two_thousand_more() -> None:
    for seed in range(10_000, 12_000):
        Simulation(seed).run()
