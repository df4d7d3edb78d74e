"""A TLS context that follows its files: made anew when they have changed.

Rules: a handshake gets the context of that moment, and connections keep theirs, so a change of
certificates ends nothing. New files that cannot be used leave the old context in force and are one
line in the log, once for each change: a key may be there before its certificate is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from ssl import SSLContext

from coterie.system.tls import TLSError

log = logging.getLogger("coterie.server")

_Stamp = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """The context that `make` makes of the files at `paths`. Raises `TLSError`, at first only."""

    def __init__(self, paths: tuple[str, ...], make: Callable[[], SSLContext]) -> None:
        self._paths = paths
        self._make = make
        self._stamp = self._look()
        self._context = make()

    def context(self) -> SSLContext:
        """What the next handshake is to be done with."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._make()
        except (TLSError, OSError) as error:
            log.error("the certificates that were there before stay in use: %s", error)
        else:
            log.info("the certificates were read anew: %s", ", ".join(self._paths))

    def _look(self) -> _Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: str) -> tuple[int, int, int] | None:
    """What tells a file from what was there before."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
