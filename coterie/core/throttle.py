"""How fast clients are let in: tokens that come back with time, and chance when they run out.

It is ZooKeeper's connection throttle. Rules:
- each ConnectRequest takes tokens, or is turned away without an answer: clients try the next
  server then, or this one later;
- where it is asked for, the chance to be turned away though there are tokens rises while there
  are none, and falls while few are out (the BLUE of routers), so that those who are turned away
  do not all come back at one moment.
Times are whole milliseconds, and what does not make a token is lost, as in ZooKeeper. The dice are
`chance`, a number from 0 to below 1; without any nobody is turned away by chance.
"""

from __future__ import annotations

from collections.abc import Callable

from coterie.config import Config


class Throttle:
    """The tokens of one server. Without a number of tokens everybody is let in."""

    def __init__(self, config: Config) -> None:
        weighs = config.throttle_weighs
        self.new_weight = config.throttle_new_weight if weighs else 1
        """What a new session takes."""
        self.renewed_weight = config.throttle_renewed_weight if weighs else 1
        """What a session takes that is taken up again."""
        self.chance: Callable[[], float] | None = None
        self.deficit_max = 0
        """How many tokens were out at most."""
        self.drop = 0.0
        """How likely it is to be turned away by chance."""
        # As configured, tokens are of new sessions.
        self._tokens_max = config.throttle_tokens * self.new_weight
        self._fill_count = config.throttle_fill_count * self.new_weight
        self._fill_ms = config.throttle_fill_ms
        self._tokens = self._tokens_max
        self._filled_ms = 0
        self._freeze_ms = config.throttle_freeze_ms
        self._judged_ms = 0
        self._increase = config.throttle_drop_increase
        self._decrease = config.throttle_drop_decrease
        self._few = int(self._tokens_max * config.throttle_decrease_ratio + 0.5)

    def admits(self, weight: int, now_ms: float) -> bool:
        """Whether a client is let in now; then its tokens are taken."""
        if not self._tokens_max:
            return True
        now = int(now_ms)
        passed_ms = now - self._filled_ms
        if passed_ms > self._fill_ms:
            back = passed_ms * self._fill_count // self._fill_ms
            self._tokens = min(self._tokens + back, self._tokens_max)
            self._filled_ms = now
        if self._freeze_ms != -1 and not self._lucky(now):
            return False
        if self._tokens < weight:
            return False
        self._tokens -= weight
        self.deficit_max = max(self.deficit_max, self._tokens_max - self._tokens)
        return True

    def _lucky(self, now: int) -> bool:
        if now - self._judged_ms > self._freeze_ms:
            if not self._tokens and self.drop < 1:
                self.drop = min(self.drop + self._increase, 1.0)
            elif self._tokens_max - self._tokens <= self._few and self.drop > 0:
                self.drop = max(self.drop - self._decrease, 0.0)
            self._judged_ms = now
        return self.chance is None or self.chance() >= self.drop
