"""A lock: one holder at a time, in the order in which they asked.

    async with Lock(zk, "/locks/report") as grant:
        await store.write(report, token=grant.token)

Each contender is an ephemeral sequential znode and watches the one ahead of it alone, so that a
release wakes one. The names are Curator's. kazoo's contenders are waited for; kazoo waits for
these only if it is told to: `extra_lock_patterns=["lock-"]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import ApiError, GrantLostError, NoNodeError
from coterie.recipes.grant import Grant, Holding
from coterie.recipes.recipe import is_number, is_sequential, sequence_of, take_place
from coterie.values import WatchEvent

Ahead = Callable[[list[str], str], str | None]
"""Of all contenders in their order and oneself: whom to wait for, or None for nobody."""


async def standing(zk: Client, path: str) -> list[str]:
    """The names of who stands in line at a znode, in their order."""
    try:
        names = await zk.children(path)
    except NoNodeError:
        return []
    return sorted(filter(is_sequential, names), key=sequence_of)


class Line:
    """A line of contenders at one znode: takes a place, and waits for its turn."""

    def __init__(self, zk: Client, path: str, name: str, data: bytes, ahead: Ahead) -> None:
        self._zk = zk
        self._path = path
        self._under = path.rstrip("/") + "/"
        self._name = name
        self._data = data
        self._ahead = ahead

    async def turn(self, timeout_s: float | None = None) -> Grant:
        """Stand in line until it is one's turn; with a time-out of 0 only if nobody has to be
        waited for. When it raises, or is cancelled, the place is given up.
        """
        if timeout_s is None or timeout_s > 0:
            async with asyncio.timeout(timeout_s):
                return await self._turn(patient=True)
        return await self._turn(patient=False)

    async def _turn(self, *, patient: bool) -> Grant:
        place = await take_place(self._zk, self._under + self._name, self._data)
        grant = Grant(self._zk, place.path, place.stat)
        try:
            if not is_number(place.path.rpartition(self._name)[2]):
                raise ApiError(self._path, "take a place (its numbers have run out)")
            grant.watch()
            while (ahead := await self._whom_to_wait_for(grant)) is not None:
                if not patient:
                    raise TimeoutError
                await self._until_gone(self._under + ahead, grant)
            grant.check()
        except BaseException:
            await grant.abandon()
            raise
        return grant

    async def _whom_to_wait_for(self, grant: Grant) -> str | None:
        grant.check()
        names = await standing(self._zk, self._path)
        mine = grant.path.rpartition("/")[2]
        if mine not in names:
            raise GrantLostError(grant.path)
        return self._ahead(names, mine)

    async def _until_gone(self, path: str, grant: Grant) -> None:
        """Wait until the one ahead is gone, or this one's own place is."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(event: WatchEvent | None = None) -> None:
            if not woken.done():
                woken.set_result(None)

        undo = grant.on_lost(wake)
        try:
            # `exists` would leave a watch for ever on one that is gone.
            with suppress(NoNodeError):
                await self._zk.get(path, watch=wake)
                await woken
        finally:
            undo()
            self._zk.unwatch(path, wake)


class InLine(Holding[Grant]):
    """What is granted to those who stand in line at `path`."""

    def __init__(
        self, zk: Client | BlockingClient, path: str, name: str, identifier: bytes, ahead: Ahead
    ) -> None:
        super().__init__(zk, path)
        self._line = Line(self.zk, self.path, name, identifier, ahead)

    async def acquire(self, timeout_s: float | None = None) -> Grant:
        """Wait until it is one's turn; with a time-out of 0 take it only if it is free.

        Raises `TimeoutError`, and `GrantLostError` when the session ends meanwhile or the place in
        the line is deleted. Nothing is left behind then.
        """
        return await self._line.turn(timeout_s)

    async def release(self, grant: Grant) -> None:
        """Let the next one have it."""
        await grant.give_back()

    async def contenders(self) -> list[bytes]:
        """The identifiers of who holds it, first, and of who waits, in their order."""
        under = self.path.rstrip("/") + "/"
        paths = [under + name for name in await standing(self.zk, self.path)]
        return [found.data for found in await self.zk.get_many(paths) if isinstance(found, tuple)]

    async def revoke(self) -> bool:
        """Take it from who holds it, whose grant is lost by that; whether anybody did."""
        names = await standing(self.zk, self.path)
        if names:
            with suppress(NoNodeError):
                await self.zk.delete(f"{self.path.rstrip('/')}/{names[0]}")
                return True
        return False


class Lock(InLine):
    """A mutual exclusion lock at `path`; it is not re-entrant."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, identifier: bytes = b"") -> None:
        """`identifier` is what others read of who holds it or waits."""
        super().__init__(zk, path, "lock-", identifier, next_ahead)


def next_ahead(names: list[str], mine: str) -> str | None:
    """The one right ahead: who waits for it waits for all."""
    at = names.index(mine)
    return names[at - 1] if at else None
