"""SEAM 1: monotonic and wall time, and the one place where the system's randomness is read."""

from __future__ import annotations

import os
import time
from random import Random, SystemRandom
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that only goes forward, and one that people read."""

    def monotonic_ms(self) -> float:
        """Milliseconds since some moment; never goes back."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970; may jump."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic_ms(self) -> float:
        return time.monotonic() * 1000.0

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


def show_time(wall_ms: int) -> str:
    """A time as Java's `Date` prints it, in UTC."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(wall_ms / 1000))


def dice() -> Random:
    """A generator that nobody can foresee; the only one that is not handed down."""
    return Random(os.urandom(32))


def secret_dice() -> Random:
    """As `dice`, also for who has seen many throws: slower, for what guards a password."""
    return SystemRandom()


def show_instant(wall_ms: int) -> str:
    """A time as ISO 8601 has it, in UTC, to the millisecond."""
    seconds, ms = divmod(wall_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03}Z"
