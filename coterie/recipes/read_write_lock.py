"""A lock that many may read under at a time, or one may write.

    lock = ReadWriteLock(zk, "/locks/catalogue")
    async with lock.read():
        ...
    async with lock.write() as grant:
        await catalogue.save(token=grant.token)

All stand in one line. A writer waits for all ahead of it, watching the one right ahead; a reader
waits for the nearest writer ahead. So a writer that goes wakes the readers that may go on, all of
them, and nobody else but the next writer; a reader that goes wakes one writer at most. Nobody is
overtaken: readers who come while a writer waits stand behind it. The names are Curator's.
"""

from __future__ import annotations

from typing import Final

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.recipes.lock import InLine, next_ahead

_READ: Final = "__READ__"
_WRITE: Final = "__WRIT__"
_READERS: Final = (_READ, "__rlock__")
"""By these names Curator's and kazoo's readers are known; all others want it for themselves."""


class ReadWriteLock:
    """Makes what is held for reading and for writing; neither is re-entrant, nor turns into the
    other."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, identifier: bytes = b"") -> None:
        self._zk = zk
        self._path = path
        self._identifier = identifier

    def read(self) -> InLine:
        """To be held together with other readers. Its token tells it from older writers."""
        return InLine(self._zk, self._path, _READ, self._identifier, nearest_writer)

    def write(self) -> InLine:
        """To be held alone."""
        return InLine(self._zk, self._path, _WRITE, self._identifier, next_ahead)


def nearest_writer(names: list[str], mine: str) -> str | None:
    """The last ahead who does not share."""
    for name in reversed(names[: names.index(mine)]):
        if not any(reader in name for reader in _READERS):
            return name
    return None
