"""The rails of the host agent, on times that are arguments."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from coterie.gateway.agent.rails import Members, Rails, SetRail, SettingsRail, Verdict

_RAILS = Rails(hold_s=300, jitter_s=0, flaps=3, flap_window_s=60, flap_hold_s=30)


def _set(size: int, first: int = 0) -> Members:
    return frozenset(f"host{number}" for number in range(first, first + size))


class _File:
    """A file behind a rail, which is written as soon as it may be."""

    def __init__(self, before: int | None, rails: Rails = _RAILS) -> None:
        members = None if before is None else _set(before)
        self.rail = SetRail(rails, Random(1), members, 0)
        self.held = members

    def offer(self, members: Members, now_s: float) -> Verdict:
        self.rail.offer(members, now_s)
        if members and members == self.held:
            self.rail.settled(members, now_s)
            return Verdict(False, "it is so")
        return self._look(members, now_s)

    def _look(self, members: Members, now_s: float) -> Verdict:
        verdict = self.rail.verdict(now_s)
        if verdict.write:
            self.held = members
            self.rail.written(members, now_s)
        return verdict


def test_an_empty_set_never_takes_the_place_of_another() -> None:
    file = _File(2)
    for now_s in (1, 1000, 1_000_000):
        verdict = file.offer(frozenset(), now_s)
        assert verdict.held
        assert verdict.again_s is None
        assert not file.rail.confirm()
    assert file.held == _set(2)


def test_where_there_is_no_file_an_empty_set_makes_none() -> None:
    file = _File(None)
    assert file.offer(frozenset(), 1) == (False, "nobody offers it yet", None, False, False)
    assert file.offer(_set(1), 2).write


@pytest.mark.parametrize(
    ("before", "after", "held"), [(10, 4, True), (10, 5, False), (5, 2, True), (4, 1, False)]
)
def test_less_than_half_of_five_or_more_waits(before: int, after: int, held: bool) -> None:
    verdict = _File(before).offer(_set(after), 1)
    assert (verdict.write, verdict.held, verdict.confirmable) == (not held, held, held)


def test_it_waits_until_it_has_stayed_so() -> None:
    file = _File(10)
    assert file.offer(_set(4), 100).again_s == 400
    assert file.offer(_set(3), 399).again_s == 400
    assert file.offer(_set(3), 400).write
    assert file.held == _set(3)


def test_who_comes_back_meanwhile_ends_the_wait() -> None:
    file = _File(10)
    file.offer(_set(4), 100)
    assert not file.offer(_set(10), 200).held
    # And it begins anew.
    assert file.offer(_set(4), 390).again_s == 690


def test_ten_that_go_one_by_one_are_gone_as_well() -> None:
    file = _File(10, Rails(hold_s=300, jitter_s=0, flaps=100))
    held = [file.offer(_set(size), 10 - size).held for size in range(9, 0, -1)]
    assert held == [False] * 5 + [True] * 4
    assert file.held == _set(5)


def test_a_set_that_shrinks_slowly_is_followed() -> None:
    file = _File(10)
    for number, size in enumerate((7, 5, 3)):
        assert file.offer(_set(size), 1 + 400 * number).write


def test_an_operator_may_let_it_pass_and_only_that() -> None:
    file = _File(10)
    assert not file.rail.confirm()
    file.offer(_set(4), 1)
    assert file.rail.confirm()
    assert file.offer(_set(2), 2).held
    assert file.offer(_set(4), 3).write
    # From there on it is the measure: of four, one may be left.
    assert file.offer(_set(1), 4).write


def test_who_starts_anew_measures_by_the_file() -> None:
    rail = SetRail(_RAILS, Random(1), _set(10), 0)
    rail.offer(_set(4), 1)
    assert rail.verdict(1).held


def test_a_set_that_flaps_is_written_now_and_then() -> None:
    file = _File(4)
    written = [now_s for now_s in range(1, 100) if file.offer(_set(4, now_s % 3), now_s).write]
    # Three changes at once, then every thirty seconds, with what it is then.
    assert written[:4] == [1, 2, 3, 4]
    assert all(later - sooner >= 30 for sooner, later in pairwise(written[3:]))
    assert len(written) <= 8
    # When it is calm again, changes come at once.
    assert file.offer(_set(4, 7), 1000).write


def test_what_is_said_of_servers_may_flap_as_well() -> None:
    rail = SetRail(_RAILS, Random(1), _set(4), 0)
    for now_s in range(1, 9):
        rail.offer(_set(4), now_s, f"load {now_s}")
        if rail.verdict(now_s).write:
            rail.written(_set(4), now_s)
    assert rail.verdict(9).again_s == 34


def test_a_flap_is_not_a_rail_that_an_operator_has_to_see_to() -> None:
    file = _File(4)
    verdict = [file.offer(_set(4, now_s % 3), now_s) for now_s in range(1, 9)][-1]
    assert not verdict.held
    assert verdict.again_s == 34


def test_mass_changes_are_spread() -> None:
    rails = Rails(jitter_s=20)
    times = []
    for seed in range(50):
        rail = SetRail(rails, Random(seed), _set(10), 0)
        rail.offer(_set(10, 5), 100)
        times.append(rail.verdict(100).again_s)
    assert all(time is not None and 100 < time < 120 for time in times)
    assert len(set(times)) == 50


def test_a_small_change_is_not_spread_nor_is_a_small_set() -> None:
    for before, after in ((_set(10), _set(10, 4)), (_set(4), _set(4, 4))):
        rail = SetRail(Rails(jitter_s=20), Random(1), before, 0)
        rail.offer(after, 100)
        assert rail.verdict(100).write


def test_more_changes_do_not_put_it_off() -> None:
    rail = SetRail(Rails(jitter_s=20, flaps=100), Random(2), _set(10), 0)
    rail.offer(_set(10, 8), 100)
    again_s = rail.verdict(100).again_s
    for now_s in range(101, 105):
        rail.offer(_set(10, now_s), now_s)
        assert rail.verdict(now_s).again_s == again_s
    assert again_s is not None
    assert rail.verdict(again_s).write


def test_settings_wait_if_they_are_asked_to() -> None:
    rail = SettingsRail(60, Random(1), _set(1))
    rail.offer(_set(1, 1), 10)
    first = rail.verdict(10)
    assert first.again_s is not None
    assert 10 < first.again_s < 70
    rail.offer(_set(1, 2), 11)
    assert rail.verdict(11).again_s == first.again_s
    assert rail.verdict(first.again_s).write
    assert not rail.confirm()


def test_settings_that_are_new_do_not_wait() -> None:
    rail = SettingsRail(60, Random(1), None)
    rail.offer(_set(1), 10)
    assert rail.verdict(10).write
    rail = SettingsRail(0, Random(1), _set(1))
    rail.offer(_set(1, 1), 10)
    assert rail.verdict(10).write
