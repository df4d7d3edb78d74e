"""How batches are logged: by the kernel where that can be, in a thread where not; one end each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from coterie.config import Config, embedded_default
from coterie.runtime import log_sync
from coterie.runtime.log_sync import LogSync
from coterie.storage.errors import StorageFailedError
from coterie.storage.store import Store
from coterie.system.clock import SystemClock
from coterie.system.files import OSFiles
from coterie.system.kernel_sync import KernelSync
from coterie.wire.numbered import Txn
from tests.storage.author import Author


class _Kernel:
    """Syncs when it is told to."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.refuses = False
        self.closed = False
        self._done: Any = None

    def submit(self, descriptor: int, done: Any) -> None:
        if self.refuses:
            raise OSError(11, "try again")
        self.asked.append(descriptor)
        self._done = done

    def end(self, error: OSError | None = None) -> None:
        done, self._done = self._done, None
        done(error)

    def close(self) -> None:
        self.closed = True


class _Clock(SystemClock):
    """Lets time pass while it is read."""

    step_ms = 0.0
    passed_ms = 0.0

    def monotonic_ms(self) -> float:
        self.passed_ms += self.step_ms
        return super().monotonic_ms() + self.passed_ms


class _Place:
    """A store on a disk, a loop, and what was logged."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config) -> None:
        self.loop = loop
        self.clock = _Clock()
        self.config = config
        self.store = Store(OSFiles(), config, Random(1))
        self.store.recover()
        self.author = Author()
        self.kernel = _Kernel()
        self.ends: list[tuple[int, BaseException | None]] = []
        self.threads: list[str] = []
        self.log = LogSync(loop, self.store, self.clock)
        self.log.kernel = self.kernel  # type: ignore[assignment]
        append = self.store.append

        def noted(txns: list[Txn]) -> None:
            self.threads.append(threading.current_thread().name)
            append(txns)

        self.store.append = noted  # type: ignore[method-assign]

    def begin(self, calm: bool = True) -> int:
        """Log two txns; the zxid of the second."""
        batch = self.author.some(2)
        self.log.begin(batch, lambda zxid, error: self.ends.append((zxid, error)), calm)
        return batch[-1].zxid

    def await_end(self) -> tuple[int, BaseException | None]:
        for _ in range(10_000):
            if self.ends:
                return self.ends.pop()
            self.loop.run_until_complete(asyncio.sleep(0.001))
        raise TimeoutError

    def logged(self) -> int:
        """The last txn that a server finds here after this one."""
        self.store.close()
        return Store(OSFiles(), self.config, Random(1)).recover().zxid


pytestmark = pytest.mark.interpreted


@pytest.fixture
def place(tmp_path: Path) -> Iterator[_Place]:
    loop = asyncio.new_event_loop()
    made = _Place(loop, embedded_default(str(tmp_path)))
    yield made
    made.log.close()
    assert made.kernel.closed
    made.store.close()
    loop.close()


def test_a_file_is_begun_in_the_thread_and_then_the_kernel_syncs(place: _Place) -> None:
    first = place.begin()
    assert place.await_end() == (first, None)
    assert place.kernel.asked == []
    second = place.begin()
    assert place.kernel.asked == [place.store.log_descriptor]
    assert place.ends == []
    place.kernel.end()
    assert place.ends == [(second, None)]
    assert place.threads == ["coterie-log", threading.current_thread().name]
    assert place.log.count == 2
    assert place.log.ms_max >= place.log.ms_total / 2 > 0
    assert place.logged() == second


def test_not_while_a_snapshot_is_written(place: _Place) -> None:
    for _ in range(3):
        zxid = place.begin(calm=False)
        assert place.await_end() == (zxid, None)
    assert place.kernel.asked == []


def test_what_the_kernel_does_not_take_is_synced_in_the_thread(place: _Place) -> None:
    place.begin()
    place.await_end()
    place.kernel.refuses = True
    zxid = place.begin()
    assert place.await_end() == (zxid, None)
    assert place.logged() == zxid


def test_a_sync_that_failed_is_told_and_tried_again_whole(place: _Place) -> None:
    before = place.begin()
    place.await_end()
    during = place.begin()
    place.kernel.end(OSError(5, "Input/output error"))
    zxid, error = place.ends.pop()
    assert zxid == 0
    assert isinstance(error, StorageFailedError)
    assert "Input/output error" in str(error)
    assert "log." in str(error)
    assert place.store.logged_zxid == before
    # Until it has been tried again, nothing is synced behind it.
    assert place.store.log_descriptor is None
    place.log.retry(lambda zxid, error: place.ends.append((zxid, error)))
    assert place.await_end() == (during, None)
    assert place.log.count == 2
    assert place.logged() == during


def test_what_cannot_be_written_is_told_at_once(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.begin()
    place.await_end()

    def full(txns: list[Txn]) -> None:
        raise StorageFailedError("no space")

    monkeypatch.setattr(place.store, "append", full)
    place.begin()
    ((zxid, error),) = place.ends
    assert (zxid, str(error)) == (0, "no space")
    assert place.kernel.asked == []


def test_a_write_that_kept_the_loop_sends_the_next_ones_elsewhere(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sync, "_REST_BATCHES", 3)
    place.begin()
    place.await_end()
    place.clock.step_ms = log_sync._STALL_MS_MIN + 1
    place.begin()
    place.kernel.end()
    place.clock.step_ms = 0
    assert len(place.kernel.asked) == 1
    place.ends.clear()
    for _ in range(2):
        place.begin()
        place.await_end()
    assert len(place.kernel.asked) == 1
    place.begin()
    place.kernel.end()
    assert len(place.kernel.asked) == 2


def test_a_lone_write_is_logged_at_once_while_that_is_quick(place: _Place) -> None:
    assert place.log.is_quick
    batch = place.author.some(1)
    assert place.log.log(batch) == batch[-1].zxid
    place.clock.step_ms = 100
    place.log.log(place.author.some(1))
    assert not place.log.is_quick
    assert place.log.count == 2


def test_the_kernel_itself(tmp_path: Path) -> None:
    """All of it, without anything in its place."""
    loop = asyncio.new_event_loop()
    store = Store(OSFiles(), embedded_default(str(tmp_path)), Random(1))
    store.recover()
    log, author = LogSync(loop, store, SystemClock()), Author()
    log.kernel = KernelSync.open(loop)
    if log.kernel is None:
        pytest.skip("the kernel has no sync of its own, or does not allow it")
    zxids: list[int] = []

    async def run() -> None:
        for _ in range(50):
            ended = loop.create_future()
            log.begin(author.some(3), lambda *end, ended=ended: ended.set_result(end), True)
            zxid, error = await asyncio.wait_for(ended, 10)
            assert error is None
            zxids.append(zxid)

    loop.run_until_complete(run())
    log.close()
    store.close()
    loop.close()
    assert zxids == list(range(3, 151, 3))
    assert Store(OSFiles(), embedded_default(str(tmp_path)), Random(1)).recover().zxid == 150
