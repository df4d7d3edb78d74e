"""Work that is shared out."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import coterie
from coterie.recipes.partitioner import Partitioner, Share, shares
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.patience import disturb, eventually

NAMES = [str(n) for n in range(8)]


@given(st.sets(st.text(max_size=3), max_size=20), st.sets(st.text(max_size=3), max_size=6))
def test_shares_are_whole_and_even(partitions: set[str], members: set[str]) -> None:
    found = shares(partitions, members)
    assert set(found) == (partitions if members else set())
    count = Counter(dict.fromkeys(members, 0))
    count.update(found.values())
    assert not members or max(count.values()) - min(count.values()) <= 1


def test_few_move_when_one_joins_or_leaves() -> None:
    partitions = [f"p{n}" for n in range(240)]
    members = [f"m{n}" for n in range(8)]
    moved_joining, moved_leaving = 0, 0
    for n in range(8):
        before = shares(partitions, members)
        joined = shares(partitions, [*members, f"new{n}"])
        moved_joining += sum(before[p] != joined[p] for p in partitions)
        left = shares(partitions, [m for m in members if m != f"m{n}"])
        moved_leaving += sum(before[p] != left[p] for p in partitions)
    # 27 have to move to the new one, and 30 from the one who leaves; as good as all would move
    # if they were numbered through.
    assert moved_joining / 8 < 2 * 27
    assert moved_leaving / 8 < 2 * 30


class _Log:
    """Who works on what, and whether two ever did at once, or a token did not grow."""

    def __init__(self) -> None:
        self.on: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.begun = 0

    async def work(self, share: Share) -> None:
        assert share.partition not in self.on
        assert share.token > self.tokens.get(share.partition, 0)
        self.on[share.partition] = self.tokens[share.partition] = share.token
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            # It takes some time to end.
            await asyncio.sleep(0.005)
            del self.on[share.partition]
            assert share.ending.is_set()

    def settled(self, *all_of_them: Partitioner) -> bool:
        held = [name for each in all_of_them for name in each.held]
        even = max(len(e.held) for e in all_of_them) - min(len(e.held) for e in all_of_them) <= 1
        return sorted(held) == NAMES and sorted(self.on) == NAMES and even


async def test_one_alone_has_all(connect: Connect) -> None:
    log = _Log()
    async with connect() as zk, Partitioner(zk, "/p", 8, log.work) as mine:
        await eventually(lambda: log.settled(mine))
        assert list(mine.members) == [mine.name]
        for share in mine.held.values():
            share.check()
    assert not log.on
    assert not mine.held


async def test_who_joins_gets_a_share_and_who_leaves_gives_it_back(connect: Connect) -> None:
    log = _Log()
    async with connect() as zk, connect() as other, Partitioner(zk, "/p", 8, log.work) as first:
        await eventually(lambda: log.settled(first))
        async with Partitioner(other, "/p", 8, log.work) as second:
            await eventually(lambda: log.settled(first, second))
            async with Partitioner(zk, "/p", 8, log.work) as third:
                await eventually(lambda: log.settled(first, second, third))
            await eventually(lambda: log.settled(first, second))
        await eventually(lambda: log.settled(first))


async def test_who_dies_is_replaced(connect: Connect) -> None:
    log, others = _Log(), _Log()
    async with connect() as zk:
        async with connect() as other:
            dies = Partitioner(other, "/p", 8, others.work)
            await dies.enter()
            await eventually(lambda: others.settled(dies))
            mine = Partitioner(zk, "/p", 8, log.work)
            await mine.enter()
            await eventually(lambda: len(mine.held) == 4)
        # Its client is gone: its work has been told to end.
        await eventually(lambda: log.settled(mine) and not others.on)
        await mine.leave(None)
        await dies.leave(None)


async def test_a_session_that_is_over_ends_the_work_helix_691(
    connect: Connect, expire: Expire
) -> None:
    log = _Log()
    async with connect() as zk, Partitioner(zk, "/p", 8, log.work) as mine:
        await eventually(lambda: log.settled(mine))
        tokens = dict(log.tokens)
        await expire(zk)
        # All is begun anew, with greater tokens: `work` looks at that.
        await eventually(lambda: log.begun == 16 and log.settled(mine))
        assert all(log.tokens[name] > tokens[name] for name in NAMES)


async def test_who_is_cut_off_stops_before_others_begin_helix_691(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    log = _Log()
    zk = coterie_connect(session_timeout_s=0.6)
    async with zk, Partitioner(zk, "/p", 8, log.work) as mine:
        await eventually(lambda: log.settled(mine))
        await asyncio.to_thread(coterie_server.stop)
        # Nobody says that the session is over: its own clock does.
        await eventually(lambda: not log.on and not mine.held)
        await asyncio.to_thread(coterie_server.start)
        await eventually(lambda: log.settled(mine))


async def test_an_outage_moves_nothing_pinot_6068(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    log = _Log()
    async with coterie_connect() as zk, Partitioner(zk, "/p", 8, log.work) as mine:
        await eventually(lambda: log.settled(mine))
        await asyncio.to_thread(coterie_server.restart)
        await eventually(lambda: zk.state.connected)
        await zk.sync()
        assert log.settled(mine)
        assert log.begun == 8


async def test_work_that_fails_is_begun_anew(connect: Connect) -> None:
    heard: list[Any] = []
    tries: list[int] = []

    async def work(share: Share) -> None:
        tries.append(share.token)
        if len(tries) < 3:
            raise ValueError("failed")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: heard.append(context))
    async with connect() as zk, Partitioner(zk, "/p", 1, work, retry_s=0.01) as mine:
        await eventually(lambda: len(tries) == 3 and "0" in mine.held)
        # Work that ends well does not give the partition back.
        await zk.sync()
        assert list(mine.held) == ["0"]
    assert tries == sorted(set(tries))
    assert [str(context["exception"]) for context in heard] == ["failed"] * 2
    assert "partition 0 of /p" in heard[0]["message"]


async def test_names_may_be_given(connect: Connect) -> None:
    log = _Log()
    async with connect() as zk, Partitioner(zk, "/p", ["a/b", "c"], log.work, name="me") as mine:
        await eventually(lambda: sorted(mine.held) == ["a/b", "c"])
        assert mine.name == "me"


def test_in_threads(hosts: str) -> None:
    seen: list[str] = []

    def work(share: Share) -> None:
        seen.append(share.partition)
        share.ending.wait()
        seen.append(f"end of {share.partition}")

    with coterie.connect_blocking(hosts) as zk:
        with Partitioner(zk, "/p", 3, work) as mine:
            zk.run(eventually(lambda: len(seen) == 3))
            assert sorted(mine.held) == ["0", "1", "2"]
        assert sorted(seen) == ["0", "1", "2", "end of 0", "end of 1", "end of 2"]


@pytest.mark.parametrize("count", [1, 5])
def test_the_same_on_every_machine(count: int) -> None:
    members = [f"m{n}" for n in range(count)]
    assert shares(NAMES, members) == shares(reversed(NAMES), reversed(members))


@pytest.mark.slow
async def test_never_two_at_once_whatever_fails(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    log = _Log()
    clients = [coterie_connect(session_timeout_s=0.8, call_timeout_s=3.0) for _ in range(3)]
    async with clients[0], clients[1], clients[2]:
        members = [Partitioner(zk, "/p", 8, log.work) for zk in clients]
        async with members[0], members[1], members[2]:
            await disturb(coterie_server, clients, 20, expires=False)
            await eventually(lambda: log.settled(*members))
    assert log.begun > 8
