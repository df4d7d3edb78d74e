"""The epochs that a member has promised and entered: two small files, each replaced in one step.

They are Apache's: `acceptedEpoch` and `currentEpoch` beside the snapshots, each with a number in
decimal. Rules:
- the accepted epoch is written before the current one, which is never newer;
- a directory that has neither was that of a server alone, and they follow from its last txn;
- the current epoch may be older than the last txn: the machine stopped after a new leader had
  sent txns of an epoch that this member had missed, and before it had entered the leader's own.
  What it has then is what it would have if it had followed in that epoch, so it is that epoch;
- the accepted epoch is never older than the last txn: then this is not the file that belongs
  here, and what was promised is not known. Such a member could elect two leaders.
"""

from __future__ import annotations

import re
from typing import Final

from coterie.core.effects import Epochs
from coterie.storage.errors import EpochsError
from coterie.system.files import Files

ACCEPTED: Final = "acceptedEpoch"
CURRENT: Final = "currentEpoch"

_UNFINISHED: Final = ".tmp"
_EPOCH_SHIFT: Final = 32
_BYTES_MAX: Final = 64


def load(files: Files, directory: str, zxid: int) -> Epochs:
    """The epochs of a member whose last txn is `zxid`. Raises `EpochsError`.

    What is missing or behind is written, so that Apache's server can start here as well. The names
    in `directory` are durable, as the caller has seen to.
    """
    for name in (ACCEPTED, CURRENT):
        files.delete(f"{directory}/{name}{_UNFINISHED}")
    epoch = zxid >> _EPOCH_SHIFT
    accepted, current = _read(files, directory, ACCEPTED), _read(files, directory, CURRENT)
    if accepted is None and current not in (None, epoch):
        raise EpochsError(
            f"{directory}/{ACCEPTED} is missing, although there is {CURRENT}: which epoch was "
            f"promised is not known; restore the file from a backup"
        )
    found = Epochs(epoch if accepted is None else accepted, epoch if current is None else current)
    if found.accepted < max(epoch, found.current):
        what = "the last txn" if current is None or current < epoch else CURRENT
        raise EpochsError(
            f"{directory}/{ACCEPTED} says {found.accepted}, but {what} is of epoch "
            f"{max(epoch, found.current)}: the file does not belong here; restore it from a backup"
        )
    found = found._replace(current=max(found.current, epoch))
    on_disk = [-1 if epoch is None else epoch for epoch in (accepted, current)]
    save(files, directory, Epochs(*on_disk), found)
    return found


def save(files: Files, directory: str, old: Epochs, new: Epochs) -> None:
    """Make `new` durable where `old` is. Raises `OSError`."""
    assert new.accepted >= new.current
    if new.accepted != old.accepted:
        _write(files, directory, ACCEPTED, new.accepted)
    if new.current != old.current:
        _write(files, directory, CURRENT, new.current)


def _read(files: Files, directory: str, name: str) -> int | None:
    if name not in files.names(directory):
        return None
    path = f"{directory}/{name}"
    text = files.read(path, 0, _BYTES_MAX).split(b"\n", 1)[0].strip()
    if not re.fullmatch(rb"[0-9]{1,18}", text):
        shown = text.decode("latin-1")
        raise EpochsError(f"{path} has no epoch in it, but {shown!r}; restore it from a backup")
    return int(text)


def _write(files: Files, directory: str, name: str, epoch: int) -> None:
    path = f"{directory}/{name}"
    file = files.open(path + _UNFINISHED)
    try:
        file.truncate(0)
        file.write(0, b"%d" % epoch)
        file.sync()
    finally:
        file.close()
    files.rename(path + _UNFINISHED, path)
    files.sync_directory(directory)
