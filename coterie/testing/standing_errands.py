"""Errands of those who are there: members of a group, instances of a service, shares of some work.

What is checked when all is well: everybody's list shows all who are there, each once and with what
he said last, and nobody who has left; every partition is one member's. At any moment: no name is
two sessions', no list goes back in time, and no partition is worked on by two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from coterie.recipes.discovery import Discovery
from coterie.recipes.membership import Group
from coterie.recipes.partitioner import Partitioner, Share
from coterie.testing.errand import Errand, guard_of, own_name
from coterie.testing.history import Violation
from coterie.testing.programs import Program, Work

if TYPE_CHECKING:
    from coterie.testing.recipes import RecipeSimulation

_CONTENDED: Final = "chief"
"""A name that everybody wants to have."""


class Place(Protocol):
    """What a recipe gives who is to be on a list."""

    @property
    def present(self) -> bool: ...

    async def enter(self) -> Any: ...

    async def leave(self, error: BaseException | None) -> None: ...


class Standing(Errand):
    """Each stands in a list that all follow, leaves it and comes back."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.standers: dict[str, Stander] = {}
        """By what each calls himself: who has crashed is not among them."""
        self.said = 0

    def stander(self, program: Program) -> Stander:
        raise NotImplementedError

    def work(self, program: Program) -> Work:
        made = self.standers[own_name(program)] = self.stander(program)
        return made

    def expected(self) -> dict[str, object]:
        """What everybody has to come to know."""
        return {s.key: s.says for s in self.standers.values() if s.place is not None}

    def look(self) -> None:
        holders: dict[str, Program] = {}
        for stander in self.standers.values():
            if not stander.program.running:
                continue
            stander.look()
            for name, place in stander.places.items():
                session_id = stander.client.session_id if place.present else 0
                if not session_id or not self.simulation.sessions.alive(session_id):
                    continue
                if name in holders:
                    two = f"{holders[name].name} and {stander.program.name}"
                    raise Violation(f"{two} are both {name}")
                holders[name] = stander.program


class Stander(Work):
    """One who stands in the list, or not."""

    def __init__(self, program: Program, errand: Standing) -> None:
        super().__init__(program)
        self.errand = errand
        self.name = own_name(program)
        self.place: Place | None = None
        """Where he stands, from when he knows of it until he wants it no more."""
        self.places: dict[str, Place] = {}
        """All that he has, or may have, by name."""
        self.says: object = None
        """What he said last."""

    @property
    def key(self) -> str:
        """How he is named on the list."""
        return self.name

    def join(self, name: str) -> tuple[Place, object]:
        """A place, and what it says of its holder."""
        raise NotImplementedError

    async def change(self) -> None:
        """Say something else."""
        raise NotImplementedError

    async def refresh(self) -> None:
        """Let the list be as new as what was written before."""
        raise NotImplementedError

    def listed(self) -> tuple[bool, dict[str, object]]:
        """Whether the list is as new as can be, and who is on it."""
        raise NotImplementedError

    def look(self) -> None:
        """Raises `Violation` if the list is not what it may be."""

    async def round(self) -> None:
        choice = self.program.dice.randrange(5)
        async with asyncio.timeout(self.program.patience_s(0.3)):
            if choice == 0:
                await self._contend()
            elif self.place is None:
                await self._stand()
            elif choice == 1:
                await self._leave()
            else:
                await self.change()
                self.program.simulation.mark("one who is there said something else")

    async def _stand(self) -> None:
        self.program.doing = "joins"
        place, says = self.join(self.name)
        self.places[self.name] = place
        await place.enter()
        self.place, self.says = place, says
        session_id = self.client.session_id
        if not self._has(place, session_id):
            return
        await self.refresh()
        _, listed = self.listed()
        if self.key not in listed and self._has(place, session_id):
            self.program.simulation.failed(
                Violation(f"{self.program.name} has joined, and is not on its own list")
            )

    def _has(self, place: Place, session_id: int) -> bool:
        return place.present and self.client.session_id == session_id

    async def _leave(self) -> None:
        self.program.doing = "parts"
        place, self.place = self.place, None
        assert place is not None
        await place.leave(None)
        self.program.simulation.mark("one who was there has left")

    async def _contend(self) -> None:
        self.program.doing = f"wants to be {_CONTENDED}"
        place, _ = self.join(_CONTENDED)
        self.places[_CONTENDED] = place
        await place.enter()
        try:
            await self.program.pause(0.3)
        finally:
            await place.leave(None)

    async def close(self) -> None:
        if self.place is not None:
            await self._leave()

    def settled(self) -> bool:
        return self.listed() == (True, self.errand.expected())


# A group


class Grouping(Standing):
    """Members of a group."""

    def stander(self, program: Program) -> Stander:
        return _Member(program, self)


class _Member(Stander):
    _group: Group

    async def open(self) -> None:
        self._group = Group(self.client, "/group")
        await self._group.enter()
        self._since: dict[str, int] = {}

    def _speech(self) -> bytes:
        self.errand.said += 1
        return b"%d" % self.errand.said

    def join(self, name: str) -> tuple[Place, object]:
        said = self._speech()
        return self._group.join(name, said), said

    async def change(self) -> None:
        said = self._speech()
        self.says = said
        await self.place.update(said)  # type: ignore[union-attr]

    async def refresh(self) -> None:
        await self._group.look()

    def listed(self) -> tuple[bool, dict[str, object]]:
        members = self._group.members
        return self._group.fresh, {name: member.data for name, member in members.items()}

    def look(self) -> None:
        if "_since" not in vars(self):
            return
        for name, member in self._group.members.items():
            if member.since < self._since.get(name, 0):
                raise Violation(f"{self.program.name} sees {name} as it was before")
            self._since[name] = member.since

    async def close(self) -> None:
        await super().close()
        await self._group.leave(None)


# Services


class Discovering(Standing):
    """Instances of two services, in several versions."""

    services = ("align", "search")
    versions = ("1.0", "1.2", "1.10", "2.0rc1", "2.0")
    """The oldest first, as PEP 440 has it."""

    def stander(self, program: Program) -> Stander:
        return _Instance(program, self)


class _Instance(Stander):
    errand: Discovering
    says: Any
    _services: Discovery

    @property
    def key(self) -> str:
        # Who has crashed may still be there, as an instance of the other.
        return f"{self.says[0]}/{self.name}"

    async def open(self) -> None:
        self._services = Discovery(self.client, "/services")
        await self._services.enter()

    def join(self, name: str) -> tuple[Place, object]:
        dice, errand = self.program.dice, self.errand
        service, version = dice.choice(errand.services), dice.choice(errand.versions)
        if name == _CONTENDED:
            service = errand.services[0]
        errand.said += 1
        said = {"load": errand.said}
        place = self._services.register(
            service, version, host=self.name, port=8080, metadata=said, id=name
        )
        return place, (service, version, self.name, said)

    async def change(self) -> None:
        self.errand.said += 1
        service, version, host, _ = self.says
        self.says = service, version, host, {"load": self.errand.said}
        await self.place.update(load=self.errand.said)  # type: ignore[union-attr]

    async def refresh(self) -> None:
        await self._services.look()

    def listed(self) -> tuple[bool, dict[str, object]]:
        found: dict[str, object] = {}
        for service in self._services.names():
            order = [self.errand.versions.index(e.version) for e in self._services.find(service)]
            if order != sorted(order, reverse=True):
                raise Violation(f"{self.program.name} finds an older version before a newer one")
            for one in self._services.find(service):
                found[f"{service}/{one.id}"] = one.name, one.version, one.host, one.metadata
        return self._services.fresh and not self._services.unreadable, found

    async def close(self) -> None:
        await super().close()
        await self._services.leave(None)


# Shares of some work


class Partitioning(Errand):
    """All work on the partitions of some work, who come and go."""

    count = 3

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.guards = [guard_of(simulation, f"partition {n}") for n in range(self.count)]
        self.sharers: dict[str, _Sharer] = {}

    def work(self, program: Program) -> Work:
        made = self.sharers[own_name(program)] = _Sharer(program, self)
        return made

    def look(self) -> None:
        for guard in self.guards:
            guard.look()

    def shared_out(self) -> bool:
        """Whether every partition is one member's, and nobody has two more than another."""
        held = [sharer.held for sharer in self.sharers.values() if sharer.shares]
        names = sorted(name for each in held for name in each)
        if not held:
            return True
        sizes = [len(each) for each in held]
        return names == [str(n) for n in range(self.count)] and max(sizes) - min(sizes) <= 1


class _Sharer(Work):
    def __init__(self, program: Program, errand: Partitioning) -> None:
        super().__init__(program)
        self._errand = errand
        self._partitioner: Partitioner | None = None

    @property
    def shares(self) -> bool:
        """Whether it takes part."""
        return self._partitioner is not None

    @property
    def held(self) -> Mapping[str, Share]:
        return {} if self._partitioner is None else self._partitioner.held

    async def round(self) -> None:
        dice, program = self.program.dice, self.program
        await self._leave()
        program.doing = "joins"
        name = own_name(program) if dice.random() < 0.5 else None
        partitioner = Partitioner(
            self.client, "/parts", self._errand.count, self._do, name=name, retry_s=0.1
        )
        async with asyncio.timeout(program.patience_s(0.3)):
            await partitioner.enter()
        self._partitioner = partitioner
        program.doing = "shares"
        await program.pause(1.0)
        if dice.random() < 0.3:
            await self._leave()

    async def _leave(self) -> None:
        partitioner, self._partitioner = self._partitioner, None
        if partitioner is not None:
            self.program.doing = "parts"
            await partitioner.leave(None)

    async def _do(self, share: Share) -> None:
        program, guard = self.program, self._errand.guards[int(share.partition)]
        holding = guard.granted(program, share.token, share.grant.session_id)
        try:
            while True:
                await program.pause(0.3)
                if not await program.use(guard, holding):
                    return
        finally:
            guard.let_go(holding)

    async def close(self) -> None:
        await self._leave()

    def settled(self) -> bool:
        return self._errand.shared_out()
