"""What all recipes share: places that are never left behind, names that are numbers, `with`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import (
    NoAuthError,
    NoNodeError,
    NotReadOnlyError,
    OperationTimeoutError,
    OutcomeUnknown,
    SessionExpiredError,
)
from coterie.recipes.recipe import (
    Recipe,
    discard,
    is_number,
    is_sequential,
    sequence_of,
    take_place,
)
from coterie.testing.cluster import Server
from coterie.values import SessionState
from tests.conftest import Connect
from tests.recipes.scene import crowd, lose_answers


def test_numbers_behind_names() -> None:
    assert is_sequential("_c_0123456789abcdef-lock-0000000017")
    assert sequence_of("uuid__lock__2147483647") == 2**31 - 1
    assert not is_sequential("config")
    assert not is_sequential("lock-000000001")
    # After 2,147,483,647 a server counts on from below nothing.
    assert is_number("0000000000")
    assert not is_number("-2147483648")
    assert not is_number("-000000001")


async def test_a_place_is_an_ephemeral_of_the_session(connect: Connect) -> None:
    async with connect() as zk:
        made = await take_place(zk, "/a/b/place-", b"me")
        assert made.stat.ephemeral_owner == zk.session_id
        assert await zk.children("/a/b") == [made.path.removeprefix("/a/b/")]
        await discard(zk, made.path)
        assert await zk.children("/a/b") == []
        await discard(zk, made.path)


@pytest.mark.parametrize("turns", range(12))
async def test_nobody_is_left_behind_by_who_is_cancelled(connect: Connect, turns: int) -> None:
    """kazoo#412: a lock stays, and nobody holds it."""
    async with connect() as zk:
        await zk.ensure("/line")
        taking = asyncio.ensure_future(take_place(zk, "/line/place-"))
        for _ in range(turns):
            await asyncio.sleep(0)
        taking.cancel()
        (made,) = await asyncio.gather(taking, return_exceptions=True)
        if isinstance(made, tuple):
            await discard(zk, made.path)
        await crowd(zk, "/line", 0)


async def test_the_answer_is_lost_and_the_place_found_again(connect: Connect) -> None:
    async with connect() as zk:
        await zk.ensure("/line")
        lose_answers(zk)
        made = await take_place(zk, "/line/place-", b"me")
        assert [made.path] == ["/line/" + name for name in await zk.children("/line")]
        assert made.stat.ephemeral_owner == zk.session_id


async def test_a_place_of_an_earlier_session_is_not_ones_own(connect: Connect) -> None:
    """CURATOR-498 (curator#1018): the znode that is found belongs to a session that is closing."""
    async with connect() as zk:
        await zk.ensure("/line")
        old_id = zk.session_id

        async def begins_another() -> None:
            zk.session.id = old_id + 1

        lose_answers(zk, then=begins_another)
        with pytest.raises(SessionExpiredError):
            await take_place(zk, "/line/place-")
        zk.session.id = old_id


async def test_a_place_that_nobody_knows_of_is_deleted(connect: Connect) -> None:
    """kazoo#412, by another way: the answer is lost, and what came of it cannot be asked."""
    async with connect() as zk:
        await zk.ensure("/line")
        client: Any = zk
        find = client._find

        async def refused(*arguments: object) -> None:
            client._find = find
            raise OperationTimeoutError("/line", "children")

        client._find = refused
        lose_answers(zk)
        with pytest.raises(OutcomeUnknown):
            await take_place(zk, "/line/place-")
        await crowd(zk, "/line", 0)


async def test_what_is_discarded_goes_when_the_server_can_write_again(connect: Connect) -> None:
    async with connect() as zk:
        made = await take_place(zk, "/line/place-")
        client: Any = zk
        delete = client.delete
        refusals = [NotReadOnlyError, OutcomeUnknown]

        async def refused(path: str, version: int = -1) -> None:
            if refusals:
                raise refusals.pop()(path, "delete")
            await delete(path, version)

        client.delete = refused
        await discard(zk, made.path)
        assert await zk.exists(made.path) is None


async def test_what_may_not_be_discarded_is_told(connect: Connect) -> None:
    async with connect() as zk:
        client: Any = zk

        async def refused(path: str, version: int = -1) -> None:
            raise NoAuthError(path, "delete")

        client.delete = refused
        with pytest.raises(NoAuthError):
            await discard(zk, "/line/place")


async def test_to_discard_goes_on_without_its_caller(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        made = await take_place(zk, "/line/place-")
        going = asyncio.ensure_future(discard(zk, made.path))
        await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        await crowd(other, "/line", 0)


async def test_what_an_ended_session_had_needs_no_discarding(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    """It does not wait for a server: there may be none."""
    async with coterie_connect(session_timeout_s=0.3) as zk:
        made = await take_place(zk, "/line/place-")
        lost = asyncio.Event()
        zk.on_state(lambda state: lost.set() if state == SessionState.LOST else None)
        coterie_server.pause()
        try:
            await lost.wait()
            await discard(zk, made.path, made.stat.ephemeral_owner)
        finally:
            coterie_server.resume()


class _Noted(Recipe[str]):
    def __init__(self, zk: Client, path: str) -> None:
        super().__init__(zk, path)
        self.left: list[BaseException | None] = []

    async def enter(self) -> str:
        return self.path

    async def leave(self, error: BaseException | None) -> None:
        self.left.append(error)


async def test_async_with(connect: Connect) -> None:
    async with connect() as zk:
        noted = _Noted(zk, "/a/")
        async with noted as path:
            assert path == "/a"
        error = NoNodeError("/a")
        with pytest.raises(NoNodeError):
            async with noted:
                raise error
        assert noted.left == [None, error]
        with pytest.raises(TypeError, match="async with"), noted:
            pass


def test_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        noted = _Noted(zk, "/a")  # type: ignore[arg-type]
        with noted as path:
            assert path == "/a"
        assert noted.left == [None]
