"""An ephemeral that comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coterie.errors import NoAuthError, OutcomeUnknown, ServerFailureError
from coterie.recipes.presence import Presence
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from coterie.values import READ_ACL
from tests.conftest import Connect
from tests.recipes.patience import eventually, expire
from tests.recipes.scene import crowd, lose_answers


async def test_it_is_there_while_it_is_open(connect: Connect) -> None:
    async with connect() as zk:
        presence = Presence(zk, "/group/a", b"1")
        assert not presence.present
        await presence.open()
        assert presence.present
        data, stat = await zk.get("/group/a")
        assert (data, stat.ephemeral_owner) == (b"1", zk.session_id)
        await presence.update(b"2")
        assert (await zk.get("/group/a")).data == b"2"
        await presence.close()
        assert not presence.present
        assert await zk.exists("/group/a") is None


async def test_it_is_made_again_when_it_is_deleted(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        presence = Presence(zk, "/a", b"1")
        await presence.open()
        await other.delete("/a")
        async with asyncio.timeout(10), other.watch("/a") as events:
            while await other.exists("/a") is None:
                await events.next()
        await presence.close()


async def test_it_comes_back_in_a_new_session_helix_3005(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        presence = Presence(zk, "/a", b"1")
        await presence.open()
        await presence.update(b"2")
        await expire(coterie_server, zk)
        await eventually(lambda: presence.present)
        data, stat = await other.get("/a", linearizable=True)
        assert (data, stat.ephemeral_owner) == (b"2", zk.session_id)
        await presence.close()
        assert await other.exists("/a", linearizable=True) is None


async def test_anothers_znode_is_waited_for_curator_500(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        await other.create("/a", b"other", ephemeral=True)
        presence = Presence(zk, "/a", b"1")
        opening = asyncio.create_task(presence.open())
        await zk.sync()
        await zk.sync()
        assert not opening.done()
        assert (await zk.get("/a")).data == b"other"
        await other.delete("/a")
        await opening
        assert (await zk.get("/a")).stat.ephemeral_owner == zk.session_id
        await presence.close()


async def test_two_of_one_session_are_two(connect: Connect) -> None:
    async with connect() as zk:
        first, second = Presence(zk, "/a", b"1"), Presence(zk, "/a", b"2")
        await first.open()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.open(), 0.05)
        assert (await zk.get("/a")).data == b"1"
        assert not second.present
        await first.close()


async def test_to_wait_no_longer_leaves_nothing_behind(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        await other.create("/a", ephemeral=True)
        presence = Presence(zk, "/a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(presence.open(), 0.05)
        await other.delete("/a")
        await zk.sync()
        assert await zk.exists("/a") is None


async def test_to_be_cancelled_while_it_is_made_leaves_nothing_behind(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        await zk.ensure("/g")
        for turns in range(40):
            presence = Presence(zk, f"/g/{turns}")
            opening = asyncio.create_task(presence.open())
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            if not opening.cancelled():
                await presence.close()
        async with asyncio.timeout(10):
            while await other.children("/g"):
                await other.sync()


async def test_what_makes_it_impossible_is_raised(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/closed", acl=READ_ACL)
        presence = Presence(zk, "/closed/a")
        with pytest.raises(NoAuthError):
            await presence.open()


async def test_what_could_not_be_written_is_written_later(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect(call_timeout_s=5.0) as zk:
        presence = Presence(zk, "/a", b"1")
        await presence.open()
        coterie_server.pause()
        updating = asyncio.create_task(presence.update(b"2"))
        await asyncio.sleep(0)
        await asyncio.to_thread(coterie_server.resume)
        await asyncio.to_thread(coterie_server.disconnect)
        await updating
        async with asyncio.timeout(10):
            while (await zk.get("/a")).data != b"2":
                await zk.sync()
        await presence.close()


async def test_what_a_server_could_not_write_is_written_later(connect: Connect) -> None:
    async with connect() as zk:
        presence = Presence(zk, "/a", b"1")
        await presence.open()
        client: Any = zk
        real = client.set

        async def fails(*arguments: Any) -> None:
            client.set = real
            raise ServerFailureError("/a", "set")

        client.set = fails
        await presence.update(b"2")
        async with asyncio.timeout(10):
            while (await zk.get("/a")).data != b"2":
                await zk.sync()
        await presence.close()


async def test_who_is_cancelled_while_it_is_closed_leaves_nothing_behind(
    connect: Connect,
) -> None:
    async with connect() as zk:
        presence = Presence(zk, "/group/a", b"1")
        await presence.open()
        closing = asyncio.create_task(presence.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await crowd(zk, "/group", 0)


async def test_what_perhaps_was_made_is_not_left_behind(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure("/group")
        client: Any = zk
        find = client._find

        async def refused(*arguments: object) -> None:
            client._find = find
            raise ServerFailureError("/group/a", "exists")

        client._find = refused
        lose_answers(zk)
        with pytest.raises(OutcomeUnknown):
            await Presence(zk, "/group/a", b"1").open()
        await crowd(zk, "/group", 0)
