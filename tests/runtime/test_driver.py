"""A real server on a disk that is full or fails: it stops writes, not reads, and not for ever; and
thousands who have to be told at once, who keep nobody waiting.

A full disk is a file that may not grow, or a small file system of its own (root only); a failing
sync is put between the server and the C library.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from coterie.core.connection import Connection
from coterie.core.effects import Effects
from coterie.errors import ServerFailureError
from coterie.runtime import driver as drivers
from coterie.runtime.driver import Driver
from coterie.system.clock import SystemClock
from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.runtime.client import Client, word
from tests.runtime.server import Server, until

_STOPPED = "no write is acknowledged"
_GOES_ON = "the log can be written again"
_FAILING_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_by(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (access(getenv("SYNC_FAILS"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }

long syscall(long number, ...)
{
    long (*real)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long given[6], result;
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        given[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_io_setup && getenv("NO_KERNEL_SYNC")) {
        errno = ENOSYS;
        return -1;
    }
    result = real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    if (number == SYS_io_getevents && result > 0 && access(getenv("SYNC_FAILS"), F_OK) == 0)
        ((struct io_event *)given[3])->res = -EIO;
    return result;
}
"""
_WAYS: list[dict[str, str]] = [{}, {"NO_KERNEL_SYNC": "yes"}]
"""Batches are synced by the kernel where it can do that, and in a thread."""


def _create(client: Client, path: bytes, data: bytes) -> int:
    """Ask for a znode, without waiting."""
    return client.send(Op.CREATE, requests.CreateRequest(path, data, OPEN_ACL, 0))


def _only_reads(server: Server, client: Client) -> None:
    """The server has said that its log cannot be written: what it does all the same."""
    until(lambda: server.said(_STOPPED))
    assert client.get(b"/before") == b"before"
    assert client.create(b"/refused")[2] == ServerFailureError.code
    assert word(server.port, b"ruok") == b"imok"
    with pytest.raises(ConnectionResetError):
        Client(server.port)


def _everything_is_there(server: Server, expected: dict[bytes, bytes]) -> None:
    """After kill -9."""
    server.kill()
    server.start()
    with Client(server.port) as client:
        for path, data in expected.items():
            assert client.get(path) == data
        assert client.get(b"/refused") is None
    assert b"zk_digest_mismatches_count\t0\n" in word(server.port, b"mntr")


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    with Server(tmp_path, preAllocSize=0) as server:
        with Client(server.port) as client, Client(server.port) as other:
            assert client.create(b"/before", b"before")[2] == 0
            size = max(path.stat().st_size for path in tmp_path.rglob("log.*"))
            unlimited = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 100, unlimited[1]))
            stuck = _create(client, b"/during", b"y" * 1000)
            _only_reads(server, other)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
            assert client.receive()[::2][:2] == (stuck, 0)
            assert other.create(b"/after", b"after")[2] == 0
        _everything_is_there(server, {b"/during": b"y" * 1000, b"/after": b"after"})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    data = {b"/before": b"before"}
    with Server(tmp_path / "server", dataDir=small_disk, snapCount=20) as server:
        with Client(server.port) as client, Client(server.port) as other:
            assert client.create(b"/before", b"before")[2] == 0
            asked = {_create(client, b"/%d" % i, b"%d" % i * 5_000): i for i in range(400)}
            _only_reads(server, other)
            _grow(small_disk)
            for _ in asked:
                xid, _, error, _ = client.receive()
                assert error in (0, ServerFailureError.code)
                if error == 0:
                    data[b"/%d" % asked[xid]] = b"%d" % asked[xid] * 5_000
            assert len(data) > 100
            assert other.create(b"/after", b"after")[2] == 0
        _everything_is_there(server, {**data, b"/after": b"after"})


def _grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


def _snapshots(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("version-2/snapshot.*")}


def test_no_room_for_snapshots(small_disk: Path, tmp_path: Path) -> None:
    """The log is elsewhere: writes go on, and a snapshot is taken when there is room again."""
    log = tmp_path / "log"
    with Server(tmp_path / "server", dataDir=small_disk, dataLogDir=log, snapCount=20) as server:
        with Client(server.port) as client:
            data = {b"/%d" % number: bytes([number]) * 50_000 for number in range(60)}
            assert all(client.create(path, value)[2] == 0 for path, value in data.items())
            until(lambda: server.said("no snapshot was taken"))
            before = _snapshots(small_disk)
            # What failed takes up no room.
            until(lambda: not list(small_disk.glob("version-2/unfinished*")))
            _grow(small_disk)
            for number in range(60):
                assert client.set(b"/0", b"%d" % number)[2] == 0
            until(lambda: bool(_snapshots(small_disk) - before))
        _everything_is_there(server, {**data, b"/0": b"59"})


@pytest.fixture(scope="module")
def failing_sync(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets each sync of the process fail while the file $SYNC_FAILS exists."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    source = tmp_path_factory.mktemp("sync") / "sync.c"
    source.write_text(_FAILING_SYNC)
    library = source.with_suffix(".so")
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("way", _WAYS)
def test_a_failing_sync(failing_sync: Path, tmp_path: Path, way: dict[str, str]) -> None:
    fails = tmp_path / "fails"
    environment = {"LD_PRELOAD": str(failing_sync), "SYNC_FAILS": str(fails), **way}
    with Server(tmp_path, environment) as server:
        with Client(server.port) as client, Client(server.port) as other:
            assert client.create(b"/before", b"before")[2] == 0
            fails.touch()
            asked = [_create(client, b"/%d" % number, b"during") for number in range(20)]
            _only_reads(server, other)
            fails.unlink()
            until(lambda: server.said(_GOES_ON))
            data = {b"/before": b"before"}
            for number, xid in enumerate(asked):
                reply = client.receive()
                assert reply[0] == xid
                assert reply[2] in (0, ServerFailureError.code)
                if reply[2] == 0:
                    data[b"/%d" % number] = b"during"
            assert len(data) > 1
            assert other.create(b"/after", b"after")[2] == 0
        _everything_is_there(server, {**data, b"/after": b"after"})


def test_stops_while_the_disk_fails_and_does_not_start_on_it(
    failing_sync: Path, tmp_path: Path
) -> None:
    fails = tmp_path / "fails"
    environment = {"LD_PRELOAD": str(failing_sync), "SYNC_FAILS": str(fails)}
    with Server(tmp_path, environment) as server:
        with Client(server.port) as client:
            assert client.create(b"/before", b"before")[2] == 0
            fails.touch()
            _create(client, b"/during", b"during")
            until(lambda: server.said(_STOPPED))
            assert server.stop() == 0
        with pytest.raises(AssertionError, match=r"coterie serve: .*Input/output error"):
            server.start()
        fails.unlink()
        server.start()
        with Client(server.port) as client:
            assert client.get(b"/before") == b"before"


class _Telling:
    """A machine that once wants so many to be sent to."""

    def __init__(self, count: int) -> None:
        self.told = [Connection(number, "127.0.0.1", 1, 1024, 0.0, 0) for number in range(count)]
        self.effects = Effects()
        self.effects.outputs = list(self.told)

    def tick(self, now_ms: float, wall_ms: int) -> None:
        pass

    def next_due_ms(self) -> float:
        return float("inf")

    def take(self) -> Effects:
        effects, self.effects = self.effects, Effects()
        return effects


class _Protocol:
    def __init__(self, connection: Connection, sent: list[Connection]) -> None:
        self._connection = connection
        self._sent = sent

    def send(self) -> None:
        self._sent.append(self._connection)


async def test_thousands_are_sent_to_in_many_turns_and_who_wrote_in_the_first() -> None:
    most, machine, sent = drivers._SENDS_MAX, _Telling(5_000), list[Connection]()
    loop = asyncio.get_running_loop()
    driver = Driver(cast(Any, machine), cast(Any, None), SystemClock(), loop)
    try:
        driver.protocols = {each: cast(Any, _Protocol(each, sent)) for each in machine.told}
        del driver.protocols[machine.told[1_000]]
        driver.begin()
        sizes: list[int] = []
        while len(sent) < 4_999 and len(sizes) < 5_000:
            before = len(sent)
            await asyncio.sleep(0)
            sizes.append(len(sent) - before)
        assert machine.told[-1] in sent[:most]
        assert max(sizes) <= 2 * most
        assert len(set(sent)) == len(sent) == 4_999
    finally:
        driver.abandon()


async def test_who_is_told_again_and_again_waits_once() -> None:
    machine, sent = _Telling(500), list[Connection]()
    driver = Driver(cast(Any, machine), cast(Any, None), SystemClock(), asyncio.get_running_loop())
    try:
        driver.protocols = {each: cast(Any, _Protocol(each, sent)) for each in machine.told}
        for _ in range(50):
            machine.effects.outputs = list(machine.told)
            driver.begin()
            await asyncio.sleep(0)
            assert len(driver._unsent) <= len(machine.told)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not driver._unsent
        assert set(sent) == set(machine.told)
    finally:
        driver.abandon()


async def test_who_stops_has_sent_to_all() -> None:
    machine, sent = _Telling(500), list[Connection]()
    loop = asyncio.get_running_loop()
    driver = Driver(cast(Any, machine), cast(Any, None), SystemClock(), loop)
    driver.protocols = {each: cast(Any, _Protocol(each, sent)) for each in machine.told}
    await driver.stop()
    assert set(sent) == set(machine.told)
