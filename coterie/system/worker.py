"""One thread for calls that block, one at a time; results come back to the loop.

Waking a thread through a pipe costs less than `run_in_executor` (60 against 130 us a call,
measured), and the log is called for every batch of writes.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Done = Callable[[Any, BaseException | None], None]


class Worker:
    """Runs jobs in order in a thread of its own. Made, used and closed in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._jobs: deque[tuple[Callable[[], Any], Done]] = deque()
        self._results: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._job_read, self._job_write = os.pipe()
        self._done_read, self._done_write = os.pipe()
        os.set_blocking(self._done_read, False)
        loop.add_reader(self._done_read, self._deliver)
        self._runner = threading.Thread(target=self._run, name=name, daemon=True)
        self._runner.start()

    def submit(self, job: Callable[[], Any], done: Done) -> None:
        """Run `job` in the thread, then `done(result, error)` in the loop."""
        self._jobs.append((job, done))
        os.write(self._job_write, b"j")

    def _run(self) -> None:
        while True:
            for wake in os.read(self._job_read, 64):
                if wake == ord("q"):
                    return
                job, done = self._jobs.popleft()
                try:
                    self._results.append((done, job(), None))
                except BaseException as error:
                    self._results.append((done, None, error))
                os.write(self._done_write, b"d")

    def _deliver(self) -> None:
        try:
            os.read(self._done_read, 64)
        except BlockingIOError:
            return
        while self._results:
            done, result, error = self._results.popleft()
            done(result, error)

    def close(self) -> None:
        """Finish the jobs that are there, deliver their results, end the thread."""
        os.write(self._job_write, b"q")
        self._runner.join()
        self._deliver()
        self._loop.remove_reader(self._done_read)
        for fd in (self._job_read, self._job_write, self._done_read, self._done_write):
            os.close(fd)
