"""A server that is killed with -9 and started again, fifty times, under clients that go on.

Whatever the clients were told has to be true at the end: what was acknowledged is there, what is
unknown was cut off by a kill, every change was told by a watch or by the word that there was a
gap, and no call took longer than it may.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import NodeExistsError, OutcomeUnknown
from coterie.values import EventType, WatchEvent
from tests.compat.servers import Coterie
from tests.conftest import until

_KILLS = 50
_CALL_S = 15.0
_WRITERS = 3


class _Story:
    """What happened, as the clients were told."""

    def __init__(self) -> None:
        self.kills_s: list[float] = []
        self.acknowledged: set[str] = set()
        self.unknown: list[tuple[str, float, float]] = []
        """Of each write without an answer: its path, when it began and when it was told."""
        self.longest_s = 0.0
        self.over = False

    async def timed(self, call: Coroutine[Any, Any, Any]) -> Any:
        started_s = time.monotonic()
        try:
            return await call
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - started_s)


async def _write(zk: Client, story: _Story, name: str) -> None:
    number = 0
    while not story.over:
        path = f"/w/{name}-{number}"
        number += 1
        started_s = time.monotonic()
        try:
            await story.timed(zk.create(path))
            story.acknowledged.add(path)
        except OutcomeUnknown:
            story.unknown.append((path, started_s, time.monotonic()))
        await asyncio.sleep(0.002)


async def _follow(zk: Client, known: set[str], ready: asyncio.Event) -> None:
    """Keep a set of the znodes from what a watch tells; look again after a gap."""
    async with zk.watch("/w", recursive=True) as events:
        ready.set()
        async for event in events:
            if event.type == EventType.NODE_CREATED:
                known.add(event.path)
            elif event.type == EventType.NONE:
                known |= {f"/w/{name}" for name in await zk.children("/w")}


async def _listen(zk: Client, story: _Story, heard: Counter[str]) -> None:
    """One-shot watches, one after the other; each is armed by the read that looks at the value."""
    while True:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell(event: WatchEvent, told: asyncio.Future[None] = told) -> None:
            assert event.type == EventType.NODE_DATA_CHANGED
            told.set_result(None)

        data, _ = await story.timed(zk.get("/flag", watch=tell))
        if data == b"last":
            return
        await told
        heard["events"] += 1


async def _raise_flag(zk: Client, story: _Story) -> None:
    number = 0
    while not story.over:
        number += 1
        try:
            await story.timed(zk.set("/flag", b"%d" % number))
        except OutcomeUnknown:
            continue
        await asyncio.sleep(0.01)


async def _kill(server: Coterie, story: _Story, dice: Random) -> None:
    for _ in range(_KILLS):
        await asyncio.sleep(0.1 + dice.random() * 0.4)
        story.kills_s.append(time.monotonic())
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_fifty_kills_under_running_clients(tmp_path: Path) -> None:
    story, known, heard, ready = _Story(), set[str](), Counter[str](), asyncio.Event()
    server = Coterie(tmp_path).start()
    try:
        hosts = server.address
        connect = partial(coterie.connect, session_timeout_s=20.0, call_timeout_s=_CALL_S)
        async with (
            connect(hosts) as zk,
            connect(hosts) as other,
        ):
            await zk.create("/w")
            await zk.create("/flag", b"0")
            following = asyncio.create_task(_follow(zk, known, ready))
            await ready.wait()
            listening = asyncio.create_task(_listen(zk, story, heard))
            work = [
                asyncio.create_task(_write(client, story, f"{number}"))
                for number, client in enumerate([zk, other] * _WRITERS)
            ]
            work.append(asyncio.create_task(_raise_flag(other, story)))
            before = (zk.session_id, other.session_id)
            await _kill(server, story, Random(7))
            story.over = True
            await asyncio.gather(*work)
            await other.set("/flag", b"last")
            await asyncio.wait_for(listening, 5)
            assert heard["events"] > _KILLS / 5
            assert (zk.session_id, other.session_id) == before
            await _check(zk, story, known)
            following.cancel()
    finally:
        server.kill()


async def _check(zk: Client, story: _Story, known: set[str]) -> None:
    there = {f"/w/{name}" for name in await zk.children("/w")}
    assert story.acknowledged <= there, "what was acknowledged is there"
    assert len(story.acknowledged) > 10 * _KILLS
    await until(lambda: known == there)
    assert story.longest_s < _CALL_S, "no call hung"
    assert story.unknown, "the kills came in between"
    for path, started_s, told_s in story.unknown:
        assert any(started_s - 0.5 < kill_s < told_s for kill_s in story.kills_s), path
    # Nothing that is there was not asked for, and what is unknown can be settled by asking.
    assert there <= story.acknowledged | {path for path, _, _ in story.unknown}
    for path, _, _ in story.unknown:
        try:
            await zk.create(path)
            assert path not in there
        except NodeExistsError:
            assert path in there
