"""Waiting in tests for what has to come to pass, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

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
