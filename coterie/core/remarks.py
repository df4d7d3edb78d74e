"""Lines for the operator that clients can cause at will: one of each kind in a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

EVERY_MS: Final = 60_000


class Remarks:
    """Passes lines on to `note`, and says with the next one how many of its kind were left out."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._due_ms: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def say(self, kind: str, line: str, now_ms: float) -> None:
        """Tell a line, unless one of its kind was told in the last minute."""
        if now_ms < self._due_ms.get(kind, 0.0):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._due_ms[kind] = now_ms + EVERY_MS
        left_out = self._left_out.pop(kind, 0)
        self._note(f"{line} (and {left_out} more since this was last said)" if left_out else line)
