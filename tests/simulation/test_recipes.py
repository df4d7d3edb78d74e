"""Recipes on the simulator: seeds that once found something, fresh ones, and rules taken away.

Each rule of a recipe, or of the client below it, that a test takes away has to be missed by some
seed among few.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coterie.client.client import Client
from coterie.client.session import Session
from coterie.errors import NoNodeError, ZooKeeperError
from coterie.recipes import lock, read_write_lock, recipe
from coterie.recipes.barrier import DoubleBarrier
from coterie.recipes.claim import Claim
from coterie.recipes.grant import Grant
from coterie.recipes.lease import Terms
from coterie.recipes.lock import InLine, Line
from coterie.recipes.semaphore import Semaphore
from coterie.testing.campaign import members_of
from coterie.testing.errands import ERRANDS
from coterie.testing.history import Violation
from coterie.testing.recipes import RecipeSimulation
from coterie.values import Created

Patch = pytest.MonkeyPatch

KEPT = {
    ("locking", 192): "a protected create was made twice: a sync came before its first try",
    ("locking", 158): "the parent of a place in line was reaped while the place was looked for",
    ("counting", 24): "a number was counted twice: a sync came before the first try",
    ("writing", 63635): "a client whose session ended while it closed never ended",
}
FRESH = range(7000, 7040)


def run(kind: str, seed: int) -> RecipeSimulation:
    simulation = RecipeSimulation(seed, members=members_of(seed), errand=ERRANDS[kind])
    simulation.run()
    return simulation


def found(kind: str, *, first: int = 0, seeds: int = 100) -> str:
    """What the first seed to fail fails with."""
    for seed in range(first, first + seeds):
        try:
            run(kind, seed)
        except Violation as violation:
            return str(violation)
    pytest.fail(f"{seeds} seeds saw nothing")


@pytest.mark.parametrize(("kind", "seed"), KEPT)
def test_what_was_found_once_is_not_found_again(kind: str, seed: int) -> None:
    run(kind, seed)


def test_fresh_seeds_pass_and_reach_what_they_are_there_for() -> None:
    marks: set[str] = set()
    for seed in FRESH:
        simulation = RecipeSimulation(seed, members=members_of(seed))
        simulation.run()
        marks |= set(simulation.marks)
    assert marks >= {
        "a grant",
        "a gate was passed",
        "a job was completed",
        "a program was told GrantLostError",
        "a program was told OutcomeUnknown",
        "a program was told TimeoutError",
        "a stale token was refused",
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_hundred_more() -> None:
    for seed in range(20_000, 20_500):
        RecipeSimulation(seed, members=members_of(seed)).run()


# Rules of the recipes


def test_one_waits_for_the_one_ahead(monkeypatch: Patch) -> None:
    monkeypatch.setattr(lock, "next_ahead", lambda names, mine: None)
    assert "holds what" in found("locking")


def test_readers_wait_for_writers(monkeypatch: Patch) -> None:
    monkeypatch.setattr(read_write_lock, "nearest_writer", lambda names, mine: None)
    assert "holds what" in found("reading-writing")


def test_the_first_in_line_counts_the_leases(monkeypatch: Patch) -> None:
    async def at_once(semaphore: Semaphore, place: Grant, patient: bool) -> None:
        return

    monkeypatch.setattr(Semaphore, "_until_free", at_once)
    assert "holds what" in found("sharing")


def test_a_watch_is_set_before_one_waits(monkeypatch: Patch) -> None:
    async def later(line: Line, path: str, grant: Grant) -> None:
        if await line._zk.exists(path) is not None:
            await asyncio.sleep(0.1)
            woken = asyncio.Event()
            undo = grant.on_lost(woken.set)
            await line._zk.exists(path, watch=lambda event: woken.set())
            await woken.wait()
            undo()

    monkeypatch.setattr(Line, "_until_gone", later)
    assert "is not served" in found("locking")


def test_a_place_is_given_up_whatever_it_takes(monkeypatch: Patch) -> None:
    async def once(zk: Client, path: str, session_id: int) -> None:
        try:
            await zk.delete(path)
        except ZooKeeperError:
            return

    monkeypatch.setattr(recipe, "_discard", once)
    assert "is not served" in found("locking")


def test_a_token_is_of_one_grant(monkeypatch: Patch) -> None:
    acquire = InLine.acquire

    async def by_session(line: InLine, timeout_s: float | None = None) -> Grant:
        grant = await acquire(line, timeout_s)
        grant.token = grant.session_id
        return grant

    monkeypatch.setattr(InLine, "acquire", by_session)
    assert "has token" in found("locking")


def test_a_holder_hears_that_its_session_is_lost(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Grant, "_follow", lambda grant, state: None)
    assert "its session" in found("locking")


def test_a_lease_is_waited_for_to_its_end(monkeypatch: Patch) -> None:
    decode = Terms.decode

    def short(path: str, data: bytes) -> Terms | None:
        terms = decode(path, data)
        return None if terms is None else terms._replace(duration_ms=0.0, margin_ms=0.0)

    monkeypatch.setattr(Terms, "decode", short)
    assert "holds what" in found("leasing")


def test_a_job_that_was_done_is_given_to_nobody(monkeypatch: Patch) -> None:
    async def never(claim: Claim) -> None:
        return

    monkeypatch.setattr(Claim, "_check_done", never)
    assert "was given out again" in found("claiming")


def test_a_gate_opens_for_so_many(monkeypatch: Patch) -> None:
    init = DoubleBarrier.__init__

    def for_one(barrier: DoubleBarrier, zk: Client, path: str, count: int) -> None:
        init(barrier, zk, path, 1)

    monkeypatch.setattr(DoubleBarrier, "__init__", for_one)
    assert "went in alone" in found("gathering")


# Rules of the client that the recipes stand on


def test_a_create_that_may_have_been_made_is_looked_for(monkeypatch: Patch) -> None:
    async def once(
        zk: Client, path: str, data: bytes, mode: Any, acl: Any, ttl_ms: int, parents: bool
    ) -> Created:
        return await zk._create(path, data, mode, acl, ttl_ms, parents)

    monkeypatch.setattr(Client, "_create_protected", once)
    assert "is not served" in found("locking")


def test_a_create_is_looked_for_behind_a_write(monkeypatch: Patch) -> None:
    async def behind_a_sync(zk: Client, above: str, name: str, is_mark: bool) -> Created | None:
        await zk.sync(above)
        try:
            names = await zk.children(above)
        except NoNodeError:
            return None
        for child in names:
            if child.startswith(name):
                stat = await zk.exists(f"{above}/{child}")
                if stat is not None:
                    return Created(f"{above}/{child}", stat)
        return None

    monkeypatch.setattr(Client, "_find", behind_a_sync)
    assert "is not served" in found("locking", first=100)


def test_a_mark_is_looked_for_behind_a_write(monkeypatch: Patch) -> None:
    exists = Client.exists

    async def behind_a_sync(zk: Client, path: str, **options: Any) -> Any:
        if options.pop("linearizable", False):
            await zk.sync(path)
        return await exists(zk, path, **options)

    monkeypatch.setattr(Client, "exists", behind_a_sync)
    assert "were added" in found("counting")


def test_a_session_is_over_by_the_clients_own_clock(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Session, "expires_ms", property(lambda session: float("inf")))
    assert "its session has ended" in found("locking", seeds=200)
