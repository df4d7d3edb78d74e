"""A file of lines that begins anew when it is large: `name`, then `name.1`, `name.2`, older.

Rules: what `append` was given is in the file as a whole or it raised `OSError`, and then it can be
called again with the same lines. A line that a crash cut off is ended before the next one. Only
`close` and a new beginning wait for the disk. `newest_first` reads while others write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coterie.system.files import File, Files

_PIECE_BYTES: Final = 64 * 1024


class Lines:
    """The newest file, and those before it. `bytes_max` 0: it never begins anew."""

    def __init__(self, files: Files, path: str, bytes_max: int, kept: int) -> None:
        self._files = files
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._file: File | None = None
        self._size = 0

    def open(self) -> None:
        """Open the newest file, unless it is. Raises `OSError`."""
        if self._file is not None:
            return
        file = self._files.open(self._path)
        size = self._files.size(self._path)
        try:
            if size and self._files.read(self._path, size - 1, 1) != b"\n":
                file.write(size, b"\n")
                size += 1
        except OSError:
            file.close()
            raise
        self._file, self._size = file, size

    def append(self, lines: bytes) -> None:
        """Write these after all others. Raises `OSError`."""
        self.open()
        if 0 < self._bytes_max < self._size + len(lines) and self._size:
            self._begin_anew()
        assert self._file is not None
        self._file.write(self._size, lines)
        self._size += len(lines)

    def _begin_anew(self) -> None:
        self.close()
        directory, _, name = self._path.rpartition("/")
        there = set(self._files.names(directory or "."))
        # A number that is free stops the row: what is beyond it need not move.
        free = 1
        while free <= self._kept and f"{name}.{free}" in there:
            free += 1
        if free > self._kept:
            self._files.delete(f"{self._path}.{self._kept}")
            free = self._kept
        for number in range(free, 1, -1):
            self._files.rename(f"{self._path}.{number - 1}", f"{self._path}.{number}")
        self._files.rename(self._path, f"{self._path}.1")
        self.open()

    def close(self) -> None:
        """Make what is written durable. Raises `OSError`."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.sync()
            finally:
                file.close()


def newest_first(files: Files, path: str, kept: int, bytes_max: int) -> Iterator[bytes]:
    """The lines from the last one back, the older files' too, as far as `bytes_max` reaches.

    What has no end yet is no line. Where a file begins anew meanwhile this ends early: its name is
    another file's from then on. Raises `OSError` for a file that cannot be read.
    """
    for name in (path, *(f"{path}.{number}" for number in range(1, kept + 1))):
        if bytes_max <= 0:
            return
        try:
            size = files.size(name)
            yield from _of_one(files, name, size, bytes_max)
            if files.size(name) < size:
                return
        except FileNotFoundError:
            return
        bytes_max -= size


def _of_one(files: Files, name: str, size: int, bytes_max: int) -> Iterator[bytes]:
    """The lines of one file, which is read in pieces from its end, no more than are asked for."""
    at, lowest = size, max(0, size - bytes_max)
    rest: bytes | None = None  # The end of a line whose beginning is not read yet.
    while at > lowest:
        begin = max(lowest, at - _PIECE_BYTES)
        piece = files.read(name, begin, at - begin)
        if len(piece) < at - begin or files.size(name) < size:
            return
        at = begin
        *ends, last = piece.split(b"\n")
        if rest is not None:
            last += rest
        if ends:
            if rest is not None:
                yield last
            yield from reversed(ends[1:])
            rest = ends[0]
        elif rest is not None:
            rest = last
    if rest is not None and not lowest:
        yield rest
