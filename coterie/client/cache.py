"""A copy of a znode, its children or a whole subtree, that follows every change.

    async with zk.cache("/config") as config:
        size = config["/config/size"].data          # no round trip
        async for change in config.changes():
            print(change.path, change.new)

Reads are local. Events name what has changed; it is read again, and then the copy is as new as the
connection. Rules:
- `fresh` says whether the copy is known to be so; while the connection is away it is not, and
  what was there last stays;
- after a reconnect all is read again, and what differs is told as changes;
- a change that came and went between two looks may not be told by itself; the last one always is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from coterie.errors import NoAuthError, NoNodeError, ZooKeeperError
from coterie.values import AddWatchMode, Children, EventType, SessionState, WatchEvent, Znode

if TYPE_CHECKING:
    from coterie.client.client import Client


class Change(NamedTuple):
    """What became of one znode: `old` is None when it is new, `new` when it is gone."""

    path: str
    old: Znode | None
    new: Znode | None


class Cache(Mapping[str, Znode]):
    """Made by `Client.cache`; a mapping from path to `Znode` between `async with`."""

    def __init__(self, client: Client, path: str, depth: int | None) -> None:
        self.path = path
        self._client = client
        self._depth = depth
        self._znodes: dict[str, Znode] = {}
        self._mode = AddWatchMode.PERSISTENT if depth == 0 else AddWatchMode.PERSISTENT_RECURSIVE
        self._reading: dict[str, asyncio.Task[None]] = {}
        """What is being read again; the copy is fresh when nothing is."""
        self._again: dict[str, bool] = {}
        """What has changed once more while it was being read; whether all below it is wanted."""
        self._listeners: set[asyncio.Queue[Change | None]] = set()
        self._fresh_ms: float | None = 0.0
        """Until when it was fresh; None while it is."""
        self._failure: ZooKeeperError | None = None
        """Why it could not be filled."""
        self._undo: Callable[[], None] = _nothing
        self._idle: asyncio.Future[None] | None = None
        self._filled = False
        self._open = False

    async def __aenter__(self) -> Self:
        """Fill it. Raises what a read raises, but a znode that is not there is no error."""
        await self._client.add_watch(self.path, self._mode, self._told)
        self._open = True
        self._undo = self._client.on_state(self._follow)
        try:
            self._refresh(self.path)
            await self._until_idle()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            await self._close()
            raise
        self._filled = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._open = False
        self._undo()
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        if self._fresh_ms is None:
            self._fresh_ms = self._client.now_ms()
        for queue in self._listeners:
            queue.put_nowait(None)
        await self._client.remove_watch(self.path, self._mode, self._told)

    # The copy

    def __getitem__(self, path: str) -> Znode:
        """The znode as it was last read. Raises `KeyError` when it is not there."""
        return self._znodes[path]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._znodes))

    def __len__(self) -> int:
        return len(self._znodes)

    def children(self, path: str) -> list[str]:
        """The names of a cached znode's cached children, sorted."""
        start = path.rstrip("/") + "/"
        size = len(start)
        return sorted(
            other[size:]
            for other in self._znodes
            if other.startswith(start) and len(other) > size and "/" not in other[size:]
        )

    @property
    def fresh(self) -> bool:
        """Whether the copy is as new as what this client's server has told of."""
        return self._open and self._fresh_ms is None

    @property
    def stale_s(self) -> float:
        """For how many seconds it has not been known to be fresh; 0 while it is."""
        fresh_ms = self._fresh_ms
        return 0.0 if fresh_ms is None else (self._client.now_ms() - fresh_ms) / 1000.0

    async def at_least(self, zxid: int) -> Self:
        """Wait until the copy shows that txn, for example one's own write.

        Costs nothing when the client has seen it, else one `sync`. Raises what `sync` raises.
        """
        if zxid > self._client.last_zxid:
            await self._client.sync(self.path)
        await self._until_idle()
        return self

    async def changes(self) -> AsyncIterator[Change]:
        """Every change from now on, until the cache is closed."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while self._open or not queue.empty():
                change = await queue.get()
                if change is None:
                    return
                yield change
        finally:
            self._listeners.discard(queue)

    # Following

    def _follow(self, state: SessionState) -> None:
        if not state.connected and self._fresh_ms is None:
            # It was fresh as long as the server answered.
            expires_ms, now_ms = self._client.expires_ms, self._client.now_ms()
            lasted_ms = self._client.session_timeout_ms
            self._fresh_ms = now_ms if expires_ms is None else min(now_ms, expires_ms - lasted_ms)

    def _told(self, event: WatchEvent) -> None:
        if not self._open or not self._holds(event.path):
            return
        if event.type == EventType.NODE_DELETED:
            self._drop(event.path)
            if event.path in self._reading:
                # What is on its way may be from before that.
                self._again.setdefault(event.path, False)
        elif event.type == EventType.NONE:
            self._refresh(self.path)
        elif event.type in (EventType.NODE_CREATED, EventType.NODE_DATA_CHANGED):
            self._refresh(event.path, whole=False)

    def _holds(self, path: str) -> bool:
        if self._depth is None or path == self.path:
            return True
        return path[len(self.path.rstrip("/")) :].count("/") <= self._depth

    def _refresh(self, path: str, *, whole: bool = True) -> None:
        """Read a znode again, and with `whole` all below it."""
        if path in self._reading:
            self._again[path] = whole or self._again.get(path, False)
            return
        if self._fresh_ms is None:
            self._fresh_ms = self._client.now_ms()
        task = asyncio.get_running_loop().create_task(self._read(path, whole))
        self._reading[path] = task
        task.add_done_callback(lambda done: self._read_done(path))

    def _read_done(self, path: str) -> None:
        self._reading.pop(path, None)
        whole = self._again.pop(path, None)
        if whole is not None and self._open:
            self._refresh(path, whole=whole)
        if self._reading:
            return
        if self._client.state.connected:
            self._fresh_ms = None
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _until_idle(self) -> None:
        while self._reading:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    async def _read(self, path: str, whole: bool) -> None:
        """A read that fails is tried again while the cache is open: it may not lag for ever.

        What may not be read is as if it were not there, except for who opens the cache.
        """
        found: Children | None = None
        while True:
            try:
                found = await self._look(path, whole)
                break
            except NoNodeError:
                self._drop(path)
                if path in self._again:
                    # It is there by now, and what is below it may have been read already.
                    self._again[path] = True
                return
            except ZooKeeperError as error:
                hidden = isinstance(error, NoAuthError)
                if hidden and (self._filled or path != self.path):
                    self._drop(path)
                    return
                if self._client.over or not self._filled:
                    self._failure = error
                    return
                await asyncio.sleep(0.1)
        if found is None:
            return
        start = path.rstrip("/") + "/"
        names = set(found.names)
        for child in self.children(path):
            # One that was made after the answer may have been read before it is looked at here.
            if child not in names and self._znodes[start + child].stat.czxid <= found.stat.pzxid:
                self._drop(start + child)
        for child in found.names:
            if self._holds(start + child):
                self._refresh(start + child)

    async def _look(self, path: str, whole: bool) -> Children | None:
        """Read a znode; its children if they are wanted."""
        if not whole or self._depth == 0:
            self._keep(path, await self._client.get(path))
            return None
        znode, found = await asyncio.gather(
            self._client.get(path), self._client.children_with_stat(path)
        )
        self._keep(path, znode)
        return found

    def _keep(self, path: str, znode: Znode) -> None:
        old = self._znodes.get(path)
        self._znodes[path] = znode
        if old is None or old.stat.mzxid != znode.stat.mzxid:
            self._tell(Change(path, old, znode))

    def _drop(self, path: str) -> None:
        """It is gone, and with it what was below."""
        start = path.rstrip("/") + "/"
        for below in [other for other in self._znodes if other == path or other.startswith(start)]:
            self._tell(Change(below, self._znodes.pop(below), None))

    def _tell(self, change: Change) -> None:
        for queue in self._listeners:
            queue.put_nowait(change)


def _nothing() -> None:
    """There is nothing to undo."""
