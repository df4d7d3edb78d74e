"""A change to many files of a data directory, which a crash leaves either undone or done.

It is written down first, in one file that has its name only when it is whole and durable. Rules:
- recovery carries out what it finds written down, before it reads anything else;
- carrying out may stop anywhere and be done again;
- the files are named one by one. Apache's server passes this file over, and what it has added to
  the directory meanwhile is not touched.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from coterie.storage.errors import IntentError
from coterie.storage.snapshot import UNFINISHED
from coterie.system.files import Files

NAME: Final = "intent"
_BYTES_MAX: Final = 2**24
_DELETE: Final = re.compile(r"delete ((?:snapshot|log)\.[0-9a-fA-F]{1,16}(?:\.[a-z]+)?)")
_CUT: Final = re.compile(r"cut (log\.[0-9a-fA-F]{1,16}) ([0-9]{1,18})")


class Intent(NamedTuple):
    """Which files go, by their names and in this order, and which log file is cut, and where."""

    gone: tuple[str, ...]
    cut: tuple[str, int] | None = None

    def text(self) -> str:
        lines = [f"delete {name}\n" for name in self.gone]
        if self.cut is not None:
            lines.append(f"cut {self.cut[0]} {self.cut[1]}\n")
        return "".join(lines)


def parse(text: str) -> Intent | None:
    """What was written down, or None if this is nothing that we write."""
    gone: list[str] = []
    cut: tuple[str, int] | None = None
    for line in text.splitlines():
        delete, cutting = _DELETE.fullmatch(line), _CUT.fullmatch(line)
        if delete:
            gone.append(delete[1])
        elif cutting and cut is None:
            cut = (cutting[1], int(cutting[2]))
        else:
            return None
    return Intent(tuple(gone), cut)


class Changes:
    """The changes of one data directory. Calls raise `OSError`."""

    def __init__(self, files: Files, snapshots: str, logs: str) -> None:
        self._files = files
        self._snapshots = snapshots
        self._logs = logs
        self._path = f"{snapshots}/{NAME}"

    def make(self, intent: Intent) -> None:
        """Write a change down, and carry it out."""
        unfinished = f"{self._snapshots}/{UNFINISHED}{NAME}"
        file = self._files.open(unfinished)
        try:
            file.truncate(0)
            file.write(0, intent.text().encode())
            file.sync()
        finally:
            file.close()
        self._files.rename(unfinished, self._path)
        self._files.sync_directory(self._snapshots)
        self._carry_out(intent)

    def finish(self) -> bool:
        """Carry out what a crash has interrupted; whether there was such a thing.

        The names in the directory are durable, as the caller has seen to. Raises `IntentError`
        for what nobody can have written.
        """
        if NAME not in self._files.names(self._snapshots):
            return False
        text = self._files.read(self._path, 0, _BYTES_MAX).decode("utf-8", "replace")
        intent = parse(text)
        if intent is None:
            raise IntentError(
                f"{self._path} is damaged: a change of this directory was under way, and what is "
                f"left of it is not known; restore the directory from a backup or another server"
            )
        self._carry_out(intent)
        return True

    def _carry_out(self, intent: Intent) -> None:
        for name in intent.gone:
            directory = self._logs if name.startswith("log.") else self._snapshots
            self._files.delete(f"{directory}/{name}")
        if intent.cut is not None:
            self._cut(*intent.cut)
        for directory in dict.fromkeys((self._snapshots, self._logs)):
            self._files.sync_directory(directory)
        self._files.delete(self._path)
        self._files.sync_directory(self._snapshots)

    def _cut(self, name: str, end: int) -> None:
        if name not in self._files.names(self._logs):
            return
        path = f"{self._logs}/{name}"
        file = self._files.open(path)
        try:
            if self._files.size(path) > end:
                file.truncate(end)
            # Whoever was killed may have cut it without a sync.
            file.sync()
        finally:
            file.close()
