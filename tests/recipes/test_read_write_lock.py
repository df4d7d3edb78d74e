"""Readers share and writers do not, in the order of asking, and nobody is woken for nothing."""

from __future__ import annotations

import asyncio

import pytest
from kazoo.client import KazooClient
from kazoo.recipe.lock import ReadLock, WriteLock

import coterie
from coterie.errors import GrantLostError
from coterie.recipes.grant import Grant
from coterie.recipes.read_write_lock import ReadWriteLock, nearest_writer
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import crowd, settled

PATH = "/rw"


class Asker:
    """Lets readers and writers ask, one after the other."""

    def __init__(self, zk: coterie.Client) -> None:
        self._zk = zk
        self._lock = ReadWriteLock(zk, PATH)
        self.asked: list[asyncio.Task[Grant]] = []

    async def ask(self, kinds: str) -> None:
        """`r` and `w` in this order."""
        for kind in kinds:
            holding = self._lock.read() if kind == "r" else self._lock.write()
            self.asked.append(asyncio.create_task(holding.acquire()))
            await crowd(self._zk, PATH, len(self.asked))
        await settled(self._zk)

    def held(self) -> str:
        """Who holds it: a mark for each who has asked."""
        return "".join("x" if each.done() else "." for each in self.asked)

    async def release(self, number: int) -> None:
        await (await self.asked[number]).give_back()
        await settled(self._zk)


async def _asker(zk: coterie.Client, kinds: str) -> Asker:
    await zk.ensure(PATH)
    asker = Asker(zk)
    await asker.ask(kinds)
    return asker


async def test_readers_share_and_writers_do_not(connect: Connect) -> None:
    async with connect() as zk:
        asker = await _asker(zk, "rrwwrrw")
        assert asker.held() == "xx....."
        await asker.release(0)
        assert asker.held() == "xx....."
        await asker.release(1)
        assert asker.held() == "xxx...."
        await asker.release(2)
        assert asker.held() == "xxxx..."
        await asker.release(3)
        assert asker.held() == "xxxxxx."
        await asker.release(5)
        assert asker.held() == "xxxxxx."
        await asker.release(4)
        assert asker.held() == "xxxxxxx"
        tokens = [(await each).token for each in asker.asked]
        assert tokens == sorted(set(tokens))
        await asker.release(6)


async def test_a_writer_that_gives_up_lets_the_readers_behind_it_go_on(connect: Connect) -> None:
    async with connect() as zk:
        asker = await _asker(zk, "rwr")
        assert asker.held() == "x.."
        asker.asked[1].cancel()
        await asker.asked[2]
        await asker.release(0)
        await asker.release(2)


async def test_a_reader_behind_two_writers_waits_for_both(connect: Connect) -> None:
    """The nearest one may give up while the other holds."""
    async with connect() as zk:
        asker = await _asker(zk, "wwr")
        asker.asked[1].cancel()
        await crowd(zk, PATH, 2)
        await settled(zk)
        assert asker.held() == "xx."
        await asker.release(0)
        await asker.asked[2]
        await asker.release(2)


async def test_a_writer_whose_session_expires_loses_it(connect: Connect, expire: Expire) -> None:
    async with connect() as zk, connect() as other:
        writer = await ReadWriteLock(zk, PATH).write().acquire()
        reading = asyncio.create_task(ReadWriteLock(other, PATH).read().acquire())
        await crowd(other, PATH, 2)
        await expire(zk)
        reader = await reading
        assert reader.token > writer.token
        with pytest.raises(GrantLostError):
            await writer.confirm()
        await reader.give_back()


def test_those_of_other_clients_are_known() -> None:
    names = ["a__lock__0000000000", "b__rlock__0000000001", "_c_1-__READ__0000000002", "mine"]
    assert nearest_writer(names, "mine") == "a__lock__0000000000"
    assert nearest_writer(names[1:], "mine") is None


def test_a_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        lock = ReadWriteLock(zk, PATH, identifier=b"me")
        with lock.read(), lock.read() as grant:
            grant.check()
            with pytest.raises(TimeoutError):
                zk.run(lock.write().acquire(0))
        with lock.write() as grant:
            grant.check()
            with pytest.raises(TimeoutError):
                zk.run(lock.read().acquire(0))


def test_kazoo_in_the_same_line(hosts: str) -> None:
    kazoo = KazooClient(hosts)
    kazoo.start()
    reader = ReadLock(kazoo, PATH, extra_lock_patterns=["__WRIT__"])
    writer = WriteLock(kazoo, PATH, extra_lock_patterns=["__WRIT__", "__READ__"])
    try:
        with coterie.connect_blocking(hosts) as zk:
            lock = ReadWriteLock(zk, PATH)
            with lock.read():
                assert reader.acquire(timeout=10)
                reader.release()
                assert not writer.acquire(blocking=False)
            with lock.write():
                assert not reader.acquire(blocking=False)
                assert not writer.acquire(blocking=False)
            assert reader.acquire(timeout=10)
            with lock.read(), pytest.raises(TimeoutError):
                zk.run(lock.write().acquire(0))
            reader.release()
    finally:
        kazoo.stop()
        kazoo.close()
