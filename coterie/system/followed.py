"""Something that is made of files, and made anew when they have changed.

Rules: what was made before stays in force when new files cannot be used, and that is one line in
the log, once for each change: of two files one may be there before the other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("coterie.server")

T = TypeVar("T")

_Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Followed(Generic[T]):
    """What `make` makes of the files at `paths`; the first time its errors are raised.

    `name` is what it is called in the log; `refusals` are the errors of `make` for files that
    cannot be used.
    """

    def __init__(
        self,
        name: str,
        paths: tuple[str, ...],
        make: Callable[[], T],
        refusals: tuple[type[Exception], ...],
    ) -> None:
        self._name = name
        self._paths = paths
        self._make = make
        self._refusals: tuple[type[Exception], ...] = (*refusals, OSError)
        self._stamp = self._look()
        self._made = make()

    def now(self) -> T:
        """What is in force now."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._renew()
        return self._made

    def _renew(self) -> None:
        try:
            self._made = self._make()
        except self._refusals as error:
            log.error("the %s that were there before stay in use: %s", self._name, error)
        else:
            log.info("the %s were read anew: %s", self._name, ", ".join(self._paths))

    def _look(self) -> _Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    """What tells a file from what was there before."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
