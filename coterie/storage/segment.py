"""One log file: its records in order, and whether it ends, was torn by a crash or is damaged.

The format is ZooKeeper's (`FileTxnLog`): a header, then records of Adler-32, length, entry and
the byte `B`, then the zeros of a file that was made longer ahead of time.

Where reading stops although more bytes follow, this tells two things apart:
- torn: the machine stopped while the last batch was being written. Nobody was told that it is
  durable, so it is cut off. A disk may have kept any sectors of the batch: whole records may
  stand behind the torn one.
- damaged: something that had been durable has changed. It must never be cut off in silence.
The mark of a tear is that something was *not written*: the record is cut short, or a sector of it
is all zeros; and it is never further than `UNSYNCED_BYTES_MAX` before the end of what was
written, since `txnlog` syncs at least that often. A bit that flipped leaves neither mark.
What this cannot tell: a flip within the last batch, in a record that holds a whole sector of
zeros of its own, passes for a tear, as it does in ZooKeeper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct
from typing import Final
from zlib import adler32

from coterie.errors import MarshallingError
from coterie.storage.errors import DamagedLogError, UnknownTxnError
from coterie.system.files import Files
from coterie.wire import entries, numbered
from coterie.wire.numbered import Txn

HEADER: Final = b"ZKLG" + (2).to_bytes(4, "big") + bytes(8)
"""Magic number, version of the format, database id."""
RECORD: Final = Struct(">qi")
"""Adler-32 of the entry, its length."""
RECORD_END: Final = b"B"
UNSYNCED_BYTES_MAX: Final = 8 * 2**20
"""Never more than that, or one record, is written without a sync."""

_END_BYTE: Final = RECORD_END[0]
_AROUND: Final = RECORD.size + len(RECORD_END)
_NEXT_RECORD: Final = RECORD_END + bytes(4)
"""Every record begins with four zeros: an Adler-32 has 32 bits."""
_ZXID: Final = Struct(">q").unpack_from
_ZXID_AT: Final = 12
_CHUNK_BYTES: Final = 4 * 2**20
_SECTOR_BYTES: Final = 512
_NAME: Final = re.compile(r"log\.([0-9a-fA-F]{1,16})\Z").match


def name(zxid: int) -> str:
    """What a log file is called whose first txn is `zxid`."""
    return f"log.{zxid:x}"


def first_zxid(name: str) -> int | None:
    """The txn that a file name promises to begin with, or None if it is no log file."""
    match = _NAME(name)
    return int(match[1], 16) if match else None


def record(entry: bytes) -> tuple[bytes, bytes, bytes]:
    """The parts of the record that holds `entry`."""
    return RECORD.pack(adler32(entry), len(entry)), entry, RECORD_END


class Segment:
    """One log file, for reading once from front to back, or from a record at `start` on.

    While `txns` is under way and after it, `last` is the offset of the last good record, `end` the
    one behind it and `zxid` its txn (0 before the first). Afterwards `flaw` says what is wrong at
    `end`, or is None if the file ends there or goes on with zeros.
    """

    def __init__(self, files: Files, path: str, start: int = 0) -> None:
        self.path = path
        self.size = files.size(path)
        self.last = 0
        self.end = start
        self.zxid = 0
        self.flaw: str | None = None
        self._files = files
        self._length = 0
        """What the record at `end` says of its length."""

    def txns(self, after_zxid: int) -> Iterator[Txn]:
        """The txns beyond `after_zxid`, as far as the records are good.

        Raises `UnknownTxnError` for a good record that we cannot make sense of.
        """
        for entry in self.entries():
            if self.zxid <= after_zxid:
                continue
            try:
                txn = entries.decode(entry)
            except MarshallingError:
                raise UnknownTxnError(self.path, self.zxid) from None
            yield txn

    def entries(self) -> Iterator[bytes]:
        """The records as they stand, as far as they are good."""
        data = self._files.read(self.path, self.end, _CHUNK_BYTES)
        pos = 0
        if self.end == 0:
            if len(data) < len(HEADER) or not data.startswith(HEADER[:8]):
                self.flaw = "no header of a log file"
                return
            self.end = pos = len(HEADER)
        unpack = RECORD.unpack_from
        while True:
            if len(data) - pos < RECORD.size:
                data, pos = self._files.read(self.path, self.end, _CHUNK_BYTES), 0
                if len(data) < RECORD.size:
                    self.flaw = "cut short" if data.strip(b"\0") else None
                    return
            checksum, length = unpack(data, pos)
            stop = pos + RECORD.size + length
            if length > 0 and stop >= len(data) and self.end + _AROUND + length <= self.size:
                data = self._files.read(self.path, self.end, max(_CHUNK_BYTES, length + _AROUND))
                pos, stop = 0, RECORD.size + length
            entry = data[pos + RECORD.size : stop] if length > 0 else b""
            self._length = length
            self.flaw = _flaw(checksum, length, entry, data[stop : stop + 1])
            if self.flaw is not None or length == 0:
                return
            pos = stop + 1
            self.last = self.end
            self.end += _AROUND + length
            self.zxid = _ZXID(entry, _ZXID_AT)[0]
            yield entry

    def unsound(self) -> bytes | None:
        """After reading: the record at `end`, if it is one whose checksum alone does not match."""
        if self._length < numbered.HEADER.size or self.end + _AROUND + self._length > self.size:
            return None
        start = self.end + RECORD.size
        data = self._files.read(self.path, start, self._length + len(RECORD_END))
        return data[: self._length] if data[self._length :] == RECORD_END else None

    def check(self, next_zxid: int | None) -> bool:
        """After reading: whether something stands behind `end` that a crash left there.

        `next_zxid` is where the next log file begins, None for the last. A tear in an earlier one
        was followed by a start that went on in a new file; if that goes on where this one ends,
        nothing can be missing, whatever stands here. Raises `DamagedLogError`.
        """
        if next_zxid is not None and next_zxid <= self.zxid + 1:
            return False
        written = self.written_end()
        if written <= self.end:
            return False
        if not self._torn(written):
            reason = self.flaw or "a hole"
            raise DamagedLogError(self.path, self.end, self.zxid, reason)
        return True

    def _torn(self, written: int) -> bool:
        if self.end < len(HEADER):
            head = self._files.read(self.path, 0, len(HEADER)).rstrip(b"\0")
            if not HEADER.startswith(head):
                return False
        if self._length_flipped(written):
            return False
        behind = self.good_behind()
        if behind is not None:
            near = written - self.end <= UNSYNCED_BYTES_MAX
            return near and self._lost_sector(self.end, behind)
        stop = self.end + _AROUND + self._length
        return self._length <= 0 or stop > written or self._lost_sector(self.end, stop)

    def written_end(self) -> int:
        """The offset behind the last byte that is not zero, if that is beyond `end`."""
        stop = self.size
        while stop > self.end:
            start = max(stop - _CHUNK_BYTES, self.end)
            data = self._files.read(self.path, start, stop - start).rstrip(b"\0")
            if data:
                return start + len(data)
            stop = start
        return self.end

    def good_behind(self) -> int | None:
        """After reading: where a good and newer record stands behind the bad one at `end`."""
        if self._length > 0 and self._good(self.end + _AROUND + self._length):
            return self.end + _AROUND + self._length
        if self.end < len(HEADER) and self._good(len(HEADER)):
            return len(HEADER)
        start = self.end
        while start < self.size:
            data = self._files.read(self.path, start, _CHUNK_BYTES + len(_NEXT_RECORD) - 1)
            found = data.find(_NEXT_RECORD)
            while found >= 0:
                if self._good(start + found + 1):
                    return start + found + 1
                found = data.find(_NEXT_RECORD, found + 1)
            start += _CHUNK_BYTES
        return None

    def _good(self, offset: int) -> bool:
        head = self._files.read(self.path, offset, RECORD.size)
        if len(head) < RECORD.size:
            return False
        checksum, length = RECORD.unpack(head)
        if not numbered.HEADER.size <= length <= self.size - offset - _AROUND:
            return False
        body = self._files.read(self.path, offset + RECORD.size, length + 1)
        if body[-1] != _END_BYTE or adler32(body[:-1]) != checksum:
            return False
        zxid: int = _ZXID(body, _ZXID_AT)[0]
        return zxid > self.zxid

    def _lost_sector(self, start: int, stop: int) -> bool:
        """Whether there is a sector of which nothing was written between two offsets."""
        data = self._files.read(self.path, start, stop - start)
        # What is naturally zero at the start of a record does not count.
        pos = len(_NEXT_RECORD) - 1 if start else 0
        while pos < len(data):
            sector_end = _SECTOR_BYTES - (start + pos) % _SECTOR_BYTES + pos
            if not data[pos:sector_end].strip(b"\0"):
                return True
            pos = sector_end
        return False

    def _length_flipped(self, written: int) -> bool:
        """Whether the record at `end` is good but for its length, whatever stands behind it."""
        data = self._files.read(self.path, self.end, min(written - self.end, UNSYNCED_BYTES_MAX))
        if len(data) <= RECORD.size + numbered.HEADER.size:
            return False
        checksum: int = RECORD.unpack_from(data)[0]
        start, stop = RECORD.size, RECORD.size + numbered.HEADER.size
        sum_so_far = 1
        while (stop := data.find(RECORD_END, stop)) >= 0:
            sum_so_far = adler32(memoryview(data)[start:stop], sum_so_far)
            if sum_so_far == checksum:
                return True
            start, stop = stop, stop + 1
        return False


def _flaw(checksum: int, length: int, entry: bytes, end: bytes) -> str | None:
    if length == 0:
        return "no length" if checksum else None
    if length < numbered.HEADER.size:
        return "too short for a txn"
    if len(entry) < length or not end:
        return "cut short"
    if end != RECORD_END:
        return "no end of the record"
    if adler32(entry) != checksum:
        return "the checksum does not match"
    return None
