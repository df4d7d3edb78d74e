"""Watches as async iterators."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.client import watch as watch_module
from coterie.errors import UnimplementedError
from coterie.testing.cluster import Server
from coterie.values import AddWatchMode, EventType, WatchEvent
from tests.conftest import Connect, until

CREATED, DELETED = EventType.NODE_CREATED, EventType.NODE_DELETED
CHANGED, CHILDREN = EventType.NODE_DATA_CHANGED, EventType.NODE_CHILDREN_CHANGED


async def _all(events: watch_module.Watch, count: int) -> list[tuple[EventType, str]]:
    found = [await events.next() for _ in range(count)]
    return [(event.type, event.path) for event in found if event is not None]


async def test_a_subtree(connect: Connect) -> None:
    async with connect() as zk, zk.watch("/", recursive=True) as events:
        await zk.create("/a/b", b"", parents=True)
        await zk.set("/a/b", b"1")
        await zk.delete_tree("/a")
        assert await _all(events, 5) == [
            (CREATED, "/a"),
            (CREATED, "/a/b"),
            (CHANGED, "/a/b"),
            (DELETED, "/a/b"),
            (DELETED, "/a"),
        ]


async def test_a_znode_that_need_not_be_there(connect: Connect) -> None:
    async with connect() as zk, zk.watch("/a") as events:
        for _ in range(2):
            await zk.create("/a")
            await zk.create("/a/b")
            await zk.set("/a", b"1")
            await zk.delete_tree("/a")
            assert await _all(events, 5) == [
                (CREATED, "/a"),
                (CHILDREN, "/a"),
                (CHANGED, "/a"),
                (CHILDREN, "/a"),
                (DELETED, "/a"),
            ]


async def test_iteration_opens_and_closes_it(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        seen = []

        async def look() -> None:
            async for event in zk.watch("/a"):
                seen.append(event.type)
                if event.type == DELETED:
                    break

        looking = asyncio.create_task(look())
        await until(lambda: bool(zk.session.watches.persistent))
        await zk.sync()
        await other.create("/a")
        await other.delete("/a")
        await looking
        assert seen == [CREATED, DELETED]


async def test_it_ends_with_the_client(connect: Connect) -> None:
    async with connect() as zk:
        watch = zk.watch("/a")
        await watch.__aenter__()
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
    assert await waiting is None


async def test_the_server_forgets_what_nobody_watches(connect: Connect) -> None:
    async with connect() as zk:
        async with zk.watch("/a") as one:
            async with zk.watch("/a") as other:
                await zk.create("/a")
                assert await _all(one, 1) == await _all(other, 1) == [(CREATED, "/a")]
            await zk.delete("/a")
            assert await _all(one, 1) == [(DELETED, "/a")]
        assert not zk.session.watches.persistent
        await zk.create("/a")


async def test_to_close_one_takes_no_watch_from_a_read_on_its_way(connect: Connect) -> None:
    heard: list[WatchEvent] = []
    async with connect() as zk:
        await zk.create("/a")
        async with zk.watch("/a"):
            reading = asyncio.ensure_future(zk.get("/a", watch=heard.append))
            await asyncio.sleep(0)
        await reading
        await zk.set("/a", b"1")
        assert [event.type for event in heard] == [EventType.NODE_DATA_CHANGED]


async def test_a_gap_is_told_and_nothing_is_lost_after_it_kazoo_472() -> None:
    with Server() as server:
        async with (
            coterie.connect(server.hosts) as zk,
            zk.watch("/", recursive=True) as events,
        ):
            await asyncio.to_thread(server.disconnect, zk)
            assert await _all(events, 1) == [(EventType.NONE, "/")]
            await zk.create("/a")
            assert await _all(events, 1) == [(CREATED, "/a")]


async def test_more_events_than_anybody_takes_become_one(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_EVENTS_MAX", 10)
    async with connect() as zk, zk.watch("/a") as events:
        await zk.create("/a")
        for _ in range(12):
            await zk.set("/a", b"")
        found = await _all(events, 3)
        assert found[0] == (EventType.NONE, "/a")
        assert found[1:] == [(CHANGED, "/a")] * 2


async def test_an_old_server_has_one_shot_watches(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 3.6 there is no addWatch; a single znode is watched all the same."""

    async def unknown(*_: object) -> None:
        raise UnimplementedError

    async with connect() as zk:
        monkeypatch.setattr(zk, "add_watch", unknown)
        async with zk.watch("/a") as events:
            await zk.create("/a")
            assert await _all(events, 1) == [(CREATED, "/a")]
            reading = asyncio.create_task(_all(events, 1))
            await asyncio.sleep(0.05)
            await zk.create("/a/b")
            assert await reading == [(CHILDREN, "/a")]
            await zk.set("/a", b"1")
            assert await _all(events, 1) == [(CHANGED, "/a")]
        with pytest.raises(UnimplementedError):
            async with zk.watch("/a", recursive=True):
                pass
        assert not zk.watching


def test_modes_are_those_of_the_protocol() -> None:
    assert (AddWatchMode.PERSISTENT, AddWatchMode.PERSISTENT_RECURSIVE) == (0, 1)
