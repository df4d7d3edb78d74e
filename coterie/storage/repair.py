"""The steps of a repair. Nothing is deleted: what goes is moved into a folder beside the data.

Rules:
- a step leaves behind it what a repair can begin from again, wherever it is interrupted;
- a file that is changed is copied into the folder first, as it was;
- the folder is beside the directory that the file is in, so that moving needs no room.

The same steps are tried on an overlay before anything happens to the disk.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from coterie.core.tree import Tree
from coterie.storage import snapshot
from coterie.storage.segment import HEADER
from coterie.storage.snapshot import SnapshotWriter
from coterie.system.files import Files

_COPY_BYTES: Final = 2**20
_SLICE: Final = 10_000


class Take(NamedTuple):
    """Move a file away."""

    path: str

    def text(self) -> str:
        return f"move {self.path} away"


class Cut(NamedTuple):
    """Keep a log up to an offset."""

    path: str
    end: int

    def text(self) -> str:
        return f"cut {self.path} off at byte {self.end} (all of it is kept in the folder)"


class Split(NamedTuple):
    """Keep a log up to one offset, and what stands from another on in a file of its own."""

    path: str
    end: int
    resume: int
    to: str

    def text(self) -> str:
        return (
            f"leave bytes {self.end} to {self.resume} of {self.path} out: what is behind them "
            f"goes into {self.to} (all of it is kept in the folder)"
        )


class Write(NamedTuple):
    """Replace a small file, or make it."""

    path: str
    data: bytes

    def text(self) -> str:
        return f"write {self.data.decode()!r} into {self.path}"


class Begin(NamedTuple):
    """Put the snapshot of an empty tree below a log that has everything from the first txn on."""

    directory: str

    def text(self) -> str:
        return f"write {self.directory}/{snapshot.name(0)}, of an empty tree"


class Settle(NamedTuple):
    """Take a snapshot as it is for the state after the last txn of which it may hold anything."""

    path: str
    zxid: int

    def text(self) -> str:
        to = f"{self.path.rpartition('/')[0]}/{snapshot.name(self.zxid)}"
        return f"write what {self.path} holds as {to}, as it is"


Step = Take | Cut | Split | Write | Begin | Settle


def carry_out(files: Files, step: Step, folder: str) -> None:
    """Do it; `folder` is the name of the one beside. Raises `OSError`, `StorageError`."""
    if isinstance(step, Take):
        _take(files, step.path, folder)
    elif isinstance(step, Cut):
        _cut(files, step.path, step.end, folder)
    elif isinstance(step, Split):
        _split(files, step, folder)
    elif isinstance(step, Write):
        _write(files, step, folder)
    elif isinstance(step, Begin):
        _snapshot(files, step.directory, Tree())
    else:
        tree = snapshot.read(files, step.path).tree
        tree.zxid = step.zxid
        if step.path.endswith(f"/{snapshot.name(step.zxid)}"):
            _take(files, step.path, folder)
            _snapshot(files, step.path.rpartition("/")[0], tree)
        else:
            _snapshot(files, step.path.rpartition("/")[0], tree)
            _take(files, step.path, folder)


def beside(files: Files, path: str, folder: str) -> str:
    """Where a file goes in the folder; its directory is made."""
    directory, _, name = path.rpartition("/")
    kept = f"{directory.rpartition('/')[0]}/{folder}"
    files.make_directory(kept)
    there = set(files.names(kept))
    number = 1
    target = name
    while target in there:
        number += 1
        target = f"{name}.{number}"
    return f"{kept}/{target}"


def _take(files: Files, path: str, folder: str) -> None:
    to = beside(files, path, folder)
    files.rename(path, to)
    files.sync_directory(to.rpartition("/")[0])
    files.sync_directory(path.rpartition("/")[0])


def _cut(files: Files, path: str, end: int, folder: str) -> None:
    if end <= len(HEADER):
        _take(files, path, folder)
        return
    _copy(files, path, 0, beside(files, path, folder))
    file = files.open(path)
    try:
        file.truncate(end)
        file.sync()
    finally:
        file.close()


def _split(files: Files, step: Split, folder: str) -> None:
    """The new file first: without it a start might find a shorter log, and nothing missing."""
    unfinished = _unfinished(step.to)
    _write_copy(files, step.path, step.resume, unfinished, HEADER)
    if step.to == step.path:
        _copy(files, step.path, 0, beside(files, step.path, folder))
    files.rename(unfinished, step.to)
    files.sync_directory(step.to.rpartition("/")[0])
    if step.to != step.path:
        _cut(files, step.path, step.end, folder)


def _copy(files: Files, path: str, start: int, to: str) -> None:
    """A copy of a file from an offset on, which has its name only when it is whole."""
    unfinished = _unfinished(to)
    _write_copy(files, path, start, unfinished)
    files.rename(unfinished, to)
    files.sync_directory(to.rpartition("/")[0])


def _unfinished(path: str) -> str:
    directory, _, name = path.rpartition("/")
    return f"{directory}/{snapshot.UNFINISHED}{name}"


def _write_copy(files: Files, path: str, start: int, to: str, head: bytes = b"") -> None:
    file = files.open(to)
    try:
        file.truncate(0)
        file.write(0, head)
        at = len(head)
        while data := files.read(path, start, _COPY_BYTES):
            file.write(at, data)
            at += len(data)
            start += len(data)
        file.sync()
    finally:
        file.close()


def _write(files: Files, step: Write, folder: str) -> None:
    directory, _, name = step.path.rpartition("/")
    if name in files.names(directory):
        _take(files, step.path, folder)
    unfinished = f"{step.path}.tmp"
    file = files.open(unfinished)
    try:
        file.truncate(0)
        file.write(0, step.data)
        file.sync()
    finally:
        file.close()
    files.rename(unfinished, step.path)
    files.sync_directory(directory)


def _snapshot(files: Files, directory: str, tree: Tree) -> None:
    write_snapshot(files, directory, tree, digest=not tree.zxid)


def write_snapshot(files: Files, directory: str, tree: Tree, *, digest: bool = True) -> str:
    """A snapshot of a tree that does not change; its path. Raises `StorageFailedError`."""
    writer = SnapshotWriter(files, directory, tree, digest)
    try:
        while not writer.step(_SLICE):
            pass
        return writer.finish()
    except BaseException:
        writer.abort()
        raise
