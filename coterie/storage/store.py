"""One data directory: recover the tree from it, log to it, snapshot to it, purge it.

The layout is ZooKeeper's: `version-2/snapshot.*` in the data directory, `version-2/log.*` in the
log directory. Rules:
- what cannot be recovered whole is an error that names the file, never a smaller tree;
- recovery is the newest snapshot that is good, and the log over it; a txn that is missing between
  them is an error. The zxid of the snapshot's digest is where the two must agree;
- there is always a snapshot: ZooKeeper starts on no log without one.

`append_and_sync` and `retry` belong to one thread at a time; `begin_snapshot` to the thread that
changes the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.config import Config
from coterie.core.tree import Tree
from coterie.storage import snapshot, txnlog
from coterie.storage.errors import (
    DamagedSnapshotError,
    DirectoryLockedError,
    NoSnapshotError,
    StorageError,
    describe,
)
from coterie.storage.snapshot import Snapshot, SnapshotWriter
from coterie.storage.txnlog import TxnLog
from coterie.system.files import Files, Lock
from coterie.wire.requests import Op
from coterie.wire.txns import CloseSessionTxn, Txn

if TYPE_CHECKING:
    # A generator is handed down; nobody here makes one.
    from random import Random

_VERSION: Final = "version-2"
_SLICE: Final = 10_000


class Store:
    """The data directory of one server. `recover` first; `close` lets it go."""

    def __init__(self, files: Files, config: Config, dice: Random) -> None:
        self.notes: list[str] = []
        """What an operator should know of the recovery, one line each."""
        self._files = files
        self._config = config
        self._dice = dice
        self._snapshots = f"{config.data_dir}/{_VERSION}"
        self._logs = f"{config.data_log_dir}/{_VERSION}"
        self._locks: list[Lock] = []
        self._log = TxnLog(
            files,
            self._logs,
            prealloc_bytes=config.prealloc_bytes,
            bytes_max=config.log_bytes_max,
            force_sync=config.force_sync,
        )
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
        found = self._newest_snapshot()
        tree = found.tree if found is not None else Tree()
        fuzzy_until = found.digest_zxid if found is not None else None
        if found is not None and fuzzy_until == tree.zxid:
            self._compare(found)
        for txn in self._log.scan(tree.zxid):
            tree.apply(txn)
            if found is not None and txn.zxid == fuzzy_until:
                self._compare(found)
        tree.checks_digest = True
        mended = self._log.mend()
        if mended is not None:
            self.notes.append(mended)
        for session_id in sorted(tree.ephemerals.keys() - tree.sessions.keys()):
            tree.apply(Txn(session_id, 0, tree.zxid, 0, Op.CLOSE_SESSION, CloseSessionTxn([])))
        if found is None:
            writer = SnapshotWriter(
                self._files, self._snapshots, tree, self._config.digest_enabled
            )
            while not writer.step(_SLICE):
                pass
            writer.finish()
        return tree

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

    def append_and_sync(self, txns: list[Txn]) -> int:
        """Log `txns` durably, and say up to which zxid the log is. Raises
        `StorageFailedError`; they are kept for `retry` then."""
        self._log.append(txns)
        return self._log.sync()

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

    def purge(self, retain: int) -> list[str]:
        """Delete all but the newest `retain` whole snapshots, and the logs that only the others
        needed; the names of what went. Raises `OSError`."""
        snapshots = snapshot.snapshots(self._files, self._snapshots)
        whole = [z for z, path in snapshots.items() if snapshot.looks_whole(self._files, path)]
        if not whole:
            return []
        oldest = whole[:retain][-1]
        gone = [path for zxid, path in snapshots.items() if zxid < oldest]
        logs = txnlog.segments(self._files, self._logs)
        needed = set(txnlog.needed(list(logs), oldest))
        gone += [path for zxid, path in logs.items() if zxid not in needed]
        for path in gone:
            self._files.delete(path)
        return gone

    def sizes(self) -> tuple[int, int]:
        """The bytes that snapshots and logs have on the disk. Raises `OSError`."""
        snapshots = snapshot.snapshots(self._files, self._snapshots).values()
        logs = txnlog.segments(self._files, self._logs).values()
        return sum(map(self._files.size, snapshots)), sum(map(self._files.size, logs))

    def close(self) -> None:
        """Let the directory go. What is not synced is not made durable."""
        self._log.close()
        for lock in self._locks:
            lock.release()
        self._locks.clear()
