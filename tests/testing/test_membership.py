"""Members in a simulation: their links and disks are as late and as fallible as the real ones."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from coterie.testing.faults import Plan
from coterie.testing.simulator import Simulation


def calm(seed: int = 5, members: int = 3, observers: int = 0) -> Simulation:
    """A run in which nothing fails."""
    plan = Plan.draw(Random(f"{seed}:plan")).for_members(members, Random(f"{seed}:ensemble"))
    return Simulation(seed, replace(plan, faults=frozenset({"clock"}), observers=observers))


def test_three_members_elect_one_and_agree() -> None:
    simulation = calm()
    simulation.run()
    entered = [facts for _, kind, facts in simulation.trace if kind == "enters"]
    assert {name for name, _, _ in entered} >= {"s1", "s2", "s3"}
    assert simulation.marks["a member was elected"] >= 1
    assert simulation.marks["a leader was deposed"] == 0


def test_an_observer_comes_to_have_it_all() -> None:
    simulation = calm(observers=1)
    simulation.run()
    assert len(simulation.hosts) == 4
    assert any(kind == "enters" and facts[0] == "s4" for _, kind, facts in simulation.trace)


def test_what_members_say_is_counted() -> None:
    simulation = calm()
    simulation.run()
    assert simulation.marks["a learner got a DIFF"] >= 2
