"""Never too many leases, never one that nobody gives back, never a wake-up that is lost."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import BadArgumentsError, GrantLostError
from coterie.recipes.grant import Grant
from coterie.recipes.semaphore import Semaphore
from coterie.testing.cluster import Server
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, crowd, lose_commits, settled

PATH = "/semaphore"


def _wait(zk: Client, leases: int) -> asyncio.Task[Grant]:
    return asyncio.create_task(Semaphore(zk, PATH, leases).acquire())


async def _waiters(zk: Client, leases: int, count: int) -> list[asyncio.Task[Grant]]:
    """So many, who wait in this order."""
    waiters = []
    for number in range(1, count + 1):
        waiters.append(_wait(zk, leases))
        await zk.ensure(f"{PATH}/line")
        await crowd(zk, f"{PATH}/line", number)
    await settled(zk)
    return waiters


def _done(tasks: list[asyncio.Task[Grant]]) -> str:
    return "".join("x" if task.done() else "." for task in tasks)


async def _give_back(zk: Client, *grants: Grant) -> None:
    await asyncio.gather(*(grant.give_back() for grant in grants))
    await settled(zk, zk)


async def test_there_are_so_many_and_no_more(connect: Connect) -> None:
    """kazoo#213: two held the one lease of a semaphore."""
    async with connect() as zk, connect() as other:
        held = [await Semaphore(each, PATH, 2).acquire() for each in (zk, other)]
        waiters = await _waiters(zk, 2, 3)
        assert _done(waiters) == "..."
        await _give_back(zk, held[1])
        assert _done(waiters) == "x.."
        await _give_back(zk, held[0], await waiters[0])
        assert _done(waiters) == "xxx"
        tokens = [grant.token for grant in [*held, *[await each for each in waiters]]]
        assert tokens == sorted(set(tokens))
        await _give_back(zk, *[await each for each in waiters[1:]])
        assert await zk.children(f"{PATH}/leases") == []
        assert await zk.children(f"{PATH}/line") == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_whoever_goes_first_the_next_is_woken(
    connect: Connect, order: tuple[int, ...]
) -> None:
    """kazoo#83, #82, #429: a semaphore on which all wait, though it has a lease."""
    async with connect() as zk:
        held = [await Semaphore(zk, PATH, 3).acquire() for _ in range(3)]
        waiters = await _waiters(zk, 3, 4)
        for count, number in enumerate(order, 1):
            await _give_back(zk, held[number])
            assert _done(waiters) == "x" * count + "." * (4 - count)
        await _give_back(zk, *[await each for each in waiters[:3]])
        await _give_back(zk, await waiters[3])


async def test_a_release_wakes_one(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        held = [await Semaphore(other, PATH, 2).acquire() for _ in range(2)]
        waiters = await _waiters(zk, 2, 5)
        client: Any = zk
        looked: list[str] = []
        children = client.children

        async def noted(path: str, **options: Any) -> Any:
            looked.append(path.rpartition("/")[2])
            return await children(path, **options)

        client.children = noted
        await other.delete(held[0].path)
        await waiters[0]
        await settled(zk)
        # The first sees that there is one; it leaves the line, which the second sees, and counts.
        assert looked == ["leases", "line", "leases"]
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)


async def test_a_waiter_that_gives_up_holds_up_nobody(connect: Connect) -> None:
    async with connect() as zk:
        held = await Semaphore(zk, PATH, 1).acquire()
        waiters = await _waiters(zk, 1, 3)
        waiters[0].cancel()
        waiters[1].cancel()
        await crowd(zk, f"{PATH}/line", 1)
        await _give_back(zk, held)
        await _give_back(zk, await waiters[2])


async def test_a_holder_whose_session_expires(connect: Connect, expire: Expire) -> None:
    async with connect() as zk, connect() as other:
        held = await Semaphore(zk, PATH, 1).acquire()
        (waiter,) = await _waiters(other, 1, 1)
        await expire(zk)
        grant = await waiter
        assert grant.token > held.token
        with pytest.raises(GrantLostError):
            await held.confirm()
        await grant.give_back()


async def test_the_first_in_lines_session_expires(connect: Connect, expire: Expire) -> None:
    async with connect() as zk, connect() as other:
        held = await Semaphore(zk, PATH, 1).acquire()
        (waiter,) = await _waiters(other, 1, 1)
        await expire(other)
        with pytest.raises(GrantLostError):
            await waiter
        await crowd(zk, f"{PATH}/line", 0)
        await held.give_back()


async def test_patience(connect: Connect) -> None:
    """kazoo#412: nothing is left behind."""
    async with connect() as zk:
        semaphore = Semaphore(zk, PATH, 1, identifier=b"me")
        async with semaphore:
            for timeout_s in (0, 0.02):
                with pytest.raises(TimeoutError):
                    await Semaphore(zk, PATH, 1).acquire(timeout_s)
                await crowd(zk, f"{PATH}/line", 0)
            assert await semaphore.holders() == [b"me"]
        assert await semaphore.holders() == []
        await semaphore.release(await semaphore.acquire(0))


@pytest.mark.parametrize("number", range(1, 14))
async def test_who_is_cancelled_leaves_nothing_behind(connect: Connect, number: int) -> None:
    async with connect() as zk:
        came = await cancelled_at(zk, number, Semaphore(zk, PATH, 1).acquire())
        if came is not None:
            assert number > 8
            await came.give_back()
        async with Semaphore(zk, PATH, 1):
            assert len(await zk.children(f"{PATH}/leases")) == 1
        await crowd(zk, f"{PATH}/line", 0)
        await crowd(zk, f"{PATH}/leases", 0)


async def test_the_number_is_agreed_on(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        async with Semaphore(zk, PATH, 2):
            assert (await zk.get(PATH)).data == b"2"
            with pytest.raises(BadArgumentsError, match=r"one of 3 leases, others have 2"):
                await Semaphore(other, PATH, 3).acquire()
        await zk.create("/empty")
        async with Semaphore(zk, "/empty", 4):
            assert (await zk.get("/empty")).data == b"4"
    with pytest.raises(ValueError, match="one lease"):
        Semaphore(zk, PATH, 0)


@pytest.mark.parametrize("carried_out", [[True], [False], [False, True]])
async def test_the_moves_answer_is_lost(connect: Connect, carried_out: list[bool]) -> None:
    async with connect() as zk:
        lose_commits(zk, *carried_out)
        async with Semaphore(zk, PATH, 1) as grant:
            await grant.confirm()
            assert len(await zk.children(f"{PATH}/leases")) == 1
            assert await zk.children(f"{PATH}/line") == []


async def test_a_release_while_the_waiter_is_cut_off_wakes_it(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        held = await Semaphore(zk, PATH, 1).acquire()
        (waiter,) = await _waiters(other, 1, 1)
        coterie_server.disconnect(other)
        await held.give_back()
        await (await waiter).give_back()


async def test_one_object_holds_one_lease(connect: Connect) -> None:
    """kazoo#213: the second lease of one object was given back by nobody."""
    async with connect() as zk:
        semaphore = Semaphore(zk, PATH, 2)
        async with semaphore:
            with pytest.raises(RuntimeError):
                await semaphore.enter()
        assert await semaphore.holders() == []


def test_a_plain_with(hosts: str) -> None:
    with (
        coterie.connect_blocking(hosts) as zk,
        Semaphore(zk, PATH, 2) as one,
        Semaphore(zk, PATH, 2) as two,
    ):
        assert two.token > one.token
        with pytest.raises(TimeoutError):
            zk.run(Semaphore(zk, PATH, 2).acquire(0))


def test_threads_share_a_client(hosts: str) -> None:
    """kazoo#83, kazoo#213: threads that block each other, and more holders than leases."""
    inside, most = [0], [0]
    lock = threading.Lock()

    def work(zk: coterie.BlockingClient) -> None:
        for _ in range(4):
            with Semaphore(zk, PATH, 2):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                zk.exists(PATH)
                with lock:
                    inside[0] -= 1

    with coterie.connect_blocking(hosts) as zk, ThreadPoolExecutor(6) as threads:
        for each in [threads.submit(work, zk) for _ in range(6)]:
            each.result(20.0)
    assert 1 <= most[0] <= 2
