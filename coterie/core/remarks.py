"""Lines for the operator that others can cause at will: one of each kind in a while.

Whoever can connect may make a server complain; it must not fill the disk by that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

EVERY_MS: Final = 60_000
STRANGERS_MS: Final = 10_000
"""Of strangers at the ports for members: who mends a wrong setting wants to see what it did."""
_KINDS_MAX: Final = 100


class Remarks:
    """Tells a line of a kind, then none for `every_ms`, and with the next one how many were left
    out. `note` is where `say` tells it."""

    __slots__ = ("_every_ms", "_kinds", "_note")

    def __init__(
        self, note: Callable[[str], None] | None = None, every_ms: int = EVERY_MS
    ) -> None:
        self._note = note
        self._every_ms = every_ms
        self._kinds: dict[str, tuple[float, int]] = {}
        """When each kind is due again, and how many were left out."""

    def line(self, kind: str, text: str, now_ms: float) -> str | None:
        """What is to be told of this one, if anything."""
        due_ms, left_out = self._kinds.get(kind, (now_ms, 0))
        if now_ms < due_ms:
            self._kinds[kind] = due_ms, left_out + 1
            return None
        if len(self._kinds) >= _KINDS_MAX:
            self._kinds.clear()
        self._kinds[kind] = now_ms + self._every_ms, 0
        return f"{text} (and {left_out} more since this was last said)" if left_out else text

    def say(self, kind: str, text: str, now_ms: float) -> None:
        """Tell a line, unless one of its kind was told a while ago."""
        line = self.line(kind, text, now_ms)
        if line is not None and self._note is not None:
            self._note(line)
