"""A local copy that follows."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.client.cache import Cache, Change
from coterie.errors import NoNodeError
from coterie.testing.cluster import Server
from coterie.values import Children, Znode
from tests.conftest import Connect, until


async def test_reads_are_local_and_ones_own_writes_are_there(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/c/a/x", b"1", parents=True)
        async with zk.cache("/c") as cache:
            assert list(cache) == ["/c", "/c/a", "/c/a/x"]
            assert cache["/c/a/x"].data == b"1"
            assert cache.children("/c") == ["a"]
            for number in range(20):
                stat = await zk.set("/c/a/x", b"%d" % number)
                await cache.at_least(stat.mzxid)
                assert cache["/c/a/x"].data == b"%d" % number
            made = await zk.create_with_stat("/c/b")
            assert "/c/b" in await cache.at_least(made.stat.czxid)
            await zk.delete_tree("/c/a")
            await cache.at_least(zk.last_zxid)
            assert list(cache) == ["/c", "/c/b"]
            assert cache.fresh
            assert cache.stale_s == 0.0


async def test_anothers_writes_come_by_themselves_or_with_a_sync(connect: Connect) -> None:
    async with connect() as zk, connect() as other, zk.cache("/") as cache:
        for number in range(20):
            made = await other.create_with_stat(f"/n{number}")
            await cache.at_least(made.stat.czxid)
            assert f"/n{number}" in cache


@pytest.mark.parametrize(
    ("depth", "paths"),
    [
        (0, ["/c"]),
        (1, ["/c", "/c/a"]),
        (2, ["/c", "/c/a", "/c/a/x"]),
        (None, ["/c", "/c/a", "/c/a/x"]),
    ],
)
async def test_how_deep(connect: Connect, depth: int | None, paths: list[str]) -> None:
    async with connect() as zk:
        await zk.create("/c/a", parents=True)
        async with zk.cache("/c", depth=depth) as cache:
            await zk.create("/c/a/x")
            await cache.at_least(zk.last_zxid)
            assert list(cache) == paths


async def test_what_is_not_there_yet(connect: Connect) -> None:
    async with connect() as zk, zk.cache("/later") as cache:
        assert len(cache) == 0
        with pytest.raises(KeyError):
            cache["/later"]
        await zk.create("/later/on", parents=True)
        await cache.at_least(zk.last_zxid)
        assert list(cache) == ["/later", "/later/on"]


async def _changes(cache: Cache) -> list[Change]:
    return [change async for change in cache.changes()]


async def test_changes_are_told(connect: Connect) -> None:
    async with connect() as zk:
        async with zk.cache("/") as cache:
            listening = asyncio.create_task(_changes(cache))
            await asyncio.sleep(0)
            await zk.create("/a", b"1")
            await cache.at_least(zk.last_zxid)
            await zk.set("/a", b"2")
            await cache.at_least(zk.last_zxid)
            await zk.delete("/a")
            await cache.at_least(zk.last_zxid)
        heard = await listening
    told = [
        (change.path, change.old and change.old.data, change.new and change.new.data)
        for change in heard
        if change.path != "/"
    ]
    assert told == [("/a", None, b"1"), ("/a", b"1", b"2"), ("/a", b"2", None)]


async def test_it_fills_again_after_a_reconnect_kazoo_458_aiozk_45() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts) as other, coterie.connect(server.hosts) as zk:
            await other.create("/a")
            async with zk.cache("/") as cache:
                listening = asyncio.create_task(_changes(cache))
                await asyncio.to_thread(server.disconnect, zk)
                await other.delete("/a")
                await other.create("/b")
                await zk.sync()
                await until(lambda: "/b" in cache and "/a" not in cache)
            heard = await listening
            assert {("/a", True), ("/b", False)} <= {(c.path, c.new is None) for c in heard}


async def test_it_says_that_it_is_old_while_nobody_is_there() -> None:
    with Server() as server:
        async with coterie.connect(server.hosts, session_timeout_s=1.0) as zk:
            await zk.create("/a", b"1")
            async with zk.cache("/") as cache:
                await asyncio.to_thread(server.stop)
                await until(lambda: not cache.fresh)
                await until(lambda: cache.stale_s >= 0.02)
                assert cache["/a"].data == b"1"
                await asyncio.to_thread(server.start)
                await until(lambda: cache.fresh)
                assert cache["/a"].data == b"1"


async def test_what_is_made_while_its_parent_is_read_stays(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as zk, connect() as other:
        await zk.create("/c/a", b"1", parents=True)
        cache = zk.cache("/c")
        read, late = zk.children_with_stat, [True]

        async def lists(path: str) -> Children:
            """The answer is there, and looked at when the next znode is in the copy already."""
            found = await read(path)
            if path == "/c" and late.pop():
                late.append(False)
                await other.create("/c/b")
                await other.delete("/c/a")
                await until(lambda: "/c/b" in cache)
            return found

        monkeypatch.setattr(zk, "children_with_stat", lists)
        async with cache:
            await cache.at_least(other.last_zxid)
            assert list(cache) == ["/c", "/c/b"]


async def test_what_is_made_while_its_parent_is_missed_stays(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as zk, connect() as other:
        cache = zk.cache("/c")
        get, children = zk.get, zk.children_with_stat

        async def misses(path: str) -> Znode:
            try:
                return await get(path)
            except NoNodeError:
                await other.create("/c/b", parents=True)
                await until(lambda: "/c/b" in cache)
                raise

        async def misses_later(path: str) -> Children:
            try:
                return await children(path)
            except NoNodeError:
                await until(lambda: "/c/b" in cache)
                await asyncio.sleep(0)
                raise

        monkeypatch.setattr(zk, "get", misses)
        monkeypatch.setattr(zk, "children_with_stat", misses_later)
        async with cache:
            await cache.at_least(other.last_zxid)
            assert list(cache) == ["/c", "/c/b"]
