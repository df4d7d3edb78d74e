"""What log files and snapshots hold, and whether they are what was once written. Nothing changes.

Rules:
- a file is judged as recovery judges it (`segment.py`, `snapshot.py`), and all of it is read;
- the judgement of a log depends on the file behind it: what a crash left at the end of one is of
  no account once a later one goes on where it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from coterie.errors import MarshallingError
from coterie.storage import segment, snapshot, txnlog
from coterie.storage.errors import DamagedLogError, DamagedSnapshotError, UnknownTxnError
from coterie.storage.segment import HEADER, RECORD, RECORD_END, Segment
from coterie.storage.snapshot import Snapshot
from coterie.system.files import Files
from coterie.wire import numbered
from coterie.wire.entries import decode
from coterie.wire.numbered import Txn

VERSION: Final = "version-2"
_AROUND: Final = RECORD.size + len(RECORD_END)


class Place(NamedTuple):
    """Where the files of a server are: its dataDir and its dataLogDir."""

    data: str
    logs_data: str

    @property
    def snapshots(self) -> str:
        return f"{self.data}/{VERSION}"

    @property
    def logs(self) -> str:
        return f"{self.logs_data}/{VERSION}"

    def directories(self) -> list[str]:
        return list(dict.fromkeys((self.snapshots, self.logs)))


class State(Enum):
    """What becomes of a file at a start."""

    WHOLE = "whole"
    EMPTY = "empty"
    """It holds nothing, or nothing but zeros."""
    TORN = "torn"
    """A crash left something unfinished at its end, which is cut off."""
    DAMAGED = "damaged"
    UNKNOWN = "unknown"
    """It holds what this version does not know."""


class LogReport(NamedTuple):
    """What one log file holds up to `end`, the offset behind its last good record."""

    path: str
    state: State
    reason: str
    size: int
    end: int
    txns: int
    first: Txn | None
    last: Txn | None


class SnapshotReport(NamedTuple):
    """What one snapshot holds; `found` is None for one that cannot be read."""

    path: str
    zxid: int
    until: int
    """The last txn of which it may hold something, as far as that is known."""
    state: State
    reason: str
    size: int
    found: Snapshot | None


class Run(NamedTuple):
    """Good records one behind the other: where they stand, and their zxids."""

    start: int
    end: int
    zxids: list[int]


def examine_log(files: Files, path: str, next_zxid: int | None = None) -> LogReport:
    """`next_zxid` is where the next log file begins. Raises `OSError`."""
    part = Segment(files, path)
    count = 0
    first: Txn | None = None
    last: bytes = b""
    unknown = ""
    for entry in part.entries():
        try:
            txn = decode(entry)
        except MarshallingError:
            unknown = unknown or str(UnknownTxnError(path, part.zxid))
            continue
        count += 1
        first = first or txn
        last = entry
    state, reason = _judge(part, next_zxid)
    if unknown and state in (State.WHOLE, State.TORN):
        state, reason = State.UNKNOWN, unknown
    newest = decode(last) if last else None
    return LogReport(path, state, reason, part.size, part.end, count, first, newest)


def _judge(part: Segment, next_zxid: int | None) -> tuple[State, str]:
    try:
        torn = part.check(next_zxid)
    except DamagedLogError as error:
        return State.DAMAGED, str(error)
    if torn:
        return State.TORN, f"{part.path}: unfinished behind byte {part.end} ({part.flaw})"
    if part.end <= len(HEADER):
        return State.EMPTY, f"{part.path} holds no txn"
    return State.WHOLE, ""


def examine_snapshot(files: Files, path: str) -> SnapshotReport:
    """Raises `OSError`."""
    zxid = snapshot.zxid_of(path.rpartition("/")[2])
    assert zxid is not None
    size = files.size(path)
    try:
        found = snapshot.read(files, path)
    except DamagedSnapshotError as error:
        state = State.DAMAGED if size else State.EMPTY
        return SnapshotReport(path, zxid, zxid, state, str(error), size, None)
    return SnapshotReport(path, zxid, fuzzy_until(found), State.WHOLE, "", size, found)


def logs(files: Files, place: Place) -> Iterator[LogReport]:
    """All log files, the oldest first. Raises `OSError`."""
    paths = txnlog.segments(files, place.logs)
    zxids = [*paths, None]
    for number, path in enumerate(paths.values(), 1):
        yield examine_log(files, path, zxids[number])


def snapshots(files: Files, place: Place) -> Iterator[SnapshotReport]:
    """All snapshots, the newest first. Raises `OSError`."""
    for path in snapshot.snapshots(files, place.snapshots).values():
        yield examine_snapshot(files, path)


def runs(files: Files, path: str) -> Iterator[Run]:
    """The good records of a damaged log, as far as there are any behind each damage."""
    part = Segment(files, path)
    while True:
        start = part.end
        zxids = [part.zxid for _ in part.entries()]
        if zxids:
            yield Run(max(start, len(HEADER)), part.end, zxids)
        before = part.zxid
        behind = (
            part.good_behind() if part.flaw is not None or part.written_end() > part.end else None
        )
        if behind is None:
            return
        part = Segment(files, path, behind)
        part.zxid = before


class Gap(NamedTuple):
    """Bytes of a log of which no txn can be made, and why."""

    start: int
    end: int
    reason: str


def entries(
    files: Files, path: str, *, behind_damage: bool = False, trusting: bool = False
) -> Iterator[tuple[int, bytes] | Gap]:
    """The records of a log file, each with its offset, and what was passed over.

    With `behind_damage` it goes on where the next good record is. With `trusting` a record that
    makes sense is one, though its checksum does not match.
    """
    part = Segment(files, path)
    while True:
        for entry in part.entries():
            yield part.last, entry
        zxid, end = part.zxid, part.end
        unsound = part.unsound() if trusting else None
        if unsound is not None and _makes_sense(unsound, zxid):
            yield end, unsound
            zxid = decode(unsound).zxid
            part = Segment(files, path, end + _AROUND + len(unsound))
            part.zxid = zxid
            continue
        behind = part.good_behind() if behind_damage else None
        if behind is None:
            written = part.written_end()
            if written > end:
                yield Gap(end, written, part.flaw or "a hole")
            return
        yield Gap(end, behind, part.flaw or "a hole")
        part = Segment(files, path, behind)
        part.zxid = zxid


def _makes_sense(entry: bytes, zxid: int) -> bool:
    try:
        return numbered.follows(decode(entry).zxid, zxid)
    except MarshallingError:
        return False


def fuzzy_until(found: Snapshot) -> int:
    """The last txn of which a snapshot may hold something: that of its digest or, without one, the
    newest that any of its znodes tells."""
    if found.digest_zxid is not None:
        return found.digest_zxid
    nodes = found.tree.nodes.values()
    return max(found.tree.zxid, *(max(node.czxid, node.mzxid, node.pzxid) for node in nodes))


def strangers(files: Files, place: Place) -> list[str]:
    """The paths of files in the directories that are no part of a data directory."""
    found: list[str] = []
    for directory in place.directories():
        for name in files.names(directory):
            known = (
                (directory == place.logs and segment.first_zxid(name) is not None)
                or (directory == place.snapshots and snapshot.zxid_of(name) is not None)
                or (directory == place.snapshots and name in _OTHERS)
                or name.startswith(snapshot.UNFINISHED)
            )
            if not known:
                found.append(f"{directory}/{name}")
    return found


_OTHERS: Final = (
    "acceptedEpoch",
    "currentEpoch",
    "acceptedEpoch.tmp",
    "currentEpoch.tmp",
    "intent",
)
