"""A watch as an async iterator: every change of a znode, or of its whole subtree, in order.

    async with zk.watch("/config", recursive=True) as events:
        async for event in events:
            print(event.type.name, event.path)

It lasts over reconnects and new sessions. What happened while there was no connection was not
told: an event of type NONE says so, and whoever keeps a copy has to look again (as `cache` does).
The same event stands for what came faster than it was taken. Servers before 3.6 have no such
watches: there a watch of a single znode is made of one-shot ones, a subtree is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from coterie.errors import UnimplementedError
from coterie.values import AddWatchMode, EventType, KeeperState, WatchEvent

if TYPE_CHECKING:
    from coterie.client.client import Client

_EVENTS_MAX: Final = 10_000


class Watch:
    """Made by `Client.watch`. An iterator between `async with`, or by itself."""

    def __init__(self, client: Client, path: str, *, recursive: bool) -> None:
        self.path = path
        self.mode = AddWatchMode.PERSISTENT_RECURSIVE if recursive else AddWatchMode.PERSISTENT
        self._client = client
        self._events: deque[WatchEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._open = False
        self._by_one_shots = False
        self._armed = [False, False]
        """Which of the two one-shot watches that stand in are set: of the znode, its children."""

    async def __aenter__(self) -> Self:
        self._open = True
        self._client.watching.add(self)
        try:
            await self._client.add_watch(self.path, self.mode, self.tell)
        except UnimplementedError:
            if self.mode != AddWatchMode.PERSISTENT:
                self._end()
                raise
            self._by_one_shots = True
            await self._arm()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        if not self._by_one_shots:
            await self._client.remove_watch(self.path, self.mode, self.tell)

    def _end(self) -> None:
        self._open = False
        self._client.watching.discard(self)
        self.wake()

    def __aiter__(self) -> AsyncIterator[WatchEvent]:
        return self._run()

    async def _run(self) -> AsyncIterator[WatchEvent]:
        if self._open:
            while (event := await self.next()) is not None:
                yield event
        else:
            async with self:
                while (event := await self.next()) is not None:
                    yield event

    async def next(self) -> WatchEvent | None:
        """The next event, waited for; None once the watch or the client is closed."""
        while not self._events:
            if not self._open or self._client.over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        event = self._events.popleft()
        if self._by_one_shots and event.type != EventType.NONE:
            await self._arm()
        return event

    async def _arm(self) -> None:
        """Stand in for the watch that the server does not have."""
        znode, children = self._armed
        if not znode:
            self._armed[0] = True
            await self._client.exists(self.path, watch=self._znode_changed)
        if not children and await self._client.exists(self.path) is not None:
            self._armed[1] = True
            await self._client.children(self.path, watch=self._children_changed)

    def _znode_changed(self, event: WatchEvent) -> None:
        self._armed[0] = False
        self.tell(event)

    def _children_changed(self, event: WatchEvent) -> None:
        self._armed[1] = False
        if event.type == EventType.NODE_CHILDREN_CHANGED:
            self.tell(event)

    def tell(self, event: WatchEvent) -> None:
        if len(self._events) >= _EVENTS_MAX:
            self._events.clear()
            event = WatchEvent(EventType.NONE, KeeperState.SYNC_CONNECTED, self.path)
        self._events.append(event)
        self.wake()

    def wake(self) -> None:
        """Let who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
