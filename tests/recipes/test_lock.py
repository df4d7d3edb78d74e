"""Locks: one holder, in order, whatever is lost on the way; and nobody stands there for ever."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from kazoo.client import KazooClient
from kazoo.recipe.lock import Lock as KazooLock

import coterie
from coterie.client.client import Client
from coterie.errors import ApiError, GrantLostError, NoNodeError
from coterie.recipes.grant import Fence, Grant
from coterie.recipes.lock import Lock
from coterie.testing.cluster import Server
from coterie.values import Created, SessionState, Stat
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, crowd, lose_answers, settled

PATH = "/lock"


def _wait(zk: Client, timeout_s: float | None = None) -> asyncio.Task[Grant]:
    return asyncio.create_task(Lock(zk, PATH).acquire(timeout_s))


async def _second(zk: Client) -> asyncio.Task[Grant]:
    """A waiter, once it stands in line."""
    waiter = _wait(zk)
    await crowd(zk, PATH, 2)
    await settled(zk)
    return waiter


async def test_one_holds_at_a_time_in_the_order_of_asking(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        first = await Lock(zk, PATH, identifier=b"first").acquire()
        waiters = []
        for count, client in enumerate((other, zk, other, zk), 2):
            waiters.append(_wait(client))
            await crowd(zk, PATH, count)
        tokens, fence = [first.token], Fence(first.token)
        holder, lock = first, Lock(zk, PATH)
        for waiter in waiters:
            assert not any(each.done() for each in waiters[len(tokens) - 1 :])
            await holder.give_back()
            holder = await waiter
            fence.check(holder.token)
            tokens.append(holder.token)
        await lock.release(holder)
        assert tokens == sorted(set(tokens))
        assert await lock.contenders() == []


async def test_a_block_holds_it(connect: Connect) -> None:
    async with connect() as zk:
        lock = Lock(zk, PATH, identifier=b"me")
        for _ in range(2):
            async with lock as grant:
                grant.check()
                assert await lock.contenders() == [b"me"]
        assert await lock.contenders() == []


async def test_a_release_wakes_one(connect: Connect) -> None:
    """Curator's recipe: no herd."""
    async with connect() as zk, connect() as other:
        holder = await Lock(other, PATH).acquire()
        waiters = []
        for count in range(2, 8):
            waiters.append(_wait(zk))
            await crowd(other, PATH, count)
        await settled(zk)
        client: Any = zk
        children, looks = client.children, 0

        async def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal looks
            looks += 1
            return await children(*arguments, **options)

        client.children = counted
        await holder.give_back()
        second = await waiters.pop(0)
        assert looks == 1
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        await second.give_back()


async def test_patience_ends(connect: Connect) -> None:
    """kazoo#412: a lock that was not got in time is not left behind; aiozk#24: nor is a watch."""
    async with connect() as zk:
        lock = Lock(zk, PATH, identifier=b"holder")
        async with lock:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await Lock(zk, PATH).acquire(0.02)
                assert await lock.contenders() == [b"holder"]
            (own,) = await zk.children(PATH)
            watched = [len(each) for each in zk.session.watches._once[0].values()]
            assert watched == [1], f"the holder watches {own}, and nobody does else"


async def test_without_patience_it_is_taken_only_if_it_is_free(connect: Connect) -> None:
    async with connect() as zk:
        lock = Lock(zk, PATH)
        grant = await lock.acquire(0)
        with pytest.raises(TimeoutError):
            await lock.acquire(0)
        assert len(await lock.contenders()) == 1
        await lock.release(grant)
        await lock.release(await lock.acquire(0))


@pytest.mark.parametrize("number", range(1, 5))
async def test_who_is_cancelled_leaves_the_line(connect: Connect, number: int) -> None:
    """kazoo#412, at whatever step it is cancelled."""
    async with connect() as zk:
        await zk.ensure(PATH)
        came = await cancelled_at(zk, number, Lock(zk, PATH).acquire())
        if came is not None:
            assert number > 2
            await came.give_back()
        async with Lock(zk, PATH):
            assert len(await zk.children(PATH)) == 1
        await crowd(zk, PATH, 0)


@pytest.mark.parametrize("number", range(1, 5))
async def test_who_is_cancelled_while_waiting_leaves_the_line(
    connect: Connect, number: int
) -> None:
    async with connect() as zk, Lock(zk, PATH):
        assert await cancelled_at(zk, number, Lock(zk, PATH).acquire(0.1)) is None
        await crowd(zk, PATH, 1)


async def test_who_waits_is_not_let_in_when_the_one_ahead_gives_up(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        holder = await Lock(zk, PATH).acquire()
        second = await _second(other)
        third = _wait(zk)
        await crowd(zk, PATH, 3)
        second.cancel()
        await crowd(zk, PATH, 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(third), 0.05)
        await holder.give_back()
        await (await third).give_back()


async def test_the_holders_session_expires(connect: Connect, expire: Expire) -> None:
    """CURATOR-206 (curator#727): the old holder knows of it, and the new one's token is larger."""
    async with connect() as zk, connect() as other:

        async def hold() -> None:
            async with Lock(zk, PATH) as grant:
                held.set_result(grant)
                await asyncio.Event().wait()

        held: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        holding = asyncio.create_task(hold())
        first = await held
        waiter = await _second(other)
        await expire(zk)
        second = await waiter
        with pytest.raises(GrantLostError):
            await holding
        assert second.token > first.token
        fence = Fence(second.token)
        with pytest.raises(GrantLostError):
            fence.check(first.token)
        await second.give_back()


async def test_who_waits_is_told_when_its_session_expires(
    connect: Connect, expire: Expire
) -> None:
    async with connect() as zk, connect() as other:
        holder = await Lock(zk, PATH).acquire()
        waiter = await _second(other)
        await expire(other)
        with pytest.raises(GrantLostError):
            await waiter
        await crowd(zk, PATH, 1)
        await holder.give_back()


async def test_a_place_in_line_can_be_taken_away(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        holder = await Lock(zk, PATH).acquire()
        waiter = await _second(other)
        (place,) = await other.ephemerals(PATH)
        await zk.delete(place)
        with pytest.raises(GrantLostError):
            await waiter
        await holder.give_back()


async def test_revoking(connect: Connect) -> None:
    """kazoo#412 asks for a way to break a lock that somebody holds and does not give back."""
    async with connect() as zk, connect() as other:
        lock = Lock(other, PATH)
        assert not await lock.revoke()
        holder = await Lock(zk, PATH).acquire()
        waiter = await _second(other)
        lost = asyncio.Event()
        holder.on_lost(lost.set)
        assert await lock.revoke()
        await lost.wait()
        await holder.give_back()
        await (await waiter).give_back()


async def test_a_release_while_the_waiter_is_cut_off_wakes_it(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    """kazoo#151: a watch is not lost with its connection."""
    async with coterie_connect() as zk, coterie_connect() as other:
        holder = await Lock(zk, PATH).acquire()
        waiter = await _second(other)
        back = asyncio.Event()
        other.on_state(lambda state: back.set() if state == SessionState.CONNECTED else None)
        coterie_server.disconnect(other)
        await holder.give_back()
        await (await waiter).give_back()
        assert back.is_set()


async def test_the_place_is_taken_and_the_answer_lost(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        lose_answers(zk)
        async with Lock(zk, PATH, identifier=b"me"):
            assert await Lock(zk, PATH).contenders() == [b"me"]


async def test_nothing_is_held_while_the_connection_is_away_for_too_long(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    """consul#18271, consul#1843, helix#691: who is cut off stops before another begins."""
    async with coterie_connect(session_timeout_s=0.4) as zk:

        async def hold() -> None:
            async with Lock(zk, PATH):
                held.set()
                await asyncio.Event().wait()

        held = asyncio.Event()
        holding = asyncio.create_task(hold())
        await held.wait()
        coterie_server.cut_clients()
        try:
            with pytest.raises(GrantLostError):
                await holding
        finally:
            coterie_server.heal()


async def test_to_add_credentials_meanwhile_blocks_nobody(connect: Connect) -> None:
    """kazoo#229: add_auth and a retry lock each other out."""
    async with connect() as zk, connect() as other:
        holder = await Lock(zk, PATH).acquire()
        waiter = await _second(other)
        await other.add_auth("digest", "user:secret")
        await holder.give_back()
        await (await waiter).give_back()


async def test_others_stand_in_the_same_line(connect: Connect) -> None:
    """kazoo's contenders and Curator's: who asked first has it first."""
    async with connect() as zk:
        await zk.ensure(PATH)
        for name in ("0123456789abcdef__lock__", "_c_0123-4567-lock-"):
            theirs = await zk.create(f"{PATH}/{name}", ephemeral=True, sequential=True)
            waiter = await _second(zk)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiter), 0.02)
            await zk.delete(theirs)
            await (await waiter).give_back()


def test_kazoo_in_the_same_line(hosts: str) -> None:
    kazoo = KazooClient(hosts)
    kazoo.start()
    theirs = KazooLock(kazoo, PATH, extra_lock_patterns=["lock-"])
    try:
        with coterie.connect_blocking(hosts) as zk:
            with Lock(zk, PATH):
                assert not theirs.acquire(blocking=False)
            assert theirs.acquire(timeout=10)
            with pytest.raises(TimeoutError):
                zk.run(Lock(zk, PATH).acquire(0))
            theirs.release()
            with Lock(zk, PATH):
                pass
    finally:
        kazoo.stop()
        kazoo.close()


async def test_other_znodes_do_not_stand_in_line(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure(f"{PATH}/config")
        async with Lock(zk, PATH, identifier=b"me") as grant:
            await grant.confirm()
            assert await Lock(zk, PATH).contenders() == [b"me"]


async def test_a_lock_at_the_root(connect: Connect) -> None:
    async with connect() as zk, Lock(zk, "/", identifier=b"me"):
        assert await Lock(zk, "/").contenders() == [b"me"]


async def test_numbers_run_out() -> None:
    """After 2,147,483,647 places they would not be in order."""
    discarded: list[str] = []

    class Full:
        over = False
        session_id = 7
        expires_ms = 100.0

        def now_ms(self) -> float:
            return 0.0

        def on_state(self, callback: object) -> Any:
            return lambda: None

        async def create_with_stat(self, path: str, data: bytes, **options: object) -> Created:
            stat = Stat(*(0,) * 11)._replace(ephemeral_owner=7)
            return Created(path + "-2147483648", stat)

        async def delete(self, path: str) -> None:
            discarded.append(path)

    with pytest.raises(ApiError, match="run out"):
        await Lock(cast(Client, Full()), PATH).acquire()
    await asyncio.sleep(0)
    assert discarded == [f"{PATH}/lock--2147483648"]


def test_a_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, coterie.connect_blocking(hosts) as other:
        lock = Lock(zk, PATH, identifier=b"me")
        with lock as grant:
            grant.check()
            assert not grant.wait_lost(0.0)
            assert zk.run(lock.contenders()) == [b"me"]
            with pytest.raises(TimeoutError):
                other.run(Lock(other, PATH).acquire(0.02))
            grant.check()
        with pytest.raises(GrantLostError):
            _revoked(lock, zk)
        with pytest.raises(NoNodeError):
            zk.get(grant.path)


def _revoked(lock: Lock, zk: coterie.BlockingClient) -> None:
    with lock as grant:
        zk.run(lock.revoke())
        assert grant.wait_lost(10.0)
