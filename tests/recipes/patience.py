"""Waiting in tests for what has to come to pass, within bounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from coterie.client.client import Client
from coterie.testing.cluster import Server

_SECONDS_MAX = 15.0
_POLL_S = 0.003


async def eventually(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(_SECONDS_MAX):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)


async def expire(server: Server, zk: Client) -> None:
    """End a client's session, and wait until it has another."""
    old = zk.session_id
    await asyncio.to_thread(server.expire, zk)
    await eventually(lambda: zk.state.connected and zk.session_id not in (old, 0))


async def disturb(
    server: Server, clients: Sequence[Client], faults: int, *, expires: bool
) -> None:
    """Let the server and its clients' connections and sessions fail, so many times."""
    dice = random.Random(1)
    for _ in range(faults):
        fault = dice.choice(("disconnect", "expire", "restart", "stop"))
        if fault == "disconnect":
            await asyncio.to_thread(server.disconnect)
        elif fault == "expire" and expires:
            # It may have none just now.
            with suppress(LookupError):
                await asyncio.to_thread(server.expire, dice.choice(clients))
        elif fault == "restart":
            await asyncio.to_thread(server.restart)
        elif fault == "stop":
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(dice.random() * 1.5)
            await asyncio.to_thread(server.start)
        await asyncio.sleep(dice.random() * 0.4)
