"""A resource that fencing tokens guard, and what recipes promise to those who hold one.

`Sessions` knows from the txns themselves which sessions live; a `Guard` is told of every grant by
the program that has got it. Rules, each a violation when it is broken:
- no two grants bear the same token;
- where one may hold at a time, no other holds whose session lives; where some may, not more;
- a grant to a session that lives bears a bigger token than all that were told of before it, where
  one may hold at a time;
- who holds is told when the session is over: at the latest when a server says so, and when the
  holder's own clock says so, if its process runs;
- the resource does nothing for a token that is smaller than the biggest it has seen.
A program that stands still or has crashed cannot be told; that is what the tokens are for. Nor can
one for some ticks whose server is cut off from its leader, and has not noticed yet (`deaf_ms`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, Protocol

from coterie.testing.clock import Time
from coterie.testing.history import Violation

_SOON_MS: Final = 1.0
"""How long a program may take to let go once it is told."""


class Holder(Protocol):
    """A program that holds something."""

    name: str
    ran_ms: float
    """Since when its process runs without a pause."""

    @property
    def running(self) -> bool:
        """Whether its process runs: it has not crashed and does not stand still."""

    def expires_ms(self, session_id: int) -> float | None:
        """When a session of its is over by its own clock; None if it has another now."""


class Witness(Protocol):
    """Who is told of what comes to pass."""

    time: Time

    def note(self, kind: str, *facts: object) -> None: ...

    def mark(self, name: str) -> None: ...


class Sessions:
    """Which sessions have ended, by the one order of txns."""

    def __init__(self) -> None:
        self._ended_ms: dict[int, float] = {}

    def ended(self, session_id: int, now_ms: float) -> None:
        self._ended_ms.setdefault(session_id, now_ms)

    def alive(self, session_id: int) -> bool:
        return session_id not in self._ended_ms

    def ended_ms(self, session_id: int) -> float:
        """When a session has ended; infinite if it has not."""
        return self._ended_ms.get(session_id, float("inf"))


@dataclass(eq=False, slots=True)
class Holding:
    """One grant, from when its holder was told until he has let go."""

    holder: Holder
    token: int
    session_id: int
    shared: bool
    open: bool = True
    expires_ms: float = float("inf")
    """When its session is over by its holder's clock, as far as was heard."""


class Tokens:
    """The biggest tokens so far. Those who share need not come in order among themselves."""

    def __init__(self) -> None:
        self.biggest = self._exclusive = 0

    def add(self, holding: Holding) -> None:
        self.biggest = max(self.biggest, holding.token)
        if not holding.shared:
            self._exclusive = max(self._exclusive, holding.token)

    def stale(self, holding: Holding) -> bool:
        return holding.token < (self._exclusive if holding.shared else self.biggest)


class Guard:
    """A resource that `room` may hold at a time, or any number that share it."""

    def __init__(
        self,
        name: str,
        witness: Witness,
        sessions: Sessions,
        dice: Random,
        room: int = 1,
        deaf_ms: float = 0.0,
    ) -> None:
        self.name = name
        self._deaf_ms = deaf_ms
        self.grants = 0
        self._witness = witness
        self._sessions = sessions
        self._dice = dice
        self._room = room
        self._holders: dict[int, str] = {}
        """Who was granted each token."""
        self._granted = Tokens()
        self._seen = Tokens()
        self._holdings: list[Holding] = []

    def granted(
        self, holder: Holder, token: int, session_id: int, *, shared: bool = False
    ) -> Holding:
        """A program has been told that it holds the resource."""
        self._witness.note("holds", holder.name, self.name, token)
        self._witness.mark("a grant")
        self.grants += 1
        if token in self._holders:
            raise Violation(
                f"{self.name}: {holder.name} has token {token:#x}, as {self._holders[token]} had"
            )
        self._holders[token] = holder.name
        made = Holding(holder, token, session_id, shared)
        if self._sessions.alive(session_id):
            self._admit(made)
        else:
            self._witness.mark("a grant came after the end of its session")
        self._granted.add(made)
        self._holdings = [each for each in self._holdings if each.open]
        self._holdings.append(made)
        return made

    @property
    def newest(self) -> int:
        """The biggest token that anybody was told of."""
        return self._granted.biggest

    def _admit(self, made: Holding) -> None:
        others = [
            each
            for each in self._holdings
            if each.open
            and self._sessions.alive(each.session_id)
            and not (each.shared and made.shared)
        ]
        if len(others) >= self._room:
            names = ", ".join(f"{each.holder.name} ({each.token:#x})" for each in others)
            raise Violation(
                f"{self.name}: {made.holder.name} ({made.token:#x}) holds what {names} hold"
            )
        if self._room == 1 and self._granted.stale(made):
            raise Violation(
                f"{self.name}: {made.holder.name} has token {made.token:#x} after a bigger one"
            )

    def let_go(self, holding: Holding) -> None:
        """A program knows that it does not hold the resource any more, or wants it no more."""
        if holding.open:
            holding.open = False
            self._witness.note("lets go", holding.holder.name, self.name, holding.token)

    def use(self, holding: Holding, delay_ms: float, tell: Callable[[bool], object]) -> None:
        """Ask the resource to do something; it says whether it has, a while later."""

        def arrives() -> None:
            stale = self._room == 1 and self._seen.stale(holding)
            if stale:
                self._witness.note("refuses", self.name, holding.holder.name, holding.token)
                self._witness.mark("a stale token was refused")
            self._seen.add(holding)
            time.after(self._dice.random() * delay_ms, partial(_tell, tell, not stale))

        time = self._witness.time
        time.after(self._dice.expovariate(1 / delay_ms), arrives)

    def look(self) -> None:
        """Everybody who holds it has to have been told what there is to be told."""
        now_ms = self._witness.time.now_ms
        for each in self._holdings:
            if not each.open or not each.holder.running:
                continue
            expires_ms = each.holder.expires_ms(each.session_id)
            if expires_ms is not None:
                each.expires_ms = expires_ms
            if each.holder.ran_ms + _SOON_MS > now_ms:
                continue
            if self._sessions.ended_ms(each.session_id) + self._deaf_ms + _SOON_MS < now_ms:
                raise Violation(f"{each.holder.name} holds {self.name}: its session has ended")
            if each.expires_ms + _SOON_MS < now_ms:
                raise Violation(
                    f"{each.holder.name} holds {self.name}: its session is over by its own clock"
                )


def _tell(tell: Callable[[bool], object], done: bool) -> None:
    tell(done)
