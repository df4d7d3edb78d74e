"""How fast clients are let in. The expected numbers are those of ZooKeeper's BlueThrottle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coterie.config import Config
from coterie.core.throttle import Throttle
from tests.core.conftest import Alone


def throttle(**settings: Any) -> Throttle:
    named = {f"throttle_{name}": value for name, value in settings.items()}
    return Throttle(Config(data_dir="data", **named))


def admitted(of: Throttle, now_ms: float, weight: int = 1, tries: int = 100) -> int:
    """How many of those who come at one moment are let in."""
    return sum(of.admits(weight, now_ms) for _ in range(tries))


def test_without_tokens_there_is_no_throttle() -> None:
    assert admitted(throttle(), 5.0) == 100


def test_tokens_are_taken_and_come_back() -> None:
    of = throttle(tokens=10, fill_ms=100, fill_count=2)
    assert admitted(of, 1000) == 10
    # Not before a whole time is over, and then for all the time that has passed.
    assert admitted(of, 1100) == 0
    assert admitted(of, 1250) == 5
    assert admitted(of, 1_000_000) == 10
    assert of.deficit_max == 10


def test_by_default_a_token_comes_back_each_millisecond() -> None:
    of = throttle(tokens=3)
    assert admitted(of, 10) == 3
    assert admitted(of, 11) == 0
    assert admitted(of, 12.5) == 2


def test_what_does_not_make_a_token_is_lost() -> None:
    of = throttle(tokens=10, fill_ms=100)
    admitted(of, 1000)
    assert admitted(of, 1199) == 1
    assert admitted(of, 1299) == 0
    assert admitted(of, 1300) == 1


def test_weighed_tokens_are_counted_in_new_sessions() -> None:
    of = throttle(tokens=10, weighs=True)
    assert (of.new_weight, of.renewed_weight) == (3, 2)
    assert admitted(of, 10, of.new_weight) == 10
    assert admitted(of, 14, of.renewed_weight) == 6
    plain = throttle(tokens=10, new_weight=7, renewed_weight=5)
    assert (plain.new_weight, plain.renewed_weight) == (1, 1)


def test_the_chance_to_be_turned_away_rises_without_tokens_and_falls_with_them() -> None:
    of = throttle(tokens=4, fill_ms=1000, freeze_ms=10, drop_increase=0.3, drop_decrease=0.2)
    of.chance = lambda: 0.99
    chances = []
    for now_ms in (1, 12, 23, 30, 34, 45):
        admitted(of, now_ms)
        chances.append(of.drop)
    # The first empties the tokens; between 23 and 30 too little time passes to judge anew.
    assert chances == pytest.approx([0, 0.3, 0.6, 0.6, 0.9, 1.0])
    # All are back before it is judged, as in ZooKeeper, and then it falls by little.
    of.chance = lambda: 0.85
    assert of.admits(1, 9000)
    assert of.drop == pytest.approx(0.8)


def test_chance_turns_away_though_there_are_tokens() -> None:
    of = throttle(tokens=1, fill_ms=5, freeze_ms=0, drop_increase=0.5, drop_decrease=0.1)
    throws: Iterator[float] = iter((0.0, 0.0, 0.39, 0.4))
    of.chance = lambda: next(throws)
    assert of.admits(1, 1)
    assert not of.admits(1, 2)
    assert of.drop == 0.5
    assert not of.admits(1, 8)
    assert of.drop == 0.4
    assert of.admits(1, 8)


def test_the_part_that_counts_as_few_is_rounded() -> None:
    of = throttle(tokens=5, fill_ms=1000, freeze_ms=0, decrease_ratio=0.5, drop_decrease=0.1)
    of.drop, of.chance = 0.5, lambda: 0.9
    for now_ms in (1, 2, 3, 4, 5):
        of.admits(1, now_ms)
    # 2.5 counts as 3, and each looks before it takes: none, 1, 2 and 3 are out.
    assert of.drop == pytest.approx(0.1)


def test_who_is_turned_away_hears_nothing_and_may_come_again() -> None:
    alone = Alone(throttle_tokens=2, throttle_fill_ms=1000)
    clients = [alone.client() for _ in range(4)]
    assert [client.hello is not None for client in clients] == [True, True, False, False]
    assert [client.closed for client in clients] == [False, False, True, True]
    assert len(alone.tree.sessions) == 2
    stats = alone.member.server.stats
    assert (stats.greeted, stats.rejected) == (2, 2)
    assert [note for note in alone.notes if "turning away" in note] == [
        "turning away 127.0.0.1:4000: too many ask for sessions"
    ]
    alone.tick(1001)
    assert alone.client().hello


def test_sessions_that_are_taken_up_again_weigh_less() -> None:
    alone = Alone(throttle_tokens=2, throttle_fill_ms=10**6, throttle_weighs=True)
    client = alone.client()
    client.gone()
    # Of six tokens three are left, which is enough for this, and then one.
    back = alone.stranger().connect(client.session_id, client.password)
    assert back.session_id == client.session_id
    assert alone.client().closed
    assert alone.member.server.stats.renewed == 1
