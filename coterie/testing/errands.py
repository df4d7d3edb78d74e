"""What client programs are sent to do in a simulation: one errand a run, shared by all programs.

Each errand says how a round of it goes, and at the end whether what came of all rounds is right.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Protocol

from coterie.errors import BadVersionError, NodeExistsError, OutcomeUnknown
from coterie.recipes.lock import Lock
from coterie.testing.guard import Guard
from coterie.testing.history import Violation
from coterie.testing.programs import DOCUMENTED, Program, Work

if TYPE_CHECKING:
    from coterie.client.client import Client
    from coterie.client.watch import Watch
    from coterie.testing.recipes import RecipeSimulation


class Errand:
    """One kind of work."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        self.simulation = simulation

    def work(self, program: Program) -> Work:
        """What one program does of it."""
        raise NotImplementedError

    def look(self) -> None:
        """Raises `Violation` if something has come to pass that must not."""

    def end(self) -> None:
        """All programs have ended: raises `Violation` if it cannot have come to this."""


# Plain calls: what a client says of a write is true


class Writing(Errand):
    """Each changes one znode when nobody else has changed it since he looked."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.done: set[bytes] = set()
        """What was written, as its writers were told."""
        self.unknown: set[bytes] = set()
        """What may have been written: nobody was told, or the writer has crashed."""
        self.attempts = 0

    def work(self, program: Program) -> Work:
        return _Writer(program, self)

    def end(self) -> None:
        written = self.simulation.written
        for value in sorted(self.done):
            if value not in written:
                raise Violation(f"{value!r} was written, it was said, and is nowhere")
        for value in sorted(written):
            if value and value not in self.done and value not in self.unknown:
                raise Violation(f"{value!r} was not written, it was said, and it was")


class _Writer(Work):
    def __init__(self, program: Program, errand: Writing) -> None:
        super().__init__(program)
        self._errand = errand

    async def open(self) -> None:
        await _make(self, "/value")

    async def round(self) -> None:
        limit_s = self.program.simulation.call_timeout_s
        for _ in range(8):
            _, stat = await self.program.within(limit_s, self.client.get("/value"))
            errand = self._errand
            errand.attempts += 1
            value = b"%s-%d" % (self.program.name.encode(), errand.attempts)
            errand.unknown.add(value)
            try:
                call = self.client.set("/value", value, stat.version)
                await self.program.within(limit_s, call)
            except OutcomeUnknown:
                raise
            except BadVersionError:
                errand.unknown.remove(value)
                continue
            except DOCUMENTED:
                errand.unknown.remove(value)
                raise
            errand.unknown.remove(value)
            errand.done.add(value)
            return


# Watches: what changes is told to all who watch it


class Telling(Errand):
    """Each writes news, and all who watch have to come to know the last."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.news = 0

    def work(self, program: Program) -> Work:
        return _Reader(program, self)


class _Reader(Work):
    def __init__(self, program: Program, errand: Telling) -> None:
        super().__init__(program)
        self._errand = errand
        self._seen = b""
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await _make(self, "/news")
        watch = self.client.watch("/news")
        await watch.__aenter__()
        self._listening = asyncio.get_running_loop().create_task(self._listen(watch))

    async def _listen(self, watch: Watch) -> None:
        async for _ in watch:
            while True:
                try:
                    self._seen = (await self.client.get("/news")).data
                    break
                except DOCUMENTED:
                    await self.program.pause(0.1)

    async def round(self) -> None:
        self._errand.news += 1
        await self.client.set("/news", b"%d" % self._errand.news)

    async def close(self) -> None:
        assert self._listening is not None
        self._listening.cancel()

    def settled(self) -> bool:
        return self._seen == self.program.simulation.last_written


# Holding: one at a time, or a few


class Grant(Protocol):
    """What a recipe gives who may go on."""

    @property
    def token(self) -> int: ...

    @property
    def session_id(self) -> int: ...


class Holding(Errand):
    """Each wants to hold one resource. `hold` says by which recipe."""

    room = 1
    impatience = 0.3
    """How often somebody gives up waiting or holding, at any moment."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        config = simulation.plan.config()
        deaf_ms = 0.0
        if config.ensemble is not None:
            deaf_ms = (config.sync_limit + 1.0) * config.tick_time_ms
        self.guard = Guard(
            "r", simulation, simulation.sessions, simulation.dice("guard"), self.room, deaf_ms
        )

    def work(self, program: Program) -> Work:
        return _Holder(program, self)

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        """Waits for the resource, and holds it."""
        raise NotImplementedError

    def look(self) -> None:
        self.guard.look()


class _Holder(Work):
    def __init__(self, program: Program, errand: Holding) -> None:
        super().__init__(program)
        self._errand = errand

    async def round(self) -> None:
        dice, timeout_s = self.program.dice, self.program.simulation.timeout_ms / 1000.0
        gives_up = dice.random() < self._errand.impatience
        patience_s = dice.random() * timeout_s if gives_up else None
        async with asyncio.timeout(patience_s), self._errand.hold(self.client) as grant:
            await self.program.hold(self._errand.guard, grant.token, grant.session_id)


class Locking(Holding):
    """One at a time, in the order in which they came."""

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        return Lock(client, "/r")


async def _make(work: Work, path: str) -> None:
    """Let a znode be there."""
    try:
        await work.client.create(path)
    except NodeExistsError:
        return


ERRANDS: Final[dict[str, type[Errand]]] = {
    "writing": Writing,
    "telling": Telling,
    "locking": Locking,
}
