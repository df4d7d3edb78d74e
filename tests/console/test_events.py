"""Watches as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from coterie.client.client import Client
from coterie.console import events
from coterie.console.clients import Clients
from coterie.console.events import Events
from coterie.console.problems import Problem
from coterie.console.site import client_of
from tests.conftest import Connect


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
        assert told.open == 0
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
