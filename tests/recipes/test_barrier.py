"""Gates."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import GrantLostError, OutcomeUnknown
from coterie.recipes.barrier import Barrier, DoubleBarrier
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, lose_answers


async def _settled(*clients: Client) -> None:
    """Let everybody hear what has happened."""
    for _ in range(10):
        for zk in clients:
            await zk.sync()


async def test_all_wait_until_it_is_open(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        gate = Barrier(other, "/gates/a")
        await Barrier(zk, "/gates/a").until_open()
        await gate.close()
        await gate.close()
        assert await gate.is_closed()
        waiting = [asyncio.create_task(Barrier(zk, "/gates/a").until_open()) for _ in range(3)]
        await _settled(zk, other)
        assert not any(task.done() for task in waiting)
        await gate.open()
        await gate.open()
        await asyncio.gather(*waiting)


async def test_a_block_keeps_it_closed(connect: Connect) -> None:
    async with connect() as zk:
        async with Barrier(zk, "/gate") as gate:
            with pytest.raises(TimeoutError):
                await gate.until_open(timeout_s=0.05)
        await gate.until_open()


@pytest.mark.parametrize("number", range(4))
async def test_who_is_cancelled_while_he_enters_does_not_leave_it_closed(
    connect: Connect, number: int
) -> None:
    async with connect() as zk, connect() as other:
        gate = Barrier(zk, "/gates/a")
        if await cancelled_at(zk, number, gate.enter()) is not None:
            await gate.leave(None)
        async with asyncio.timeout(10):
            while await other.exists("/gates/a", linearizable=True) is not None:
                await zk.sync()


async def test_a_gate_that_perhaps_was_closed_is_opened_but_not_anothers(
    connect: Connect,
) -> None:
    async with connect() as zk, connect() as other:
        await zk.ensure("/gates")
        lose_answers(zk)
        with pytest.raises(OutcomeUnknown):
            await Barrier(zk, "/gates/a").enter()
        await Barrier(other, "/gates/a").until_open(timeout_s=10)
        await Barrier(other, "/gates/b").close()
        barrier: Any = Barrier(zk, "/gates/b")

        async def unsure(mark: bytes) -> None:
            raise OutcomeUnknown("/gates/b", "create")

        barrier._close = unsure
        with pytest.raises(OutcomeUnknown):
            await barrier.enter()
        await _settled(zk, other)
        assert await barrier.is_closed()


async def test_who_is_cancelled_while_he_leaves_opens_it(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        gate = Barrier(zk, "/gates/a")
        await gate.enter()
        leaving = asyncio.create_task(gate.leave(None))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await Barrier(other, "/gates/a").until_open(timeout_s=10)


async def test_who_dies_leaves_it_open_if_it_was_closed_so(connect: Connect) -> None:
    async with connect() as zk:
        async with connect() as other:
            await Barrier(other, "/gate", ephemeral=True).close()
            waiting = asyncio.create_task(Barrier(zk, "/gate").until_open())
            await _settled(zk)
            assert not waiting.done()
        await waiting


class _Walker:
    """Goes through a double barrier once."""

    def __init__(self, zk: Client, count: int, path: str = "/d") -> None:
        self.inside = asyncio.Event()
        self.go_on = asyncio.Event()
        self.token = 0
        self.task = asyncio.create_task(self._walk(DoubleBarrier(zk, path, count)))

    async def _walk(self, barrier: DoubleBarrier) -> None:
        async with barrier as grant:
            self.token = grant.token
            self.inside.set()
            await self.go_on.wait()


async def test_they_go_in_together_and_out_together(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        walkers = [_Walker(client, 4) for client in (zk, zk, other)]
        await _settled(zk, other)
        assert not any(w.inside.is_set() for w in walkers)
        walkers.append(_Walker(other, 4))
        async with asyncio.timeout(10):
            await asyncio.gather(*(w.inside.wait() for w in walkers))
        for walker in walkers[:-1]:
            walker.go_on.set()
        await _settled(zk, other)
        assert not any(w.task.done() for w in walkers)
        walkers[-1].go_on.set()
        await asyncio.gather(*(w.task for w in walkers))
        assert await zk.children("/d") == ["round"]


@pytest.mark.parametrize("order", [range(5), reversed(range(5)), (2, 0, 4, 1, 3)])
async def test_in_whatever_order_they_leave(connect: Connect, order: Any) -> None:
    async with connect() as zk:
        walkers = [_Walker(zk, 5) for _ in range(5)]
        for number in list(order):
            await walkers[number].inside.wait()
            await _settled(zk)
            assert not any(w.task.done() for w in walkers)
            walkers[number].go_on.set()
        await asyncio.gather(*(w.task for w in walkers))


async def test_who_comes_early_for_the_next_round_waits_for_it(connect: Connect) -> None:
    async with connect() as zk:
        first = [_Walker(zk, 2) for _ in range(2)]
        await asyncio.gather(*(w.inside.wait() for w in first))
        second = [_Walker(zk, 2) for _ in range(2)]
        await _settled(zk)
        first[0].go_on.set()
        await _settled(zk)
        assert not any(w.inside.is_set() for w in second)
        first[1].go_on.set()
        await asyncio.gather(*(w.inside.wait() for w in second))
        assert min(w.token for w in second) > max(w.token for w in first)
        for walker in second:
            walker.go_on.set()
        await asyncio.gather(*(w.task for w in first + second))


async def test_who_dies_before_is_not_counted(connect: Connect) -> None:
    async with connect() as zk:
        async with connect() as other:
            _Walker(other, 2).task.add_done_callback(lambda task: task.exception())
            await _settled(other)
        walker = _Walker(zk, 2)
        await _settled(zk)
        assert not walker.inside.is_set()
        again = _Walker(zk, 2)
        await walker.inside.wait()
        walker.go_on.set()
        again.go_on.set()
        await asyncio.gather(walker.task, again.task)


async def test_who_dies_within_counts_as_one_who_has_left(
    connect: Connect, expire: Expire
) -> None:
    async with connect() as zk, connect() as other:
        lives, dies = _Walker(zk, 2), _Walker(other, 2)
        await asyncio.gather(lives.inside.wait(), dies.inside.wait())
        lives.go_on.set()
        await _settled(zk)
        assert not lives.task.done()
        await expire(other)
        await lives.task
        with pytest.raises(GrantLostError):
            await dies.task


async def test_who_has_failed_does_not_wait(connect: Connect) -> None:
    async def fail(zk: Client) -> None:
        async with DoubleBarrier(zk, "/d", 2):
            raise ValueError("failed")

    async with connect() as zk:
        walker = _Walker(zk, 2)
        with pytest.raises(ValueError, match="failed"):
            await fail(zk)
        walker.go_on.set()
        await walker.task


async def test_to_wait_no_longer_leaves_nothing_behind(connect: Connect) -> None:
    async with connect() as zk:
        with pytest.raises(TimeoutError):
            await DoubleBarrier(zk, "/d", 2).acquire(timeout_s=0.05)
        assert await zk.children("/d") == ["round"]
        with pytest.raises(ValueError, match="one at least"):
            DoubleBarrier(zk, "/d", 0)


async def test_whose_session_is_over_while_he_waits_is_told(
    connect: Connect, expire: Expire
) -> None:
    async with connect() as zk:
        await zk.ensure("/d/round")
        walker = _Walker(zk, 2)
        while len(await zk.children("/d")) == 1:
            await zk.sync()
        await expire(zk)
        with pytest.raises(GrantLostError):
            await walker.task


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        with Barrier(zk, "/gate") as gate:
            assert zk.run(gate.is_closed())
        with DoubleBarrier(zk, "/d", 1) as grant:
            grant.check()
