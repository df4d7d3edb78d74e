"""Waiting for what a znode comes to, and following what a subtree holds.

Rules: a value that is followed is whole, of a moment at which nothing was being read; while the
connection is away the last one stays and says how old it is, and an error never makes it empty
(pinot#6068). Whoever is slow to take new values gets the newest, not all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from coterie.errors import SessionExpiredError
from coterie.values import SessionState

if TYPE_CHECKING:
    from coterie.client.cache import Cache
    from coterie.client.client import Client
    from coterie.client.portal import Portal

T = TypeVar("T")
V = TypeVar("V")


async def until(zk: Client, path: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """What `look` finds, looked for again whenever the znode at `path` or its children change.

    Raises what `look` raises, and `SessionExpiredError` when the client is closed meanwhile.
    """
    async with zk.watch(path) as events:
        while (found := await look()) is None:
            if await events.next() is None:
                raise SessionExpiredError(path, "wait")
    return found


class View(Generic[T]):
    """What `make` makes of a cached subtree, made anew whenever that has changed."""

    def __init__(
        self, zk: Client, path: str, depth: int | None, make: Callable[[Cache], T]
    ) -> None:
        self.number = 0
        """How many values there were."""
        self._zk = zk
        self._path = path
        self._depth = depth
        self._cache = zk.cache(path, depth=depth)
        self._make = make
        self._values: list[T] = []
        """The last value, if there was one."""
        self._open = False
        self._dirty = asyncio.Event()
        self._news: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._undo: Callable[[], None] | None = None

    async def open(self) -> None:
        """Fill it. Raises what a read raises."""
        # A cache is filled once.
        self._cache = self._zk.cache(self._path, depth=self._depth)
        await self._cache.__aenter__()
        self._open = True
        self._undo = self._zk.on_state(self._state_changed)
        try:
            self._look()
        except BaseException:
            await self.close()
            raise
        loop = asyncio.get_running_loop()
        # What changes between now and the first step of the first is seen by that of the second.
        self._dirty.set()
        self._tasks = [loop.create_task(self._listen()), loop.create_task(self._follow())]

    async def close(self) -> None:
        """Follow no more; the last value stays."""
        self._end()
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._cache.__aexit__(None, None, None)

    def _state_changed(self, state: SessionState) -> None:
        if self._zk.over:
            self._end()

    def _end(self) -> None:
        """There will be no other value: let nobody wait for one."""
        self._open = False
        if self._undo is not None:
            self._undo()
            self._undo = None
        self._wake()

    @property
    def value(self) -> T:
        """The last value. Raises `RuntimeError` before it was ever opened."""
        if not self._values:
            raise RuntimeError("it is not entered yet: use `async with` or `with`")
        return self._values[0]

    @property
    def fresh(self) -> bool:
        """Whether it is as new as what this client's server has told of."""
        return self._cache.fresh

    @property
    def stale_s(self) -> float:
        """For how many seconds it has not been known to be fresh; 0 while it is."""
        return self._cache.stale_s

    async def _listen(self) -> None:
        async for _ in self._cache.changes():
            self._dirty.set()

    async def _follow(self) -> None:
        while True:
            await self._dirty.wait()
            # Not half of a look: what came back after an outage comes znode by znode.
            await self._cache.at_least(0)
            self._dirty.clear()
            self._look()

    def _look(self) -> None:
        value = self._make(self._cache)
        if self._values and self._values[0] == value:
            return
        self._values = [value]
        self.number += 1
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    async def at_least(self, zxid: int) -> T:
        """The value once it shows that txn, for example one's own write."""
        await self._cache.at_least(zxid)
        self._look()
        return self.value

    async def next(self, number: int) -> T | None:
        """The newest value, once there was one after the `number`-th; None when it is closed,
        or the client is.
        """
        while self.number <= number:
            if not self._open:
                return None
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)
        return self.value

    async def until(self, wanted: Callable[[T], bool]) -> T:
        """The first value that is as wanted, the present one included.

        Raises `SessionExpiredError` when it, or the client, is closed meanwhile.
        """
        while not wanted(value := self.value):
            if await self.next(self.number) is None:
                raise SessionExpiredError(self._path, "wait")
        return value

    def changes(self, portal: Portal | None) -> Changes[T]:
        return Changes(self, portal, lambda value: value)


class Changes(Generic[T]):
    """Every new value from now on, by `async for`; by a plain `for` over a blocking client."""

    def __init__(self, view: View[V], portal: Portal | None, pick: Callable[[V], T]) -> None:
        self._view: View[Any] = view
        self._portal = portal
        self._pick = pick
        self._number = view.number

    async def _next(self) -> tuple[T] | None:
        value = await self._view.next(self._number)
        if value is None:
            return None
        self._number = self._view.number
        return (self._pick(value),)

    async def __aiter__(self) -> AsyncIterator[T]:
        while (found := await self._next()) is not None:
            yield found[0]

    def __iter__(self) -> Iterator[T]:
        if self._portal is None:
            raise TypeError("a plain `for` takes a blocking client; here it is `async for`")
        while (found := self._portal.call(self._next())) is not None:
            yield found[0]
