"""A sync by the kernel: it is told once, in the loop; what fails says why; nothing is left."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from coterie.system import kernel_sync, transport
from coterie.system.kernel_sync import KernelSync


@pytest.fixture(params=[asyncio.new_event_loop, transport.new_event_loop])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made: asyncio.AbstractEventLoop = request.param()
    yield made
    made.close()


def _opened(loop: asyncio.AbstractEventLoop) -> KernelSync:
    made = KernelSync.open(loop)
    if made is None:
        pytest.skip("the kernel has no sync of its own, or does not allow it")
    return made


def _sync(loop: asyncio.AbstractEventLoop, kernel: KernelSync, descriptor: int) -> OSError | None:
    told: asyncio.Future[OSError | None] = loop.create_future()
    kernel.submit(descriptor, told.set_result)
    assert not told.done()
    return loop.run_until_complete(asyncio.wait_for(told, 10))


def test_it_is_told_in_the_loop_time_after_time(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    kernel = _opened(loop)
    with (tmp_path / "log").open("wb", buffering=0) as file:
        for number in range(200):
            file.write(b"x" * number)
            assert _sync(loop, kernel, file.fileno()) is None
    kernel.close()


def test_the_end_of_one_may_begin_the_next(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """As the log does: what came meanwhile is the next batch."""
    kernel = _opened(loop)
    count = 0
    all_done: asyncio.Future[None] = loop.create_future()

    def again(error: OSError | None) -> None:
        nonlocal count
        assert error is None
        count += 1
        if count == 50:
            all_done.set_result(None)
        else:
            kernel.submit(file.fileno(), again)

    with (tmp_path / "log").open("wb") as file:
        kernel.submit(file.fileno(), again)
        loop.run_until_complete(asyncio.wait_for(all_done, 10))
    kernel.close()


def test_what_cannot_be_synced_says_why(loop: asyncio.AbstractEventLoop) -> None:
    kernel = _opened(loop)
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.submit(write_end, print)
    kernel.close()


def test_closing_waits_for_the_one_under_way_and_leaves_nothing(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    _opened(loop).close()
    before = os.listdir("/dev/fd")
    kernel = _opened(loop)
    told: list[OSError | None] = []
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"x" * 1_000_000)
        kernel.submit(file.fileno(), told.append)
        kernel.close()
    assert told == [None]
    loop.run_until_complete(asyncio.sleep(0))
    assert os.listdir("/dev/fd") == before


def test_a_result_below_zero_is_an_error(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a disk gives it that has lost what it was to write."""
    kernel = _opened(loop)

    class Failed:
        size = kernel_sync._EVENT.size

        def unpack(self, data: bytes) -> tuple[int, int, int, int]:
            first, second, result, third = real.unpack(data)
            assert (first, result, third) == (0, 0, 0)
            return first, second, -errno.EIO, third

    real = kernel_sync._EVENT
    monkeypatch.setattr(kernel_sync, "_EVENT", Failed())
    with (tmp_path / "log").open("wb") as file:
        error = _sync(loop, kernel, file.fileno())
    assert error is not None
    assert (error.errno, error.strerror) == (errno.EIO, "Input/output error")
    kernel.close()


def test_where_there_is_none_it_is_not_opened(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _opened(loop).close()
    refused = dict.fromkeys(kernel_sync._CALLS, kernel_sync._Calls(-1, -1, -1, -1))
    monkeypatch.setattr(kernel_sync, "_CALLS", refused)
    assert KernelSync.open(loop) is None
    monkeypatch.undo()
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    assert KernelSync.open(loop) is None
