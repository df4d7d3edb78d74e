"""The thread behind a blocking client: an event loop of its own, and a way in from other threads.

Rules: calls may come from any thread but the loop's own, where one would wait for itself: that is
an error, not a deadlock. Callbacks of users run in another thread, one after the other, so they
may use the client.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from coterie.errors import ForkedError
from coterie.system import process
from coterie.system.transport import new_event_loop

T = TypeVar("T")


class Portal:
    """An event loop in a daemon thread; `close` ends both."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self._forks = process.forks()
        self._thread = threading.Thread(target=self._run, name="coterie client", daemon=True)
        self._callbacks: ThreadPoolExecutor | None = None
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for what it comes to.

        Ctrl-C ends the wait and cancels the coroutine. Raises what it raises; `RuntimeError` in
        the loop's own thread, `ForkedError` in a forked child.
        """
        try:
            self._check()
        except RuntimeError:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """As `call`, without waiting."""
        self._check()
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def _check(self) -> None:
        if process.forks() != self._forks:
            raise ForkedError(ForkedError.__doc__)
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking call in the client's own thread would never end")
        if not self._thread.is_alive():
            raise RuntimeError("the client is closed")

    def outside(self, callback: Callable[..., object]) -> Callable[..., None]:
        """A callback for the loop that runs the given one in the thread of callbacks."""

        def hand_over(*facts: object) -> None:
            if self._callbacks is None:
                self._callbacks = ThreadPoolExecutor(1, "coterie callbacks")
            self._callbacks.submit(self._guarded, callback, facts)

        return hand_over

    def _guarded(self, callback: Callable[..., object], facts: tuple[object, ...]) -> None:
        try:
            callback(*facts)
        except Exception as error:
            context = {"message": f"{callback!r} failed", "exception": error}
            self.loop.call_soon_threadsafe(self.loop.call_exception_handler, context)

    def close(self) -> None:
        """End the loop and its thread. To close twice does nothing."""
        if not self._thread.is_alive():
            return
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=False, cancel_futures=True)
        asyncio.run_coroutine_threadsafe(_finish(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _finish() -> None:
    """Cancel what still runs, so that nothing is left pending."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
