"""Virtual time: one queue of events, which stands in for clocks, timers and threads.

Rules: nothing happens but in `step`; events come in the order of their times, and those of one
time in the order in which they were asked for; time never goes back.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

Action = Callable[[], None]

EPOCH_MS: Final = 1_700_000_000_000
"""What people's clocks show when a simulation begins."""


class Timer:
    """Something that will be done, unless it is cancelled."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        self.action = None


class Time:
    """The time of a whole simulation, in which every machine lives."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._events: list[tuple[float, int, Timer]] = []
        self._asked = 0

    def at(self, when_ms: float, action: Action) -> Timer:
        """Do `action` at a time that is not past."""
        assert when_ms >= self.now_ms
        self._asked += 1
        timer = Timer(action)
        heapq.heappush(self._events, (when_ms, self._asked, timer))
        return timer

    def after(self, delay_ms: float, action: Action) -> Timer:
        return self.at(self.now_ms + delay_ms, action)

    def step(self) -> bool:
        """Go on to the next event and let it happen; False when there is none."""
        while self._events:
            when_ms, _, timer = heapq.heappop(self._events)
            if timer.action is not None:
                self.now_ms = when_ms
                timer.action()
                return True
        return False

    def run(self, until_ms: float) -> None:
        """Let everything happen that is due by `until_ms`, and make it that time."""
        while self._events and self._events[0][0] <= until_ms:
            self.step()
        self.now_ms = max(self.now_ms, until_ms)


class VirtualClock:
    """The two clocks of one machine, which may run fast or slow; its wall clock may jump."""

    def __init__(self, time: Time, rate: float = 1.0, booted_ms: float = 0.0) -> None:
        self._time = time
        self._rate = rate
        self._ahead_ms = 0
        self._origin_ms = time.now_ms * rate - booted_ms

    def monotonic_ms(self) -> float:
        return self._time.now_ms * self._rate - self._origin_ms

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._time.now_ms * self._rate) + self._ahead_ms

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock; the other one does not care."""
        self._ahead_ms += by_ms

    def reboot(self, booted_ms: float = 0.0) -> None:
        """The monotonic clock begins anew."""
        self._origin_ms = self._time.now_ms * self._rate - booted_ms

    def after(self, delay_ms: float, action: Action) -> Timer:
        """Do `action` once this machine's clock has gone on by `delay_ms`."""
        return self._time.after(delay_ms / self._rate, action)
