"""A lock: one holder at a time, in the order in which they asked.

    async with Lock(zk, "/locks/report") as grant:
        await store.write(report, token=grant.token)

Each contender is an ephemeral sequential znode and watches the one ahead of it alone, so that a
release wakes one. The names are Curator's, and its contenders and kazoo's can stand in the same
line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import ApiError, GrantLostError
from coterie.recipes.grant import Grant, Holding
from coterie.recipes.recipe import discard, is_sequential, sequence_of
from coterie.values import WatchEvent

Ahead = Callable[[list[str], str], str | None]
"""Of all contenders in their order and oneself: whom to wait for, or None for nobody."""


class Line:
    """A line of contenders at one znode: takes a place, and waits for its turn."""

    def __init__(self, zk: Client, path: str, name: str, data: bytes, ahead: Ahead) -> None:
        self._zk = zk
        self._path = path
        self._name = name
        self._data = data
        self._ahead = ahead

    async def turn(self) -> Grant:
        """Stand in line until it is one's turn. Leaves nothing behind when it is cancelled."""
        place = await self._zk.create_with_stat(
            f"{self._path}/{self._name}",
            self._data,
            ephemeral=True,
            sequential=True,
            protected=True,
            parents=True,
        )
        if not is_sequential(place.path.rpartition(self._name)[2]):
            await discard(self._zk, place.path)
            raise ApiError(self._path, "take a place (its numbers have run out)")
        grant = Grant(self._zk, place.path, place.stat)
        try:
            await grant.guard()
            while (ahead := await self._whom_to_wait_for(grant)) is not None:
                await self._until_gone(f"{self._path}/{ahead}", grant)
            grant.check()
        except BaseException:
            grant.released()
            await discard(self._zk, place.path)
            raise
        return grant

    async def _whom_to_wait_for(self, grant: Grant) -> str | None:
        grant.check()
        names = [name for name in await self._zk.children(self._path) if is_sequential(name)]
        mine = grant.path.rpartition("/")[2]
        if mine not in names:
            raise GrantLostError(grant.path)
        return self._ahead(sorted(names, key=sequence_of), mine)

    async def _until_gone(self, path: str, grant: Grant) -> None:
        """Wait until the one ahead is gone, or this one's own place is."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake(event: WatchEvent | None = None) -> None:
            if not woken.done():
                woken.set_result(None)

        grant.on_lost(wake)
        if await self._zk.exists(path, watch=wake) is not None:
            await woken


class Lock(Holding[Grant]):
    """A mutual exclusion lock at `path`; it is not re-entrant."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, identifier: bytes = b"") -> None:
        """`identifier` is what others read of who holds it or waits."""
        super().__init__(zk, path)
        self._line = Line(self.zk, self.path, "lock-", identifier, _next_ahead)

    async def acquire(self, timeout_s: float | None = None) -> Grant:
        """Wait until nobody is ahead. Raises `TimeoutError`, and `GrantLostError` when the session
        ends meanwhile; nothing is left behind then.
        """
        async with asyncio.timeout(timeout_s):
            return await self._line.turn()

    async def release(self, grant: Grant) -> None:
        """Let the next one have it."""
        grant.released()
        await discard(self.zk, grant.path)

    async def contenders(self) -> list[bytes]:
        """The identifiers of who holds it, first, and of who waits, in their order."""
        names = [name for name in await self.zk.children(self.path) if is_sequential(name)]
        paths = [f"{self.path}/{name}" for name in sorted(names, key=sequence_of)]
        return [found.data for found in await self.zk.get_many(paths) if isinstance(found, tuple)]


def _next_ahead(names: list[str], mine: str) -> str | None:
    at = names.index(mine)
    return names[at - 1] if at else None
