"""An election: of all candidates one leads, and when it is no more, the next in line does.

    election = Election(zk, "/election", identifier=b"host-7")
    async with election as leadership:
        await lead(token=leadership.token)

    async for leader in election.observe():
        print(leader and leader.identifier)

Candidates stand in line and each watches the one ahead. One that does not lead keeps its place
over lost connections, and takes a new one when its session has ended. A leader loses its
leadership with its znode or its session, and its block is cancelled. The names are Curator's
(LeaderLatch).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.carrier import OnEvent
from coterie.client.client import Client
from coterie.errors import (
    GrantLostError,
    NoNodeError,
    SessionExpiredError,
)
from coterie.recipes.grant import Grant
from coterie.recipes.lock import InLine, next_ahead, standing
from coterie.recipes.recipe import PASSING
from coterie.values import SessionState, WatchEvent

_PAUSE_S: Final = 0.1


class Leader(NamedTuple):
    """Who leads, as others see it."""

    identifier: bytes
    token: int
    path: str
    """Its znode; who deletes it deposes the leader."""


class Election(InLine):
    """One candidate in the election at `path`; who only wants to know who leads is none."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, identifier: bytes = b"") -> None:
        """`identifier` is what others read of who leads."""
        super().__init__(zk, path, "latch-", identifier, next_ahead)

    async def acquire(self, timeout_s: float | None = None) -> Grant:
        """Stand as a candidate until elected; with a time-out of 0 only if nobody leads.

        Raises `TimeoutError`, with nothing left behind.
        """
        patient = timeout_s is None or timeout_s > 0
        async with asyncio.timeout(timeout_s if patient else None):
            while True:
                try:
                    return await self._line.turn(None if patient else 0)
                except (GrantLostError, SessionExpiredError):
                    if self.zk.over:
                        raise

    async def resign(self) -> None:
        """Within the block: lead no more, and let the next one lead. The block goes on."""
        if self._grant is None:
            raise RuntimeError("who does not lead cannot resign")
        await self.release(self._grant)

    async def leader(self) -> Leader | None:
        """Who leads, as the server at hand knows it; it may not have heard of it itself yet."""
        while True:
            names = await standing(self.zk, self.path)
            if not names:
                return None
            try:
                return await self._read(names[0])
            except NoNodeError:
                continue

    async def _read(self, name: str, watch: OnEvent | None = None) -> Leader:
        path = f"{self.path.rstrip('/')}/{name}"
        data, stat = await self.zk.get(path, watch=watch)
        return Leader(data, stat.czxid, path)

    async def observe(self) -> AsyncIterator[Leader | None]:
        """Who leads now, and after every change; None while nobody does.

        It goes on over lost connections and sessions until the client is closed. Who leads for a
        very short time may be left out. It costs two reads for each change.
        """
        last: Leader | None = None
        first = True
        while not self.zk.over:
            changed = asyncio.Event()

            def wake(event: WatchEvent | SessionState, changed: asyncio.Event = changed) -> None:
                changed.set()

            def end(state: SessionState, changed: asyncio.Event = changed) -> None:
                if self.zk.over:
                    changed.set()

            watched: list[str] = []
            undo = self.zk.on_state(end)
            try:
                leader = await self._look(wake, watched)
                if first or leader != last:
                    first, last = False, leader
                    yield leader
                if not self.zk.over:
                    await changed.wait()
            except PASSING:
                await asyncio.sleep(_PAUSE_S)
            finally:
                undo()
                for path in watched:
                    self.zk.unwatch(path, wake)

    async def _look(self, watch: OnEvent, watched: list[str]) -> Leader | None:
        """Who leads, and be told when that may have changed."""
        while True:
            names = await standing(self.zk, self.path)
            if names:
                watched.append(f"{self.path.rstrip('/')}/{names[0]}")
                try:
                    return await self._read(names[0], watch)
                except NoNodeError:
                    continue
            watched.append(self.path)
            if await self.zk.exists(self.path, watch=watch) is None:
                return None
            if not await self.zk.children(self.path, watch=watch):
                return None
