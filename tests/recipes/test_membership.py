"""Groups."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.recipes.membership import Group
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.patience import eventually, expire


async def test_who_joins_is_there_and_who_leaves_is_not(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Group(zk, "/g") as group:
        assert dict(group.members) == {}
        async with Group(other, "/g").join("a/b", b"data") as mine:
            assert mine.present
            (member,) = (await group.wait_for(1)).values()
            assert member[:3] == ("a/b", b"data", other.session_id)
            await mine.update(b"more")
            assert (await group.look())["a/b"].data == b"more"
        assert dict(await group.look()) == {}


async def test_changes_come_by_themselves(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Group(zk, "/g") as group:
        changes = aiter(group.changes())
        async with Group(other, "/g").join("a"):
            assert list(await anext(changes)) == ["a"]
        assert list(await anext(changes)) == []


async def test_the_older_one_has_the_smaller_number(connect: Connect) -> None:
    async with connect() as zk, Group(zk, "/g") as group, group.join("b"), group.join("a"):
        members = await group.wait_for(2)
        assert members["b"].since < members["a"].since


async def test_until_enough_are_there(connect: Connect) -> None:
    async with connect() as zk, Group(zk, "/g") as group:
        waiting = asyncio.create_task(group.wait_for(3))
        async with group.join(), group.join():
            with pytest.raises(TimeoutError):
                await group.wait_for(3, timeout_s=0.05)
            async with group.join():
                assert len(await waiting) == 3


async def test_a_member_comes_back_after_its_session_helix_3064(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other, Group(other, "/g") as group:
        async with Group(zk, "/g").join("a") as mine:
            old = (await group.wait_for(1))["a"].session_id
            await expire(coterie_server, zk)
            await eventually(lambda: mine.present)
            a = (await group.look())["a"]
            assert a.session_id == zk.session_id != old
        assert not await group.look()


async def test_a_list_is_never_empty_for_want_of_a_connection_pinot_6068(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, Group(zk, "/g") as group, group.join("a"):
        await group.wait_for(1)
        await asyncio.to_thread(coterie_server.stop)
        await eventually(lambda: not group.fresh)
        assert list(group.members) == ["a"]
        assert group.stale_s >= 0
        await asyncio.to_thread(coterie_server.start)
        assert list(await group.look()) == ["a"]


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, Group(zk, "/g") as group:
        changes = iter(group.changes())
        with group.join("a", b"1") as mine:
            assert list(next(changes)) == ["a"]
            assert list(zk.run(group.wait_for(1))) == ["a"]
            zk.run(mine.update(b"2"))
            assert zk.run(group.look())["a"].data == b"2"
            assert group.fresh
        assert not zk.run(group.look())
