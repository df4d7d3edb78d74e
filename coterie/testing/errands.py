"""What client programs are sent to do in a simulation: one errand a run, shared by all programs.

Each errand says how a round of it goes, and at the end whether what came of all rounds is right.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from coterie.errors import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OutcomeUnknown,
)
from coterie.recipes.barrier import DoubleBarrier
from coterie.recipes.claim import Claim, DoneAlready
from coterie.recipes.counter import Counter
from coterie.recipes.election import Election
from coterie.recipes.lease import Lease, LeaseGrant
from coterie.recipes.lock import Lock
from coterie.recipes.read_write_lock import ReadWriteLock
from coterie.recipes.semaphore import Semaphore
from coterie.testing.deciding_errands import Barring, Deciding
from coterie.testing.errand import Errand, guard_of, make
from coterie.testing.gateway_errands import StandingBy, Working
from coterie.testing.guard import Guard
from coterie.testing.history import Violation
from coterie.testing.programs import DOCUMENTED, Program, Work
from coterie.testing.standing_errands import Discovering, Grouping, Partitioning
from coterie.testing.storing_errands import Configuring, Keying, Meeting
from coterie.values import SessionState

if TYPE_CHECKING:
    from coterie.client.cache import Cache
    from coterie.client.client import Client
    from coterie.client.watch import Watch
    from coterie.testing.recipes import RecipeSimulation


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
        await make(self, "/value")

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
        await make(self, "/news")
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


# The cache: what is at hand becomes what is there


class Caching(Errand):
    """Each keeps a copy of a subtree that all change."""

    paths = ("/tree/a", "/tree/b", "/tree/a/x", "/tree/a/y", "/tree/b/x")

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.changes = 0

    def work(self, program: Program) -> Work:
        return _Keeper(program, self)

    def there(self) -> dict[str, bytes]:
        """The subtree as the newest server has it."""
        nodes = self.simulation.tree.nodes
        return {p.decode(): n.data or b"" for p, n in nodes.items() if p.startswith(b"/tree")}


class _Keeper(Work):
    def __init__(self, program: Program, errand: Caching) -> None:
        super().__init__(program)
        self._errand = errand
        self._cache: Cache

    async def open(self) -> None:
        await make(self, "/tree")
        self._cache = self.client.cache("/tree")
        await self._cache.__aenter__()

    async def round(self) -> None:
        dice, errand = self.program.dice, self._errand
        path = dice.choice(errand.paths)
        errand.changes += 1
        value = b"%d" % errand.changes
        with suppress(NoNodeError, NodeExistsError, NotEmptyError):
            kind = dice.randrange(4)
            if kind == 0:
                await self.client.delete(path)
            elif kind == 1:
                await self.client.set(path, value)
            else:
                await self.client.create(path, value)

    async def close(self) -> None:
        await self._cache.__aexit__(None, None, None)

    def settled(self) -> bool:
        kept = {path: znode.data for path, znode in self._cache.items()}
        return self._cache.fresh and kept == self._errand.there()


# Holding: one at a time, or a few


class Grant(Protocol):
    """What a recipe gives who may go on."""

    @property
    def token(self) -> int: ...


class Holding(Errand):
    """Each wants to hold one resource. `hold` says by which recipe."""

    room = 1
    impatience = 0.3
    """How often somebody gives up waiting or holding, at any moment."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.guard = guard_of(simulation, "r", self.room)

    def work(self, program: Program) -> Work:
        return _Holder(program, self)

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        """Waits for the resource, and holds it."""
        raise NotImplementedError

    def session_of(self, grant: Any) -> int:
        """With which session a grant ends."""
        session_id: int = grant.session_id
        return session_id

    def draw(
        self, client: Client, dice: Random
    ) -> tuple[bool, AbstractAsyncContextManager[Grant]]:
        """Whether it is shared with others, and how it is held."""
        return False, self.hold(client)

    def look(self) -> None:
        self.guard.look()


class _Holder(Work):
    def __init__(self, program: Program, errand: Holding) -> None:
        super().__init__(program)
        self._errand = errand

    async def round(self) -> None:
        shared, holding = self._errand.draw(self.client, self.program.dice)
        patience_s = self.program.patience_s(self._errand.impatience)
        async with asyncio.timeout(patience_s), holding as grant:
            guard, session_id = self._errand.guard, self._errand.session_of(grant)
            renew = grant.renew if isinstance(grant, LeaseGrant) else None
            await self.program.hold(guard, grant.token, session_id, shared=shared, renew=renew)


class Locking(Holding):
    """One at a time, in the order in which they came."""

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        return Lock(client, "/r")


class Electing(Holding):
    """One leads."""

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        return Election(client, "/r")


class Sharing(Holding):
    """Two at a time."""

    room = 2

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        return Semaphore(client, "/r", self.room)


class ReadingWriting(Holding):
    """Many who read, or one who writes."""

    def draw(
        self, client: Client, dice: Random
    ) -> tuple[bool, AbstractAsyncContextManager[Grant]]:
        lock = ReadWriteLock(client, "/r")
        return (True, lock.read()) if dice.random() < 0.6 else (False, lock.write())


class Leasing(Holding):
    """One at a time, for so long. What ends a lease is its time, and no session: each has a number
    that stands for one."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self._leases: dict[int, LeaseGrant] = {}

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        return Lease(client, "/r", duration_s=self.simulation.timeout_ms / 1000.0)

    def session_of(self, grant: Any) -> int:
        number = -len(self._leases) - 1
        self._leases[number] = grant
        return number

    def look(self) -> None:
        for number, grant in self._leases.items():
            if grant.expires_ms <= self.simulation.time.now_ms:
                self.simulation.sessions.ended(number, grant.expires_ms)
        super().look()


# Jobs: each is done once


class Claiming(Errand):
    """Each looks for a job that is not done, and does it."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.guards: list[Guard] = []
        self.completed: dict[int, int] = {}
        """The token with which each job was completed, as was told."""

    def work(self, program: Program) -> Work:
        return _Worker(program, self)

    def guard(self, job: int) -> Guard:
        while len(self.guards) <= job:
            self.guards.append(guard_of(self.simulation, f"job {len(self.guards)}"))
        return self.guards[job]

    def look(self) -> None:
        for guard in self.guards[-2:]:
            guard.look()

    def end(self) -> None:
        nodes = self.simulation.tree.nodes
        for job, token in self.completed.items():
            node = nodes.get(b"/jobs/%d/done" % job)
            if node is None or b'"token": %d,' % token not in (node.data or b""):
                raise Violation(f"job {job} was completed with {token:#x}, and there is {node}")


class _Worker(Work):
    def __init__(self, program: Program, errand: Claiming) -> None:
        super().__init__(program)
        self._errand = errand
        self._job = 0

    async def round(self) -> None:
        errand = self._errand
        patience_s = self.program.patience_s(0.3)
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    await self._do(errand, self._job)
                return
            except DoneAlready:
                self._job += 1

    async def _do(self, errand: Claiming, job: int) -> None:
        async with Claim(self.client, f"/jobs/{job}") as claim:
            if job in errand.completed:
                self.program.simulation.failed(Violation(f"job {job} was given out again"))
            await self.program.hold(errand.guard(job), claim.token, claim.session_id)
            if self.program.dice.random() < 0.2:
                return
            await claim.complete(self.program.name.encode())
            if job in errand.completed:
                self.program.simulation.failed(Violation(f"job {job} was completed twice"))
            if errand.guard(job).newest > claim.token:
                self.program.simulation.failed(
                    Violation(f"job {job} was completed by a past holder")
                )
            errand.completed[job] = claim.token
            self.program.simulation.mark("a job was completed")


# Numbers: nothing is counted twice, or not at all


class Counting(Errand):
    """Each adds one."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.told: set[int] = set()
        self.unknown = 0

    def work(self, program: Program) -> Work:
        return _Counter(program, self)

    def end(self) -> None:
        node = self.simulation.tree.nodes[b"/count"]
        count = int(node.data or b"0")
        if not len(self.told) <= count <= len(self.told) + self.unknown:
            raise Violation(
                f"{len(self.told)} were added, and {self.unknown} perhaps; it is {count}"
            )


class _Counter(Work):
    def __init__(self, program: Program, errand: Counting) -> None:
        super().__init__(program)
        self._errand = errand
        self._counter: Counter

    async def open(self) -> None:
        self._counter = Counter(self.client, "/count")

    async def round(self) -> None:
        errand = self._errand
        errand.unknown += 1
        try:
            number = await self._counter.add()
        except (OutcomeUnknown, TimeoutError):
            raise
        except DOCUMENTED:
            errand.unknown -= 1
            raise
        errand.unknown -= 1
        if number in errand.told:
            self.program.simulation.failed(Violation(f"two were told that they made it {number}"))
        errand.told.add(number)


# A gate: nobody goes through before so many are there


class _Visit:
    """Somebody wants to go in, or is in. The place of who gives up or crashes may stay for as long
    as one of the sessions that he has had meanwhile."""

    def __init__(self, program: Program) -> None:
        self.begun_ms = program.simulation.time.now_ms
        self.left_ms = inf
        self.given_up = False
        self._program = program
        self._sessions = {program.client.session_id}
        self._undo = program.client.on_state(self._follow)

    def _follow(self, state: SessionState) -> None:
        self._sessions.add(self._program.client.session_id)

    def end(self, *, given_up: bool) -> None:
        self._undo()
        self.given_up = given_up
        if not given_up:
            self.left_ms = self._program.simulation.time.now_ms

    def lasted(self, since_ms: float) -> bool:
        ended_ms = self.left_ms
        if self.given_up or self._program.crashed:
            known = self._program.simulation.sessions
            ended_ms = max((known.ended_ms(s) for s in self._sessions if s), default=inf)
        return ended_ms >= since_ms


class Gathering(Errand):
    """Two go in together, and out together."""

    count = 2

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.visits: list[_Visit] = []

    def work(self, program: Program) -> Work:
        return _Guest(program, self)


class _Guest(Work):
    def __init__(self, program: Program, errand: Gathering) -> None:
        super().__init__(program)
        self._errand = errand

    def enough(self) -> bool:
        return all(program.served for program in self.program.simulation.programs)

    async def round(self) -> None:
        errand, program = self._errand, self.program
        patience_s = 4 * program.simulation.timeout_ms / 1000.0
        visit = _Visit(program)
        errand.visits.append(visit)
        given_up = True
        try:
            async with asyncio.timeout(patience_s):
                async with DoubleBarrier(self.client, "/gate", errand.count):
                    if sum(each.lasted(visit.begun_ms) for each in errand.visits) < errand.count:
                        program.simulation.failed(Violation(f"{program.name} went in alone"))
                    program.simulation.mark("a gate was passed")
                    await program.pause(0.1)
            given_up = False
        finally:
            visit.end(given_up=given_up)


ERRANDS: Final[dict[str, type[Errand]]] = {
    "writing": Writing,
    "telling": Telling,
    "caching": Caching,
    "locking": Locking,
    "electing": Electing,
    "sharing": Sharing,
    "reading-writing": ReadingWriting,
    "leasing": Leasing,
    "claiming": Claiming,
    "counting": Counting,
    "gathering": Gathering,
    "grouping": Grouping,
    "discovering": Discovering,
    "partitioning": Partitioning,
    "configuring": Configuring,
    "meeting": Meeting,
    "keying": Keying,
    "deciding": Deciding,
    "barring": Barring,
    "standing-by": StandingBy,
    "working": Working,
}
