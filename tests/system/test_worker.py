"""The thread for calls that block: order, errors, which thread does what, a clean end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coterie.system import transport
from coterie.system.worker import Worker


@pytest.fixture(params=[asyncio.new_event_loop, transport.new_event_loop])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made: asyncio.AbstractEventLoop = request.param()
    yield made
    made.close()


class _Done:
    """Gathers results, and lets a loop run until there are enough."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._all = loop.create_future()
        self._wanted = 0
        self.results: list[Any] = []

    def __call__(self, result: Any, error: BaseException | None) -> None:
        self.results.append(result if error is None else error)
        if len(self.results) == self._wanted:
            self._all.set_result(None)

    def wait(self, count: int) -> list[Any]:
        self._wanted = count
        self._loop.run_until_complete(asyncio.wait_for(self._all, 10))
        return self.results


def _returns(value: int) -> Callable[[], int]:
    return lambda: value


def test_results_come_in_the_order_of_the_jobs(loop: asyncio.AbstractEventLoop) -> None:
    worker = Worker(loop, "test")
    done = _Done(loop)
    for number in range(1000):
        worker.submit(_returns(number), done)
    assert done.wait(1000) == list(range(1000))
    worker.close()


def test_jobs_run_in_the_thread_and_results_come_in_the_loop(
    loop: asyncio.AbstractEventLoop,
) -> None:
    worker = Worker(loop, "its name")
    done = _Done(loop)
    threads: list[str] = []

    def heard(result: Any, error: BaseException | None) -> None:
        threads.append(threading.current_thread().name)
        done(result, error)

    worker.submit(lambda: threading.current_thread().name, heard)
    assert done.wait(1) == ["its name"]
    assert threads == [threading.current_thread().name]
    worker.close()


def test_one_job_at_a_time(loop: asyncio.AbstractEventLoop) -> None:
    worker = Worker(loop, "test")
    done = _Done(loop)
    busy = threading.Lock()

    def job() -> bool:
        with busy:
            return True

    free: list[bool] = []

    def alone() -> bool:
        free.append(busy.acquire(blocking=False))
        if free[-1]:
            busy.release()
        return free[-1]

    for _ in range(200):
        worker.submit(job, done)
        worker.submit(alone, done)
    assert all(done.wait(400))
    worker.close()


def test_what_a_job_raises_is_handed_over_and_the_next_one_runs(
    loop: asyncio.AbstractEventLoop,
) -> None:
    worker = Worker(loop, "test")
    done = _Done(loop)

    def fail() -> None:
        raise OSError(28, "no space left")

    def leave() -> None:
        raise SystemExit

    worker.submit(fail, done)
    worker.submit(leave, done)
    worker.submit(_returns(3), done)
    first, second, third = done.wait(3)
    assert isinstance(first, OSError)
    assert isinstance(second, SystemExit)
    assert third == 3
    worker.close()


def test_a_result_may_ask_for_the_next_job(loop: asyncio.AbstractEventLoop) -> None:
    """As the log does: a batch is synced, and what came meanwhile is the next batch."""
    worker = Worker(loop, "test")
    done = _Done(loop)

    def again(result: Any, error: BaseException | None) -> None:
        if result < 50:
            worker.submit(_returns(result + 1), again)
        done(result, error)

    worker.submit(_returns(0), again)
    assert done.wait(51) == list(range(51))
    worker.close()


def test_closing_finishes_what_is_there_and_leaves_nothing(
    loop: asyncio.AbstractEventLoop,
) -> None:
    before = set(os.listdir("/dev/fd")), threading.active_count()
    worker = Worker(loop, "test")
    done = _Done(loop)
    for number in range(100):
        worker.submit(_returns(number), done)
    worker.close()
    assert done.results == list(range(100))
    loop.run_until_complete(_nothing())
    assert len(os.listdir("/dev/fd")) == len(before[0])
    assert threading.active_count() == before[1]


async def _nothing() -> None:
    """One round of the loop."""
