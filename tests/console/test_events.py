"""Watches as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from coterie.client.client import Client
from coterie.console import events
from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.clients import Clients
from coterie.console.connections import Connections
from coterie.console.events import Events
from coterie.console.problems import Problem
from coterie.console.site import client_of
from coterie.console.znodes import Znodes
from tests.conftest import Connect, until

if TYPE_CHECKING:
    from starlette.types import Message


async def _events(stream: AsyncIterator[object], count: int) -> list[tuple[str, str]]:
    """So many of them, without comments."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            text = str(await anext(stream))
            if text.startswith(":"):
                continue
            first, second, *rest = text.split("\n")
            assert rest == ["", ""]
            path = json.loads(second.removeprefix("data: "))["path"]
            found.append((first.removeprefix("event: "), path))
    return found


def _make(hosts: str) -> Clients:
    return Clients(lambda identity: client_of(hosts, identity))


async def _close(stream: AsyncIterator[object]) -> None:
    await stream.aclose()  # type: ignore[attr-defined]


async def test_every_change_of_a_subtree_in_order(hosts: str, connect: Connect) -> None:
    clients = _make(hosts)
    told = Events(clients)
    async with connect() as zk:
        response = await told.stream(None, "/", recursive=True)
        stream = aiter(response.body_iterator)
        assert await _events(stream, 1) == [("watching", "/")]
        await zk.create("/a")
        await zk.set("/a", b"x")
        await zk.delete("/a")
        assert await _events(stream, 3) == [
            ("created", "/a"),
            ("changed", "/a"),
            ("deleted", "/a"),
        ]
        assert told.open == 1
        await _close(stream)
        await until(lambda: told.open == 0)
    await clients.close()


async def test_a_comment_says_that_the_stream_is_there(
    hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BEAT_S", 0.01)
    clients = _make(hosts)
    response = await Events(clients).stream(None, "/", recursive=False)
    stream = aiter(response.body_iterator)
    await _events(stream, 1)
    assert await anext(stream) == ": still here\n\n"
    await _close(stream)
    await clients.close()


async def test_there_are_only_so_many(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_STREAMS_MAX", 0)
    clients = _make(hosts)
    with pytest.raises(Problem) as caught:
        await Events(clients).stream(None, "/", recursive=False)
    assert caught.value.status == 503


async def test_a_listener_that_has_gone_before_the_first_event_leaves_none(hosts: str) -> None:
    clients = _make(hosts)
    told = Events(clients)
    response = await told.stream(None, "/", recursive=False)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.Event().wait()  # Its buffer is full of earlier answers.

    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    await until(lambda: told.open == 0)
    await clients.close()


async def test_a_stream_ends_with_its_client(hosts: str) -> None:
    clients = _make(hosts)
    response = await Events(clients).stream(None, "/", recursive=False)
    stream = aiter(response.body_iterator)
    await _events(stream, 1)
    async with clients.of(None) as client:
        assert isinstance(client, Client)
        await client.close()
    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(10):
            await anext(stream)
    await clients.close()


async def test_a_listener_that_goes_leaves_no_watch(hosts: str) -> None:
    clients = _make(hosts)
    access = Access("127.0.0.1", read_only=True)
    znodes = Znodes(clients, access)
    port = Connections(make_app(znodes.routes(), access), idle_s=30)
    server = await asyncio.get_running_loop().create_server(port.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET /znodes/?watch=recursive HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"event: watching")
    async with clients.of(None) as client:
        assert len(client.watching) == 1
        writer.transport.abort()
        await until(lambda: not client.watching and not len(port))
        await until(lambda: not znodes.listeners)
    server.close()
    await port.close()
    await clients.close()
