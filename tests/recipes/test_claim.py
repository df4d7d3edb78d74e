"""A job is recorded once, by one who held it, whatever is lost; and if nobody did, another may."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import GrantLostError, MarshallingError
from coterie.recipes.claim import Claim, ClaimGrant, DoneAlready, Record
from coterie.testing.cluster import Server
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, crowd, lose_answers, lose_commits, settled

PATH = "/job"


def _wait(zk: Client, by: bytes = b"") -> asyncio.Task[ClaimGrant]:
    return asyncio.create_task(Claim(zk, PATH, identifier=by).acquire())


async def _waiters(zk: Client, count: int) -> list[asyncio.Task[ClaimGrant]]:
    """So many behind the one who has it."""
    made = []
    for number in range(2, count + 2):
        made.append(_wait(zk))
        await crowd(zk, PATH, number)
    await settled(zk)
    return made


async def test_one_does_it_and_all_others_learn_that(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        claim = Claim(zk, PATH, identifier=b"me\xff")
        assert await claim.done() is None
        async with claim as grant:
            waiters = await _waiters(other, 2)
            watching = asyncio.create_task(Claim(other, PATH).wait_done())
            await settled(other)
            await grant.complete(b"42\n\0")
            assert grant.completed
            assert grant.returned
        record = Record(grant.token, b"me\xff", b"42\n\0")
        assert await claim.done() == record
        assert await watching == record
        for waiter in waiters:
            with pytest.raises(DoneAlready, match=PATH) as raised:
                await waiter
            assert raised.value.record == record
        with pytest.raises(DoneAlready):
            await claim.acquire()
        await crowd(zk, PATH, 1)
        assert await Claim(zk, PATH).wait_done() == record


async def test_who_leaves_without_completing_is_succeeded(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        first = await Claim(zk, PATH).acquire()
        (waiter,) = await _waiters(other, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiter), 0.02)
        await first.give_back()
        second = await waiter
        assert second.token > first.token
        await second.complete(b"by the second")
        with pytest.raises(GrantLostError):
            await first.complete(b"by the first")
        record = await Claim(zk, PATH).done()
        assert record == Record(second.token, b"", b"by the second")


@pytest.mark.parametrize("second_is_faster", [True, False])
async def test_who_dies_is_succeeded_and_completes_nothing(
    connect: Connect, expire: Expire, second_is_faster: bool
) -> None:
    """AIRAVATA-1564: a job was launched twice after a session had expired."""
    async with connect() as zk, connect() as other:
        first = await Claim(zk, PATH, identifier=b"first").acquire()
        (waiter,) = await _waiters(other, 1)
        await expire(zk)
        second = await waiter
        assert second.token > first.token
        if second_is_faster:
            await second.complete()
        with pytest.raises(GrantLostError):
            await first.complete()
        assert first.lost
        if not second_is_faster:
            await second.complete()
        record = await Claim(zk, PATH).done()
        assert record is not None
        assert record.token == second.token


@pytest.mark.parametrize(
    "carried_out", [[True], [False], [False, False, True], [False, True, False]]
)
async def test_the_answer_to_completing_is_lost(connect: Connect, carried_out: list[bool]) -> None:
    """Jepsen on jetcd 0.8.2: to repeat a write whose outcome is unknown may do it twice."""
    async with connect() as zk:
        lose_commits(zk, *carried_out)
        async with Claim(zk, PATH) as grant:
            await grant.complete(b"once")
        record = await Claim(zk, PATH).done()
        assert record == Record(grant.token, b"", b"once")
        stat = await zk.exists(f"{PATH}/done")
        assert stat is not None
        assert stat.version == 0


async def test_the_claims_answer_is_lost(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        lose_answers(zk)
        async with Claim(zk, PATH) as grant:
            await crowd(zk, PATH, 1)
            await grant.complete()


async def test_a_claim_can_be_taken_away(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        grant = await Claim(zk, PATH).acquire()
        lost = asyncio.Event()
        grant.on_lost(lost.set)
        await other.delete(grant.path)
        await lost.wait()
        with pytest.raises(GrantLostError):
            await grant.complete()
        assert await Claim(zk, PATH).done() is None


async def test_the_block_is_not_cancelled_by_what_it_does_itself(connect: Connect) -> None:
    async with connect() as zk:
        went_on = False
        async with Claim(zk, PATH) as grant:
            await grant.complete()
            await settled(zk)
            went_on = True
        assert went_on


@pytest.mark.parametrize("number", range(1, 9))
async def test_who_is_cancelled_leaves_nothing_behind(connect: Connect, number: int) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        came = await cancelled_at(zk, number, Claim(zk, PATH).acquire())
        if came is not None:
            assert number > 6
            await came.give_back()
        async with Claim(zk, PATH):
            assert len(await zk.children(PATH)) == 1
        await crowd(zk, PATH, 0)


async def test_who_is_cancelled_while_completing_has_done_it_or_not(connect: Connect) -> None:
    async with connect() as zk:
        grant = await Claim(zk, PATH).acquire()
        await cancelled_at(zk, 1, grant.complete())
        with pytest.raises(DoneAlready):
            await Claim(zk, PATH).acquire()


async def test_patience(connect: Connect) -> None:
    async with connect() as zk:
        async with Claim(zk, PATH):
            for timeout_s in (0, 0.02):
                with pytest.raises(TimeoutError):
                    await Claim(zk, PATH).acquire(timeout_s)
                await crowd(zk, PATH, 1)
            with pytest.raises(TimeoutError):
                await Claim(zk, PATH).wait_done(0.02)
        async with Claim(zk, PATH) as grant:
            await grant.complete()
        with pytest.raises(DoneAlready):
            await Claim(zk, PATH).acquire(0)


async def test_completed_over_a_lost_connection(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect() as zk:
        for number in range(5):
            claim = Claim(zk, f"{PATH}-{number}")
            async with claim as grant:
                completing = asyncio.create_task(grant.complete())
                await asyncio.sleep(0)
                coterie_server.disconnect(zk)
                await completing
            record = await claim.done()
            assert record is not None
            assert record.token == grant.token


async def test_what_is_no_record(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create(f"{PATH}/done", b"what?", parents=True)
        with pytest.raises(MarshallingError, match=f"{PATH}/done"):
            await Claim(zk, PATH).done()


def test_a_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        with Claim(zk, PATH, identifier=b"me") as grant:
            zk.run(grant.complete(b"done"))
        record = zk.run(Claim(zk, PATH).done())
        assert record == Record(grant.token, b"me", b"done")
        with pytest.raises(DoneAlready):
            Claim(zk, PATH).__enter__()
