"""The files of a machine as they would be: what is changed is kept in memory, the disk only read.

A server's recovery, or a repair, can be tried on it: it comes to what it would come to on the
disk, and nothing has happened. It holds nobody out, and says how far it has read.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from coterie.system.files import Files

Told = Callable[[str, int, int], None]
"""Called while a file is read: its path, up to which byte, and how many it has."""


class _Contents:
    """A file that was changed: the beginning of one on the disk, and what stands behind that."""

    __slots__ = ("base", "base_size", "rest")

    def __init__(self, base: str, base_size: int) -> None:
        self.base = base
        self.base_size = base_size
        self.rest = bytearray()

    @property
    def size(self) -> int:
        return self.base_size + len(self.rest)


class OverlayFile:
    """A file of an overlay that is open for writing."""

    __slots__ = ("_contents", "_files", "_path")

    def __init__(self, files: Files, path: str, contents: _Contents) -> None:
        self._files = files
        self._path = path
        self._contents = contents

    @property
    def path(self) -> str:
        return self._path

    @property
    def descriptor(self) -> None:
        return None

    def write(self, offset: int, data: bytes) -> None:
        contents = self._contents
        if offset < contents.base_size:
            count = contents.base_size - offset
            contents.rest[:0] = self._files.read(contents.base, offset, count)
            contents.base_size = offset
        start = offset - contents.base_size
        if start > len(contents.rest):
            contents.rest.extend(bytes(start - len(contents.rest)))
        contents.rest[start : start + len(data)] = data

    def reserve(self, size: int) -> bool:
        return False

    def truncate(self, size: int) -> None:
        contents = self._contents
        if size < contents.base_size:
            contents.base_size = size
            contents.rest.clear()
        elif size < contents.size:
            del contents.rest[size - contents.base_size :]
        else:
            contents.rest.extend(bytes(size - contents.size))

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class OverlayLock:
    """Nobody is held out."""

    def release(self) -> None:
        pass


class Overlay:
    """Files over other files."""

    def __init__(self, files: Files, told: Told | None = None) -> None:
        self._files = files
        self._told = told
        self._now: dict[str, _Contents | None] = {}
        """What is not as on the disk; None for what has gone."""
        self._made: set[str] = set()

    def _contents(self, path: str) -> _Contents | None:
        """What a changed file holds, None for one that is as it was."""
        if path not in self._now:
            return None
        contents = self._now[path]
        if contents is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return contents

    def open(self, path: str) -> OverlayFile:
        contents = self._now.get(path)
        if contents is None:
            above, _, name = path.rpartition("/")
            there = path not in self._now and name in self._files.names(above)
            contents = _Contents(path, self._files.size(path) if there else 0)
            self._now[path] = contents
        return OverlayFile(self._files, path, contents)

    def read(self, path: str, offset: int, count: int) -> bytes:
        contents = self._contents(path)
        if contents is None:
            data = self._files.read(path, offset, count)
        else:
            held = max(contents.base_size - offset, 0)
            data = self._files.read(contents.base, offset, min(count, held)) if held else b""
            start = max(offset - contents.base_size, 0)
            data += contents.rest[start : start + count - len(data)]
        if self._told is not None and count >= _TOLD_BYTES_MIN:
            self._told(path, offset + len(data), self.size(path))
        return data

    def size(self, path: str) -> int:
        contents = self._contents(path)
        return self._files.size(path) if contents is None else contents.size

    def names(self, directory: str) -> list[str]:
        found = set(self._files.names(directory))
        for path, contents in self._now.items():
            above, _, name = path.rpartition("/")
            if above == directory:
                (found.discard if contents is None else found.add)(name)
        found.update(
            path.rpartition("/")[2] for path in self._made if path.rpartition("/")[0] == directory
        )
        return sorted(found)

    def rename(self, path: str, to: str) -> None:
        contents = self._contents(path)
        if contents is None:
            contents = _Contents(path, self._files.size(path))
        self._now[to] = contents
        self._now[path] = None

    def delete(self, path: str) -> None:
        self._now[path] = None

    def make_directory(self, path: str) -> None:
        self._made.add(path)

    def sync_directory(self, path: str) -> None:
        pass

    def lock(self, directory: str) -> OverlayLock:
        return OverlayLock()


_TOLD_BYTES_MIN = 4096
