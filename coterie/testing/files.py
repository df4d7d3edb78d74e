"""Fake files: a disk that loses, tears, flips, fails and is full, as disks are and do.

It stands in for `system/files.py` and passes the same contract tests. Rules:
- a write is shown at once and durable after `File.sync`; a name is durable after
  `Files.sync_directory`;
- when the power fails, of what was not synced any part may be there: nothing, all, a beginning,
  or any of the sectors; for names any of the changes, a rename whole or not at all;
- a sector is never half new, but for the beginning that a file system makes of a longer write;
- after a sync that failed, the pages that it should have written count as clean: they are shown
  until the power fails and never written again, as on Linux;
- a process that is killed leaves everything shown, and what it did not sync not durable.
What this does not do: reorder a durable write with another, or lose what was synced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from random import Random
from typing import Final

SECTOR_BYTES: Final = 512
_SPARE: Final = 4


class HaltedError(BaseException):
    """The machine lost its power in the middle of a call, or its process was killed there; none
    of its code may go on."""

    def __init__(self, machine: str, powerless: bool) -> None:
        super().__init__(machine)
        self.machine = machine
        self.powerless = powerless


class _Contents:
    """What is in one file: as it is shown, as it is durable, and what lies between them."""

    __slots__ = ("durable", "shown", "unsynced")

    def __init__(self) -> None:
        self.shown = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes | None]] = []
        """Writes (offset, data) and sizes (size, None), in order."""

    def write(self, offset: int, data: bytes) -> None:
        _put(self.shown, offset, data)
        self.unsynced.append((offset, data))

    def resize(self, size: int) -> None:
        _resize(self.shown, size)
        self.unsynced.append((size, None))

    def sync(self) -> None:
        for offset, data in self.unsynced:
            if data is None:
                _resize(self.durable, offset)
            else:
                _put(self.durable, offset, data)
        self.unsynced.clear()

    def write_back(self, dice: Random) -> None:
        """A sync fails: a random part of what is not synced is durable, the rest is forgotten.

        The machine goes on, so no sector is cut in the middle.
        """
        self._keep(dice, _KEPT_BY_SECTOR)

    def lose(self, dice: Random) -> None:
        """The power fails."""
        self._keep(dice, _KEPT)
        self.shown = bytearray(self.durable)

    def _keep(self, dice: Random, ways: _Ways) -> None:
        if self.unsynced:
            ways[dice.randrange(len(ways))](self, dice)
            self.unsynced.clear()

    def _keep_none(self, dice: Random) -> None:
        pass

    def _keep_all(self, dice: Random) -> None:
        self.sync()

    def _keep_beginning(self, dice: Random) -> None:
        last = dice.randrange(len(self.unsynced))
        offset, data = self.unsynced[last]
        del self.unsynced[last:]
        if data is not None:
            end = offset + dice.randrange(len(data) + 1)
            if end < len(self.durable):
                # Only the end of a file lies within a sector.
                end = max(end - end % SECTOR_BYTES, offset)
            self.unsynced.append((offset, data[: end - offset]))
        self.sync()

    def _keep_sectors(self, dice: Random) -> None:
        """Each sector of each write is there or not; one that missed a write misses all later."""
        kept = dice.random()
        missing: set[int] = set()
        for offset, data in self.unsynced:
            if data is None:
                if dice.random() < kept:
                    _resize(self.durable, offset)
                continue
            end = offset + len(data)
            for sector in range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
                if sector in missing or dice.random() >= kept:
                    missing.add(sector)
                    continue
                start = max(sector * SECTOR_BYTES, offset)
                stop = min((sector + 1) * SECTOR_BYTES, end)
                _put(self.durable, start, data[start - offset : stop - offset])


_Ways = tuple[Callable[[_Contents, Random], None], ...]
_KEPT_BY_SECTOR: Final[_Ways] = (
    _Contents._keep_none,
    _Contents._keep_all,
    _Contents._keep_sectors,
)
_KEPT: Final[_Ways] = (*_KEPT_BY_SECTOR, _Contents._keep_beginning)


def _put(target: bytearray, offset: int, data: bytes) -> None:
    gap = offset - len(target)
    if gap > 0:
        target.extend(bytes(gap))
    target[offset : offset + len(data)] = data


def _resize(target: bytearray, size: int) -> None:
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))


class _Directory:
    """The names in one directory: as they are shown, as they are durable, and the changes."""

    __slots__ = ("durable", "shown", "unsynced")

    def __init__(self) -> None:
        self.shown: dict[str, _Contents] = {}
        self.durable: dict[str, _Contents] = {}
        self.unsynced: list[dict[str, _Contents | None]] = []

    def change(self, names: dict[str, _Contents | None]) -> None:
        """Give names, or take them away, all in one step."""
        _rename(self.shown, names)
        self.unsynced.append(names)

    def sync(self) -> None:
        for names in self.unsynced:
            _rename(self.durable, names)
        self.unsynced.clear()

    def lose(self, dice: Random) -> None:
        kept = dice.choice((0.0, 0.5, 1.0))
        for names in self.unsynced:
            if dice.random() < kept:
                _rename(self.durable, names)
        self.unsynced.clear()
        self.shown = dict(self.durable)


def _rename(target: dict[str, _Contents], names: dict[str, _Contents | None]) -> None:
    for name, contents in names.items():
        if contents is None:
            target.pop(name, None)
        else:
            target[name] = contents


class Disk:
    """The disk of one machine: what outlives its processes, and what is wrong with it.

    Only one `FakeFiles` uses it at a time: `mount` makes it, `crash` or `kill` ends it.
    """

    def __init__(self, machine: str, dice: Random) -> None:
        self.machine = machine
        self.capacity: int | None = None
        """How many bytes it holds; None: as many as one likes."""
        self.sync_fails = False
        self.fuse: int | None = None
        """After so many more calls the machine halts."""
        self.fuse_kills = False
        """It is the process that is killed then; otherwise the power fails."""
        self.syncs = 0
        self.used = 0
        self.directories: dict[str, _Directory] = {"": _Directory()}
        self.locked: set[str] = set()
        self.dice = dice
        self._files: FakeFiles | None = None

    def mount(self) -> FakeFiles:
        if self._files is not None:
            self._files.dead = True
        self._files = FakeFiles(self)
        return self._files

    @property
    def halted(self) -> bool:
        """Nothing uses the disk."""
        return self._files is None or self._files.dead

    def kill(self) -> None:
        """The process ends without warning: its locks go, what it wrote stays shown."""
        if self._files is not None:
            self._files.dead = True
        self.locked.clear()
        self.fuse = None

    def crash(self, dice: Random | None = None) -> None:
        """The power fails: what was not synced is there only in part."""
        self.kill()
        dice = dice or self.dice
        for directory in self.directories.values():
            known = dict.fromkeys(directory.durable.values())
            for names in directory.unsynced:
                known.update((c, None) for c in names.values() if c is not None)
            for contents in known:
                contents.lose(dice)
            directory.lose(dice)
        self.used = sum(
            len(contents.shown)
            for directory in self.directories.values()
            for contents in directory.shown.values()
        )

    def paths(self) -> list[str]:
        """Every file whose name is durable."""
        return sorted(
            f"{path}/{name}"
            for path, directory in self.directories.items()
            for name in directory.durable
        )

    def durable(self, path: str) -> bytes:
        """What would be there of a file if the power failed now, at the least."""
        directory, _, name = path.rpartition("/")
        return bytes(self.directories[directory].durable[name].durable)

    def flip(self, path: str, bit: int) -> Flip:
        """Let one bit of a file rot that was durable."""
        directory, _, name = path.rpartition("/")
        return Flip(path, self.directories[directory].durable[name], bit)


class Flip:
    """One bit that changed on the disk by itself."""

    def __init__(self, path: str, contents: _Contents, bit: int) -> None:
        self.path = path
        self._contents = contents
        self._offset, self._mask = bit // 8, 1 << bit % 8
        self._rotten = contents.durable[self._offset] ^ self._mask
        self._turn()

    def _turn(self) -> None:
        for data in (self._contents.durable, self._contents.shown):
            if self._offset < len(data):
                data[self._offset] ^= self._mask

    def restore(self) -> None:
        """Somebody brings the file back from a backup, if it still is what it was."""
        data = self._contents.durable
        if self._offset < len(data) and data[self._offset] == self._rotten:
            self._turn()


class FakeFile:
    """A file of a fake disk."""

    __slots__ = ("_contents", "_descriptor", "_files", "_open", "_path")

    def __init__(self, files: FakeFiles, path: str, contents: _Contents, descriptor: int) -> None:
        self._descriptor = descriptor
        self._files = files
        self._path = path
        self._contents = contents
        self._open = True

    @property
    def path(self) -> str:
        return self._path

    @property
    def descriptor(self) -> int:
        return self._descriptor

    def _begin(self) -> Disk:
        disk = self._files.begin()
        if not self._open:
            raise _error(errno.EBADF, self._path)
        return disk

    def write(self, offset: int, data: bytes) -> None:
        disk = self._begin()
        more = max(offset + len(data) - len(self._contents.shown), 0)
        if disk.capacity is not None and disk.used + more > disk.capacity:
            fits = data[: max(len(data) - (disk.used + more - disk.capacity), 0)]
            if fits:
                disk.used += max(offset + len(fits) - len(self._contents.shown), 0)
                self._contents.write(offset, fits)
            raise _error(errno.ENOSPC, self._path)
        disk.used += more
        self._contents.write(offset, data)

    def reserve(self, size: int) -> bool:
        disk = self._begin()
        more = size - len(self._contents.shown)
        if more <= 0:
            return True
        if disk.capacity is not None and more * _SPARE > disk.capacity - disk.used:
            return False
        self._resize(disk, size)
        return True

    def truncate(self, size: int) -> None:
        disk = self._begin()
        if size != len(self._contents.shown):
            self._resize(disk, size)

    def _resize(self, disk: Disk, size: int) -> None:
        disk.used += size - len(self._contents.shown)
        self._contents.resize(size)

    def sync(self) -> None:
        disk = self._begin()
        disk.syncs += 1
        if disk.sync_fails:
            self._contents.write_back(disk.dice)
            raise _error(errno.EIO, self._path)
        self._contents.sync()

    def close(self) -> None:
        self._open = False


class FakeLock:
    """A directory of a fake disk that is held."""

    __slots__ = ("_directory", "_disk")

    def __init__(self, disk: Disk, directory: str) -> None:
        if directory in disk.locked:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), directory)
        disk.locked.add(directory)
        self._disk = disk
        self._directory = directory

    def release(self) -> None:
        self._disk.locked.discard(self._directory)


class FakeFiles:
    """The files of a machine, as one of its processes sees them."""

    def __init__(self, disk: Disk) -> None:
        self.dead = False
        self._disk = disk
        self._opened: list[FakeFile] = []

    def begin(self) -> Disk:
        """Every call comes by here: the place where a machine halts."""
        disk = self._disk
        if disk.fuse is not None:
            disk.fuse -= 1
            if disk.fuse < 0:
                self.dead = True
        if self.dead:
            raise HaltedError(disk.machine, not disk.fuse_kills)
        return disk

    def _directory(self, path: str) -> tuple[_Directory, str]:
        above, _, name = path.rpartition("/")
        directory = self.begin().directories.get(above)
        if directory is None:
            raise _error(errno.ENOENT, path)
        return directory, name

    def _contents(self, path: str) -> _Contents:
        directory, name = self._directory(path)
        contents = directory.shown.get(name)
        if contents is None:
            raise _error(errno.ENOENT, path)
        return contents

    def open(self, path: str) -> FakeFile:
        directory, name = self._directory(path)
        contents = directory.shown.get(name)
        if contents is None:
            contents = _Contents()
            directory.change({name: contents})
        file = FakeFile(self, path, contents, len(self._opened))
        self._opened.append(file)
        return file

    def sync(self, descriptor: int) -> None:
        """Sync the file of a descriptor, as the system does for who has no more than that."""
        self._opened[descriptor].sync()

    def read(self, path: str, offset: int, count: int) -> bytes:
        return bytes(memoryview(self._contents(path).shown)[offset : offset + count])

    def size(self, path: str) -> int:
        return len(self._contents(path).shown)

    def names(self, directory: str) -> list[str]:
        disk = self.begin()
        found = disk.directories.get(directory)
        if found is None:
            return []
        below = (path.rpartition("/") for path in disk.directories if path)
        return sorted([*found.shown, *(name for above, _, name in below if above == directory)])

    def rename(self, path: str, to: str) -> None:
        contents = self._contents(path)
        directory, name = self._directory(path)
        target, new_name = self._directory(to)
        assert target is directory, "a data directory renames within one directory"
        replaced = directory.shown.get(new_name)
        if replaced is not None:
            self._disk.used -= len(replaced.shown)
        directory.change({name: None, new_name: contents})

    def delete(self, path: str) -> None:
        directory, name = self._directory(path)
        contents = directory.shown.get(name)
        if contents is not None:
            self._disk.used -= len(contents.shown)
            directory.change({name: None})

    def make_directory(self, path: str) -> None:
        directories = self.begin().directories
        while path not in directories:
            directories[path] = _Directory()
            path = path.rpartition("/")[0]

    def sync_directory(self, path: str) -> None:
        directory = self.begin().directories.get(path)
        if directory is None:
            raise _error(errno.ENOENT, path)
        if self._disk.sync_fails:
            raise _error(errno.EIO, path)
        directory.sync()

    def lock(self, directory: str) -> FakeLock:
        if directory not in self.begin().directories:
            raise _error(errno.ENOENT, directory)
        return FakeLock(self._disk, directory)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
