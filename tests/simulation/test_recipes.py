"""Recipes on the simulator: seeds that once found something, fresh ones, and rules taken away.

Each rule of a recipe, or of the client below it, that a test takes away has to be missed by some
seed among few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coterie.client.client import Client
from coterie.client.session import Session
from coterie.errors import NodeExistsError, NoNodeError, SessionExpiredError, ZooKeeperError
from coterie.recipes import (
    barrier,
    discovery,
    key_store,
    lock,
    read_write_lock,
    recipe,
    rendezvous,
)
from coterie.recipes.barrier import Barrier, DoubleBarrier
from coterie.recipes.claim import Claim
from coterie.recipes.configuration import Configuration
from coterie.recipes.following import View
from coterie.recipes.grant import Grant
from coterie.recipes.key_store import Keys, KeyStore, _encode
from coterie.recipes.lease import Terms
from coterie.recipes.lock import InLine, Line
from coterie.recipes.partitioner import Partitioner
from coterie.recipes.presence import Presence
from coterie.recipes.rendezvous import Rendezvous
from coterie.recipes.semaphore import Semaphore
from coterie.recipes.two_phase_commit import (
    Decision,
    Participant,
    Proposal,
    TwoPhaseCommit,
    _Register,
)
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
    ("grouping", 24): "what a server could not write was told to nobody after that",
    ("grouping", 45): "who was cancelled while it parted stayed as long as its session",
    ("keying", 112): "a change whose fate was unknown was told as not made",
    ("keying", 113): "a rotation that was made twice undid the next one",
    ("deciding", 1): "who failed to propose let all wait as long as its session",
    ("deciding", 15): "a participant that could not set its watch took part all the same",
    ("deciding", 33): "recovery said that what was committed and gone was aborted",
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
        "a key was revoked",
        "a key was rotated",
        "a program was told GrantLostError",
        "a program was told OutcomeUnknown",
        "a program was told TimeoutError",
        "a proposal's abort was carried out",
        "a proposal's commit was carried out",
        "a stale token was refused",
        "an open gate was passed",
        "one who is there said something else",
        "one who was there has left",
        "something was found where it was put",
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

    def for_one(gate: DoubleBarrier, zk: Client, path: str, count: int) -> None:
        init(gate, zk, path, 1)

    monkeypatch.setattr(DoubleBarrier, "__init__", for_one)
    assert "went in alone" in found("gathering")


# Rules of recipes about who is there


def test_who_is_there_comes_back_in_a_new_session(monkeypatch: Patch) -> None:
    make = Presence._make

    async def once(presence: Presence) -> None:
        if not presence._sessions:
            await make(presence)

    monkeypatch.setattr(Presence, "_make", once)
    assert "is not served" in found("grouping")


def test_a_name_that_another_has_is_waited_for(monkeypatch: Patch) -> None:
    make = Presence._make

    async def takes_it(presence: Presence) -> None:
        await make(presence)
        presence._owner = presence._owner or presence._zk.session_id

    monkeypatch.setattr(Presence, "_make", takes_it)
    assert "are both chief" in found("grouping")


def test_who_parts_leaves_nothing_behind(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Presence, "close", Presence._close)
    assert "is not served" in found("grouping", first=45)


def test_what_could_not_be_said_is_said_later(monkeypatch: Patch) -> None:
    async def forgets(presence: Presence) -> None:
        return

    monkeypatch.setattr(Presence, "_write_later", forgets)
    assert "is not served" in found("grouping", first=24)


def test_versions_are_no_texts(monkeypatch: Patch) -> None:
    monkeypatch.setattr(discovery, "_version", str)
    assert "an older version before a newer one" in found("discovering")


def test_a_catalogue_is_made_anew_when_something_changes(monkeypatch: Patch) -> None:
    async def deaf(view: View[Any]) -> None:
        return

    monkeypatch.setattr(View, "_listen", deaf)
    assert "is not served" in found("discovering")


def test_a_partition_is_locked(monkeypatch: Patch) -> None:
    monkeypatch.setattr(lock, "next_ahead", lambda names, mine: None)
    assert "holds what" in found("partitioning")


def test_what_one_had_who_is_gone_is_shared_out_anew(monkeypatch: Patch) -> None:
    share_out = Partitioner._share_out

    def once(partitioner: Partitioner) -> None:
        if not partitioner._tasks:
            share_out(partitioner)

    monkeypatch.setattr(Partitioner, "_share_out", once)
    assert "is not served" in found("partitioning")


# Rules of recipes about what is stored


def test_settings_are_changed_if_nobody_else_has(monkeypatch: Patch) -> None:
    swap: Any = Configuration._swap

    async def blindly(config: Configuration[Any], data: bytes, version: int) -> bool:
        try:
            await config.zk.set(config.path, data)
        except NoNodeError:
            return bool(await swap(config, data, -1))
        return True

    monkeypatch.setattr(Configuration, "_swap", blindly)
    assert "two were told that they made it" in found("configuring")


def test_an_update_that_may_have_been_made_is_looked_for(monkeypatch: Patch) -> None:
    async def never(config: Configuration[Any], data: bytes, version: int, session: int) -> bool:
        return False

    monkeypatch.setattr(Configuration, "_was_stored", never)
    assert "updates were made" in found("configuring", seeds=300)


def test_what_was_put_first_stays(monkeypatch: Patch) -> None:
    put = Rendezvous.put

    async def over(meeting: Rendezvous, data: bytes) -> None:
        try:
            await put(meeting, data)
        except NodeExistsError:
            await meeting.zk.set(meeting.path, data)

    monkeypatch.setattr(Rendezvous, "put", over)
    assert "was found" in found("meeting")


async def _until_too_late(zk: Client, path: str, look: Callable[[], Awaitable[Any]]) -> Any:
    """Begins to listen after it has looked."""
    if (seen := await look()) is not None:
        return seen
    await asyncio.sleep(0.1)
    async with zk.watch(path) as events:
        while await events.next() is not None:
            if (seen := await look()) is not None:
                return seen
    raise SessionExpiredError(path, "wait")


def test_who_waits_has_begun_to_listen_before_he_looks(monkeypatch: Patch) -> None:
    monkeypatch.setattr(rendezvous, "until", _until_too_late)
    assert "is not served" in found("meeting")


def test_keys_are_changed_if_nobody_else_has(monkeypatch: Patch) -> None:
    store = KeyStore._store

    async def at_any_version(keys: KeyStore, path: str, after: Keys, version: int) -> None:
        try:
            await keys.zk.set(path, _encode(after))
        except NoNodeError:
            await store(keys, path, after, version)

    monkeypatch.setattr(KeyStore, "_store", at_any_version)
    assert "does not know" in found("keying")


def test_a_change_of_keys_is_not_made_twice(monkeypatch: Patch) -> None:
    monkeypatch.setattr(key_store, "_was_made", lambda new, sent, found: False)
    assert "has replaced" in found("keying", first=100)


# Rules of recipes about what is decided


def test_all_have_to_vote_yes(monkeypatch: Patch) -> None:
    async def one(commit: TwoPhaseCommit, proposal: Proposal) -> Decision | None:
        there = await commit._register.look(proposal.name) or set()
        return Decision.COMMIT if any(name.startswith("yes-") for name in there) else None

    monkeypatch.setattr(TwoPhaseCommit, "_count", one)
    assert "has not said yes" in found("deciding")


def test_there_is_one_decision(monkeypatch: Patch) -> None:
    decide = _Register.decide

    async def wanted(register: _Register, name: str, decision: Decision) -> Decision:
        await decide(register, name, decision)
        return decision

    monkeypatch.setattr(_Register, "decide", wanted)
    assert "for another" in found("deciding")


def test_who_comes_back_goes_on_with_what_is_open(monkeypatch: Patch) -> None:
    async def never(participant: Participant) -> None:
        return

    monkeypatch.setattr(Participant, "_look_at_all", never)
    assert "is not served" in found("deciding")


def test_who_fails_to_propose_has_no_proposal(monkeypatch: Patch) -> None:
    async def never(commit: TwoPhaseCommit, *arguments: object) -> None:
        return

    monkeypatch.setattr(TwoPhaseCommit, "_give_up", never)
    assert "is not served" in found("deciding")


def test_nobody_passes_a_closed_gate(monkeypatch: Patch) -> None:
    async def always(gate: Barrier) -> bool:
        return True

    monkeypatch.setattr(Barrier, "_is_open", always)
    assert "has passed a closed gate" in found("barring")


def test_who_waits_at_a_gate_is_told(monkeypatch: Patch) -> None:
    monkeypatch.setattr(barrier, "until", _until_too_late)
    assert "is not served" in found("barring")


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
