"""One leads, knows when it does not any more, and all others can see who it is."""

from __future__ import annotations

import asyncio
import threading

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import GrantLostError
from coterie.recipes.election import Election, Leader
from coterie.recipes.grant import Fence, Grant
from coterie.testing.cluster import Server
from coterie.values import SessionState, WatchEvent
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, children_until, crowd, lose_answers, settled

PATH = "/election"


class Leading:
    """A program that leads as long as it may."""

    def __init__(self, zk: Client, name: bytes) -> None:
        self.elected: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self.election = Election(zk, PATH, identifier=name)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self.election as leadership:
            self.elected.set_result(leadership)
            await asyncio.Event().wait()

    async def deposed(self) -> None:
        with pytest.raises(GrantLostError):
            await self.task

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def _candidates(*clients: Client) -> list[Leading]:
    """One with each client, in this order."""
    made = []
    await clients[0].ensure(PATH)
    for number, zk in enumerate(clients, 1):
        made.append(Leading(zk, b"candidate %d" % number))
        await crowd(zk, PATH, number)
        await settled(zk)
    return made


async def test_one_leads_and_then_the_next(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        candidates = await _candidates(zk, other, zk)
        tokens = []
        for candidate in candidates:
            leadership = await candidate.elected
            leader = await Election(other, PATH).leader()
            assert leader is not None
            assert leader.identifier == candidate.election._line._data
            assert (leader.token, leader.path) == (leadership.token, leadership.path)
            tokens.append(leadership.token)
            assert [each.elected.done() for each in candidates].count(True) == len(tokens)
            await candidate.stop()
        assert tokens == sorted(set(tokens))
        assert await Election(zk, PATH).leader() is None
        assert await Election(zk, "/nobody/ever").leader() is None


async def test_the_leaders_session_expires(connect: Connect, expire: Expire) -> None:
    """CURATOR-696 (curator#1211), CURATOR-653 (curator#1169): two leaders after a reconnect."""
    async with connect() as zk, connect() as other, connect() as third:
        candidates = await _candidates(zk, other, third)
        first = await candidates[0].elected
        await expire(zk)
        await candidates[0].deposed()
        second = await candidates[1].elected
        assert not candidates[2].elected.done()
        assert second.token > first.token
        with pytest.raises(GrantLostError):
            Fence(second.token).check(first.token)
        # Back again, it stands behind all others, with another znode.
        again = Leading(zk, b"again")
        await crowd(other, PATH, 3)
        assert not again.elected.done()
        for candidate in (*candidates[1:], again):
            await candidate.stop()


async def test_a_candidate_whose_session_expires_stands_again(
    connect: Connect, expire: Expire
) -> None:
    """CURATOR-620 (curator#1137): one that was reconnected would never lead."""
    async with connect() as zk, connect() as other:
        candidates = await _candidates(zk, other)
        before = await crowd(zk, PATH, 2)
        await expire(other)
        await children_until(zk, PATH, lambda names: len(names) == 2 and names != before)
        await candidates[0].stop()
        leadership = await candidates[1].elected
        assert leadership.session_id == other.session_id
        await candidates[1].stop()


async def test_the_leaders_znode_is_deleted(connect: Connect) -> None:
    """curator#692: a leadership that can be revoked."""
    async with connect() as zk, connect() as other:
        candidates = await _candidates(zk, other)
        await candidates[0].elected
        assert await Election(other, PATH).revoke()
        await candidates[0].deposed()
        await candidates[1].elected
        await candidates[1].stop()


async def test_a_leader_that_no_server_answers_stops(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    """helix#691: cut off, it went on as the master."""
    async with coterie_connect(session_timeout_s=0.4) as zk:
        (leading,) = await _candidates(zk)
        await leading.elected
        coterie_server.pause()
        try:
            await leading.deposed()
        finally:
            coterie_server.resume()


async def test_a_candidate_keeps_its_place_over_a_lost_connection(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        candidates = await _candidates(zk, other)
        places = await zk.children(PATH)
        back = asyncio.Event()
        other.on_state(lambda state: back.set() if state == SessionState.CONNECTED else None)
        coterie_server.disconnect(other)
        await back.wait()
        assert await zk.children(PATH) == places
        await candidates[0].stop()
        await candidates[1].elected
        await candidates[1].stop()


@pytest.mark.parametrize("number", range(1, 5))
async def test_one_that_withdraws_leaves_no_candidate_behind(
    connect: Connect, number: int
) -> None:
    """CURATOR-504 (curator#1024): closed in the middle of its start, it leaves a znode that leads
    for ever."""
    async with connect() as zk:
        await zk.ensure(PATH)
        came = await cancelled_at(zk, number, Election(zk, PATH).acquire())
        if came is not None:
            assert number > 2
            await came.give_back()
        await crowd(zk, PATH, 0)
        assert await Election(zk, PATH).leader() is None


async def test_a_candidacy_whose_answer_is_lost(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        lose_answers(zk)
        async with Election(zk, PATH, identifier=b"me") as leadership:
            leader = await Election(zk, PATH).leader()
            assert leader == Leader(b"me", leadership.token, leadership.path)


async def test_elected_in_the_callback_of_a_watch(connect: Connect) -> None:
    """kazoo#208: an election that is run where a watch calls back waits for itself."""
    async with connect() as zk:
        running: list[asyncio.Task[None]] = []

        async def lead() -> None:
            async with Election(zk, PATH):
                await zk.get("/go")

        def changed(event: WatchEvent) -> None:
            running.append(asyncio.create_task(lead()))

        await zk.create("/go")
        await zk.get("/go", watch=changed)
        await zk.set("/go", b"now")
        await settled(zk)
        await running[0]


async def test_resigning(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        election = Election(zk, PATH, identifier=b"me")
        with pytest.raises(RuntimeError):
            await election.resign()
        async with election as leadership:
            candidate = Leading(other, b"other")
            await crowd(zk, PATH, 2)
            await election.resign()
            assert leadership.lost
            await candidate.elected
        await candidate.stop()


async def test_patience(connect: Connect) -> None:
    async with connect() as zk:
        (leading,) = await _candidates(zk)
        await leading.elected
        for timeout_s in (0, 0.02):
            with pytest.raises(TimeoutError):
                await Election(zk, PATH).acquire(timeout_s)
            await crowd(zk, PATH, 1)
        await leading.stop()
        await (await Election(zk, PATH).acquire(0)).give_back()


async def test_observing(connect: Connect, expire: Expire) -> None:
    async with connect() as zk, connect() as other, connect() as third:
        observed = Election(third, PATH).observe()

        async def sees() -> bytes | None:
            leader = await anext(observed)
            return leader and leader.identifier

        assert await sees() is None
        candidates = await _candidates(zk, other)
        assert await sees() == b"candidate 1"
        await expire(third)
        await candidates[0].stop()
        assert await sees() == b"candidate 2"
        await candidates[1].stop()
        assert await sees() is None
        again = Leading(zk, b"again")
        assert await sees() == b"again"
        await zk.set((await again.elected).path, b"by another name")
        assert await sees() == b"by another name"
        await again.stop()
        assert await sees() is None
        assert third.session.watches._once[1] == {}
        await third.close()
        assert await anext(observed, "over") == "over"


async def test_observing_costs_nothing_while_others_come_and_go(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        candidates = await _candidates(zk)
        observed = Election(other, PATH).observe()
        assert await anext(observed) is not None
        looking = asyncio.ensure_future(anext(observed))
        more = [Leading(zk, b"more") for _ in range(3)]
        await crowd(zk, PATH, 4)
        for each in more:
            await each.stop()
        await crowd(zk, PATH, 1)
        await settled(other)
        assert not looking.done()
        await candidates[0].stop()
        assert await looking is None
        await observed.aclose()  # type: ignore[attr-defined]


async def test_who_observes_while_no_server_is_there_sees_what_comes_after(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect(call_timeout_s=0.1) as zk, coterie_connect() as other:
        await other.ensure(PATH)
        observed = Election(zk, PATH).observe()
        coterie_server.cut_clients()
        looking = asyncio.ensure_future(anext(observed))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(looking), 0.3)
        coterie_server.heal()
        assert await looking is None


def test_a_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        election = Election(zk, PATH, identifier=b"me")
        with election as leadership:
            leadership.check()
            leader = zk.run(election.leader())
            assert leader is not None
            assert leader.identifier == b"me"
            zk.run(election.resign())
            assert leadership.wait_lost(0.0)


def test_elected_in_the_callback_of_a_blocking_watch(hosts: str) -> None:
    """kazoo#208, as it was told: the election blocks the thread of the callbacks."""
    with coterie.connect_blocking(hosts) as zk:
        done = threading.Event()

        def changed(event: WatchEvent) -> None:
            with Election(zk, PATH) as leadership:
                zk.get("/go")
                leadership.check()
            done.set()

        zk.create("/go")
        zk.get("/go", watch=changed)
        zk.set("/go", b"now")
        assert done.wait(10.0)
