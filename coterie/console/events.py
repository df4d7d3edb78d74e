"""Watches as server-sent events: one stream for each watch, for as long as its client listens.

    event: changed
    data: {"path": "/config/colour"}

Rules:
- a stream begins with `watching`: what is read after it misses nothing. `again` says that events
  may have been missed, and that whoever keeps a copy has to look again;
- a comment comes every `_BEAT_S`, so that both sides notice when the other is gone;
- there are at most `_STREAMS_MAX` streams at a port.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from coterie.client.client import Client
from coterie.client.watch import Watch
from coterie.console.access import Identity
from coterie.console.clients import Clients
from coterie.console.problems import Problem
from coterie.values import EventType, WatchEvent

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_STREAMS_MAX: Final = 64
_BEAT_S: Final = 15.0
_NAMES: Final = {
    EventType.NONE: "again",
    EventType.NODE_CREATED: "created",
    EventType.NODE_DELETED: "deleted",
    EventType.NODE_DATA_CHANGED: "changed",
    EventType.NODE_CHILDREN_CHANGED: "children",
}


class Events:
    """The streams of one port."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.open = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def stream(
        self, identity: Identity | None, path: str, *, recursive: bool
    ) -> StreamingResponse:
        """The events of a znode, or of its subtree. Raises what the watch raises, before all."""
        if self.open >= _STREAMS_MAX:
            raise Problem(503, "too many streams at once", {"Retry-After": "30"})
        stack = AsyncExitStack()
        self.open += 1
        stack.callback(self._left)
        try:
            client: Client = await stack.enter_async_context(self._clients.of(identity))
            watch = await stack.enter_async_context(client.watch(path, recursive=recursive))
        except BaseException:
            await stack.aclose()
            raise
        return _Stream(watch, lambda: self._close(stack))

    def _close(self, stack: AsyncExitStack) -> None:
        """Have the watch removed, whoever is being cancelled: a listener that has gone is."""
        task = asyncio.get_running_loop().create_task(stack.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _left(self) -> None:
        self.open -= 1


class _Stream(StreamingResponse):
    """One stream; `close` may be called twice."""

    def __init__(self, watch: Watch, close: Callable[[], None]) -> None:
        super().__init__(
            _told(watch, close),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Who has gone before the first event is sent leaves a generator that never began.
            self._close()


async def _told(watch: Watch, close: Callable[[], None]) -> AsyncIterator[str]:
    next_one: asyncio.Task[WatchEvent | None] | None = None
    try:
        yield _event("watching", watch.path)
        while True:
            if next_one is None:
                next_one = asyncio.create_task(watch.next())
            done, _ = await asyncio.wait([next_one], timeout=_BEAT_S)
            if not done:
                yield ": still here\n\n"
                continue
            event, next_one = next_one.result(), None
            if event is None:
                return
            yield _event(_NAMES.get(event.type, "again"), event.path)
    finally:
        if next_one is not None:
            next_one.cancel()
        close()


def _event(name: str, path: str) -> str:
    return f"event: {name}\ndata: {json.dumps({'path': path})}\n\n"
