"""Asking one to go, through the tree."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import SessionExpiredError
from coterie.gateway.draining import DrainRequest, ask_to_drain, request_place
from coterie.recipes.discovery import Discovery, Registration
from tests.conftest import Connect


async def _register(zk: Client) -> tuple[Registration, int]:
    offer = Discovery(zk, "/g/services").register("a/b", "1", host="h", port=1, id="x")
    mine = await offer.enter()
    stat = await zk.exists(mine.path)
    assert stat is not None
    return mine, stat.czxid


def test_a_request_has_its_place() -> None:
    assert request_place("/g/", "a/b", "x") == "/g/drain/a%2Fb/x"
    assert request_place("/", "a", "x") == "/drain/a/x"


async def test_who_is_asked_hears_of_it_and_can_be_asked_again(connect: Connect) -> None:
    async with connect() as zk, connect() as operator:
        _, born = await _register(zk)
        request = DrainRequest(zk, "/g", "a/b", "x")
        await request.open(born)
        await ask_to_drain(operator, "a/b", "x", root="/g", why="old")
        await request.wait()
        await ask_to_drain(operator, "a/b", "x", root="/g", why="still old")
        assert (await zk.get(request.path)).data == b"still old"
        await request.forget()
        await request.forget()
        assert await zk.children("/g/drain/a%2Fb") == []
        await request.close()


async def test_a_request_is_not_for_who_has_the_id_next(connect: Connect) -> None:
    async with connect() as zk, connect() as operator:
        mine, _ = await _register(zk)
        await ask_to_drain(operator, "a/b", "x", root="/g")
        await mine.leave(None)
        with pytest.raises(LookupError, match="no a/b x is registered below /g"):
            await ask_to_drain(operator, "a/b", "x", root="/g")
        _, born = await _register(zk)
        request = DrainRequest(zk, "/g", "a/b", "x")
        await request.open(born)
        waiting = asyncio.create_task(request.wait())
        await zk.exists("/")
        assert not waiting.done()
        await ask_to_drain(operator, "a/b", "x", root="/g")
        await waiting
        await request.close()


async def test_the_end_of_the_client_ends_the_wait(connect: Connect) -> None:
    async with connect() as zk:
        request = DrainRequest(zk, "/g", "a/b", "x")
        await request.open(0)
        waiting = asyncio.create_task(request.wait())
        await zk.exists("/")
    with pytest.raises(SessionExpiredError):
        await waiting
    await request.close()


def test_an_operator_may_block(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, pytest.raises(LookupError):
        zk.run(ask_to_drain(zk, "a", "x"))
