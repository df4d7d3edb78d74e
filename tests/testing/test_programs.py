"""Programs on virtual time: they go on when they can, stand still, crash, and are watched."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from coterie.errors import NoAuthError, OutcomeUnknown
from coterie.testing.errand import Errand
from coterie.testing.history import Violation
from coterie.testing.programs import Program, Work
from coterie.testing.recipes import RecipeSimulation, plan_of


class Idling(Errand):
    """Does what a test says."""

    fails: Exception | None = None
    takes_s = 0.01

    def work(self, program: Program) -> Work:
        return Idler(program, self)


class Idler(Work):
    def __init__(self, program: Program, errand: Idling) -> None:
        super().__init__(program)
        self.errand = errand
        self.rounds = 0

    async def round(self) -> None:
        self.rounds += 1
        if self.errand.fails is not None and self.rounds % 2:
            raise self.errand.fails
        await self.program.within(0.02, asyncio.sleep(self.errand.takes_s))


def running(seed: int = 1, rounds: int = 1000) -> RecipeSimulation:
    """A quiet run, whose programs are connected."""
    plan = dataclasses.replace(plan_of(seed, 1), faults=frozenset({"clock"}), tick_ms=200)
    made = RecipeSimulation(seed, plan, errand=Idling)
    for program in made.programs:
        program.rounds = rounds
    made.hosts[0].start()
    made.time.run(2000)
    return made


def go_on(simulation: RecipeSimulation, ms: float) -> None:
    simulation.time.run(simulation.time.now_ms + ms)


def rounds(program: Program) -> int:
    work: Any = program._work
    return int(work.rounds)


@pytest.fixture(autouse=True)
def everything_ends(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[RecipeSimulation] = []
    init = RecipeSimulation.__init__

    def noted(simulation: RecipeSimulation, *arguments: Any, **options: Any) -> None:
        init(simulation, *arguments, **options)
        made.append(simulation)

    monkeypatch.setattr(RecipeSimulation, "__init__", noted)
    yield
    for simulation in made:
        simulation._bury()
        assert all(p.buried() for p in [*simulation.programs, *simulation.crashed])


def test_it_goes_so_many_rounds_and_one_more_when_all_is_well() -> None:
    simulation = running(rounds=5)
    program = simulation.programs[0]
    go_on(simulation, 600_000)
    assert program.rounds == 0
    assert rounds(program) == 5
    assert not program.settled()
    program.heal()
    go_on(simulation, 60_000)
    assert rounds(program) == 6
    assert program.settled()
    assert not program.over()
    program.leave()
    go_on(simulation, 10_000)
    assert program.over()


def test_it_tries_again_after_what_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Idling, "fails", OutcomeUnknown("/a", "set"))
    simulation = running()
    for program in simulation.programs:
        program.heal()
    go_on(simulation, 60_000)
    assert all(program.settled() for program in simulation.programs)
    assert simulation.marks["a program was told OutcomeUnknown"] >= len(simulation.programs)


def test_any_other_error_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Idling, "fails", NoAuthError("/a", "set"))
    simulation = running()
    go_on(simulation, 60_000)
    with pytest.raises(Violation, match="ended with NoAuthError"):
        simulation.programs[0].over()


def test_what_nobody_handles_ends_the_run() -> None:
    simulation = running()
    program = simulation.programs[0]
    program.loop.call_soon(int, "no number")
    go_on(simulation, 1)
    with pytest.raises(Violation, match="ValueError"):
        program.over()


def test_what_takes_longer_than_it_may_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Idling, "takes_s", 0.03)
    simulation = running()
    go_on(simulation, 60_000)
    with pytest.raises(Violation, match=r"waited 0\.03\d* s, not 0\.02 s"):
        simulation._until(lambda: False, 1000)


def test_who_stands_still_does_nothing_and_is_not_blamed_for_it() -> None:
    simulation = running()
    program = simulation.programs[0]
    go_on(simulation, 1)
    before = rounds(program)
    program.mute(4)
    program.mute(1)
    assert not program.running
    go_on(simulation, 3.9 * simulation.timeout_ms)
    assert rounds(program) == before
    go_on(simulation, 0.2 * simulation.timeout_ms)
    assert program.running
    assert program.ran_ms > 2000 + 3.9 * simulation.timeout_ms
    go_on(simulation, 60_000)
    assert rounds(program) > before
    assert not program.over()


def test_who_crashes_never_comes_back() -> None:
    simulation = running()
    program = simulation.programs[0]
    before = rounds(program)
    simulation.crash(program)
    again = simulation.programs[0]
    assert again is not program
    assert again.name == "c1.2"
    assert simulation.crashed == [program]
    program.unmute()
    go_on(simulation, 60_000)
    assert not program.running
    assert rounds(program) == before
    assert rounds(again) > 0
    assert again.name in simulation.machines
    assert program.name not in simulation.machines
