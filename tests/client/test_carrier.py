"""A client as servers come and go."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.errors import NoNodeError, OutcomeUnknown, SessionExpiredError
from coterie.testing.cluster import Cluster, Server
from coterie.values import SessionState
from tests.conftest import until

CONNECTED, SUSPENDED, LOST = (
    SessionState.CONNECTED,
    SessionState.SUSPENDED,
    SessionState.LOST,
)


async def test_reads_wait_out_a_restart_and_the_session_goes_on() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts, session_timeout_s=10.0) as zk:
            heard: list[SessionState] = []
            zk.on_state(heard.append)
            await zk.create("/a", b"x", ephemeral=True)
            before = zk.session_id
            reads = [asyncio.create_task(zk.get("/a")) for _ in range(10)]
            await asyncio.to_thread(server.restart)
            reads += [asyncio.create_task(zk.get("/a")) for _ in range(10)]
            assert {(await read).data for read in reads} == {b"x"}
            assert zk.session_id == before
            assert heard == [SUSPENDED, CONNECTED]


async def test_an_expired_session_is_told_and_another_begins() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts) as zk:
            heard: list[SessionState] = []
            zk.on_state(heard.append)
            await zk.create("/mine", ephemeral=True)
            before = zk.session_id
            await asyncio.to_thread(server.expire, zk)
            await until(lambda: heard[-1:] == [CONNECTED])
            assert heard == [SUSPENDED, LOST, CONNECTED]
            assert zk.session_id != before
            assert await zk.exists("/mine") is None


async def test_lost_while_all_servers_are_down_kazoo_89_207() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts, session_timeout_s=0.5) as zk:
            await asyncio.to_thread(server.stop)
            await until(lambda: zk.state == SUSPENDED)
            write = asyncio.create_task(zk.create("/a"))
            await until(lambda: zk.state == LOST)
            with pytest.raises(SessionExpiredError):
                await write
            await asyncio.to_thread(server.start)
            await until(lambda: zk.state == CONNECTED)


async def test_a_session_moves_through_an_ensemble_member_by_member() -> None:
    with Cluster(3) as cluster:
        async with coterie.connect(cluster.hosts, session_timeout_s=10.0) as zk:
            await zk.create("/mine", ephemeral=True)
            before = zk.session_id
            for number in (1, 2, 3):
                member = cluster[number]
                await asyncio.to_thread(member.stop)
                assert await zk.exists("/mine") is not None
                await asyncio.to_thread(member.start)
                await asyncio.to_thread(cluster.wait)
            assert zk.session_id == before


async def test_a_protected_create_is_settled_over_a_lost_connection_curator_498() -> None:
    """The answer is lost; the znode is found by its mark, and there is only one."""
    with Server() as server:
        async with coterie.connect(server.hosts) as zk, coterie.connect(server.hosts) as other:
            await zk.ensure("/line")
            for _ in range(5):
                await asyncio.to_thread(server.pause)
                making = asyncio.create_task(
                    zk.create("/line/p-", ephemeral=True, sequential=True, protected=True)
                )
                await asyncio.sleep(0.01)
                zk.session.lost("as if the network had cut it")
                zk._running._hang_up()
                zk._running.turn()
                await asyncio.to_thread(server.resume)
                path = await making
                assert path in [f"/line/{name}" for name in await other.children("/line")]
                assert len(await other.children("/line")) == 1
                await zk.delete(path)


async def test_a_plain_write_over_a_lost_connection_is_unknown() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts) as zk:
            await asyncio.to_thread(server.pause)
            writing = asyncio.create_task(zk.create("/a"))
            await asyncio.sleep(0.01)
            zk.session.lost("as if the network had cut it")
            zk._running._hang_up()
            zk._running.turn()
            with pytest.raises(OutcomeUnknown, match=r"^create /a: "):
                await writing
            await asyncio.to_thread(server.resume)
            try:
                await zk.delete("/a")
            except NoNodeError:
                assert await zk.exists("/a") is None


async def test_closing_while_nobody_is_there_takes_no_time() -> None:
    with Server() as server:
        zk = coterie.connect(server.hosts)
        await zk.start()
        await asyncio.to_thread(server.stop)
        async with asyncio.timeout(1):
            await zk.close()
        assert zk.state == SessionState.CLOSED
