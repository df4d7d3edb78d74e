"""Who is there to talk to: the components of a gateway, by kind, version and flavor.

    async with Directory(zk, speaks={"worker": ">=2,<4"}, zone="eu") as directory:
        one = await directory.wait_for("worker", flavor="gpu", by=directory.least_loaded)
        same = directory.choose("store", by=directory.by_hash("experiment 17"))

It is the discovery recipe with the gateway's rules:
- found is who serves, is healthy, and fits: is in the range that this directory speaks, and speaks
  the version of who asks, if either is stated;
- who says nothing of his state serves, who says nothing of his health is healthy: programs that
  only know the recipe can be found;
- the last good answer outlives an outage of the ensemble, and `fresh` and `stale_s` tell;
- nobody there, and somebody who does not fit, are two errors.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import SessionExpiredError
from coterie.gateway.compatibility import (
    Mismatch,
    Party,
    check_ranges,
    mismatches,
    party_of,
)
from coterie.recipes.discovery import Choice, Discovery, Instance
from coterie.recipes.names import znode_name
from coterie.recipes.recipe import Recipe

if TYPE_CHECKING:
    from random import Random

    from coterie.recipes.following import Changes

T = TypeVar("T")

STARTING: Final = "starting"
SERVING: Final = "serving"
DRAINING: Final = "draining"

_NAMED_MAX: Final = 5


class IncompatibleError(LookupError):
    """Somebody is there, and does not fit: the message names who, the version and the range."""

    def __init__(self, message: str, found: Sequence[Mismatch] = ()) -> None:
        super().__init__(message)
        self.mismatches = tuple(found)


class Directory(Recipe["Directory"]):
    """The components below `root`. Between `async with` it is kept up to date."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        root: str = "/gateway",
        *,
        speaks: Mapping[str, str] | None = None,
        zone: str = "",
        kind: str = "",
        version: str = "",
        dice: Random | None = None,
    ) -> None:
        """`speaks` are the versions of partners that the asker speaks, by kind; `kind` and
        `version` what he is himself, if he is a component. Raises `ValueError` for ranges that
        PEP 440 does not know."""
        super().__init__(zk, f"{root.rstrip('/')}/services")
        self.zone = zone
        self.services = Discovery(zk, self.path, dice=dice)
        """The recipe, with all that is registered."""
        self._dice = self.zk.dice if dice is None else dice
        self._asker = Party("who asks", kind, version, check_ranges(speaks or {}))

    async def enter(self) -> Directory:
        """Know who is there. Raises what a read raises."""
        await self.services.enter()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self.services.leave(error)

    # Finding

    def find(self, kind: str, versions: str = "", *, flavor: str | None = None) -> list[Instance]:
        """All of a kind that serve, are healthy and fit, the newest version first.

        `versions` is a range as in ">=2.10,<3", or nothing for all. Raises `ValueError` for one
        that PEP 440 does not know.
        """
        found = self.services.find(kind, versions, flavor=flavor)
        return [one for one in found if available(one) and self._fits(one)]

    def everyone(self, kind: str = "") -> list[Instance]:
        """All that are registered, of a kind or of any, whatever their state."""
        kinds = [kind] if kind else self.services.names()
        return [one for name in kinds for one in self.services.find(name)]

    def choose(
        self,
        kind: str,
        versions: str = "",
        *,
        flavor: str | None = None,
        by: Choice | None = None,
    ) -> Instance:
        """One of those that `find` gives: any, or the one that `by` chooses.

        Raises `LookupError` when nobody is there, and `IncompatibleError` when somebody is and
        does not fit.
        """
        found = self.find(kind, versions, flavor=flavor)
        if not found:
            raise self._nobody(kind, versions, flavor)
        return self.any(found) if by is None else by(found)

    async def wait_for(
        self,
        kind: str,
        versions: str = "",
        *,
        flavor: str | None = None,
        by: Choice | None = None,
        timeout_s: float | None = None,
    ) -> Instance:
        """As `choose`, waiting for somebody who fits: whoever starts first.

        Raises `TimeoutError`, which says what was there instead.
        """
        why: LookupError | None = None

        def look() -> Instance | None:
            nonlocal why
            try:
                return self.choose(kind, versions, flavor=flavor, by=by)
            except LookupError as error:
                why = error
                return None

        try:
            async with asyncio.timeout(timeout_s):
                return await self.until(look)
        except TimeoutError:
            raise TimeoutError(f"not within {timeout_s} s: {why}") from why

    async def until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, looked for again whenever the directory changes.

        Raises `SessionExpiredError` when it, or the client, is closed meanwhile.
        """
        changes = cast(AsyncGenerator[object, None], aiter(self.services.changes()))
        async with aclosing(changes):
            while (found := look()) is None:
                if await anext(changes, None) is None:
                    raise SessionExpiredError(self.path, "wait")
        return found

    def _fits(self, one: Instance) -> bool:
        """Not if it states what cannot be understood: it may mean that it does not."""
        try:
            return not mismatches(self._asker, party_of(one))
        except ValueError:
            return False

    def _nobody(self, kind: str, versions: str, flavor: str | None) -> LookupError:
        what = " ".join(part for part in (kind, versions, flavor or "") if part)
        there = [one for one in self.services.find(kind, flavor=flavor) if available(one)]
        if not there:
            return LookupError(f"nobody offers {what} at {self.path}")
        why: list[str] = []
        found: list[Mismatch] = []
        for one in there[:_NAMED_MAX]:
            try:
                party = party_of(one)
            except ValueError as error:
                why.append(f"{self.place(one)}: {error}")
                continue
            wanted = Mismatch("who asks", f"{kind} {versions}", party.who, one.version)
            reasons = mismatches(self._asker, party) or [wanted]
            found.extend(reasons)
            why.extend(map(str, reasons))
        if len(there) > _NAMED_MAX:
            why.append(f"and {len(there) - _NAMED_MAX} more")
        return IncompatibleError(f"nobody fits {what} at {self.path}: {'; '.join(why)}", found)

    # Ways to choose

    def any(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: by chance."""
        return self._dice.choice(found)

    def next_one(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: one after the other."""
        return self.services.next_one(found)

    def least_loaded(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: one with the smallest load; those that tell none come last."""
        smallest = min(map(load_of, found))
        return self._dice.choice([one for one in found if load_of(one) == smallest])

    def lighter_of_two(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: the less loaded of two drawn by chance. Loads are told late: where many
        choose at once, all would run to the least loaded one."""
        return self.least_loaded(self._dice.sample(found, min(2, len(found))))

    def nearest(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: the least loaded of this zone, of all if there is none in it."""
        near = [one for one in found if self.zone and one.metadata.get("zone") == self.zone]
        return self.least_loaded(near or found)

    def by_hash(self, key: str) -> Choice:
        """For `choose`: the same key gets the same instance, by its id, for as long as that is
        found; when it goes, only its keys move (rendezvous hashing)."""

        def weight(one: Instance) -> bytes:
            return sha256(f"{one.id}\0{key}".encode("utf-8", "surrogatepass")).digest()

        return lambda found: max(found, key=weight)

    # What the answers are worth

    @property
    def fresh(self) -> bool:
        """Whether answers are as new as what this client's server has told of."""
        return self.services.fresh

    @property
    def stale_s(self) -> float:
        """For how many seconds that has not been known; 0 while it is."""
        return self.services.stale_s

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Entries that cannot be understood, or state what cannot: their paths, and why."""
        stated: list[str] = []
        for one in self.everyone():
            try:
                party_of(one)
            except ValueError as error:
                stated.append(f"{self.place(one)}: {error}")
        return (*self.services.unreadable, *stated)

    def place(self, one: Instance) -> str:
        """The path of an instance's znode."""
        return place(self.path, one.name, one.id)

    def changes(self) -> Changes[Mapping[str, tuple[Instance, ...]]]:
        """Everyone, by kind, every time that something has changed, from now on."""
        return self.services.changes()

    async def look(self) -> None:
        """Let the next answers be as new as anything that was written before this call. Costs a
        round trip to the leader."""
        await self.services.look()


def place(services: str, kind: str, id: str) -> str:
    """The path of an instance's znode below that of all services."""
    return f"{services.rstrip('/')}/{znode_name(kind)}/{znode_name(id)}"


def available(one: Instance) -> bool:
    """Whether it serves and is healthy, as far as it says."""
    serves = one.metadata.get("state", SERVING) == SERVING
    # What `coterie register --meta healthy=false` says is text.
    return serves and one.metadata.get("healthy", True) not in (False, "false")


def load_of(one: Instance) -> float:
    """The load that an instance tells, as a number; infinite if it tells none."""
    value: Any = one.metadata.get("load")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.inf
    try:
        load = float(value)
    except (ValueError, OverflowError):
        return math.inf
    return load if load == load else math.inf
