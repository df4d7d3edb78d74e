"""A standby leads in its turn, knows at once when it may not any more, and stands again."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import NoAuthError, SessionExpiredError
from coterie.gateway.standby import Lead, Standby
from coterie.recipes.election import Election, Leader
from coterie.testing.cluster import Server
from coterie.values import ACL, ANYONE, OPEN_ACL, Perms, SessionState
from tests.conftest import Connect, until
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, children_until, crowd, lose_answers, settled

PATH = "/gateway/leaders/metadata"


def _standby(zk: Client, name: bytes) -> Standby:
    return Standby(zk, PATH, identifier=name)


async def test_one_leads_and_all_know_it(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        async with _standby(zk, b"first") as first:
            grant = await first.wait_leading()
            assert (first.leading, first.token) == (grant, grant.token)
            async with _standby(other, b"second") as second:
                assert second.leader == first.leader == Leader(b"first", grant.token, grant.path)
                assert (second.leading, second.token) == (None, None)
                with pytest.raises(TimeoutError):
                    await second.wait_leading(0.02)
                await crowd(zk, PATH, 2)
                await first.leave(None)
                next_grant = await second.wait_leading()
                assert next_grant.token > grant.token
                assert second.leader == Leader(b"second", next_grant.token, next_grant.path)
                assert grant.lost
        assert await zk.children(PATH) == []


async def test_one_that_has_left_leads_no_more(connect: Connect) -> None:
    async with connect() as zk:
        standby = _standby(zk, b"me")
        async with standby:
            await standby.wait_leading()
            with pytest.raises(RuntimeError):
                await standby.enter()
        assert standby.leading is None
        assert await zk.children(PATH) == []
        with pytest.raises(SessionExpiredError):
            await standby.wait_leading()
        async with standby:
            await standby.wait_leading()


async def test_changes_begin_with_how_things_are(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _standby(zk, b"first") as first:
        grant = await first.wait_leading()
        changes = aiter(first.changes())
        me = Leader(b"first", grant.token, grant.path)
        assert await anext(changes) == Lead(grant, me)
        async with _standby(other, b"second") as second:
            await crowd(zk, PATH, 2)
            await first.resign()
            newer = await second.wait_leading()
            lead = Lead(None, me)
            while lead == Lead(None, me):
                lead = await anext(changes)
            assert lead == Lead(None, Leader(b"second", newer.token, newer.path))
        while lead.leading is None:
            lead = await anext(changes)
        assert lead.leading is first.leading


async def test_who_resigns_stands_behind_all_others(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _standby(zk, b"first") as first:
        assert not await _standby(other, b"nobody").resign()
        grant = await first.wait_leading()
        async with _standby(other, b"second") as second:
            await crowd(zk, PATH, 2)
            assert await first.resign()
            assert first.leading is None
            assert grant.returned
            second_grant = await second.wait_leading()
            await crowd(zk, PATH, 2)
            assert await second.resign()
            again = await first.wait_leading()
        assert grant.token < second_grant.token < again.token


async def test_one_alone_that_resigns_leads_again_under_another_token(connect: Connect) -> None:
    async with connect() as zk, _standby(zk, b"me") as standby:
        grant = await standby.wait_leading()
        await standby.resign()
        assert (await standby.wait_leading()).token > grant.token


async def test_a_leader_whose_session_expires_stands_again(
    connect: Connect, expire: Expire
) -> None:
    async with connect() as zk, connect() as other, _standby(zk, b"first") as first:
        grant = await first.wait_leading()
        async with _standby(other, b"second") as second:
            await crowd(other, PATH, 2)
            await expire(zk)
            newer = await second.wait_leading()
            assert newer.token > grant.token
            await until(lambda: first.leading is None and grant.lost)
            await crowd(other, PATH, 2)
            await until(lambda: first.leader == second.leader)
        assert (await first.wait_leading()).session_id == zk.session_id


async def test_a_standby_whose_session_expires_stands_again(
    connect: Connect, expire: Expire
) -> None:
    """CURATOR-620 (curator#1137): one that was reconnected would never lead."""
    async with connect() as zk, connect() as other, _standby(zk, b"first") as first:
        await first.wait_leading()
        async with _standby(other, b"second") as second:
            before = await crowd(zk, PATH, 2)
            await expire(other)
            await children_until(zk, PATH, lambda names: len(names) == 2 and names != before)
            await first.leave(None)
            assert (await second.wait_leading()).session_id == other.session_id


async def test_who_is_deposed_knows_it_and_sees_who_leads(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _standby(zk, b"first") as first:
        grant = await first.wait_leading()
        async with _standby(other, b"second") as second:
            await crowd(zk, PATH, 2)
            assert await Election(other, PATH).revoke()
            newer = await second.wait_leading()
            await until(lambda: first.leader == Leader(b"second", newer.token, newer.path))
            assert first.leading is None
            assert grant.lost
            await crowd(zk, PATH, 2)


async def test_who_is_cut_off_does_not_lead_any_more(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect(session_timeout_s=0.4) as zk, _standby(zk, b"me") as standby:
        grant = await standby.wait_leading()
        changes = aiter(standby.changes())
        assert (await anext(changes)).leading is grant
        coterie_server.pause()
        try:
            lead = await anext(changes)
            assert lead.leading is None
            assert standby.token is None
            # What was known is kept.
            assert lead.leader == Leader(b"me", grant.token, grant.path)
        finally:
            coterie_server.resume()
        assert (await standby.wait_leading()).token > grant.token


async def test_a_lost_connection_costs_no_lead(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect() as zk, _standby(zk, b"me") as standby:
        grant = await standby.wait_leading()
        number = standby.number
        back = asyncio.Event()
        zk.on_state(lambda state: back.set() if state == SessionState.CONNECTED else None)
        coterie_server.disconnect(zk)
        await back.wait()
        await settled(zk)
        assert (standby.leading, standby.number) == (grant, number)


async def test_a_place_whose_answer_is_lost(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        lose_answers(zk)
        async with _standby(zk, b"me") as standby:
            await standby.wait_leading()
            await crowd(zk, PATH, 1)


@pytest.mark.parametrize("number", range(1, 4))
async def test_who_is_cancelled_while_entering_leaves_nothing_behind(
    connect: Connect, number: int
) -> None:
    async with connect() as zk:
        await zk.ensure(PATH)
        came = await cancelled_at(zk, number, _standby(zk, b"me").enter())
        if came is not None:
            await came.leave(None)
        await crowd(zk, PATH, 0)


async def test_what_keeps_it_from_standing_is_told(connect: Connect) -> None:
    readable = [ACL(Perms.READ | Perms.ADMIN, ANYONE)]
    async with connect() as zk:
        await zk.ensure(PATH)
        await zk.set_acl(PATH, readable)
        async with _standby(zk, b"me") as standby:
            await until(lambda: isinstance(standby.problem, NoAuthError))
            assert standby.leading is None
            await zk.set_acl(PATH, OPEN_ACL)
            await standby.wait_leading()
            assert standby.problem is None


async def test_changes_end_with_the_standby_and_with_the_client(connect: Connect) -> None:
    async with connect() as zk:
        standby = await _standby(zk, b"me").enter()
        await standby.wait_leading()
        for end in (standby.leave(None), zk.close()):
            changes = aiter(standby.changes())
            waiting = asyncio.create_task(_last(changes))
            await settled(zk)
            await end
            assert await waiting
            standby = _standby(zk, b"me")
            if not zk.over:
                await standby.enter()
                await standby.wait_leading()


async def _last(changes: object) -> list[Lead]:
    return [lead async for lead in changes]  # type: ignore[attr-defined]


def test_a_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, Standby(zk, PATH, identifier=b"me") as standby:
        for leading, leader in standby.changes():
            if leading is not None:
                assert leader == Leader(b"me", leading.token, leading.path)
                break
        assert zk.run(standby.resign())
        assert zk.run(standby.wait_leading()).token == standby.token


async def test_a_plain_for_takes_a_blocking_client(connect: Connect) -> None:
    async with connect() as zk:
        with pytest.raises(TypeError):
            next(iter(_standby(zk, b"me").changes()))
