"""What all errands need."""

from __future__ import annotations

from coterie.testing.errand import guard_of, own_name
from coterie.testing.recipes import RecipeSimulation
from tests.testing.plain import PlainLock


def test_who_takes_the_place_of_another_bears_its_name() -> None:
    simulation = RecipeSimulation(1, members=1, errand=PlainLock)
    program = simulation.programs[0]
    simulation.crash(program)
    assert simulation.programs[0] is not program
    assert own_name(simulation.programs[0]) == own_name(program) == "c1"
    simulation._bury()


def test_a_member_that_is_cut_off_may_be_deaf_for_its_sync_limit() -> None:
    alone = RecipeSimulation(1, members=1, errand=PlainLock)
    assert guard_of(alone, "r")._deaf_ms == 0
    three = RecipeSimulation(1, members=3, errand=PlainLock)
    config = three.plan.config()
    assert guard_of(three, "r")._deaf_ms > config.sync_limit * config.tick_time_ms
    for simulation in (alone, three):
        simulation._bury()
