"""What a lock, a lease, a leadership or a claim gives: a token, and word when it may be lost.

The token is the zxid of the txn that made the holder's znode. It only grows from holder to holder,
so that a resource can refuse who comes with an older one (`Fence`): the one protection that holds
when a holder was stopped, or its clock, and does not know that it is one no more.

A grant is lost, and says so at once, when its znode is deleted or is another session's; when the
session ends; and when the session could have ended: by this client's own clock, if no server has
answered for as long as the session lives. The servers' clock for it started no earlier, so nobody
else is given it before that. One case escapes: a server that is cut off from its leader answers
its clients until it has noticed (its syncLimit). Who is cut off together with it may hold for that
much longer; then the token protects, and `confirm` tells.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import GrantLostError, ZooKeeperError
from coterie.recipes.recipe import Recipe, discard, discard_later, go_on
from coterie.values import EventType, SessionState, Stat, WatchEvent

_PAUSE_S: Final = 0.1


class Tenure:
    """Something that is held until it is given back or lost.

    `lost`, `check` and `wait_lost` may be used in any thread, all else in the event loop.
    """

    def __init__(self, path: str, token: int) -> None:
        self.path = path
        """The znode that stands for it."""
        self.token = token
        """The fencing token: an integer that only grows from one holder to the next."""
        self.returned = False
        """Whether it was given back before it was lost."""
        self._loop = asyncio.get_running_loop()
        self._lost = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    def _is_over(self) -> bool:
        """Whether it is not held any more, as far as is known here. To be overridden."""
        raise NotImplementedError

    @property
    def lost(self) -> bool:
        """Whether it is, or may be, not held any more; also when it was given back."""
        if not self._lost.is_set() and self._is_over():
            self._lose()
        return self._lost.is_set()

    def check(self) -> None:
        """Raises `GrantLostError` if it is, or may be, lost. Costs no round trip."""
        if self.lost:
            raise GrantLostError(self.path)

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back, in the event loop, when it is lost; at once if it is. Returns the undoing."""
        if self._lost.is_set():
            callback()
        else:
            self._callbacks.append(callback)

        def undo() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return undo

    def wait_lost(self, timeout_s: float | None = None) -> bool:
        """Block a plain thread until it is lost, or the time is over; whether it is lost."""
        return self._lost.wait(timeout_s)

    def _lose(self) -> None:
        if self._lost.is_set():
            return
        self._lost.set()
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._tell()
        else:
            with suppress(RuntimeError):  # The loop is closed: nobody waits there.
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        self._ended()
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                context = {"message": f"{callback!r} failed", "exception": error}
                self._loop.call_exception_handler(context)

    def released(self) -> None:
        """It was given back: nothing is told any more, and it is not held."""
        self.returned = self.returned or not self._lost.is_set()
        self._callbacks.clear()
        self._lost.set()
        self._ended()

    def _ended(self) -> None:
        """There is nothing to be followed any more. To be overridden."""


class Grant(Tenure):
    """What is held as long as its ephemeral znode is there and its session's own."""

    def __init__(self, zk: Client, path: str, stat: Stat) -> None:
        super().__init__(path, stat.czxid)
        self.stat = stat
        """Of the znode when it was made."""
        self.session_id = stat.ephemeral_owner
        self._zk = zk
        self._undo = zk.on_state(self._follow)
        self._guarding: asyncio.Task[None] | None = None

    def _is_over(self) -> bool:
        zk = self._zk
        if zk.over or zk.session_id != self.session_id:
            return True
        expires_ms = zk.expires_ms
        return expires_ms is None or zk.now_ms() >= expires_ms

    async def confirm(self) -> None:
        """As `check`, but asks the ensemble, in the one order of all writes.

        Raises `GrantLostError`, or what a read raises.
        """
        self.check()
        self._compare(await self._zk.exists(self.path, linearizable=True))

    async def guard(self) -> None:
        """See to it that the znode is there and one's own, and hear when it is not any more.

        Raises `GrantLostError`.
        """
        self._compare(await self._zk.exists(self.path, watch=self._changed))

    def watch(self) -> None:
        """As `guard`, in the background: for who has seen already that the znode is there."""
        if not self._lost.is_set():
            self._guarding = go_on(self._guard_again())

    def _compare(self, stat: Stat | None) -> None:
        if stat is None or stat.ephemeral_owner != self.session_id or stat.czxid != self.token:
            self._lose()
        self.check()

    async def give_back(self) -> None:
        """Let go, and wait until the znode is gone, or the session ends, and it goes with that."""
        lost = self.lost
        self.released()
        if lost:
            discard_later(self._zk, self.path, self.session_id)
        else:
            await discard(self._zk, self.path, self.session_id)

    async def abandon(self) -> None:
        """As `give_back`, for who cannot wait: one who is cancelled, or whose time is over.

        What this client asks for after this will find it gone.
        """
        self.released()
        discard_later(self._zk, self.path, self.session_id)
        await asyncio.sleep(0)

    def _changed(self, event: WatchEvent) -> None:
        if event.type == EventType.NODE_DELETED:
            self._lose()
        else:
            self.watch()

    async def _guard_again(self) -> None:
        """Not to know is no harm, for the session's own clock goes on; not to hear would be."""
        while not self._lost.is_set():
            try:
                await self.guard()
                return
            except GrantLostError:
                return
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)

    def _follow(self, state: SessionState) -> None:
        if state in (SessionState.LOST, SessionState.CLOSED, SessionState.AUTH_FAILED):
            self._lose()

    def _ended(self) -> None:
        self._undo()
        if self._guarding is not None and self._guarding is not asyncio.current_task():
            self._guarding.cancel()


class _Block:
    """The block of an `async with`: its task is cancelled when what it holds is lost."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._soon: asyncio.Handle | None = None
        self.cancelled = False

    def cancel(self) -> None:
        if asyncio.current_task() is self._task:
            # It has asked, and is told by the answer. If it goes on, it is cancelled where it
            # waits next; cancelled at once it could be over before it hears of that.
            self._soon = asyncio.get_running_loop().call_soon(self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        self._soon = None
        self.cancelled = self._task.cancel()

    def close(self) -> bool:
        """The block is over; whether its task is cancelled for another reason, too."""
        if self._soon is not None:
            self._soon.cancel()
        left = self._task.uncancel() if self.cancelled else self._task.cancelling()
        return left > self._before


G = TypeVar("G", bound=Tenure)


class Holding(Recipe[G], Generic[G]):
    """A recipe that grants something for the time of a block.

    Under `async with` the block is cancelled the moment the grant is lost, and `GrantLostError` is
    raised where it ends. A plain `with` cannot be: there the block asks `grant.check()`.
    """

    def __init__(self, zk: Client | BlockingClient, path: str) -> None:
        super().__init__(zk, path)
        self._entered = False
        self._grant: G | None = None
        self._block: _Block | None = None

    async def acquire(self, timeout_s: float | None = None) -> G:
        """Wait for the grant. Raises `TimeoutError`, with nothing left behind.

        To be overridden.
        """
        raise NotImplementedError

    async def release(self, grant: G) -> None:
        """Give it back. To be overridden."""
        raise NotImplementedError

    async def enter(self) -> G:
        if self._entered:
            raise RuntimeError("this one is entered already: make another for each block")
        self._entered = True
        try:
            grant = self._grant = await self.acquire()
        except BaseException:
            self._entered = False
            raise
        if self.portal is None:
            self._block = _Block()
            grant.on_lost(self._block.cancel)
        return grant

    async def leave(self, error: BaseException | None) -> None:
        grant, self._grant = self._grant, None
        block, self._block = self._block, None
        assert grant is not None
        lost = grant.lost and not grant.returned
        ours = block is not None and not block.close() and block.cancelled
        self._entered = False
        if not grant.returned:
            await self.release(grant)
        if lost and (error is None or (ours and isinstance(error, asyncio.CancelledError))):
            raise GrantLostError(grant.path) from error

    def __enter__(self) -> G:
        try:
            return super().__enter__()
        except Exception:
            raise
        except BaseException:
            # Ctrl-C may come when it was granted already.
            if self.portal is not None:
                leaving = self._abandon()
                try:
                    self.portal.start(leaving)
                except RuntimeError:
                    leaving.close()
            raise

    async def _abandon(self) -> None:
        grant, self._grant = self._grant, None
        self._entered = False
        if grant is not None:
            await self.release(grant)


class Fence:
    """What a guarded resource keeps: the newest token that it has seen."""

    def __init__(self, token: int = 0) -> None:
        self.token = token

    def check(self, token: int) -> None:
        """Let this token in. Raises `GrantLostError` for one that is older than another was."""
        if token < self.token:
            raise GrantLostError(None, f"token {token:#x} is older than {self.token:#x}")
        self.token = token
