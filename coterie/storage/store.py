"""One data directory: recover the tree from it, log to it, snapshot to it, purge it.

The layout is ZooKeeper's: `version-2/snapshot.*` in the data directory, `version-2/log.*` in the
log directory. Rules:
- what cannot be recovered whole is an error that names the file, never a smaller tree;
- recovery is the newest snapshot that is good, and the log over it; a txn that is missing between
  them is an error. The zxid of the snapshot's digest is where the two must agree;
- there is always a snapshot: ZooKeeper starts on no log without one;
- cutting the history off and replacing it are changes of many files, which a crash leaves undone
  or done (`intent.py`);
- of an ensemble's member the epochs are here too (`epochs.py`).

What appends, syncs and tries again belongs to one thread at a time; `begin_snapshot` to the thread
that changes the tree. `truncate_after`, `install` and `save_epochs` are for any thread, while
nothing is appended and no snapshot is being written. `log_since` is for any thread at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.config import Config
from coterie.core.effects import Epochs
from coterie.core.tree import Tree
from coterie.storage import epochs, snapshot, txnlog
from coterie.storage.errors import (
    DamagedSnapshotError,
    DirectoryLockedError,
    LostSnapshotError,
    NoSnapshotError,
    SnapshotAheadError,
    StorageError,
    StorageFailedError,
    describe,
)
from coterie.storage.intent import Changes, Intent
from coterie.storage.snapshot import Snapshot, SnapshotWriter
from coterie.storage.txnlog import TxnLog
from coterie.system.files import Files, Lock
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import CloseSessionTxn

if TYPE_CHECKING:
    # A generator is handed down; nobody here makes one.
    from random import Random

_VERSION: Final = "version-2"
_SLICE: Final = 10_000
_EPOCH: Final = 2**32
_SENT_BYTES_MAX: Final = 2**27
"""As much of the log is sent to another member at most: it is all in memory then."""


class Store:
    """The data directory of one server. `recover` first; `close` lets it go."""

    def __init__(self, files: Files, config: Config, dice: Random) -> None:
        self.notes: list[str] = []
        """What an operator should know of the recovery, one line each."""
        self.epochs = Epochs(0, 0)
        """What a member has promised and entered, as it is on the disk."""
        self._files = files
        self._config = config
        self._dice = dice
        self._snapshots = f"{config.data_dir}/{_VERSION}"
        self._logs = f"{config.data_log_dir}/{_VERSION}"
        self._locks: list[Lock] = []
        self._changes = Changes(files, self._snapshots, self._logs)
        self._log = TxnLog(
            files,
            self._logs,
            prealloc_bytes=config.prealloc_bytes,
            bytes_max=config.log_bytes_max,
            force_sync=config.force_sync,
        )
        self._damaged: list[str] = []
        """Snapshots that were passed over."""
        self._snapshot_txns = 0
        self._snapshot_bytes = 0
        self._aim()

    def _aim(self) -> None:
        """When the next snapshot is due: half the limit and up to as much again by chance, so
        that the members of an ensemble do not all take theirs at the same time."""
        half = max(self._config.snap_count // 2, 1)
        self._snapshot_txns = self._log.txns_appended + half + self._dice.randrange(half)
        self._snapshot_bytes = 0
        if self._config.snap_log_bytes > 0:
            half = max(self._config.snap_log_bytes // 2, 1)
            self._snapshot_bytes = self._log.bytes_appended + half + self._dice.randrange(half)

    def recover(self) -> Tree:
        """The state that this directory holds, its torn tail mended. Raises `StorageError`."""
        try:
            for directory in dict.fromkeys((self._snapshots, self._logs)):
                self._files.make_directory(directory)
                self._locks.append(self._files.lock(directory))
            return self._recover()
        except BlockingIOError as error:
            raise DirectoryLockedError(
                f"{self._config.data_dir} is in use by another server"
            ) from error
        except OSError as error:
            raise StorageError(f"the data directory cannot be used: {describe(error)}") from error

    def _recover(self) -> Tree:
        for left in self._files.names(self._snapshots):
            if left.startswith(snapshot.UNFINISHED):
                self._files.delete(f"{self._snapshots}/{left}")
        # A process that was killed may leave names that are shown and not durable.
        self._files.sync_directory(self._snapshots)
        if self._changes.finish():
            self.notes.append("a change of the history that a crash had interrupted was finished")
        found = self._newest_snapshot()
        tree = self._replay(found)
        self._check_damaged(tree.zxid)
        mended = self._log.mend()
        if mended is not None:
            self.notes.append(mended)
        if found is None:
            self._write_snapshot(tree)
        if self._config.ensemble is not None:
            self.epochs = epochs.load(self._files, self._snapshots, tree.zxid)
        return tree

    def _replay(self, found: Snapshot | None, until_zxid: int | None = None) -> Tree:
        """The tree of a snapshot with the log over it, or an empty one.

        With `until_zxid` it is as it was after that txn; raises `StorageError` if that cannot be
        told.
        """
        tree = found.tree if found is not None else Tree()
        begun = tree.zxid
        fuzzy_until = found.digest_zxid if found is not None else None
        if found is not None and fuzzy_until == tree.zxid:
            self._compare(found)
        is_held = tree.zxid == until_zxid
        for txn in self._log.scan(tree.zxid):
            if until_zxid is not None and txn.zxid > until_zxid:
                # No txn has the number with which an epoch begins.
                is_held = is_held or not until_zxid % _EPOCH
                break
            tree.apply(txn)
            is_held = txn.zxid == until_zxid
            if found is not None and txn.zxid == fuzzy_until:
                self._compare(found)
        if until_zxid is not None:
            if not is_held:
                raise StorageError(f"{self._logs} does not hold txn {until_zxid:#x}")
            tree.zxid = until_zxid
        elif fuzzy_until is not None and fuzzy_until > tree.zxid:
            self._check_end(tree.zxid, begun, fuzzy_until)
        tree.checks_digest = True
        for session_id in sorted(tree.ephemerals.keys() - tree.sessions.keys()):
            tree.apply(Txn(session_id, 0, tree.zxid, 0, Op.CLOSE_SESSION, CloseSessionTxn([])))
        return tree

    def _check_end(self, zxid: int, begun: int, fuzzy_until: int) -> None:
        """The snapshot holds txns that are not in the log. A member gets them from its leader; a
        server alone would give their numbers a second time. Raises `SnapshotAheadError`."""
        if self._config.ensemble is None and fuzzy_until % _EPOCH:
            raise SnapshotAheadError(self._logs, zxid, begun, fuzzy_until)

    def _check_damaged(self, zxid: int) -> None:
        """A log reaches as far as each snapshot, but where a leader sent the tree: to a member,
        who gets it again. Raises `LostSnapshotError`."""
        for lost in self._damaged if self._config.ensemble is None else ():
            lost_zxid = snapshot.zxid_of(_name(lost))
            if lost_zxid is not None and lost_zxid > zxid:
                raise LostSnapshotError(lost, self._logs, zxid, lost_zxid)

    def _write_snapshot(self, tree: Tree) -> str:
        """Make a snapshot of a tree that does not change durable; its path. Raises
        `StorageFailedError`.

        The tree of a leader that went on while it sent it may be ahead of its zxid, nobody knows
        how far: it gets no digest, for the log behind it would not agree.
        """
        digest = self._config.digest_enabled and tree.checks_digest
        writer = SnapshotWriter(self._files, self._snapshots, tree, digest)
        try:
            while not writer.step(_SLICE):
                pass
            return writer.finish()
        except StorageFailedError:
            writer.abort()
            raise

    def _compare(self, found: Snapshot) -> None:
        """The replay has come to where the snapshot's digest was taken: they must agree."""
        tree = found.tree
        tree.checks_digest = True
        if found.digest != tree.digest:
            tree.digest_mismatches += 1
            self.notes.append(
                f"the digest of the snapshot is {found.digest}, that of the recovered tree at txn "
                f"{tree.zxid:#x} is {tree.digest}: snapshot and log do not belong together"
            )

    def _newest_snapshot(self) -> Snapshot | None:
        """The newest snapshot that is good; None in a directory without any data."""
        damaged: list[str] = []
        for path in snapshot.snapshots(self._files, self._snapshots).values():
            try:
                found = snapshot.read(self._files, path)
            except DamagedSnapshotError as error:
                damaged.append(str(error))
                self._damaged.append(path)
                continue
            self.notes += [f"{reason}; an older snapshot is used" for reason in damaged]
            return found
        if damaged:
            raise NoSnapshotError(f"no snapshot can be read: {'; '.join(damaged)}")
        if txnlog.segments(self._files, self._logs) and not self._config.trust_empty_snapshot:
            raise NoSnapshotError(
                f"{self._logs} has logs but {self._snapshots} has no snapshot: data is missing; "
                f"if the logs are whole from the first txn on, snapshot.trust.empty=true starts "
                f"from an empty tree"
            )
        return None

    @property
    def logged_zxid(self) -> int:
        """The last txn that is durable here, in the log or before it in a snapshot."""
        return self._log.synced_zxid

    def append_and_sync(self, txns: list[Txn]) -> int:
        """Log `txns` durably, and say up to which zxid the log is. Raises
        `StorageFailedError`; they are kept for `retry` then."""
        self.append(txns)
        return self.sync()

    @property
    def log_descriptor(self) -> int | None:
        """What is to be synced after `append`, where that is all that there is to do then."""
        return self._log.descriptor

    def append(self, txns: list[Txn]) -> None:
        """Write `txns` to the log. Raises `StorageFailedError`; they are kept for `retry` then."""
        self._log.append(txns)

    def sync(self) -> int:
        """Make durable what was appended; up to which zxid that is. Raises as `append`."""
        return self._log.sync()

    def synced(self, error: OSError | None) -> int:
        """As `sync`, where somebody else has synced `log_descriptor`, or could not."""
        return self._log.synced(error)

    def retry(self) -> int:
        """After a failure: log again what is not durable. Raises `StorageFailedError`."""
        return self._log.retry()

    @property
    def wants_snapshot(self) -> bool:
        """Whether enough was logged since the last snapshot to make one worth while."""
        return self._log.txns_appended >= self._snapshot_txns or (
            0 < self._snapshot_bytes <= self._log.bytes_appended
        )

    def begin_snapshot(self, tree: Tree) -> SnapshotWriter:
        """Start a snapshot of `tree`, and a new log file with the next batch."""
        self._aim()
        self._log.roll()
        return SnapshotWriter(self._files, self._snapshots, tree, self._config.digest_enabled)

    def save_epochs(self, new: Epochs) -> None:
        """Make the epochs durable. Raises `StorageFailedError`; it can be tried again."""
        try:
            epochs.save(self._files, self._snapshots, self.epochs, new)
        except OSError as error:
            raise StorageFailedError(f"the epochs cannot be written: {describe(error)}") from error
        self.epochs = new

    def truncate_after(self, zxid: int) -> Tree:
        """Delete every txn beyond `zxid` and every snapshot that may hold one; what is left.

        Raises `StorageFailedError`, after which it can be tried again, and, before anything is
        changed, another `StorageError` where the state at `zxid` is not here: then only another
        member's whole tree helps.
        """
        try:
            tree, newer = self._state_at(zxid)
            gone, cut = self._log.beyond(zxid)
            names = (*newer, *map(_name, gone))
            self._log.close()
            self._changes.make(Intent(names, cut and (_name(cut[0]), cut[1])))
        except OSError as error:
            raise StorageFailedError(f"the log cannot be cut off: {describe(error)}") from error
        self._log.continue_after(zxid)
        self._aim()
        return tree

    def _state_at(self, zxid: int) -> tuple[Tree, list[str]]:
        """The tree as it was after `zxid`, and the snapshots that may hold later txns.

        A snapshot holds what was committed while it was written, by its digest's zxid.
        """
        newer: list[str] = []
        for found_zxid, name in self._snapshot_names():
            if found_zxid <= zxid:
                try:
                    found = snapshot.read(self._files, f"{self._snapshots}/{name}")
                except DamagedSnapshotError:
                    continue
                if found.digest_zxid is None or found.digest_zxid <= zxid:
                    return self._replay(found, zxid), newer
            newer.append(name)
        raise StorageError(
            f"{self._snapshots} has no snapshot of txn {zxid:#x} or before: the history cannot "
            f"be cut off there"
        )

    def install(self, tree: Tree) -> None:
        """Put `tree` in the place of all that is here; the next append begins a new log.

        Until its snapshot is durable a crash leaves the old state, and then the new one; only
        between the two steps, txns of the old log may still follow those of the new state.
        Raises `StorageFailedError`, after which it can be tried again.
        """
        kept = _name(self._write_snapshot(tree))
        try:
            logs = reversed(txnlog.segments(self._files, self._logs).values())
            snapshots = [name for _, name in self._snapshot_names() if name != kept]
            self._log.close()
            self._changes.make(Intent((*map(_name, logs), *snapshots)))
        except OSError as error:
            raise StorageFailedError(f"the log cannot be deleted: {describe(error)}") from error
        self._log.continue_after(tree.zxid)
        self._aim()

    def _snapshot_names(self) -> list[tuple[int, str]]:
        """The zxids and names of all snapshots, the newest first."""
        names = self._files.names(self._snapshots)
        found = ((snapshot.zxid_of(name), name) for name in names)
        return sorted(((zxid, name) for zxid, name in found if zxid is not None), reverse=True)

    def log_since(self, after_zxid: int, until_zxid: int, bytes_max: int) -> list[Txn] | None:
        """The txns of the log beyond `after_zxid` and up to `until_zxid`.

        None if it does not reach back so far, or they are more than `bytes_max`. Raises
        `StorageError`, `OSError`.
        """
        snapshots = {zxid for zxid, _ in self._snapshot_names()}
        return txnlog.since(self._files, self._logs, after_zxid, until_zxid, bytes_max, snapshots)

    def log_bytes_worth_sending(self) -> int:
        """How much of the log is better sent to another member than the whole tree: Apache's
        snapshotSizeFactor, and never more than fits into memory."""
        factor = self._config.snapshot_size_factor
        if factor <= 0:
            return _SENT_BYTES_MAX if factor == 0 else 0
        try:
            newest = self._snapshot_names()[0][1]
            size = self._files.size(f"{self._snapshots}/{newest}")
        except (IndexError, OSError):
            return 0
        return min(int(size * factor), _SENT_BYTES_MAX)

    def dispensable(self, retain: int) -> list[str]:
        """All but the newest `retain` whole snapshots, and the logs that only the others need.
        Raises `OSError`."""
        snapshots = snapshot.snapshots(self._files, self._snapshots)
        whole = [z for z, path in snapshots.items() if snapshot.looks_whole(self._files, path)]
        if not whole:
            return []
        oldest = whole[:retain][-1]
        gone = [path for zxid, path in snapshots.items() if zxid < oldest]
        logs = txnlog.segments(self._files, self._logs)
        needed = set(txnlog.needed(list(logs), oldest))
        return [*gone, *(path for zxid, path in logs.items() if zxid not in needed)]

    def purge(self, retain: int) -> list[str]:
        """Delete what is dispensable; the names of what went. Raises `OSError`."""
        gone = self.dispensable(retain)
        for path in gone:
            self._files.delete(path)
        return gone

    def sizes(self) -> tuple[int, int]:
        """The bytes that snapshots and logs have on the disk. Raises `OSError`."""
        snapshots = snapshot.snapshots(self._files, self._snapshots).values()
        logs = txnlog.segments(self._files, self._logs).values()
        return sum(map(self._files.size, snapshots)), sum(map(self._files.size, logs))

    def snapshot_files(self) -> list[tuple[int, int, str]]:
        """Zxid, bytes and path of each snapshot, the newest first. Raises `OSError`."""
        found = snapshot.snapshots(self._files, self._snapshots).items()
        return [(zxid, self._files.size(path), path) for zxid, path in sorted(found, reverse=True)]

    def close(self) -> None:
        """Let the directory go. What is not synced is not made durable."""
        self._log.close()
        for lock in self._locks:
            lock.release()
        self._locks.clear()


def _name(path: str) -> str:
    return path.rpartition("/")[2]
