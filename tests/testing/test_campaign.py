"""Many seeds: what failed is told with what repeats it, and what came to pass is counted."""

from __future__ import annotations

import pytest

from coterie.testing import campaign
from coterie.testing.history import Violation
from coterie.testing.simulator import Simulation


def test_all_sizes_are_run() -> None:
    assert {campaign.members_of(seed) for seed in range(4)} == {1, 3, 5}


def test_a_failure_is_told_with_what_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(simulation: Simulation) -> None:
        simulation.mark("tried")
        if simulation.seed == 6:
            raise Violation("two orders")

    monkeypatch.setattr(Simulation, "run", fails)
    said: list[str] = []
    tasks = [campaign.Task(seed, campaign.members_of(seed)) for seed in range(4, 8)]
    assert campaign.campaign(tasks, 1, said.append) == 1
    assert "seed 6 failed: Violation: two orders" in said
    assert "  coterie simulate 6 --members 5" in said
    assert "         4 tried" in said
    assert said[-1] == "3 passed, 1 failed"


@pytest.mark.parametrize("recipes", [False, True])
def test_a_seed_is_shown_and_repeats(recipes: bool) -> None:
    first: list[str] = []
    again: list[str] = []
    task = campaign.Task(3, 1, recipes=recipes)
    assert campaign.replay(task, first.append, trace=True) == 0
    assert campaign.replay(task, again.append, trace=True) == 0
    assert first == again
    assert len(first) > 50
    assert first[-1].startswith("seed 3: passed; trace ")


def test_a_seed_of_recipes_is_repeated_as_one() -> None:
    assert str(campaign.Task(9, 3)) == "coterie simulate 9 --members 3"
    assert str(campaign.Task(9, 3, recipes=True)).endswith(" --recipes")
