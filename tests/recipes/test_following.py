"""Values that are followed."""

from __future__ import annotations

import asyncio

import pytest

from coterie.client.cache import Cache
from coterie.errors import NoAuthError, SessionExpiredError
from coterie.recipes.following import View, until
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from coterie.values import CREATOR_ALL_ACL
from tests.conftest import Connect
from tests.recipes.patience import eventually


def _names(cache: Cache) -> list[str]:
    return cache.children("/g")


async def test_until_looks_again_when_something_changes(connect: Connect) -> None:
    async with connect() as zk, connect() as other:

        async def look() -> bytes | None:
            return (await zk.get("/a")).data or None if await zk.exists("/a") else None

        waiting = asyncio.create_task(until(zk, "/a", look))
        await other.create("/a")
        await other.set("/a", b"x")
        assert await waiting == b"x"


async def test_who_waits_with_a_closed_client_is_told(connect: Connect) -> None:
    async def nothing() -> None:
        return None

    async with connect() as zk:
        waiting: asyncio.Task[None] = asyncio.create_task(until(zk, "/a", nothing))
        await zk.sync()
    with pytest.raises(SessionExpiredError):
        await waiting


async def test_a_view_is_made_anew(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        view = View(zk, "/g", 1, _names)
        with pytest.raises(RuntimeError, match="enter"):
            _ = view.value
        await view.open()
        assert view.value == []
        changes = aiter(view.changes(None))
        await other.create("/g/a", parents=True)
        assert await anext(changes) == ["a"]
        made = await zk.create_with_stat("/g/b")
        assert await view.at_least(made.stat.czxid) == ["a", "b"]
        await view.close()
        assert view.value == ["a", "b"]
        assert [names async for names in view.changes(None)] == []


async def test_who_waits_for_a_value_of_a_closed_client_is_told(connect: Connect) -> None:
    async with connect() as zk:
        view = View(zk, "/g", 1, _names)
        await view.open()
        waiting = asyncio.create_task(view.until(lambda names: len(names) == 3))
        await zk.sync()
    with pytest.raises(SessionExpiredError):
        await waiting
    assert not view.fresh
    await view.close()


async def test_the_slow_get_the_newest(connect: Connect) -> None:
    async with connect() as zk:
        view = View(zk, "/g", 1, _names)
        await view.open()
        changes = aiter(view.changes(None))
        for name in "abc":
            await zk.create(f"/g/{name}", parents=True)
        await view.until(lambda names: len(names) == 3)
        assert await anext(changes) == ["a", "b", "c"]
        await view.close()
        assert await anext(changes, None) is None


async def test_what_does_not_change_the_value_is_not_told(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/g/a", parents=True)
        view = View(zk, "/g", 1, _names)
        await view.open()
        number = view.number
        stat = await zk.set("/g/a", b"data")
        await view.at_least(stat.mzxid)
        assert view.number == number
        await view.close()


async def test_an_outage_does_not_empty_it_helix_2261_pinot_6068(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect(session_timeout_s=0.6) as zk:
        await zk.create("/g/a", parents=True)
        view = View(zk, "/g", 1, _names)
        await view.open()
        assert view.fresh
        assert view.stale_s == 0
        await asyncio.to_thread(coterie_server.stop)
        await eventually(lambda: not view.fresh)
        assert view.value == ["a"]
        assert 0 <= view.stale_s < 10
        await asyncio.to_thread(coterie_server.start)
        await eventually(lambda: view.fresh)
        assert view.value == ["a"]
        assert view.number == 1
        await view.close()


async def test_what_was_missed_in_an_outage_comes_at_once_kazoo_458_helix_3005_aiozk_45(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        for name in "abc":
            await zk.create(f"/g/{name}", parents=True)
        view = View(zk, "/g", 1, _names)
        await view.open()
        changes = aiter(view.changes(None))
        coterie_server.pause()
        await asyncio.to_thread(_change_while_away, coterie_server, zk.session_id)
        async with other.transaction() as change:
            change.delete("/g/a").delete("/g/b").create("/g/d").create("/g/e")
        # Not znode by znode: nobody is to act on half of it.
        assert await anext(changes) == ["c", "d", "e"]
        await view.close()


def _change_while_away(server: Server, session_id: int) -> None:
    server.resume()
    server.disconnect(session_id)


async def test_what_may_not_be_read_is_raised(connect: Connect) -> None:
    async with connect(auth=[("digest", "a:b")]) as owner, connect() as zk:
        await owner.create("/g", acl=CREATOR_ALL_ACL)
        with pytest.raises(NoAuthError):
            await View(zk, "/g", 1, _names).open()
        await owner.delete("/g")


async def test_what_may_not_be_read_below_is_as_if_it_were_not_there(connect: Connect) -> None:
    async with connect(auth=[("digest", "a:b")]) as owner, connect() as zk:
        await owner.create("/g/a", parents=True)
        await owner.create("/g/b", acl=CREATOR_ALL_ACL)
        view = View(zk, "/g", 1, _names)
        await view.open()
        assert view.value == ["a"]
        assert view.fresh
        await view.close()
        await owner.delete("/g/b")


def test_a_plain_loop_over_a_blocking_client(hosts: str) -> None:
    import coterie

    with coterie.connect_blocking(hosts) as zk:
        view = View(zk.client, "/g", 1, _names)
        zk.run(view.open())
        changes = iter(view.changes(zk.portal))
        zk.create("/g/a", parents=True)
        assert next(changes) == ["a"]
        zk.run(view.close())
        assert list(changes) == []
        with pytest.raises(TypeError, match="async for"):
            next(iter(view.changes(None)))
