"""A job is worked on by one, its end is recorded once in the store, and nothing of it is left."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import GrantLostError, NoNodeError
from coterie.gateway import claims
from coterie.gateway.claims import Holder, JobClaim, claimed, forget, holder
from coterie.gateway.fencing import SQLFence, StaleTokenError
from coterie.recipes.claim import DoneAlready
from coterie.testing.cluster import Server
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, children_until, crowd, lose_commits, settled

JOB = "experiments/42"
PATH = "/gateway/claims/experiments%2F42"


class Store:
    """The truth about jobs: a table, with a fence for each job."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE ends (job TEXT, result TEXT, token INTEGER)")
        self.lost: list[type[Exception]] = []
        """How the next answers are lost, of what is carried out."""
        self.down: list[type[Exception]] = []
        """How the next requests are, which are not."""
        self.tries = 0
        SQLFence().prepare(self.connection)

    async def begin(self, token: int, job: str = JOB) -> None:
        with SQLFence(job).writing(self.connection, token):
            pass

    async def finish(self, token: int, result: str, job: str = JOB) -> None:
        self.tries += 1
        if self.down:
            raise self.down.pop()
        with SQLFence(job).writing(self.connection, token) as cursor:
            cursor.execute("SELECT result FROM ends WHERE job = ?", (job,))
            if cursor.fetchone() is None:
                cursor.execute("INSERT INTO ends VALUES (?, ?, ?)", (job, result, token))
        if self.lost:
            raise self.lost.pop()

    def ends(self, job: str = JOB) -> list[tuple[str, int]]:
        found = self.connection.execute("SELECT result, token FROM ends WHERE job = ?", (job,))
        return list(found)


@pytest.fixture
def store() -> Store:
    return Store()


def _wait(zk: Client) -> asyncio.Task[JobClaim]:
    return asyncio.create_task(JobClaim(zk, JOB, identifier=b"other").enter())


async def test_who_settles_leaves_nothing_behind(connect: Connect, store: Store) -> None:
    async with connect() as zk:
        async with JobClaim(zk, JOB, identifier=b"me") as claim:
            assert await holder(zk, JOB) == Holder(b"me", claim.token)
            assert await claimed(zk) == [JOB]
            assert not claim.lost
            await claim.settle(lambda token: store.finish(token, "42"))
            assert claim.settled
            assert claim.lost
            # The block goes on.
            await settled(zk)
        assert store.ends() == [("42", claim.token)]
        assert await claimed(zk) == []
        assert await holder(zk, JOB) is None


async def test_those_who_wait_learn_that_it_is_done(connect: Connect, store: Store) -> None:
    async with connect() as zk, connect() as other:
        async with JobClaim(zk, JOB) as claim:
            waiters = []
            for number in (2, 3):
                waiters.append(_wait(other))
                await crowd(zk, PATH, number)
            await claim.settle(lambda token: store.finish(token, "42"))
        for waiter in waiters:
            with pytest.raises(DoneAlready):
                await waiter
        await children_until(other, "/gateway/claims", lambda names: not names)


async def test_who_dies_is_succeeded_and_records_nothing(
    connect: Connect, expire: Expire, store: Store
) -> None:
    """AIRAVATA-1564: a job was launched twice after a session had expired."""
    async with connect() as zk, connect() as other:
        # Entered in a task that has ended: nothing is cancelled when it is lost.
        first = await _wait(zk)
        waiter = _wait(other)
        await crowd(zk, PATH, 2)
        lost = asyncio.Event()
        first.on_lost(lost.set)
        await expire(zk)
        second = await waiter
        assert second.token > first.token
        await store.begin(second.token)
        # A process that stood still, and whose write was on its way.
        with pytest.raises(StaleTokenError):
            await store.finish(first.token, "by the first")
        await lost.wait()
        with pytest.raises(GrantLostError):
            await first.settle(lambda token: store.finish(token, "by the first"))
        with pytest.raises(GrantLostError):
            await first.leave(None)
        await second.settle(lambda token: store.finish(token, "by the second"))
        await second.leave(None)
        assert store.ends() == [("by the second", second.token)]


async def test_who_leaves_without_settling_leaves_it_to_the_next(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        async with JobClaim(zk, JOB) as claim:
            waiter = _wait(other)
            await crowd(zk, PATH, 2)
        next_one = await waiter
        assert next_one.token > claim.token
        await next_one.leave(None)
        assert await claimed(zk) == []


async def test_what_it_stands_below_is_cleared_away_while_it_comes(connect: Connect) -> None:
    """Found in the simulator: whoever leaves clears away what the next one has just found."""
    async with connect() as zk, connect() as other:
        client: Any = zk
        create, cleared = client._create, 0

        async def cleared_before(path: str, *arguments: Any) -> Any:
            nonlocal cleared
            if path.startswith(f"{PATH}/") and cleared < 3:
                cleared += 1
                await other.delete(PATH)
                raise NoNodeError(path, "create")
            return await create(path, *arguments)

        client._create = cleared_before
        async with JobClaim(zk, JOB):
            await crowd(zk, PATH, 1)
        assert cleared == 3


async def test_a_root_that_is_not_there_is_told(connect: Connect) -> None:
    async with connect() as zk:
        client: Any = zk

        async def never(path: str, *arguments: Any) -> Any:
            raise NoNodeError(path, "create")

        client._create = never
        with pytest.raises(NoNodeError, match=PATH):
            await JobClaim(zk, JOB).enter()


async def test_the_block_of_who_loses_it_is_cancelled(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        claim = JobClaim(zk, JOB)

        async def work() -> None:
            async with claim:
                await other.delete(claim.grant.path)
                await asyncio.Event().wait()

        with pytest.raises(GrantLostError):
            await work()
        with pytest.raises(GrantLostError):
            claim.check()


@pytest.mark.parametrize(
    ("lost", "down"),
    [
        ([TimeoutError], []),
        ([ConnectionResetError, TimeoutError], []),
        ([], [ConnectionRefusedError]),
        ([TimeoutError], [BrokenPipeError]),
    ],
)
async def test_what_is_not_known_is_tried_until_it_is(
    connect: Connect,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    lost: list[type[Exception]],
    down: list[type[Exception]],
) -> None:
    monkeypatch.setattr(claims, "_PAUSE_S", 0.001)
    async with connect() as zk:
        tries = len(lost) + len(down) + 1
        store.lost, store.down = lost, down
        async with JobClaim(zk, JOB) as claim:
            await claim.settle(lambda token: store.finish(token, "42"))
        assert store.tries == tries
        assert store.ends() == [("42", claim.token)]


async def test_a_deadline(connect: Connect, store: Store) -> None:
    async with connect() as zk:
        store.down = [TimeoutError] * 100
        claim = JobClaim(zk, JOB)
        with pytest.raises(TimeoutError):
            async with claim:
                await claim.settle(lambda token: store.finish(token, "42"), timeout_s=0.05)
        assert not claim.settled
        assert store.ends() == []
        # It is the next one's.
        async with JobClaim(zk, JOB) as again:
            assert again.token > claim.token


async def test_a_refusal_ends_it(connect: Connect, store: Store) -> None:
    async with connect() as zk:
        claim = JobClaim(zk, JOB)
        async with claim:
            await store.begin(claim.token + 1)
            with pytest.raises(StaleTokenError):
                await claim.settle(lambda token: store.finish(token, "42"))
            assert store.tries == 1
            assert not claim.settled


async def test_an_error_of_the_step_is_no_unknown_outcome(connect: Connect, store: Store) -> None:
    async def step(token: int) -> None:
        store.tries += 1
        raise KeyError(token)

    async with connect() as zk, JobClaim(zk, JOB) as claim:
        with pytest.raises(KeyError):
            await claim.settle(step)
        assert store.tries == 1
        with pytest.raises(TimeoutError):
            await claim.settle(step, unknown=(KeyError,), timeout_s=0.02)


async def test_patience(connect: Connect) -> None:
    async with connect() as zk, JobClaim(zk, JOB):
        for patience_s in (0, 0.02):
            with pytest.raises(TimeoutError):
                await JobClaim(zk, JOB, patience_s=patience_s).enter()
            await crowd(zk, PATH, 1)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("carried_out", [[True], [False], [False, True]])
async def test_the_answer_to_giving_it_up_is_lost(
    connect: Connect, store: Store, carried_out: list[bool], waits: bool
) -> None:
    async with connect() as zk, connect() as other:
        async with JobClaim(zk, JOB) as claim:
            waiter = _wait(other) if waits else None
            await crowd(zk, PATH, 1 + waits)
            lose_commits(zk, *carried_out)
            await claim.settle(lambda token: store.finish(token, "42"))
        if waiter is not None:
            with pytest.raises(DoneAlready):
                await waiter
        await children_until(other, "/gateway/claims", lambda names: not names)


async def test_who_is_cancelled_while_he_gives_it_up_has(connect: Connect, store: Store) -> None:
    async with connect() as zk:
        claim = await JobClaim(zk, JOB).enter()
        await cancelled_at(zk, 1, claim.settle(lambda token: store.finish(token, "42")))
        await claim.leave(None)
        assert store.ends() == [("42", claim.token)]
        await children_until(zk, "/gateway/claims", lambda names: not names)


@pytest.mark.parametrize("number", range(1, 8))
async def test_who_is_cancelled_while_he_claims_leaves_nothing(
    connect: Connect, number: int
) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        came = await cancelled_at(zk, number, JobClaim(zk, JOB).enter())
        if came is not None:
            await came.leave(None)
        await crowd(zk, PATH, 0)


async def test_an_ensemble_that_is_away_keeps_nobody_from_going_on(
    coterie_connect: Connect, coterie_server: Server, store: Store
) -> None:
    async with coterie_connect(session_timeout_s=10.0) as zk:
        async with JobClaim(zk, JOB) as claim:
            coterie_server.stop()
            await claim.settle(lambda token: store.finish(token, "42"), timeout_s=0.1)
            assert claim.settled
        assert store.ends() == [("42", claim.token)]
        coterie_server.start()
        await children_until(zk, "/gateway/claims", lambda names: not names)


async def test_what_a_crash_has_left_is_forgotten(connect: Connect) -> None:
    async with connect() as zk:
        assert await forget(zk, JOB)
        claim = await JobClaim(zk, JOB).enter()
        # Recorded in the store and in the tree; and then nothing more.
        await claim.grant.complete()
        await claim.leave(None)
        assert await claimed(zk) == [JOB]
        with pytest.raises(DoneAlready):
            await JobClaim(zk, JOB).enter()
        await children_until(zk, "/gateway/claims", lambda names: not names)
        # One who died where another had just cleared away the container.
        await zk.create(PATH)
        assert await forget(zk, JOB)
        assert await claimed(zk) == []


async def test_who_works_is_not_forgotten(connect: Connect) -> None:
    async with connect() as zk, JobClaim(zk, JOB) as claim:
        assert not await forget(zk, JOB)
        await claim.grant.confirm()


async def test_nobody_has_it_before_the_block(connect: Connect) -> None:
    async with connect() as zk:
        claim = JobClaim(zk, JOB, root="/elsewhere/")
        with pytest.raises(RuntimeError):
            claim.grant.check()
        assert await claimed(zk, root="/elsewhere") == []
        async with claim:
            assert await claimed(zk, root="/elsewhere") == [JOB]
            assert await holder(zk, JOB) is None


def test_a_plain_with(hosts: str, store: Store) -> None:
    with coterie.connect_blocking(hosts) as zk:
        ends: list[int] = []

        async def step(token: int) -> None:
            ends.append(token)

        with JobClaim(zk, JOB) as claim:
            claim.check()
            zk.run(claim.settle(step))
        assert ends == [claim.token]
