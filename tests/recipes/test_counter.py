"""Counting."""

from __future__ import annotations

import asyncio
from queue import Queue
from typing import Any

import pytest

import coterie
from coterie.errors import OutcomeUnknown
from coterie.recipes.counter import Counter
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.patience import eventually


async def test_it_counts(connect: Connect) -> None:
    async with connect() as zk, Counter(zk, "/deep/n", start=5) as counter:
        assert await counter.value() == 5
        assert await counter.add() == 6
        assert await counter.add(10) == 16
        assert await counter.subtract(20) == -4
        await counter.set(10**30)
        assert await counter.update(lambda n: n * 2) == 2 * 10**30
        assert await counter.value() == 2 * 10**30


async def test_no_count_is_lost(connect: Connect) -> None:
    async def count(counter: Counter) -> None:
        for _ in range(10):
            await counter.add()

    async with connect() as zk, connect() as other:
        counters = [Counter(zk, "/n"), Counter(zk, "/n"), Counter(other, "/n")]
        await asyncio.gather(*map(count, [*counters, counters[0]]))
        assert await Counter(zk, "/n").value() == 40


async def test_nothing_is_left_behind(connect: Connect) -> None:
    async with connect() as zk:
        async with Counter(zk, "/n") as counter:
            await counter.add()
        assert await zk.children("/n") == []
        async with connect() as other:
            await Counter(other, "/n").add()
        await zk.sync()
        assert await zk.children("/n") == []


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
async def test_only_integers(connect: Connect, amount: Any) -> None:
    async with connect() as zk:
        counter = Counter(zk, "/n")
        with pytest.raises(TypeError):
            await counter.add(amount)
        with pytest.raises(TypeError):
            await counter.set(amount)
        with pytest.raises(TypeError):
            await counter.update(lambda _: amount)
        with pytest.raises(TypeError):
            Counter(zk, "/n", start=amount)
        assert await zk.exists("/n") is None


@pytest.mark.parametrize("data", [b"1.5", b"x", b" 1", b"1_0", b"-", b"\xff"])
async def test_what_is_no_integer_is_not_counted_on(connect: Connect, data: bytes) -> None:
    async with connect() as zk:
        await zk.create("/n", data)
        with pytest.raises(ValueError, match="/n holds"):
            await Counter(zk, "/n").add()
        assert (await zk.get("/n")).data == data


async def test_kazoos_counters_are_understood(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/n")
        assert await Counter(zk, "/n", start=7).value() == 7
        await zk.set("/n", b"-12")
        assert await Counter(zk, "/n").add() == -11
        assert (await zk.get("/n")).data == b"-11"


async def test_one_that_is_deleted_starts_anew(connect: Connect) -> None:
    async with connect() as zk:
        counter = Counter(zk, "/n", start=5)
        await counter.add()
        await zk.delete_tree("/n")
        assert await counter.add() == 6


async def test_a_new_session_goes_on(connect: Connect, expire: Expire) -> None:
    async with connect() as zk:
        counter = Counter(zk, "/n")
        await counter.add()
        old = zk.session_id
        await expire(zk)
        await eventually(lambda: zk.session_id not in (old, 0))
        assert await counter.add() == 2
        async with connect() as other:
            assert len(await other.children("/n", linearizable=True)) == 1


class _Lost:
    """A transaction that is carried out, or not, and nothing is heard of it."""

    def __init__(self, zk: Any, counter: Counter, carried_out: bool) -> None:
        self._real = zk.transaction
        self._zk = zk
        self._counter = counter
        self._carried_out = carried_out

    def __call__(self) -> Any:
        self._zk.transaction = self._real
        made = self._real()
        commit = made.commit

        async def fails() -> None:
            if self._carried_out:
                await commit()
            await self._counter.add(100)
            raise OutcomeUnknown(None, "multi")

        made.commit = fails
        return made


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("first", [True, False])
async def test_a_change_is_made_once_jepsen_jetcd(
    connect: Connect, carried_out: bool, first: bool
) -> None:
    async with connect() as zk, connect() as other:
        counter, others = Counter(zk, "/n"), Counter(other, "/n")
        await others.add(0)
        if not first:
            await counter.add(0)
        client: Any = zk
        client.transaction = _Lost(zk, others, carried_out)
        # If it was carried out, this is what it was then: the other one came later.
        assert await counter.add() == (1 if carried_out else 101)
        assert await counter.value() == 101


async def test_a_lost_connection_costs_no_count_and_counts_none_twice(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        counter, others = Counter(zk, "/n"), Counter(other, "/n")

        async def disturb() -> None:
            for _ in range(4):
                await eventually(lambda: zk.state.connected)
                await asyncio.to_thread(coterie_server.disconnect, zk)
                await others.add(1000)

        disturbing = asyncio.create_task(disturb())
        told = 0
        while told < 2 or not disturbing.done():
            await counter.add()
            told += 1
        await disturbing
        assert await others.value() == 4000 + told


async def test_after_the_session_it_is_told_that_nobody_knows(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        counter = Counter(zk, "/n")
        await counter.add()
        client: Any = zk
        client.transaction = _Lost(zk, Counter(other, "/n"), True)
        real = client.exists

        async def exists(path: str, **options: Any) -> Any:
            found = await real(path, **options)
            client.session.id += 1
            return found

        client.exists = exists
        with pytest.raises(OutcomeUnknown):
            await counter.add()
        client.session.id -= 1


def test_within_a_callback_kazoo_208(hosts: str) -> None:
    counted: Queue[int] = Queue()
    with coterie.connect_blocking(hosts) as zk:
        counter = Counter(zk, "/n")
        zk.create("/a")
        zk.get("/a", watch=lambda event: counted.put(zk.run(counter.add())))
        zk.set("/a", b"1")
        assert counted.get(timeout=10) == 1


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, Counter(zk, "/n") as counter:
        assert zk.run(counter.add(3)) == 3
