"""What may become of a file when the tree says something else: the rails of the host agent.

Pure: the time is an argument, chance a `Random` that is handed in. Rules, for a set of servers:
- an empty set never takes the place of another one;
- a set that is less than half (`share`) of what the file has held within the last `hold_s`, if
  that was `least` or more, waits until it has been so for `hold_s`, or an operator confirms it. It
  is what the file has held lately that counts: sessions end one after the other, and ten servers
  that go one by one are gone as well;
- a set that has changed more than `flaps` times within `flap_window_s` is written every
  `flap_hold_s` at most, with what it is then;
- when half of a large set is another, hosts wait a random part of `jitter_s` each, so that not all
  programs turn to the new servers at once.

Settings know the last rule only, for every change, if they ask for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

Members = frozenset[str]

_NEVER: Final = float("-inf")


@dataclass(frozen=True)
class Rails:
    """How wide they stand."""

    least: int = 5
    share: float = 0.5
    hold_s: float = 300.0
    jitter_s: float = 5.0
    flaps: int = 6
    flap_window_s: float = 60.0
    flap_hold_s: float = 30.0


class Verdict(NamedTuple):
    """What may be done now."""

    write: bool
    reason: str = ""
    """Why not."""
    again_s: float | None = None
    """When to ask again though nothing changes."""
    held: bool = False
    """Whether it is a rail that stops it, and not a pause that will pass."""
    confirmable: bool = False
    """Whether an operator may let it pass."""


GO: Final = Verdict(True)


class SettingsRail:
    """For settings: a pause of random length before each change, if one is asked for."""

    def __init__(self, jitter_s: float, dice: Random, members: Members | None) -> None:
        self._jitter_s = jitter_s
        self._dice = dice
        self._written = members
        self._not_before_s = _NEVER

    def offer(self, members: Members, now_s: float, mark: str = "") -> None:
        """What the tree says. What was not there before does not wait."""
        if self._not_before_s == _NEVER and self._written is not None and self._jitter_s:
            self._not_before_s = now_s + self._dice.uniform(0, self._jitter_s)

    def verdict(self, now_s: float) -> Verdict:
        if now_s < self._not_before_s:
            return Verdict(False, "a moment, as chance will have it", self._not_before_s)
        return GO

    def written(self, members: Members, now_s: float) -> None:
        """The file was written."""
        self.settled(members, now_s)

    def settled(self, members: Members, now_s: float) -> None:
        """The file says what the tree says."""
        self._written = members
        self._not_before_s = _NEVER

    def confirm(self) -> bool:
        """There is nothing that would need it."""
        return False


class SetRail:
    """For a set of servers. `members` is what the file holds; None where there is no file."""

    def __init__(self, rails: Rails, dice: Random, members: Members | None, now_s: float) -> None:
        self.rails = rails
        self._dice = dice
        self._written = members
        self._offered: Members | None = None
        self._mark = ""
        self._sizes: deque[tuple[float, int]] = deque()
        """What the file has held lately: until when, and how many."""
        self._small_since_s: float | None = None
        self._confirmed: Members | None = None
        self._changes: deque[float] = deque()
        self._written_s = _NEVER if members is None else now_s
        self._not_before_s = _NEVER

    def offer(self, members: Members, now_s: float, mark: str = "") -> None:
        """What the tree says; `mark` is another one when there is more to it that has changed. To
        be followed by a look at the `verdict`."""
        if (members, mark) != (self._offered, self._mark):
            if self._offered is not None:
                self._changes.append(now_s)
            self._offered, self._mark = members, mark
            if self._not_before_s == _NEVER and self._is_mass(members):
                self._not_before_s = now_s + self._dice.uniform(0, self.rails.jitter_s)
        self._watch_size(now_s)

    def verdict(self, now_s: float) -> Verdict:
        """Whether what was offered last may be written."""
        assert self._offered is not None, "nothing was offered"
        if not self._offered:
            if self._written is None:
                return Verdict(False, "nobody offers it yet")
            return Verdict(False, "nobody offers it any more: the file stays", held=True)
        self._watch_size(now_s)
        if self._small_since_s is not None and self._offered != self._confirmed:
            due_s = self._small_since_s + self.rails.hold_s
            if now_s < due_s:
                size, before = len(self._offered), self._largest_lately()
                reason = f"only {size} of {before} are left: held"
                return Verdict(False, reason, due_s, held=True, confirmable=True)
        again_s = self._calm_s(now_s)
        if now_s < again_s:
            reason = f"it has changed {len(self._changes)} times lately"
            return Verdict(False, reason, again_s)
        if now_s < self._not_before_s:
            reason = "much has changed: a moment, as chance will have it"
            return Verdict(False, reason, self._not_before_s)
        return GO

    def written(self, members: Members, now_s: float) -> None:
        """The file was written."""
        self._written_s = now_s
        self.settled(members, now_s)

    def settled(self, members: Members, now_s: float) -> None:
        """The file says what the tree says: it was written now, or had not to be."""
        if members != self._written and self._written is not None:
            self._sizes.append((now_s, len(self._written)))
        if self._small_since_s is not None:
            # It was waited for, or confirmed: from here on this is the measure.
            self._sizes.clear()
        self._written = members
        self._small_since_s = self._confirmed = None
        self._not_before_s = _NEVER

    def confirm(self) -> bool:
        """An operator says that the set as it is now is right; False if nothing is held."""
        if self._small_since_s is None or not self._offered:
            return False
        self._confirmed = self._offered
        return True

    def _largest_lately(self) -> int:
        return max([len(self._written or ()), *(size for _, size in self._sizes)])

    def _watch_size(self, now_s: float) -> None:
        while self._sizes and self._sizes[0][0] <= now_s - self.rails.hold_s:
            self._sizes.popleft()
        before, size = self._largest_lately(), len(self._offered or ())
        if before < self.rails.least or size >= before * self.rails.share:
            self._small_since_s = None
        elif self._small_since_s is None:
            self._small_since_s = now_s

    def _is_mass(self, members: Members) -> bool:
        if self._written is None:
            return False
        larger = max(len(members), len(self._written))
        others = max(len(members - self._written), len(self._written - members))
        return larger >= self.rails.least and others >= larger / 2

    def _calm_s(self, now_s: float) -> float:
        while self._changes and self._changes[0] <= now_s - self.rails.flap_window_s:
            self._changes.popleft()
        if len(self._changes) <= self.rails.flaps:
            return _NEVER
        return self._written_s + self.rails.flap_hold_s
