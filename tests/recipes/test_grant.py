"""Grants: when they are lost, who is told, and what becomes of the block that holds one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest

from coterie.client.client import Client
from coterie.errors import GrantLostError, OperationTimeoutError
from coterie.recipes.grant import Fence, Grant, Holding, Tenure
from coterie.recipes.recipe import take_place
from coterie.testing.cluster import Server
from coterie.values import EventType, KeeperState, SessionState, Stat, WatchEvent
from tests.conftest import Connect
from tests.recipes.conftest import Expire

_NO_STAT = Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


async def _granted(zk: Client, path: str = "/line/place-") -> Grant:
    made = await take_place(zk, path)
    grant = Grant(zk, made.path, made.stat)
    await grant.guard()
    return grant


async def _lost(grant: Tenure) -> None:
    """Wait until it is told that it is lost."""
    told = asyncio.Event()
    grant.on_lost(told.set)
    await told.wait()


# What ends a grant


async def test_it_is_held_and_given_back(connect: Connect) -> None:
    async with connect() as zk:
        grant = await _granted(zk)
        stat = await zk.exists(grant.path)
        assert stat is not None
        assert (grant.token, grant.session_id) == (stat.czxid, zk.session_id)
        assert not grant.lost
        grant.check()
        await grant.confirm()
        told: list[str] = []
        grant.on_lost(lambda: told.append("lost"))
        await grant.give_back()
        assert await zk.exists(grant.path) is None
        assert told == []
        assert grant.returned
        with pytest.raises(GrantLostError):
            grant.check()


async def test_tokens_grow(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        tokens = [(await _granted(each)).token for each in (zk, other, zk)]
        assert tokens == sorted(set(tokens))


async def test_its_znode_is_deleted(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        grant = await _granted(zk)
        await zk.set(grant.path, b"changed: that ends nothing")
        await grant.confirm()
        await other.delete(grant.path)
        await _lost(grant)
        assert grant.lost
        assert not grant.returned
        assert grant.wait_lost(0.0)


async def test_its_znode_is_anothers_now(connect: Connect) -> None:
    """curator#500, CURATOR-696: a znode of the same name is not enough."""
    async with connect() as zk, connect() as other:
        made = await zk.create_with_stat("/one", ephemeral=True)
        grant = Grant(zk, made.path, made.stat)
        await zk.delete("/one")
        await other.create("/one", ephemeral=True)
        with pytest.raises(GrantLostError, match="/one"):
            await grant.guard()


async def test_its_session_expires(connect: Connect, expire: Expire) -> None:
    """CURATOR-620, helix#2261: who holds is told when its session is no more."""
    async with connect() as zk:
        grant = await _granted(zk)
        await expire(zk)
        await _lost(grant)
        with pytest.raises(GrantLostError):
            await grant.confirm()


async def test_its_client_is_closed(connect: Connect) -> None:
    async with connect() as zk:
        grant = await _granted(zk)
    assert grant.lost


async def test_no_server_answers_for_as_long_as_the_session_lives(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    """consul#18271, helix#691: cut off, a holder knows by its own clock when it is none."""
    async with coterie_connect(session_timeout_s=0.4) as zk:
        grant = await _granted(zk)
        coterie_server.pause()
        try:
            expires_ms = zk.expires_ms
            assert expires_ms is not None
            await _lost(grant)
            assert zk.now_ms() >= expires_ms
            assert zk.now_ms() < expires_ms + 200
        finally:
            coterie_server.resume()


async def test_a_lost_connection_is_no_lost_grant(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect() as zk:
        grant = await _granted(zk)
        suspended = asyncio.Event()
        zk.on_state(lambda state: suspended.set() if state == SessionState.SUSPENDED else None)
        coterie_server.disconnect(zk)
        await suspended.wait()
        assert not grant.lost
        await grant.confirm()
        # And it is heard of again what becomes of the znode.
        async with coterie_connect() as other:
            await other.delete(grant.path)
        await _lost(grant)


class _Standing:
    """A client whose clock stands where the test says."""

    def __init__(self) -> None:
        self.over = False
        self.session_id = 7
        self.expires_ms: float | None = 100.0
        self.clock_ms = 0.0
        self.followers: list[Callable[[SessionState], None]] = []
        self.refusals = 0
        self.watch: Any = None
        self.watched = asyncio.Event()

    def now_ms(self) -> float:
        return self.clock_ms

    def on_state(self, callback: Callable[[SessionState], None]) -> Callable[[], None]:
        self.followers.append(callback)
        return lambda: self.followers.remove(callback)

    async def exists(self, path: str, *, watch: Any = None) -> Stat:
        if self.refusals:
            self.refusals -= 1
            raise OperationTimeoutError(path, "exists")
        self.watch = watch
        self.watched.set()
        return _NO_STAT._replace(czxid=3, ephemeral_owner=7)


def _stood(zk: _Standing) -> Grant:
    stat = _NO_STAT._replace(czxid=3, ephemeral_owner=7)
    return Grant(cast(Client, zk), "/g", stat)


async def test_a_process_that_stood_still_knows_when_it_asks() -> None:
    zk = _Standing()
    grant = _stood(zk)
    zk.clock_ms = 99.9
    grant.check()
    zk.clock_ms = 100.0
    with pytest.raises(GrantLostError, match=r"^/g"):
        grant.check()
    zk.clock_ms = 0.0
    assert grant.lost
    assert zk.followers == []


async def test_another_session_is_the_end() -> None:
    zk = _Standing()
    grant = _stood(zk)
    zk.session_id = 8
    assert grant.lost


async def test_what_changes_is_looked_at_until_it_is_known() -> None:
    """A watch that could not be set again would hear of nothing."""
    zk = _Standing()
    grant = _stood(zk)
    await grant.guard()
    zk.watched.clear()
    zk.refusals = 1
    zk.watch(_event("NODE_DATA_CHANGED"))
    await zk.watched.wait()
    zk.watch(_event("NODE_DELETED"))
    assert grant.lost


def _event(kind: str) -> WatchEvent:
    return WatchEvent(EventType[kind], KeeperState.SYNC_CONNECTED, "/g")


# Who is told


class _Toy(Tenure):
    """Something that is lost when the test says so."""

    def __init__(self) -> None:
        super().__init__("/toy", 1)
        self.gone = False

    def _is_over(self) -> bool:
        return self.gone

    def lose(self) -> None:
        self.gone = True
        self._lose()


async def test_all_are_told_whatever_one_of_them_does() -> None:
    toy, told = _Toy(), []
    failures: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: failures.append(context))

    def fail() -> None:
        raise ValueError

    toy.on_lost(fail)
    toy.on_lost(lambda: told.append("second"))
    undo = toy.on_lost(lambda: told.append("undone"))
    undo()
    undo()
    toy.lose()
    toy.on_lost(lambda: told.append("at once"))
    assert told == ["second", "at once"]
    assert isinstance(failures.pop()["exception"], ValueError)
    assert not failures


async def test_a_thread_that_asks_leaves_the_telling_to_the_loop() -> None:
    toy = _Toy()
    told: list[int] = []
    toy.on_lost(lambda: told.append(threading.get_ident()))
    toy.gone = True
    assert await asyncio.to_thread(lambda: toy.lost)
    await _lost(toy)
    await asyncio.sleep(0)
    assert told == [threading.get_ident()]


async def test_a_thread_waits_until_it_is_lost_or_given_back() -> None:
    for end in (_Toy.lose, _Toy.released):
        toy = _Toy()
        assert not toy.wait_lost(0.0)
        waiting = asyncio.create_task(asyncio.to_thread(toy.wait_lost, 10.0))
        await asyncio.sleep(0)
        end(toy)
        assert await waiting


# What becomes of the block


class _Hold(Holding[_Toy]):
    """Grants toys."""

    def __init__(self) -> None:
        super().__init__(cast(Client, None), "/toy")
        self.released: list[_Toy] = []

    async def acquire(self, timeout_s: float | None = None) -> _Toy:
        await asyncio.sleep(0)
        return _Toy()

    async def release(self, grant: _Toy) -> None:
        grant.released()
        await asyncio.sleep(0)
        self.released.append(grant)


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _rest() -> None:
    """Nothing is left of a cancellation: one can wait again."""
    assert _task().cancelling() == 0
    await asyncio.sleep(0)


async def _within(hold: Holding[_Toy], body: Callable[[_Toy], Awaitable[object]]) -> None:
    async with hold as toy:
        await body(toy)


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _lost_soon(toy: _Toy) -> None:
    asyncio.get_running_loop().call_soon(toy.lose)
    await _for_ever()


async def test_the_block_is_cancelled_where_it_waits() -> None:
    hold = _Hold()
    with pytest.raises(GrantLostError, match="/toy"):
        await _within(hold, _lost_soon)
    assert len(hold.released) == 1
    await _rest()


async def test_a_block_that_asks_is_told_by_the_answer_alone() -> None:
    async def ask(toy: _Toy) -> None:
        toy.gone = True
        toy.check()

    with pytest.raises(GrantLostError) as raised:
        await _within(_Hold(), ask)
    assert raised.value.__cause__ is None
    await _rest()


async def test_a_block_that_asks_and_goes_on_is_cancelled_where_it_waits_next() -> None:
    went_on = False

    async def ask(toy: _Toy) -> None:
        nonlocal went_on
        toy.gone = True
        went_on = toy.lost
        await _for_ever()

    with pytest.raises(GrantLostError):
        await _within(_Hold(), ask)
    assert went_on
    await _rest()


async def test_a_block_that_ends_without_having_heard() -> None:
    async def go(toy: _Toy) -> None:
        toy.gone = True

    async def lose(toy: _Toy) -> None:
        toy.lose()

    for body in (go, lose):
        with pytest.raises(GrantLostError):
            await _within(_Hold(), body)
        await _rest()


async def test_lost_before_the_block_begins() -> None:
    class Early(_Hold):
        async def acquire(self, timeout_s: float | None = None) -> _Toy:
            toy = _Toy()
            toy.lose()
            return toy

    begun = False

    async def wait(toy: _Toy) -> None:
        nonlocal begun
        begun = True
        await _for_ever()

    with pytest.raises(GrantLostError):
        await _within(Early(), wait)
    assert begun
    await _rest()


async def test_what_the_block_raises_is_what_is_raised() -> None:
    hold = _Hold()

    async def fail(toy: _Toy) -> None:
        raise ValueError("mine")

    async def lose_and_fail(toy: _Toy) -> None:
        toy.lose()
        raise ValueError("mine")

    for body in (fail, lose_and_fail):
        with pytest.raises(ValueError, match="mine"):
            await _within(hold, body)
        await _rest()
    assert len(hold.released) == 2


async def _cancelled_from_outside(body: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(body)
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return task


async def test_who_is_cancelled_by_others_stays_cancelled() -> None:
    hold = _Hold()

    async def body() -> None:
        async with hold:
            await asyncio.Event().wait()

    await _cancelled_from_outside(body())
    assert len(hold.released) == 1


async def test_who_is_cancelled_by_others_too_stays_cancelled() -> None:
    async def body() -> None:
        async with _Hold() as toy:
            try:
                await asyncio.Event().wait()
            finally:
                # What comes of both reasons at once.
                toy.lose()
                await asyncio.sleep(0)

    await _cancelled_from_outside(body())


async def test_time_outs_and_groups_within_the_block() -> None:
    async def in_a_group(toy: _Toy) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_for_ever())
            group.create_task(_lost_soon(toy))

    async def in_time(toy: _Toy) -> None:
        async with asyncio.timeout(10):
            await _lost_soon(toy)

    async def too_late(toy: _Toy) -> None:
        async with asyncio.timeout(0.01):
            await _for_ever()

    for body, error in (
        (in_a_group, GrantLostError),
        (in_time, GrantLostError),
        (too_late, TimeoutError),
    ):
        with pytest.raises(error):
            await _within(_Hold(), body)
        await _rest()


async def test_one_that_is_held_is_not_held_again() -> None:
    """kazoo#213: one object, two holders, and a lease that nobody gives back."""
    hold = _Hold()
    async with hold:
        with pytest.raises(RuntimeError, match="make another"):
            async with hold:
                pass
    entering = [asyncio.create_task(hold.enter()) for _ in range(2)]
    results = await asyncio.gather(*entering, return_exceptions=True)
    assert [type(result) for result in results] == [_Toy, RuntimeError]
    await hold.leave(None)
    async with hold:
        pass


async def test_given_back_within_the_block() -> None:
    hold = _Hold()
    async with hold as toy:
        await hold.release(toy)
        await asyncio.sleep(0)
    assert hold.released == [toy]


def test_ctrl_c_when_it_was_granted_already() -> None:
    hold = _Hold()

    class Interrupted:
        """A portal; Ctrl-C comes right after the grant."""

        def call(self, step: Coroutine[Any, Any, Any]) -> None:
            runner.run(step)
            raise KeyboardInterrupt

        def start(self, step: Coroutine[Any, Any, Any]) -> None:
            runner.run(step)

    hold.portal = cast(Any, Interrupted())
    with asyncio.Runner() as runner, pytest.raises(KeyboardInterrupt):
        hold.__enter__()
    assert len(hold.released) == 1


def test_a_fence_lets_nobody_in_who_is_older() -> None:
    fence = Fence()
    for token in (3, 3, 7):
        fence.check(token)
    with pytest.raises(GrantLostError, match="0x6 is older than 0x7"):
        fence.check(6)
    fence.check(7)
