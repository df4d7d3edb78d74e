"""How batches of txns are logged durably while the loop serves.

There are three ways:
- in the loop itself, a lone write on a quick disk: that saves two switches between threads;
- written in the loop and synced by the kernel, where that is set up: a thread would fight with the
  loop for the interpreter's lock. A file is not begun in this way, nor while a snapshot is
  written; and where a write has kept the loop, since the disk is busy, the next batches are
  written elsewhere;
- both in a thread.

Whoever begins a batch waits for its end before the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from coterie.storage.errors import StorageFailedError
from coterie.storage.store import Store
from coterie.system.clock import Clock
from coterie.system.worker import Worker
from coterie.wire.numbered import Txn

if TYPE_CHECKING:
    from coterie.system.kernel_sync import KernelSync

Done = Callable[[int, BaseException | None], None]
"""What is called with the zxid up to which the log is durable, or with an error."""

_QUICK_MS_MAX: Final = 1.0
_STALL_MS_MIN: Final = 10.0
_REST_BATCHES: Final = 256


class LogSync:
    """Logs one batch at a time. Made, used and closed in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, clock: Clock) -> None:
        self.ms = 0.0
        """How long a batch takes, of late. For one that the kernel syncs: until it is heard of."""
        self.count = 0
        self.ms_total = 0.0
        self.ms_max = 0.0
        self.kernel: KernelSync | None = None
        """What syncs without a thread, if that is to be."""
        self._store = store
        self._clock = clock
        self._rest = 0
        """So many batches are not written in the loop."""
        self._worker = Worker(loop, "coterie-log")

    @property
    def is_quick(self) -> bool:
        """Whether a lone write may be logged in the loop itself."""
        return self.ms < _QUICK_MS_MAX

    def log(self, batch: list[Txn]) -> int:
        """Log a batch in the loop; the zxid up to which the log is durable. Raises
        `StorageFailedError`."""
        started_ms = self._clock.monotonic_ms()
        zxid = self._store.append_and_sync(batch)
        self._took(self._clock.monotonic_ms() - started_ms)
        return zxid

    def begin(self, batch: list[Txn], done: Done, calm: bool) -> None:
        """Log a batch meanwhile; `calm` is that nothing else is written. What cannot be written
        at all may be `done` before this returns."""
        self._rest = max(self._rest - 1, 0)
        kernel, store = self.kernel, self._store
        descriptor = store.log_descriptor
        if kernel is None or descriptor is None or self._rest or not calm:
            self._in_thread(lambda: store.append_and_sync(batch), done)
            return
        started_ms = self._clock.monotonic_ms()
        try:
            store.append(batch)
        except StorageFailedError as error:
            done(0, error)
            return
        if self._clock.monotonic_ms() - started_ms > _STALL_MS_MIN:
            self._rest = _REST_BATCHES
        try:
            kernel.submit(descriptor, lambda error: self._synced(error, started_ms, done))
        except OSError:
            self._in_thread(store.sync, done)

    def retry(self, done: Done) -> None:
        """After a failure: log again what is not durable."""
        self._in_thread(self._store.retry, done)

    def _in_thread(self, job: Callable[[], int], done: Done) -> None:
        def timed() -> tuple[int, float]:
            started_ms = self._clock.monotonic_ms()
            zxid = job()
            return zxid, self._clock.monotonic_ms() - started_ms

        def ended(result: tuple[int, float] | None, error: BaseException | None) -> None:
            if result is None:
                done(0, error)
            else:
                self._took(result[1])
                done(result[0], None)

        self._worker.submit(timed, ended)

    def _synced(self, error: OSError | None, started_ms: float, done: Done) -> None:
        try:
            zxid = self._store.synced(error)
        except StorageFailedError as failure:
            done(0, failure)
        else:
            self._took(self._clock.monotonic_ms() - started_ms)
            done(zxid, None)

    def _took(self, ms: float) -> None:
        self.ms += (ms - self.ms) / 8
        self.count += 1
        self.ms_total += ms
        self.ms_max = max(self.ms_max, ms)

    def close(self) -> None:
        """Finish the batch that is under way, and end the thread."""
        if self.kernel is not None:
            self.kernel.close()
        self._worker.close()
