"""How a member of either kind comes back, under a leader of either kind: DIFF, SNAP and TRUNC.

Whether a leader sent what it should have sent is read off the log of the Apache server among the
two: as a leader it says what it sends, as a learner what it gets.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.compat import raw
from tests.compat.gardener import TIMEOUT_MS, Garden, Znode, grow
from tests.interop.conftest import Gather
from tests.interop.ensembles import Ensemble, until

# Member 2 leads, member 3 comes back, and member 1 is of either kind.
_PAIRS = {
    "coterie leads apache": ("coterie", "coterie", "apache"),
    "apache leads coterie": ("apache", "apache", "coterie"),
}
_LEADER = 2
_LEARNER = 3

_SENT = re.compile(r"LearnerHandler - Sending (DIFF|TRUNC|snapshot)")
_GOT = re.compile(r"(Getting a diff|Getting a snapshot|Truncating log)")
_NAMES = {
    "DIFF": "DIFF",
    "Getting a diff": "DIFF",
    "snapshot": "SNAP",
    "Getting a snapshot": "SNAP",
    "TRUNC": "TRUNC",
    "Truncating log": "TRUNC",
}

pytestmark = [pytest.mark.timeout(200), pytest.mark.parametrize("pair", _PAIRS)]


def _ways(ensemble: Ensemble) -> Callable[[], list[str]]:
    """In which ways the learner is brought up to date by the leader from now on."""
    teller = _LEARNER if ensemble.kind(_LEARNER) == "apache" else _LEADER
    pattern = _GOT if teller == _LEARNER else _SENT
    before = len(ensemble[teller].lines())

    def since() -> list[str]:
        found = map(pattern.search, ensemble[teller].lines()[before:])
        return [_NAMES[match[1]] for match in found if match]

    return since


def _grown(gather: Gather, pair: str, leader: int = _LEADER) -> tuple[Ensemble, Garden]:
    """An ensemble with one of everything in it, made through two of its members."""
    ensemble = gather(_PAIRS[pair]).start_led_by(leader)
    garden = Garden()
    grow(ensemble[_LEADER].port, "spring", garden)
    grow(ensemble[_LEARNER].port, "summer", garden)
    return ensemble, garden


def _takes_part(ensemble: Ensemble, garden: Garden, season: str) -> dict[str, Znode]:
    """All show the same, and more can be made through the member that came back."""
    assert ensemble.leader() == _LEADER
    ensemble.same_tree()
    grow(ensemble[_LEARNER].port, season, garden)
    return ensemble.same_tree()


def test_a_little_behind_is_a_diff(pair: str, gather: Gather) -> None:
    ensemble, garden = _grown(gather, pair)
    ensemble.kill(_LEARNER)
    with ensemble.client(_LEADER) as client:
        for number in range(100):
            client.ok(raw.CREATE, raw.create(f"/missed-{number}", b"x" * number))
        client.close_session()
    ways = _ways(ensemble)
    ensemble.start(_LEARNER)
    assert ways() == ["DIFF"]
    _takes_part(ensemble, garden, "autumn")


def test_far_behind_is_read_from_the_log_or_a_snap(pair: str, gather: Gather) -> None:
    """By more than the 500 txns that a leader keeps in memory."""
    ensemble, garden = _grown(gather, pair)
    ensemble.kill(_LEARNER)
    with ensemble.client(_LEADER) as client:
        for number in range(2000):
            client.send(raw.CREATE, raw.create(f"/missed-{number}", b"x" * (number % 100)))
        assert all(client.reply().error == 0 for _ in range(2000))
        client.close_session()
    ways = _ways(ensemble)
    ensemble.start(_LEARNER)
    assert ways() in (["DIFF"], ["SNAP"])
    _takes_part(ensemble, garden, "autumn")


def test_an_empty_disk_is_a_snap(pair: str, gather: Gather) -> None:
    ensemble, garden = _grown(gather, pair)
    ensemble.kill(_LEARNER)
    ensemble.empty(_LEARNER)
    ways = _ways(ensemble)
    ensemble.start(_LEARNER)
    assert ways() == ["SNAP"]
    _takes_part(ensemble, garden, "autumn")
    # What came as a snapshot is on its disk: it comes back with no more than a diff.
    ensemble.kill(_LEARNER)
    ways = _ways(ensemble)
    ensemble.start(_LEARNER)
    assert ways() == ["DIFF"]
    _takes_part(ensemble, garden, "winter")


def _leave_a_tail(ensemble: Ensemble) -> None:
    """Let the leader log writes that nobody else hears of, and kill all.

    The others stand still when it sends, and are killed before they read: what waits in the
    sockets of a process is gone with it.
    """
    leader = ensemble.leader()
    with ensemble.client(leader, timeout_ms=TIMEOUT_MS) as client:
        for follower in ensemble.others(leader):
            ensemble.pause(follower)
        for number in range(5):
            client.send(raw.CREATE, raw.create(f"/never-{number}", b"never"))
        log = ensemble[leader].data / "version-2"
        until(lambda: any(b"/never-4" in each.read_bytes() for each in log.glob("log.*")))
        ensemble.kill(leader)
    for follower in ensemble.others(leader):
        ensemble.kill(follower)


@pytest.mark.parametrize("going_on", [False, True], ids=["at once", "later"])
def test_a_tail_that_was_never_committed_goes(pair: str, going_on: bool, gather: Gather) -> None:
    """Once the others have gone on, the tail is of an older epoch than what came in its place.

    Apache's leader then sends all; ours has the tail cut off there too, for the learner has all
    that is before it.
    """
    ensemble, garden = _grown(gather, pair, leader=_LEARNER)
    _leave_a_tail(ensemble)
    ensemble.start(_LEADER, 1)
    assert ensemble.leader() == _LEADER
    if going_on:
        grow(ensemble[_LEADER].port, "autumn", garden)
    ways = _ways(ensemble)
    ensemble.start(_LEARNER)
    all_is_sent = going_on and ensemble.kind(_LEADER) == "apache"
    assert ways() == ["SNAP" if all_is_sent else "TRUNC"]
    tree = _takes_part(ensemble, garden, "winter")
    assert not any(path.startswith("/never") for path in tree)
    # Nor does it come back from the disk.
    ensemble.kill(_LEARNER)
    ensemble.start(_LEARNER)
    assert not any(path.startswith("/never") for path in ensemble.same_tree())
