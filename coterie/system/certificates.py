"""A TLS context that follows its files: made anew when they have changed.

Rules: a handshake gets the context of that moment, and connections keep theirs, so a change of
certificates ends nothing. What cannot be used changes nothing (`followed.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from ssl import SSLContext

from coterie.system.followed import Followed
from coterie.system.tls import TLSError


class Certificates:
    """The context that `make` makes of the files at `paths`. Raises `TLSError`, at first only."""

    def __init__(self, paths: tuple[str, ...], make: Callable[[], SSLContext]) -> None:
        self._followed = Followed("certificates", paths, make, (TLSError,))

    def context(self) -> SSLContext:
        """What the next handshake is to be done with."""
        return self._followed.now()
