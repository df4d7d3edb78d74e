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

from contextlib import suppress
from random import Random
from typing import Final

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

_VERSION: Final = "version-2"
_SLICE: Final = 10_000
