"""A run of one errand in which nothing fails."""

from __future__ import annotations

import dataclasses

from coterie.testing.errand import Errand
from coterie.testing.recipes import RecipeSimulation, plan_of


def quiet(errand: type[Errand]) -> RecipeSimulation:
    plan = dataclasses.replace(plan_of(1, 1), faults=frozenset({"clock"}), clients=3)
    return RecipeSimulation(1, plan, errand=errand)


def ran(errand: type[Errand]) -> RecipeSimulation:
    """One that is over, whose outcome a test may spoil."""
    simulation = quiet(errand)
    simulation.run()
    return simulation
