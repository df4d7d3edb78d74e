"""Clients by identity: made when asked for, shared, bounded, and closed when nobody uses them."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from coterie.client.client import connect as connect_to
from coterie.console import clients as module
from coterie.console.clients import Clients
from coterie.console.problems import Problem
from coterie.console.site import client_of
from coterie.errors import NotConnectedError
from tests.conftest import until


async def test_an_identity_has_one_client(hosts: str) -> None:
    clients = Clients(partial(client_of, hosts))
    async with clients.of(None) as nobody, clients.of(("me", "x")) as me:
        assert nobody is not me
        assert [id.scheme for id in await me.who_am_i() if id.scheme == "digest"]
        async with clients.of(("me", "x")) as again:
            assert again is me
        assert clients.sessions() == {nobody.session.id, me.session.id}
    assert len(clients) == 2
    await clients.close()
    assert nobody.over
    assert me.over


async def test_who_has_no_session_yet_has_none() -> None:
    clients = Clients(partial(client_of, "127.0.0.1:1"))
    asking = asyncio.create_task(clients.check_super(("me", "x"), "this"))
    await until(lambda: len(clients) == 1)
    assert clients.sessions() == set()
    asking.cancel()
    await clients.close()


async def test_who_was_not_used_makes_room(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLIENTS_MAX", 2)
    clients = Clients(partial(client_of, hosts))
    async with clients.of(("a", "")) as first:
        async with clients.of(("b", "")) as second:
            with pytest.raises(Problem):
                async with clients.of(("c", "")):
                    pass
        async with clients.of(("c", "")):
            assert not first.over
    await until(lambda: second.over)
    await clients.close()
    with pytest.raises(Problem, match="stopping"):
        async with clients.of(None):
            pass


async def test_who_is_idle_is_closed(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 0.01)
    clients = Clients(partial(client_of, hosts))
    async with clients.of(None) as client:
        pass
    await until(lambda: client.over)
    assert len(clients) == 0
    async with clients.of(None) as another:
        assert another is not client
    await clients.close()


async def test_nobody_is_there(hosts: str) -> None:
    clients = Clients(lambda _: connect_to("127.0.0.1:1", call_timeout_s=0.2))
    for _ in range(2):
        with pytest.raises(NotConnectedError):
            async with clients.of(None):
                pass
    assert len(clients) == 0
    await clients.close()
