"""What a gateway's components promise each other: what breaks it ends a run."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import suppress
from typing import Any

import pytest

from coterie.gateway.claims import JobClaim, Step
from coterie.gateway.fencing import SQLFence, StaleTokenError
from coterie.gateway.standby import Standby
from coterie.testing.campaign import members_of
from coterie.testing.errand import Errand
from coterie.testing.gateway_errands import StandingBy, Store, Working, _begin
from coterie.testing.history import Violation
from coterie.testing.recipes import RecipeSimulation, plan_of


def _quiet(errand: type[Errand]) -> RecipeSimulation:
    plan = dataclasses.replace(plan_of(1, 1), faults=frozenset({"clock"}), clients=3)
    simulation = RecipeSimulation(1, plan, errand=errand)
    for program in simulation.programs:
        program.rounds = 1
    return simulation


def _standing_by() -> tuple[RecipeSimulation, StandingBy]:
    simulation = _quiet(StandingBy)
    simulation.run()
    assert isinstance(simulation.errand, StandingBy)
    return simulation, simulation.errand


def _working() -> tuple[RecipeSimulation, Working]:
    simulation = _quiet(Working)
    simulation.run()
    assert isinstance(simulation.errand, Working)
    return simulation, simulation.errand


def test_all_lead_and_one_does_in_the_end() -> None:
    simulation, errand = _standing_by()
    assert len(simulation.programs) <= len(errand.told) <= errand.writes
    assert errand.leads() is None
    assert simulation.marks["a leader has resigned"] >= len(simulation.programs)


def test_all_jobs_end() -> None:
    simulation, errand = _working()
    assert len(errand.settled) >= len(simulation.programs)
    assert errand.waiting() == []
    assert errand.left() == []


def test_the_store_refuses_what_is_stale_and_nothing_else() -> None:
    simulation, errand = _standing_by()
    store, newest = errand.store, errand.store.newest["lead"]
    with pytest.raises(StaleTokenError):
        store._let_in("lead", newest - 1, lambda cursor: None)
    assert simulation._violation is None
    # One that is as new as the newest, and is refused.
    with SQLFence("lead").writing(store._connection, newest + 1):
        pass
    with pytest.raises(StaleTokenError):
        store._let_in("lead", newest, lambda cursor: None)
    assert "is refused as stale" in str(simulation._violation)


def test_a_store_without_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation, errand = _standing_by()
    monkeypatch.setattr(SQLFence, "_let_in", lambda self, cursor, token: None)
    errand.store._let_in("lead", errand.store.newest["lead"] - 1, lambda cursor: None)
    assert "was let in after" in str(simulation._violation)


def test_what_was_said_of_writes() -> None:
    _, errand = _standing_by()
    errand.end()
    errand.refused.add(1)
    with pytest.raises(Violation, match="was refused, it was said"):
        errand.end()
    errand.told.add(errand.writes + 1)
    with pytest.raises(Violation, match="was made, it was said"):
        errand.end()


def test_the_order_of_writes() -> None:
    _, errand = _standing_by()
    _change(errand.store._connection, "INSERT INTO writes VALUES (99, 1)")
    with pytest.raises(Violation, match="order of the tokens"):
        errand.end()


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO ends SELECT * FROM ends LIMIT 1",
        "DELETE FROM ends WHERE job = 'job 1'",
        "DELETE FROM jobs WHERE id = 'job 1'",
        "INSERT INTO ends VALUES ('job 99', 1)",
    ],
)
def test_each_job_ends_once(change: str) -> None:
    _, errand = _working()
    errand.end()
    _change(errand.store._connection, change)
    with pytest.raises(Violation, match=r"job \d+ is there"):
        errand.end()


def test_what_was_said_of_jobs() -> None:
    simulation, errand = _working()
    errand.check_ended("job 1")
    assert simulation._violation is None
    _change(errand.store._connection, "DELETE FROM ends WHERE job = 'job 1'")
    errand.check_ended("job 1")
    assert "was said to be done" in str(simulation._violation)


def test_who_sees_nobody_is_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sees_nothing(self: Standby) -> None:
        return

    monkeypatch.setattr(Standby, "_observe", sees_nothing)
    simulation = _quiet(StandingBy)
    with pytest.raises(Violation, match="is not served"):
        simulation.run()


def test_who_has_resigned_and_goes_on_leading(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resigns(self: Standby) -> bool:
        grant = self._grant
        assert grant is not None
        await grant.give_back()
        return True

    monkeypatch.setattr(Standby, "resign", resigns)
    monkeypatch.setattr(Standby, "leading", property(lambda self: self._grant))
    with pytest.raises(Violation):
        _quiet(StandingBy).run()


def test_who_settles_though_it_was_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def record(self: JobClaim, step: object, unknown: object) -> None:
        return

    monkeypatch.setattr(JobClaim, "_record", record)
    with pytest.raises(Violation):
        _quiet(Working).run()


# Whole runs, with faults


def _found(kind: type[Errand], first: int) -> str:
    """What the first of a few seeds to fail fails with."""
    for seed in range(first, first + 20):
        try:
            RecipeSimulation(seed, members=members_of(seed), errand=kind).run()
        except Violation as violation:
            return str(violation)
    pytest.fail("20 seeds saw nothing")


@pytest.mark.parametrize(("kind", "first"), [(StandingBy, 5), (Working, 5)])
def test_without_the_fence_a_late_write_is_let_in(
    kind: type[Errand], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLFence, "_let_in", lambda self, cursor, token: None)
    assert "was let in after" in _found(kind, first)


def test_who_has_lost_the_lead_has_to_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standby, "leading", property(lambda self: self._grant))
    assert "which it has lost" in _found(StandingBy, 4)


def test_a_step_whose_outcome_is_unknown_has_to_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def once(self: JobClaim, step: Step, unknown: tuple[type[Exception], ...]) -> None:
        with suppress(*unknown):
            await step(self.token)

    monkeypatch.setattr(JobClaim, "_record", once)
    assert "was said to be done, and is not" in _found(Working, 14)


def test_a_look_that_raises_no_fence_lets_a_job_end_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Store.write

    async def looks_beside_the_fence(self: Store, *arguments: Any) -> Any:
        program, job, _, change = arguments
        if change.func is _begin:
            return bool(await self.read(program, "SELECT 1 FROM ends WHERE job = ?", job))
        return await write(self, *arguments)

    monkeypatch.setattr(Store, "write", looks_beside_the_fence)
    assert "ended 2 times" in _found(Working, 3)


def test_what_was_found_once_is_not_found_again() -> None:
    """What a claim was to stand below was cleared away while its place was made."""
    RecipeSimulation(14, members=members_of(14), errand=Working).run()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [StandingBy, Working])
def test_a_hundred_more(kind: type[Errand]) -> None:
    marks: set[str] = set()
    for seed in range(30_000, 30_100):
        simulation = RecipeSimulation(seed, members=members_of(seed), errand=kind)
        simulation.run()
        marks |= set(simulation.marks)
    assert "the store has refused a stale token" in marks


def _change(connection: sqlite3.Connection, statement: str) -> None:
    with connection:
        connection.execute(statement)
