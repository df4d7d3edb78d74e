"""The tree as it was at any zxid that snapshots and logs still reach, also while a server serves.

Rules:
- nothing is written and nothing locked: what is being written at the moment is a torn tail;
- a state is told only when it is known: the newest snapshot that holds nothing later, and every
  txn of the log from there on;
- a snapshot is fuzzy: it holds what came while it was written, up to the zxid of its digest, or,
  without one, up to the newest zxid that any of its znodes tells.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from coterie.core.tree import Tree
from coterie.storage import snapshot, txnlog
from coterie.storage.errors import (
    DamagedSnapshotError,
    LogGapError,
    NoSnapshotError,
    StorageError,
)
from coterie.storage.inspection import Place, fuzzy_until
from coterie.storage.segment import Segment
from coterie.storage.txnlog import TxnLog
from coterie.system.files import Files
from coterie.wire.numbered import Txn, follows
from coterie.wire.requests import Op
from coterie.wire.txns import CloseSessionTxn

_EPOCH: Final = 2**32


class NotReachedError(StorageError):
    """The state at that zxid cannot be told any more, or not yet."""


class Span(NamedTuple):
    """Every state from one zxid to another can be told."""

    first: int
    last: int


def at(files: Files, place: Place, zxid: int | None = None) -> Tree:
    """The tree after the txn `zxid`, or after the last one. Raises `StorageError`, `OSError`."""
    damaged: list[str] = []
    for began, path in snapshot.snapshots(files, place.snapshots).items():
        if zxid is not None and began > zxid:
            continue
        try:
            found = snapshot.read(files, path)
        except DamagedSnapshotError as error:
            damaged.append(str(error))
            continue
        until = fuzzy_until(found)
        if zxid is not None and until > zxid:
            continue
        return _replay(files, place, found.tree, until, zxid)
    if damaged:
        raise NoSnapshotError(f"no snapshot can be read: {'; '.join(damaged)}")
    if zxid is None:
        raise NoSnapshotError(f"{place.snapshots} has no snapshot")
    raise NotReachedError(
        f"{place.snapshots} has no snapshot of txn {zxid:#x} or before{_told(files, place)}"
    )


def _told(files: Files, place: Place) -> str:
    shown = ", ".join(f"{span.first:#x} to {span.last:#x}" for span in reach(files, place))
    return f"; what can be told is {shown}" if shown else ""


def _replay(files: Files, place: Place, tree: Tree, until: int, zxid: int | None) -> Tree:
    is_held = tree.zxid == zxid
    try:
        for txn in TxnLog(files, place.logs).scan(tree.zxid):
            if zxid is not None and txn.zxid > zxid:
                # No txn has the number with which an epoch begins.
                is_held = is_held or not zxid % _EPOCH
                break
            tree.apply(txn)
            is_held = txn.zxid == zxid
    except LogGapError:
        if zxid is None:
            raise
    if zxid is not None and not is_held:
        raise NotReachedError(f"{place.logs} does not hold txn {zxid:#x}{_told(files, place)}")
    if zxid is None and until > tree.zxid:
        # It holds what the log does not have: as it is, and no later than what it can hold.
        tree.zxid = until
    for session_id in sorted(tree.ephemerals.keys() - tree.sessions.keys()):
        tree.apply(Txn(session_id, 0, tree.zxid, 0, Op.CLOSE_SESSION, CloseSessionTxn([])))
    tree.zxid = tree.zxid if zxid is None else zxid
    tree.checks_digest = True
    return tree


def reach(files: Files, place: Place) -> list[Span]:
    """From where to where states can be told, the oldest first. Raises `OSError`."""
    held = _held(files, place)
    found: list[Span] = []
    for began, path in reversed(snapshot.snapshots(files, place.snapshots).items()):
        try:
            until = fuzzy_until(snapshot.read(files, path))
        except DamagedSnapshotError:
            continue
        spans = (s for s in held if s.last >= began)
        reaching = (s.last for s in spans if s.first <= began or follows(s.first, began))
        last = max(reaching, default=began)
        if until > last:
            continue
        if found and until <= found[-1].last:
            found[-1] = found[-1]._replace(last=max(last, found[-1].last))
        else:
            found.append(Span(until, last))
    return found


def _held(files: Files, place: Place) -> list[Span]:
    """The txns that the log has without a gap between them."""
    found: list[Span] = []
    for path in txnlog.segments(files, place.logs).values():
        part = Segment(files, path)
        for _ in part.entries():
            zxid = part.zxid
            if found and (zxid <= found[-1].last or follows(zxid, found[-1].last)):
                found[-1] = found[-1]._replace(last=max(zxid, found[-1].last))
            else:
                found.append(Span(zxid, zxid))
    return found


def before(files: Files, place: Place, time_ms: int) -> int | None:
    """The last txn of the log that was numbered at a time or before; None if all are later."""
    found: int | None = None
    for path in txnlog.segments(files, place.logs).values():
        part = Segment(files, path)
        for txn in part.txns(found or 0):
            if txn.time_ms <= time_ms:
                found = txn.zxid
    return found
