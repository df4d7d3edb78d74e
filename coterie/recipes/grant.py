"""What a lock, a lease, a leadership or a claim gives: a token, and word when it may be lost.

The token is the zxid by which the holder's znode was made. It only grows from holder to holder,
so that a resource can refuse who comes with an older one (`Fence`): the one protection that holds
when a holder was stopped, or its clock, and does not know that it is one no more.

A grant is lost, and says so at once, when its znode is deleted or is another session's; when the
session ends; and when the session could have ended: by this client's own clock, if no server has
answered for as long as the session lives. The server's clock for it started no earlier, so nobody
else is given it before that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import GrantLostError, ZooKeeperError
from coterie.recipes.recipe import Recipe
from coterie.values import EventType, SessionState, Stat, WatchEvent


class Grant:
    """Something that is held as long as its ephemeral znode is there and its session's own."""

    def __init__(self, zk: Client, path: str, stat: Stat) -> None:
        self.path = path
        """The znode that stands for it."""
        self.token = stat.czxid
        """The fencing token: an integer that only grows from one holder to the next."""
        self.session_id = stat.ephemeral_owner
        self._zk = zk
        self._lost = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._undo = zk.on_state(self._follow)
        self._released = False
        self._guarding: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Whether it is, or may be, not held any more."""
        if not self._lost.is_set() and not self._released and self._is_expired():
            self._lose()
        return self._lost.is_set()

    def _is_expired(self) -> bool:
        zk = self._zk
        if zk.over or zk.session_id != self.session_id:
            return True
        expires_ms = zk.expires_ms
        return expires_ms is None or zk.now_ms() >= expires_ms

    def check(self) -> None:
        """Raises `GrantLostError` if it is, or may be, lost. Costs no round trip."""
        if self.lost:
            raise GrantLostError(self.path)

    async def confirm(self) -> None:
        """As `check`, but asks the ensemble, in the one order of all writes.

        Raises `GrantLostError`, or what a read raises.
        """
        self.check()
        stat = await self._zk.exists(self.path, linearizable=True)
        if stat is None or stat.ephemeral_owner != self.session_id or stat.czxid != self.token:
            self._lose()
        self.check()

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call back, in the event loop, when it is lost; at once if it is."""
        if self._lost.is_set():
            callback()
        else:
            self._callbacks.append(callback)

    def wait_lost(self, timeout_s: float | None = None) -> bool:
        """Block a plain thread until it is lost, or the time is over; whether it is lost."""
        return self._lost.wait(timeout_s)

    async def guard(self) -> None:
        """See to it that the znode is there and one's own, and hear when it is not any more.

        Raises `GrantLostError`.
        """
        stat = await self._zk.exists(self.path, watch=self._changed)
        if stat is None or stat.ephemeral_owner != self.session_id or stat.czxid != self.token:
            self._lose()
        self.check()

    def _changed(self, event: WatchEvent) -> None:
        if self._released or self._lost.is_set():
            return
        if event.type == EventType.NODE_DELETED:
            self._lose()
        else:
            self._guarding = asyncio.get_running_loop().create_task(self._guard_again())

    async def _guard_again(self) -> None:
        try:
            await self.guard()
        except ZooKeeperError:
            # Not to know is no harm: the session's own clock goes on.
            return

    def _follow(self, state: SessionState) -> None:
        if state in (SessionState.LOST, SessionState.CLOSED, SessionState.AUTH_FAILED):
            self._lose()

    def _lose(self) -> None:
        if self._released or self._lost.is_set():
            return
        self._lost.set()
        self._undo()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def released(self) -> None:
        """It was given back: nothing is told any more."""
        self._released = True
        self._undo()
        self._callbacks.clear()


G = TypeVar("G", bound=Grant)


class Holding(Recipe[G], Generic[G]):
    """A recipe that grants something for the time of a block.

    Under `async with` the block is cancelled the moment the grant is lost, and `GrantLostError` is
    raised where it ends. A plain `with` cannot be: there the block asks `grant.check()`.
    """

    def __init__(self, zk: Client | BlockingClient, path: str) -> None:
        super().__init__(zk, path)
        self._task: asyncio.Task[object] | None = None
        self._interrupted = False
        self._grant: G | None = None

    async def acquire(self, timeout_s: float | None = None) -> G:
        """Wait for the grant. Raises `TimeoutError`, with nothing left behind.

        To be overridden.
        """
        raise NotImplementedError

    async def release(self, grant: G) -> None:
        """Give it back. To be overridden."""
        raise NotImplementedError

    async def enter(self) -> G:
        if self._grant is not None:
            raise RuntimeError("this one is entered already: make another for each block")
        grant = self._grant = await self.acquire()
        if self.portal is None:
            self._task, self._interrupted = asyncio.current_task(), False
            grant.on_lost(self._interrupt)
        return grant

    def _interrupt(self) -> None:
        if self._task is not None:
            self._interrupted = True
            self._task.cancel()

    async def leave(self, error: BaseException | None) -> None:
        grant, self._grant = self._grant, None
        task, self._task = self._task, None
        assert grant is not None
        lost = grant.lost
        if self._interrupted and task is not None:
            task.uncancel()
        await self.release(grant)
        if lost and (error is None or isinstance(error, asyncio.CancelledError)):
            if isinstance(error, asyncio.CancelledError) and not self._interrupted:
                return
            raise GrantLostError(grant.path) from error


class Fence:
    """What a guarded resource keeps: the newest token that it has seen."""

    def __init__(self, token: int = 0) -> None:
        self.token = token

    def check(self, token: int) -> None:
        """Let this token in. Raises `GrantLostError` for one that is older than another was."""
        if token < self.token:
            raise GrantLostError(None, f"token {token:#x} is older than {self.token:#x}")
        self.token = token
