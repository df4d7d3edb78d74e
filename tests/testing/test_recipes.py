"""Whole runs of programs: what is right passes; what lacks a rule is found by some seed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from coterie.client.client import Client
from coterie.testing.errand import Errand
from coterie.testing.errands import ERRANDS
from coterie.testing.history import Violation
from coterie.testing.recipes import RecipeSimulation, plan_of
from coterie.values import SessionState
from tests.testing.plain import Grant, PlainLock

_PROGRAM = """
import sys
from coterie.testing.recipes import RecipeSimulation
for seed in range(*map(int, sys.argv[1:])):
    simulation = RecipeSimulation(seed, members=(1, 3)[seed % 2])
    simulation.run()
    print(seed, simulation.digest(), len(simulation.trace))
"""


def members_of(seed: int) -> int:
    return (1, 3, 5, 3)[seed % 4]


def found(errand: type[Errand], seeds: int = 40) -> str:
    """What the first seed to fail fails with."""
    for seed in range(seeds):
        try:
            RecipeSimulation(seed, members=members_of(seed), errand=errand).run()
        except Violation as violation:
            return str(violation)
    pytest.fail(f"{seeds} seeds saw nothing")


def test_a_right_lock_passes() -> None:
    marks: set[str] = set()
    for seed in range(8):
        simulation = RecipeSimulation(seed, members=members_of(seed), errand=PlainLock)
        simulation.run()
        assert all(program.served for program in simulation.programs)
        marks |= set(simulation.marks)
    assert marks >= {"a grant", "a program was told SessionExpiredError"}


def test_every_errand_is_run() -> None:
    kinds: set[str] = set()
    for seed in range(100):
        simulation = RecipeSimulation(seed, members=1)
        kinds |= {mark for mark in simulation.marks if mark.startswith("errand")}
        simulation._bury()
    assert kinds == {f"errand: {kind.__name__}" for kind in ERRANDS.values()}


def test_every_run_has_a_fault_that_programs_know() -> None:
    plans = [plan_of(seed, members_of(seed)) for seed in range(200)]
    assert all(plan.faults & {"mute", "crash", "expire", "drop"} for plan in plans)
    assert {plan.members for plan in plans} == {1, 3, 5}
    assert all(plan.clock_rate == 1.0 for plan in plans)


def _traces(hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, "40", "52"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_the_hash_seed_changes_nothing() -> None:
    traces = _traces("1")
    assert traces == _traces("2")
    assert len(traces.splitlines()) == 12


# Without one rule


class Barging(PlainLock):
    """Does not wait for the one ahead."""

    async def ahead(self, client: Client, grant: Grant) -> str | None:
        return None


class Deaf(PlainLock):
    """Does not hear that its session is lost."""

    LOST: frozenset[SessionState] = frozenset()


class Tokenless(PlainLock):
    """Names its grants by the clock."""

    async def join(self, client: Client) -> Grant:
        grant = await super().join(client)
        return grant._replace(token=1_000_000 - int(asyncio.get_running_loop().time() * 10))


class Sleepy(PlainLock):
    """Waits for a wake-up that may have come before."""

    async def gone(self, client: Client, name: str) -> None:
        changed = asyncio.Event()
        await asyncio.sleep(0.05)
        await client.exists(f"/lock/{name}", watch=lambda event: changed.set())
        await changed.wait()


@pytest.mark.parametrize(
    ("errand", "notices"),
    [
        (Barging, "holds what"),
        (Deaf, "own clock"),
        (Tokenless, "token"),
        (Sleepy, "is not served"),
    ],
)
def test_a_rule_that_is_taken_away_is_missed(errand: type[PlainLock], notices: str) -> None:
    assert notices in found(errand)


def test_a_client_that_repeats_writes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ask: Callable[..., Any] = Client._ask

    def twice(client: Client, call: Any) -> Any:
        call.writes = False
        return ask(client, call)

    monkeypatch.setattr(Client, "_ask", twice)
    assert "it was said" in found(ERRANDS["writing"])
