"""An asyncio event loop on virtual time: coroutines live among the machines of a simulation.

Rules:
- a callback is an event of `Time` like any other: those of one moment happen in the order in
  which they were asked for, whether a loop asked or a machine;
- several loops may live in one `Time`, one for each process; each can be frozen, as a process is
  that is stopped or swapped out: time goes on, and what was due meanwhile happens when it thaws;
- the same seed comes to the same: tasks and futures hash by their numbers, for asyncio keeps them
  in sets, whose order would be that of addresses;
- what nobody handles is collected in `errors`.
What this does not do: sockets, files, threads, signals, subprocesses.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakValueDictionary

from coterie.testing.clock import Time, Timer

if TYPE_CHECKING:
    # Type checkers would not let a loop be made that has no sockets.
    _AbstractLoop: Any
else:
    _AbstractLoop = asyncio.AbstractEventLoop

_T = TypeVar("_T")
_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]
_TaskFactory = Callable[..., "asyncio.Future[Any]"]

_LATE_MS: Final = 1e-6
"""A timer is never early, also when its time is counted in another unit: who compares would ask
again for the same moment, and it would never be over."""


class HungError(RuntimeError):
    """What is waited for will never come, or not within the loop's patience."""


class VirtualFuture(asyncio.Future[_T]):
    """A future that hashes by its number."""

    def __init__(self, *, loop: VirtualLoop) -> None:
        self._number = loop.numbered()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class VirtualTask(asyncio.Task[_T]):
    """A task that hashes by its number, and bears it in its name."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
        *,
        loop: VirtualLoop,
        name: str | None = None,
        context: Context | None = None,
    ) -> None:
        self._number = loop.numbered()
        name = name or f"{loop.name}-{self._number}"
        super().__init__(coroutine, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self._number


class _Later(asyncio.TimerHandle):
    """A handle that knows its event, so that a cancelled one leaves nothing behind."""

    timer: Timer | None = None


class VirtualLoop(_AbstractLoop):  # type: ignore[misc]
    """The event loop of one process. `patience_s` bounds how long it waits for a future."""

    def __init__(
        self,
        time: Time,
        name: str = "task",
        step: Callable[[], object] | None = None,
        patience_s: float = 86_400.0,
    ) -> None:
        self.virtual_time = time
        self.name = name
        self.errors: list[dict[str, Any]] = []
        """The contexts of what went wrong and was not handled."""
        self._step = step or time.step
        self._patience_ms = patience_s * 1000.0
        self._numbers = 0
        self._held: list[asyncio.Handle] | None = None
        """What became due while the process stood still; None while it does not."""
        self._running = self._closed = self._stopping = False
        self._handler: _Handler | None = None
        self._factory: _TaskFactory | None = None
        self._generators: WeakValueDictionary[int, AsyncGenerator[Any, Any]] = (
            WeakValueDictionary()
        )

    def numbered(self) -> int:
        """A number that no other task or future of this loop has."""
        self._numbers += 1
        return self._numbers

    # Time and callbacks

    def time(self) -> float:
        return self.virtual_time.now_ms / 1000.0

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_open()
        handle = asyncio.Handle(callback, args, self, context)
        self.virtual_time.after(0, partial(self._due, handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_open()
        handle = _Later(when, callback, args, self, context)
        when_ms = max(when * 1000.0, self.virtual_time.now_ms) + _LATE_MS
        handle.timer = self.virtual_time.at(when_ms, partial(self._due, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, _Later) and handle.timer is not None:
            handle.timer.cancel()

    def _due(self, handle: asyncio.Handle) -> None:
        if self._held is not None:
            self._held.append(handle)
        elif not self._closed and not handle.cancelled():
            outer = asyncio._get_running_loop()
            hooks = sys.get_asyncgen_hooks()
            asyncio._set_running_loop(self)
            sys.set_asyncgen_hooks(self._begun, self._dropped)
            try:
                handle._run()
            finally:
                sys.set_asyncgen_hooks(*hooks)
                asyncio._set_running_loop(outer)

    # The process stands still

    @property
    def frozen(self) -> bool:
        return self._held is not None

    def freeze(self) -> None:
        """Nothing of this process happens until `thaw`."""
        if self._held is None:
            self._held = []

    def thaw(self) -> None:
        """Go on: everything that was due meanwhile happens now, in its order."""
        held, self._held = self._held or [], None
        for handle in held:
            self.virtual_time.after(0, partial(self._due, handle))

    # Futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        return VirtualFuture(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[_T]:
        self._check_open()
        if self._factory is None:
            return VirtualTask(coro, loop=self, name=name, context=context)
        task: asyncio.Task[_T] = self._factory(self, coro)  # type: ignore[assignment]
        return task

    def set_task_factory(self, factory: _TaskFactory | None) -> None:
        self._factory = factory

    def get_task_factory(self) -> _TaskFactory | None:
        return self._factory

    # Running

    def run_until_complete(self, future: Generator[Any, None, _T] | Awaitable[_T]) -> _T:
        """Let everything happen, here and in all machines, until there is a result."""
        task = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        self._run_while(lambda: not task.done())
        if not task.done():
            raise RuntimeError("the loop was stopped before there was a result")
        result: _T = task.result()
        return result

    def run_forever(self) -> None:
        """Let everything happen until `stop`."""
        self._run_while(lambda: True)

    def _run_while(self, waiting: Callable[[], bool]) -> None:
        self._check_open()
        if self._running or asyncio._get_running_loop() is not None:
            raise RuntimeError("an event loop is running already")
        until_ms = self.virtual_time.now_ms + self._patience_ms
        self._running = True
        try:
            while waiting() and not self._stopping:
                if self._step() is False:
                    raise HungError("nothing will ever happen any more")
                if self.virtual_time.now_ms > until_ms:
                    raise HungError("nobody waits so long")
        finally:
            self._running = self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def is_running(self) -> bool:
        return self._running or asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Nothing of this process happens any more."""
        if self._running:
            raise RuntimeError("the loop is running")
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the loop is closed")

    # Async generators

    def _begun(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators[self.numbered()] = generator

    def _dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        for _, generator in sorted(self._generators.items()):
            await generator.aclose()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """There are no threads."""

    # What goes wrong

    def get_exception_handler(self) -> _Handler | None:
        return self._handler

    def set_exception_handler(self, handler: _Handler | None) -> None:
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._handler is None:
            self.default_exception_handler(context)
        else:
            self._handler(self, context)

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """A loop that cannot be slow has nothing to say."""
