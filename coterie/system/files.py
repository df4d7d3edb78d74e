"""SEAM 2: the file calls that a data directory needs, as a Protocol, and the real ones.

Rules:
- whatever storage does with files goes through here, so that `testing/files.py` can stand in for
  the disk; the two pass the same contract tests;
- a call does the whole of what it says or raises `OSError` with the path in `filename`;
- what was written is durable after `File.sync`, the name of a file after `Files.sync_directory`,
  and nothing before;
- paths are strings with `/` between the parts.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

_SPARE: Final = 4
"""Blocks are reserved only while that many times their size is free."""


class File(Protocol):
    """A file that is open for writing."""

    @property
    def path(self) -> str: ...

    @property
    def descriptor(self) -> int | None:
        """By which the system knows it; None where no system does."""

    def write(self, offset: int, data: bytes) -> None:
        """Put all of `data` at `offset`; after a failure any part of it may be there."""

    def reserve(self, size: int) -> bool:
        """Make the file at least `size` long, so that later writes find their blocks ready.

        False, and nothing changed, where the disk has little room left or cannot do it: it only
        saves time, so it must not fail a write that fits.
        """

    def truncate(self, size: int) -> None:
        """Cut the file to `size`, or lengthen it with zeros."""

    def sync(self) -> None:
        """Wait until the contents and the size are durable."""

    def close(self) -> None: ...


class Lock(Protocol):
    """A directory that is held; nobody else gets it until `release`."""

    def release(self) -> None: ...


class Files(Protocol):
    """The files of one machine."""

    def open(self, path: str) -> File:
        """Open for writing; a file that is not there is made, empty."""

    def read(self, path: str, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`: fewer only where the file ends."""

    def size(self, path: str) -> int: ...

    def names(self, directory: str) -> list[str]:
        """What is in a directory, sorted; nothing if there is no such directory."""

    def rename(self, path: str, to: str) -> None:
        """Give a file another name in one step, in place of a file that has it."""

    def delete(self, path: str) -> None:
        """Delete a file; one that is not there is no error."""

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it, durably, where they are missing."""

    def sync_directory(self, path: str) -> None:
        """Wait until the names in a directory are durable."""

    def lock(self, directory: str) -> Lock:
        """Hold a directory, or raise `BlockingIOError` when somebody else does."""


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Calls on descriptors fail without a path; their errors get it here."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise


class OSFile:
    """A file of the operating system, by its descriptor."""

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    @property
    def path(self) -> str:
        return self._path

    @property
    def descriptor(self) -> int:
        return self._fd

    def write(self, offset: int, data: bytes) -> None:
        with _named(self._path):
            done = os.pwrite(self._fd, data, offset)
            # A signal or a disk that is nearly full can make a write short.
            while done < len(data):
                done += os.pwrite(self._fd, memoryview(data)[done:], offset + done)

    def reserve(self, size: int) -> bool:
        with _named(self._path):
            old_size = os.fstat(self._fd).st_size
            disk = os.fstatvfs(self._fd)
        if size <= old_size:
            return True
        if (size - old_size) * _SPARE > disk.f_bavail * disk.f_frsize:
            return False
        try:
            _allocate(self._fd, old_size, size)
        except OSError:
            # Some file systems keep what they had got hold of before there was no more.
            self.truncate(old_size)
            return False
        return True

    def truncate(self, size: int) -> None:
        with _named(self._path):
            os.ftruncate(self._fd, size)

    def sync(self) -> None:
        with _named(self._path):
            _sync_data(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with _named(self._path):
                os.close(fd)


_sync_data = getattr(os, "fdatasync", os.fsync)
"""fdatasync also writes the size when that changed; macOS has only fsync."""


def _allocate(fd: int, old_size: int, size: int) -> None:
    """Lengthen a file by blocks of its own or, where that is not to be had, by a hole."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, old_size, size - old_size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    os.ftruncate(fd, size)


class OSLock:
    """A lock on a directory itself: no file of ours lies about, and it ends with the process."""

    __slots__ = ("_fd",)

    def __init__(self, directory: str) -> None:
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with _named(directory):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise

    def release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def changed_ms(path: str) -> int:
    """When a file was last written, for people: milliseconds since 1970. Raises `OSError`."""
    return os.stat(path).st_mtime_ns // 1_000_000


class OSFiles:
    """The files of the machine that we run on."""

    def open(self, path: str) -> OSFile:
        return OSFile(path)

    def read(self, path: str, offset: int, count: int) -> bytes:
        with _named(path), open(path, "rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(count)
            if len(data) == count:
                return data
            parts = [data]
            while parts[-1]:
                count -= len(parts[-1])
                parts.append(file.read(count))
            return b"".join(parts)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def names(self, directory: str) -> list[str]:
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def rename(self, path: str, to: str) -> None:
        os.replace(path, to)

    def delete(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return

    def make_directory(self, path: str) -> None:
        if os.path.isdir(path):
            return
        above = os.path.dirname(path) or "."
        self.make_directory(above)
        os.mkdir(path)
        self.sync_directory(above)

    def sync_directory(self, path: str) -> None:
        with _named(path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def lock(self, directory: str) -> OSLock:
        return OSLock(directory)
