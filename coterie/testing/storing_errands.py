"""Errands about what is stored for others: settings, what one puts for all to find, and keys.

What is checked: what was said to be stored is, and what was said not to be is not; nobody's copy
goes back in time; when all is well everybody's copy is what is stored.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from coterie.errors import NodeExistsError, OutcomeUnknown
from coterie.recipes.configuration import Configuration
from coterie.recipes.key_store import KeyStore
from coterie.recipes.rendezvous import Rendezvous
from coterie.testing.errand import Errand, own_name
from coterie.testing.history import Violation
from coterie.testing.programs import DOCUMENTED, Program, Work

if TYPE_CHECKING:
    from coterie.testing.recipes import RecipeSimulation

# Settings


@dataclass(frozen=True)
class Settings:
    """What all change."""

    count: int = 0
    by: str = ""


class Configuring(Errand):
    """Each raises a number among the settings that all share."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.told: set[int] = set()
        self.unknown = 0
        self.setters: dict[str, _Setter] = {}

    def work(self, program: Program) -> Work:
        made = self.setters[own_name(program)] = _Setter(program, self)
        return made

    def stored(self) -> int:
        """The number, in the newest tree."""
        node = self.simulation.tree.nodes.get(b"/settings")
        return 0 if node is None else int(json.loads(node.data or b"{}")["count"])

    def look(self) -> None:
        for setter in self.setters.values():
            if setter.program.running:
                setter.look()

    def end(self) -> None:
        count = self.stored()
        if not len(self.told) <= count <= len(self.told) + self.unknown:
            raise Violation(
                f"{len(self.told)} updates were made, and {self.unknown} perhaps; it is {count}"
            )


class _Setter(Work):
    def __init__(self, program: Program, errand: Configuring) -> None:
        super().__init__(program)
        self._errand = errand
        self._config: Configuration[Settings] | None = None
        self._seen = (-1, 0)
        self._told = Settings()
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._seen = (-1, 0)
        config = Configuration(self.client, "/settings", Settings)
        await config.enter()
        self._config, self._told = config, config.current
        self._listening = asyncio.get_running_loop().create_task(self._listen(config))

    async def _listen(self, config: Configuration[Settings]) -> None:
        async for settings in config.changes():
            if settings.count < self._told.count:
                raise Violation(f"{self.program.name} is told of settings from before")
            self._told = settings

    def _raised(self, settings: Settings) -> Settings:
        return replace(settings, count=settings.count + 1, by=self.program.name)

    async def round(self) -> None:
        assert self._config is not None
        errand = self._errand
        errand.unknown += 1
        try:
            async with asyncio.timeout(self.program.patience_s(0.3)):
                stored = await self._config.update(self._raised)
        except (OutcomeUnknown, TimeoutError):
            raise
        except DOCUMENTED:
            errand.unknown -= 1
            raise
        errand.unknown -= 1
        failed = self.program.simulation.failed
        if stored.count in errand.told:
            failed(Violation(f"two were told that they made it {stored.count}"))
        errand.told.add(stored.count)
        if self._config.current.count < stored.count:
            failed(Violation(f"{self.program.name} does not see what it has stored"))

    def look(self) -> None:
        if self._config is None:
            return
        seen = self._config.version, self._config.current.count
        if seen[0] < self._seen[0] or seen[1] < self._seen[1]:
            raise Violation(f"{self.program.name} had {self._seen}, and has {seen} now")
        if self._config.problem is not None:
            raise Violation(f"{self.program.name} cannot read it: {self._config.problem}")
        self._seen = seen

    async def close(self) -> None:
        assert self._config is not None
        assert self._listening is not None
        config, self._config = self._config, None
        self._listening.cancel()
        await config.leave(None)

    def settled(self) -> bool:
        config, stored = self._config, self._errand.stored()
        if config is None or not config.fresh:
            return False
        return config.current.count == self._told.count == stored


# A place where something is put


class Meeting(Errand):
    """One puts something, the others wait for it, at one place after the other."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.guests: dict[str, _Guest] = {}
        self.tried: dict[int, set[bytes]] = {}
        """What was to be put at each place."""
        self.found: dict[int, bytes] = {}
        """What is there, as the first was told."""
        self.tries = 0

    def work(self, program: Program) -> Work:
        made = self.guests[own_name(program)] = _Guest(program, self)
        return made

    def is_there(self, place: int, data: bytes) -> None:
        """Somebody was told what there is at a place."""
        found = self.found.setdefault(place, data)
        if found != data:
            raise Violation(f"{data!r} is at place {place}, where {found!r} was found")
        if data not in self.tried.get(place, ()):
            raise Violation(f"{data!r} is at place {place}, where nobody has put it")

    def end(self) -> None:
        nodes = self.simulation.tree.nodes
        for place, data in sorted(self.found.items()):
            node = nodes.get(b"/meet/%d" % place)
            if node is None or node.data != data:
                raise Violation(f"{data!r} was found at place {place}, and there is {node}")


class _Guest(Work):
    def __init__(self, program: Program, errand: Meeting) -> None:
        super().__init__(program)
        self._errand = errand
        self._place = 0
        self.waits_at: int | None = None

    def enough(self) -> bool:
        return all(program.served for program in self.program.simulation.programs)

    async def round(self) -> None:
        others = [guest for guest in self._errand.guests.values() if guest is not self]
        waiting = [guest.waits_at for guest in others if guest.waits_at is not None]
        # Somebody has to be left to put what all others wait for.
        if len(waiting) == len(others) or self.program.dice.random() < 0.4:
            place = min(waiting, default=self._place)
            await self._put(place)
        else:
            place = self._place
        await self._get(place)
        self._place = max(self._place, place + 1)

    async def _put(self, place: int) -> None:
        errand, program = self._errand, self.program
        program.doing = f"puts something at {place}"
        errand.tries += 1
        data = b"%s-%d" % (program.name.encode(), errand.tries)
        meeting = Rendezvous(self.client, f"/meet/{place}")
        errand.tried.setdefault(place, set()).add(data)
        try:
            await meeting.put(data)
        except NodeExistsError:
            if errand.found.get(place) == data:
                program.simulation.failed(Violation(f"{data!r} was put, it was said it was not"))
            errand.tried[place].discard(data)
            return
        self._note(place, data)

    async def _get(self, place: int) -> None:
        program = self.program
        program.doing = f"waits at {place}"
        self.waits_at = place
        patience_s = program.patience_s(1.0 if program.served else 0.3)
        try:
            data = await Rendezvous(self.client, f"/meet/{place}").get(patience_s)
        finally:
            self.waits_at = None
        self._note(place, data)
        program.simulation.mark("something was found where it was put")

    def _note(self, place: int, data: bytes) -> None:
        try:
            self._errand.is_there(place, data)
        except Violation as violation:
            self.program.simulation.failed(violation)


# Keys


class StoredKey(NamedTuple):
    """What is stored of a key, as far as it matters here."""

    data: bytes
    valid_from: float
    valid_until: float | None
    revoked: bool


class Keying(Errand):
    """All add, rotate and revoke the keys of two names, and look them up."""

    names = ("alice", "bob")

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.holders: dict[str, _KeyHolder] = {}
        self.made: dict[str, set[bytes]] = {name: set() for name in self.names}
        """What was added, as was told."""
        self.unknown: set[bytes] = set()
        """What was perhaps."""
        self.ends: list[tuple[str, bytes, float]] = []
        """By what the keys before it were replaced, and until when these hold."""
        self.revoked: set[bytes] = set()
        self.keys = 0

    def work(self, program: Program) -> Work:
        made = self.holders[own_name(program)] = _KeyHolder(program, self)
        return made

    def now_s(self) -> float:
        return self.simulation.time.now_ms / 1000.0

    def stored(self, name: str) -> list[StoredKey]:
        """The keys of a name, in the newest tree."""
        node = self.simulation.tree.nodes.get(b"/keys/%s" % name.encode())
        keys = [] if node is None else json.loads(node.data or b"{}")["keys"]
        return [
            StoredKey(
                base64.b64decode(key["key"]),
                key["valid_from"],
                key.get("valid_until"),
                key.get("revoked_at") is not None,
            )
            for key in keys
        ]

    def look(self) -> None:
        for holder in self.holders.values():
            if holder.program.running:
                holder.look()

    def end(self) -> None:
        for name in self.names:
            keys = {key.data: key for key in self.stored(name)}
            for data in sorted(self.made[name] - keys.keys()):
                raise Violation(f"{data!r} was added, it was said, and is nowhere")
            for data in sorted(keys.keys() - self.made[name] - self.unknown):
                raise Violation(f"{data!r} was not added, it was said, and it was")
            for data in sorted(self.revoked & keys.keys()):
                if not keys[data].revoked:
                    raise Violation(f"{data!r} was revoked, and holds")
        for name, new, end in self.ends:
            self._ended(name, new, end)

    def _ended(self, name: str, new: bytes, end: float) -> None:
        """All that came before a key that has replaced them has to end in time."""
        for key in self.stored(name):
            if key.data == new:
                return
            outlasts = key.valid_until is None or key.valid_until > end
            if outlasts and not key.revoked and key.valid_from < end:
                raise Violation(f"{new!r} has replaced {key.data!r}, which holds after {end}")


class _KeyHolder(Work):
    def __init__(self, program: Program, errand: Keying) -> None:
        super().__init__(program)
        self._errand = errand
        self._store: KeyStore | None = None

    async def open(self) -> None:
        store = KeyStore(self.client, "/keys", now=self._errand.now_s)
        await store.enter()
        self._store = store

    async def round(self) -> None:
        dice, store = self.program.dice, self._store
        assert store is not None
        name = dice.choice(self._errand.names)
        choice = dice.randrange(6)
        keys = store.all(name)
        if choice == 0 and len(keys) > 1:
            # Not the last: somebody may need it.
            old = dice.choice(keys[:-1])
            self.program.doing = f"revokes {old.data!r}"
            await store.revoke(name, old.id)
            self._errand.revoked.add(old.data)
            self.program.simulation.mark("a key was revoked")
        elif choice == 1:
            await self._look_up(store, name)
        else:
            await self._add(store, name, rotates=choice > 2)

    async def _add(self, store: KeyStore, name: str, *, rotates: bool) -> None:
        errand, program = self._errand, self.program
        errand.keys += 1
        data = b"key-%d" % errand.keys
        program.doing = f"adds {data!r}"
        overlap_s = program.dice.choice((0.0, 1.0, 10.0)) * program.simulation.timeout_ms / 1000
        errand.unknown.add(data)
        try:
            async with asyncio.timeout(program.patience_s(0.3)):
                if rotates:
                    key = await store.rotate(name, data, overlap_s=overlap_s)
                    errand.ends.append((name, data, key.valid_from + overlap_s))
                    program.simulation.mark("a key was rotated")
                else:
                    await store.add(name, data)
        except (OutcomeUnknown, TimeoutError):
            raise
        except DOCUMENTED:
            errand.unknown.discard(data)
            raise
        errand.unknown.discard(data)
        errand.made[name].add(data)

    async def _look_up(self, store: KeyStore, name: str) -> None:
        self.program.doing = f"looks up {name}"
        made = set(self._errand.made[name])
        await store.look()
        missing = made - {key.data for key in store.all(name)}
        if missing:
            self.program.simulation.failed(
                Violation(f"{self.program.name} does not know {min(missing)!r}")
            )

    def look(self) -> None:
        if self._store is None:
            return
        for name in self._errand.names:
            if self._store.all(name) and not self._store.valid(name):
                raise Violation(f"{self.program.name} knows no key of {name} that holds")

    async def close(self) -> None:
        store, self._store = self._store, None
        assert store is not None
        await store.leave(None)

    def settled(self) -> bool:
        store = self._store
        if store is None or not store.fresh:
            return False
        return all(self._known(store, n) == self._errand.stored(n) for n in self._errand.names)

    def _known(self, store: KeyStore, name: str) -> list[StoredKey]:
        return [
            StoredKey(key.data, key.valid_from, key.valid_until, key.revoked_at is not None)
            for key in store.all(name)
        ]
