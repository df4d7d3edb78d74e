"""The log: append, one sync a batch, roll, scan, cut off.

Rules:
- a txn counts only after the sync that follows it: `sync` and `retry` say up to which zxid;
- when a write or a sync fails, everything since the last sync is kept in memory. `retry` writes
  it again *all*, at the same place: after a failed fsync the kernel may have dropped what it
  still shows us, and the same bytes at the same place can be torn into nothing but themselves;
- nothing is appended behind garbage: `scan` goes to the end and checks it, `mend` cuts it off;
- what `scan` has read need not be durable: a process that was killed leaves what it wrote in the
  page cache. `mend` makes it so before anybody is told of it;
- appending after a start begins a new file, as ZooKeeper does, which reads both;
- a file that is left is cut to what was written in it, so that reserved blocks are given back.
ZooKeeper leaves the zeros there; it reads the end of the file as the end either way.

One thread at a time may call this; `roll` may be called from any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Final
from zlib import adler32

from coterie.storage import segment
from coterie.storage.errors import (
    DamagedLogError,
    LogGapError,
    StorageFailedError,
    describe,
)
from coterie.storage.segment import HEADER, RECORD, RECORD_END, UNSYNCED_BYTES_MAX, Segment
from coterie.system.files import File, Files
from coterie.wire.numbered import Txn, follows

_RESERVE_MARGIN: Final = 4096
_EPOCH: Final = 2**32


def segments(files: Files, directory: str) -> dict[int, str]:
    """The paths of the log files in a directory by their first zxid, ascending."""
    found = ((segment.first_zxid(name), name) for name in files.names(directory))
    known = sorted((zxid, name) for zxid, name in found if zxid is not None)
    return {zxid: f"{directory}/{name}" for zxid, name in known}


def needed(zxids: Sequence[int], after_zxid: int) -> list[int]:
    """Which log files, by their first zxid, may hold txns beyond `after_zxid`."""
    start = max((zxid for zxid in zxids if zxid <= after_zxid + 1), default=0)
    return [zxid for zxid in zxids if zxid >= start]


def padded(end: int, size: int, block: int) -> int:
    """How long ZooKeeper makes a log file that is written up to `end` (`FilePadding`)."""
    if block <= 0 or end + _RESERVE_MARGIN < size:
        return size
    if end > size:
        return (end + block) // block * block
    return size + block


def encode(txns: Sequence[Txn]) -> list[bytes]:
    """The records of `txns` as one piece, or several where one is too much to write unsynced."""
    pieces: list[bytes] = []
    parts: list[bytes] = []
    length = 0
    pack = RECORD.pack
    for txn in txns:
        entry = txn.encoded
        size = RECORD.size + len(entry) + len(RECORD_END)
        length += size
        if length > UNSYNCED_BYTES_MAX and parts:
            pieces.append(b"".join(parts))
            parts = []
            length = size
        parts += (pack(adler32(entry), len(entry)), entry, RECORD_END)
    pieces.append(b"".join(parts))
    return pieces


def since(
    files: Files,
    directory: str,
    after_zxid: int,
    until_zxid: int,
    bytes_max: int,
    snapshots: Collection[int],
) -> list[Txn] | None:
    """The txns beyond one zxid and up to another, or None where the log cannot tell that.

    It can where it has that txn itself, or where it has all that were before a new epoch; or all
    from the first on, for which there is a snapshot 0. `snapshots` are the zxids of all: between
    two epochs they show what is missing. More than `bytes_max` is None as well. The log may be
    appended to meanwhile: nothing beyond `until_zxid` is read. Raises `StorageError`, `OSError`.
    """
    paths = segments(files, directory)
    first = max((zxid for zxid in paths if zxid <= after_zxid), default=None)
    if first is None and 0 not in snapshots:
        return None
    zxids = [zxid for zxid in paths if first is None or zxid >= first]
    found: list[Txn] = []
    is_held = not after_zxid % _EPOCH
    last_zxid = after_zxid
    for zxid, next_zxid in zip(zxids, [*zxids[1:], None], strict=False):
        part = Segment(files, paths[zxid])
        for txn in part.txns(after_zxid - 1):
            if txn.zxid > until_zxid:
                return found if is_held and not until_zxid % _EPOCH else None
            if txn.zxid > last_zxid:
                if not is_held or _is_gap(last_zxid, txn.zxid, snapshots):
                    return None
                found.append(txn)
                last_zxid = txn.zxid
                bytes_max -= len(txn.encoded)
            is_held = True
            if bytes_max < 0:
                return None
            if txn.zxid == until_zxid:
                return found
        if next_zxid is not None:
            part.check(next_zxid)
    return found if is_held and not until_zxid % _EPOCH else None


def _is_gap(zxid: int, next_zxid: int, snapshots: Collection[int]) -> bool:
    """Whether txns are missing between two of the log.

    Apache's server keeps its old log when a leader sends it the whole tree: then there is a
    snapshot of a txn that the log does not have.
    """
    return not follows(next_zxid, zxid) or any(
        zxid < taken < next_zxid and taken % _EPOCH for taken in snapshots
    )


class TxnLog:
    """The log files of one directory.

    `txns_appended` and `bytes_appended` count since this object was made.
    """

    def __init__(
        self,
        files: Files,
        directory: str,
        *,
        prealloc_bytes: int = 0,
        bytes_max: int = 0,
        force_sync: bool = True,
    ) -> None:
        self.txns_appended = 0
        self.bytes_appended = 0
        self._files = files
        self._directory = directory
        self._prealloc_bytes = prealloc_bytes
        self._bytes_max = bytes_max
        self._force_sync = force_sync
        self._last_zxid = 0
        self._synced_zxid = 0
        self._tail: Segment | None = None
        self._torn = False
        self._mended = False
        self._file: File | None = None
        self._path = ""
        self._size = 0
        self._synced_end = 0
        self._named = False
        """The file's name is durable in the directory."""
        self._unsynced: list[bytes] = []
        """What stands, or has to, behind `_synced_end`."""
        self._written_count = 0
        """How many of `_unsynced` were written."""
        self._failure: str | None = None
        self._rolls = False

    @property
    def synced_zxid(self) -> int:
        """The last txn that is durable, or what it comes after while there is none."""
        return self._synced_zxid

    # Reading

    def scan(self, after_zxid: int) -> Iterator[Txn]:
        """The txns beyond `after_zxid`, in order; to be exhausted before `mend`.

        What comes twice comes once: ZooKeeper logs some refused multis under the zxid before.
        Raises `DamagedLogError`, `LogGapError`, `UnknownTxnError`.
        """
        paths = segments(self._files, self._directory)
        zxids = needed(list(paths), after_zxid)
        last_zxid = after_zxid
        self._tail = None
        for zxid, next_zxid in zip(zxids, [*zxids[1:], None], strict=False):
            part = Segment(self._files, paths[zxid])
            for txn in part.txns(last_zxid):
                if txn.zxid <= last_zxid:
                    continue
                if not follows(txn.zxid, last_zxid):
                    raise LogGapError(part.path, last_zxid, txn.zxid)
                last_zxid = txn.zxid
                yield txn
            try:
                self._torn = part.check(next_zxid)
            except DamagedLogError as error:
                # In the first record of a file, the last good txn is of the file before.
                zxid = max(error.zxid, last_zxid)
                raise DamagedLogError(error.path, error.offset, zxid, error.reason) from None
            self._tail = part
        self._last_zxid = self._synced_zxid = last_zxid

    def mend(self) -> str | None:
        """Cut off what a crash left behind the last txn of the last file, and make durable what
        is before it; says what was done.

        The zeros of a file that was made longer ahead of time go as well, without a word.
        """
        self._mended = True
        tail = self._tail
        if tail is None:
            return None
        if tail.end <= len(HEADER):
            # Without a txn it would stand in the way of the file that gets this name next.
            self._files.delete(tail.path)
        else:
            self._settle(tail)
        if self._force_sync:
            self._files.sync_directory(self._directory)
        if not self._torn:
            return None
        return (
            f"{tail.path}: cut off what a crash had left unfinished behind byte {tail.end} "
            f"({tail.flaw or 'a hole'}); the last txn is {self._last_zxid:#x}"
        )

    def _settle(self, tail: Segment) -> None:
        """Write again what may have been written without a sync: if one failed, the pages count
        as clean, and another sync alone would do nothing."""
        file = self._files.open(tail.path)
        try:
            file.truncate(tail.end)
            if self._force_sync:
                start = max(min(tail.last - len(HEADER), tail.end - UNSYNCED_BYTES_MAX), 0)
                file.write(start, self._files.read(tail.path, start, tail.end - start))
                file.sync()
        finally:
            file.close()

    def beyond(self, zxid: int) -> tuple[list[str], tuple[str, int] | None]:
        """Where the txns beyond `zxid` are: the files that hold nothing else, the newest first,
        and the one before them with the offset at which it is to be cut, if there is one."""
        paths = segments(self._files, self._directory)
        gone = [paths[first] for first in sorted(paths, reverse=True) if first > zxid]
        last = max((first for first in paths if first <= zxid), default=None)
        if last is None:
            return gone, None
        part = Segment(self._files, paths[last])
        end = len(HEADER)
        for txn in part.txns(0):
            if txn.zxid > zxid:
                break
            end = part.end
        else:
            part.check(None)
        return gone, (part.path, end)

    def continue_after(self, zxid: int) -> None:
        """Begin a new file with the next append, whose first txn will be the one after `zxid`.

        There is nothing beyond `zxid` in the log, as the caller knows.
        """
        self.close()
        self._mended = True
        self._last_zxid = self._synced_zxid = zxid

    def _cut(self, path: str, end: int) -> None:
        file = self._files.open(path)
        try:
            file.truncate(end)
            file.sync()
        finally:
            file.close()

    # Writing

    def append(self, txns: Sequence[Txn]) -> None:
        """Write `txns`, which then wait for `sync`.

        Raises `StorageFailedError`, also when an earlier call failed: they wait for `retry` then.
        """
        assert self._mended, "scan to the end, then mend, then append"
        assert txns[0].zxid > self._last_zxid
        pieces = encode(txns)
        if not self._path or (self._rolls and not self._unsynced):
            self._leave()
            self._path = f"{self._directory}/{segment.name(txns[0].zxid)}"
            pieces[0] = HEADER + pieces[0]
        self._last_zxid = txns[-1].zxid
        self._unsynced += pieces
        self.txns_appended += len(txns)
        self.bytes_appended += sum(map(len, pieces))
        if self._failure is not None:
            raise StorageFailedError(self._failure)
        self._attempt(self._write)

    def sync(self) -> int:
        """Make durable what was appended; the zxid up to which the log is. Raises
        `StorageFailedError`."""
        if self._failure is not None:
            raise StorageFailedError(self._failure)
        self._attempt(self._sync)
        return self._synced_zxid

    @property
    def descriptor(self) -> int | None:
        """What somebody else may sync after `append`, to tell `synced` of it. None where there is
        more to do than that."""
        file = self._file
        if file is None or not self._named or self._failure is not None or self._rolls:
            return None
        return file.descriptor

    def synced(self, error: OSError | None) -> int:
        """As `sync`, where `descriptor` was synced, or could not be."""
        if error is not None:
            error.filename = self._path

        def take() -> None:
            if error is not None:
                raise error
            self._took_all()

        self._attempt(take)
        return self._synced_zxid

    def retry(self) -> int:
        """After a failure: write again all that is not durable, and sync. Raises
        `StorageFailedError`."""
        if self._file is not None:
            # The error may stick to the descriptor.
            with suppress(OSError):
                self._file.close()
            self._file = None
        self._failure = None
        self._written_count = 0
        self._attempt(self._write)
        return self.sync()

    def roll(self) -> None:
        """Begin a new file with the next batch."""
        self._rolls = True

    def close(self) -> None:
        """Leave the current file; what was not synced is not made durable."""
        self._leave()
        self._unsynced.clear()
        self._written_count = 0
        self._failure = None

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self._failure = f"the log cannot be written: {describe(error)}"
            raise StorageFailedError(self._failure) from error

    def _write(self) -> None:
        if not self._unsynced:
            return
        file = self._file
        if file is None:
            file = self._file = self._files.open(self._path)
            if self._synced_end == 0:
                file.truncate(0)
            self._size = self._synced_end
        offset = self._synced_end + sum(map(len, self._unsynced[: self._written_count]))
        while self._written_count < len(self._unsynced):
            piece = self._unsynced[self._written_count]
            end = offset + len(piece)
            if end - self._synced_end > UNSYNCED_BYTES_MAX and self._written_count:
                self._sync_file()
                self._took_written()
            self._reserve(file, end)
            file.write(offset, piece)
            self._written_count += 1
            offset = end

    def _reserve(self, file: File, end: int) -> None:
        size = padded(end, self._size, self._prealloc_bytes)
        if size > self._size and file.reserve(size):
            self._size = size
        self._size = max(self._size, end)

    def _sync(self) -> None:
        if self._unsynced:
            self._sync_file()
        self._took_all()

    def _took_all(self) -> None:
        """All that was appended is durable."""
        self._took_written()
        self._synced_zxid = self._last_zxid
        if 0 < self._bytes_max < self._synced_end:
            self._rolls = True

    def _sync_file(self) -> None:
        assert self._file is not None
        if self._force_sync:
            self._file.sync()
            if not self._named:
                self._files.sync_directory(self._directory)
                self._named = True

    def _took_written(self) -> None:
        self._synced_end += sum(map(len, self._unsynced[: self._written_count]))
        del self._unsynced[: self._written_count]
        self._written_count = 0

    def _leave(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                if self._failure is None:
                    file.truncate(self._synced_end)
            with suppress(OSError):
                file.close()
        self._path = ""
        self._size = self._synced_end = 0
        self._named = self._rolls = False
