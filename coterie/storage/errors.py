"""What can be wrong with a data directory, one class each, in words that an operator can act on.

Rules: a message is one line that names the file and says what to do where that is known. Only
`StorageFailedError` may come while a server runs, and it may pass; all others come at the start
and end it.
"""

from __future__ import annotations


class StorageError(Exception):
    """The data directory cannot be used as it is."""


class StorageFailedError(StorageError):
    """The disk did not take what was written; it can be tried again."""


class DirectoryLockedError(StorageError):
    """Another server works on this directory."""


class NoSnapshotError(StorageError):
    """There is data, but no snapshot that could be read."""


class DamagedSnapshotError(StorageError):
    """A snapshot is not what was once written, or was never written to its end."""


class DamagedLogError(StorageError):
    """A log file is damaged before its end: acknowledged writes may be behind that place.

    `path` and `offset` say where, `zxid` which txn was the last that could be read before it.
    """

    def __init__(self, path: str, offset: int, zxid: int, reason: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset} ({reason}), behind txn {zxid:#x}; restore the "
            f"file from a backup or another server"
        )
        self.path = path
        self.offset = offset
        self.zxid = zxid
        self.reason = reason


class UnknownTxnError(StorageError):
    """A record of the log is whole, but of a kind that this version does not know."""

    def __init__(self, path: str, zxid: int) -> None:
        super().__init__(
            f"{path}: txn {zxid:#x} is of a kind that this version does not know; was it written "
            f"by a newer server?"
        )
        self.path = path
        self.zxid = zxid


class LogGapError(StorageError):
    """Txns are missing in the middle of the log."""

    def __init__(self, path: str, last_zxid: int, next_zxid: int) -> None:
        super().__init__(
            f"txns are missing from the log: after {last_zxid:#x} comes {next_zxid:#x}, in "
            f"{path}; restore the log file or the snapshot between them"
        )
        self.path = path
        self.last_zxid = last_zxid
        self.next_zxid = next_zxid


class SnapshotAheadError(StorageError):
    """A snapshot holds txns that are not in the log."""

    def __init__(self, logs: str, last_zxid: int, zxid: int, until_zxid: int) -> None:
        super().__init__(
            f"{logs} ends at txn {last_zxid:#x}, but the newest snapshot holds what came up to "
            f"{until_zxid:#x}: restore the log, or move that snapshot away to start from an older "
            f"one"
        )
        self.last_zxid = last_zxid
        self.zxid = zxid
        """That of the snapshot's name."""
        self.until_zxid = until_zxid


class LostSnapshotError(StorageError):
    """A damaged snapshot was newer than all that is left."""

    def __init__(self, path: str, logs: str, last_zxid: int, zxid: int) -> None:
        super().__init__(
            f"{path} is damaged, and {logs} ends at txn {last_zxid:#x}: what came after that, up "
            f"to {zxid:#x}, was only there; restore the snapshot or the log, or move that "
            f"snapshot away to start without"
        )
        self.path = path


class EpochsError(StorageError):
    """What a member has promised and entered is not known, or cannot be."""


class IntentError(StorageError):
    """A change of many files was under way, and what is left of it is not known."""


def describe(error: OSError) -> str:
    """An error of the operating system in one line: the path, then what it said."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
