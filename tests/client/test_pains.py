"""What hurt the users of other clients, by their issues, where no other test has it."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Coroutine
from typing import Any, assert_type

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import NoNodeError
from coterie.system.transport import SystemNetwork
from coterie.testing.cluster import Server
from coterie.values import Children, Created, SessionState, Stat, WatchEvent, Znode
from tests.conftest import Connect, until


async def test_asyncio_is_at_home_kazoo_185_499_746(connect: Connect) -> None:
    """A thousand tasks share a client, and the loop does other things meanwhile."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with connect() as zk:
        ticking = asyncio.create_task(tick())
        await zk.create("/a", b"x")
        assert {z.data for z in await asyncio.gather(*[zk.get("/a") for _ in range(1000)])} == {
            b"x"
        }
        ticking.cancel()
    assert turns >= 3


async def test_everything_has_its_type_kazoo_797(connect: Connect) -> None:
    """`make lint` checks these, for mypy reads tests as strictly as the package."""
    async with connect() as zk:
        assert_type(zk, Client)
        assert_type(await zk.create("/a"), str)
        assert_type(await zk.create_with_stat("/b"), Created)
        assert_type(await zk.get("/a"), Znode)
        assert_type((await zk.get("/a")).data, bytes)
        assert_type(await zk.exists("/a"), Stat | None)
        assert_type(await zk.children("/"), list[str])
        assert_type(await zk.children_with_stat("/"), Children)
        async with zk.watch("/a") as events:
            await zk.set("/a", b"x")
            assert_type(await events.next(), WatchEvent | None)
        async with zk.cache("/a") as cache:
            assert_type(cache["/a"], Znode)


def test_types_of_the_blocking_client_kazoo_797(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        assert_type(zk.create("/a"), str)
        assert_type(zk.get("/a"), Znode)
        assert_type(zk.set("/a", b""), Stat)


async def test_each_time_out_is_its_own_kazoo_756() -> None:
    """A server that takes a connection and says nothing is left long before the session ends."""

    class Silent(SystemNetwork):
        async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
            return [("127.0.0.1", silent_port if host == "silent" else port)]

    taken: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    silent_port = silent.sockets[0].getsockname()[1]
    with Server() as server:
        for seed in range(4):
            started_s = time.monotonic()
            async with coterie.connect(
                f"silent:1,good:{server.port}",
                session_timeout_s=60.0,
                connect_timeout_s=0.1,
                network=Silent(),
            ) as zk:
                assert zk.state == SessionState.CONNECTED, seed
            assert time.monotonic() - started_s < 5
    for writer in taken:
        writer.close()
    silent.close()


async def test_servers_that_lost_their_data_are_joined_anew_kazoo_42_aiozk_28() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts, session_timeout_s=0.4) as zk:
            for _ in range(20):
                await zk.create("/n-", sequential=True)
            before = (zk.session_id, zk.last_zxid)
            heard: list[SessionState] = []
            zk.on_state(heard.append)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.wipe)
            await asyncio.to_thread(server.start)
            await until(lambda: heard[-1:] == [SessionState.CONNECTED])
            assert SessionState.LOST in heard
            assert zk.session_id != before[0]
            assert zk.last_zxid < before[1]
            assert await zk.children("/") == ["zookeeper"]


async def test_watches_leave_nothing_behind_aiozk_24(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a")
        for _ in range(50):
            await zk.get("/a", watch=lambda event: None)
            await zk.set("/a", b"")
            async with zk.watch("/a", recursive=True) as events:
                await zk.set("/a", b"")
                await events.next()
        watches = zk.session.watches
        assert not any(watches.arm(0))
        assert not zk.watching
        assert not zk._watchers


async def test_a_client_that_is_closed_is_gone(connect: Connect) -> None:
    zk = connect()
    async with zk:
        await zk.exists("/")
    gone = weakref.ref(zk)
    del zk
    gc.collect()
    assert gone() is None


async def test_a_client_that_was_asleep_goes_on_kazoo_592(connect: Connect) -> None:
    """A laptop that sleeps: the loop stands still beyond every time-out of the connection."""
    async with connect(session_timeout_s=1.0) as zk:
        await zk.create("/mine", ephemeral=True)
        time.sleep(2.5)  # noqa: ASYNC251
        assert await asyncio.wait_for(zk.exists("/"), 5) is not None
        await until(lambda: zk.state == SessionState.CONNECTED)


async def test_an_unanswered_read_is_no_empty_list_pinot_6068() -> None:
    """Lost connections once looked like empty folders, and tables were dropped for it."""
    with Server() as server:
        async with coterie.connect(server.hosts, call_timeout_s=0.3) as zk:
            await zk.create("/tables/one", parents=True)
            await asyncio.to_thread(server.stop)
            reads: list[Coroutine[Any, Any, object]] = [
                zk.children("/tables"),
                zk.exists("/tables"),
                zk.get_many(["/tables"]),
            ]
            for read in reads:
                with pytest.raises(coterie.OperationTimeoutError):
                    await read
            await asyncio.to_thread(server.start)
            await until(lambda: zk.state == SessionState.CONNECTED)
            assert await zk.children("/tables") == ["one"]
            with pytest.raises(NoNodeError):
                await zk.children("/none")
