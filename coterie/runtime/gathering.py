"""How long a sync of the log waits for writes that are about to come.

Clients that wait for an answer before they write again come back together when a sync has ended.
The first of them would begin the next sync alone, and all others wait for it and then for one of
their own: two groups, each with half of the syncs. Who waits a moment has them all in one.
"""

from __future__ import annotations

from typing import Final

_WAIT_MS_MAX: Final = 2.0
_WRITES_MIN: Final = 4
_IN_VAIN_MAX: Final = 3
_REST_SYNCS: Final = 64


class Gathering:
    """How long a sync waits for writes that are about to come.

    As many are expected as the last two syncs had, for these are who waits for answers. It waits
    half a sync at most, and not at all for a while where that was in vain a few times in a row.
    """

    __slots__ = ("_before", "_expected", "_in_vain", "_last", "_rest", "_until_ms")

    def __init__(self) -> None:
        self._before = self._last = self._expected = self._in_vain = self._rest = 0
        self._until_ms = 0.0

    def wait_ms(self, waiting: int, now_ms: float) -> float:
        """How many milliseconds to wait for more than these; 0 to begin."""
        return 0.0 if waiting >= self._expected else max(self._until_ms - now_ms, 0.0)

    def begins(self, size: int) -> None:
        self._before, self._last = self._last, size
        self._in_vain = self._in_vain + 1 if size < self._expected else 0
        if self._in_vain == _IN_VAIN_MAX:
            self._in_vain, self._rest = 0, _REST_SYNCS

    def ends(self, now_ms: float, sync_ms: float) -> None:
        """A sync has ended, and syncs take so long."""
        together = self._before + self._last
        self._rest = max(self._rest - 1, 0)
        self._expected = 0 if self._rest or together < _WRITES_MIN else together * 7 // 8
        self._until_ms = now_ms + min(sync_ms / 2, _WAIT_MS_MAX)
