"""Errands of a gateway's components: copies of which one leads, and jobs that are done once.

The guarded resource is a database with the gateway's own fence (`SQLFence`), somewhere that
programs reach also when they reach no server. Requests to it are late, or stuck for longer than a
session lasts; some answers are lost. What is checked at any moment: it lets in no token after a
newer one, and grants are what a `Guard` watches over. At the end: what a program was told that is
written is there, and once; what it was told that is refused is not; and when all is well
everybody knows who leads, every job that was handed in has ended once, and nothing is left of its
claims. Not checked: that the database keeps what it has committed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from coterie.gateway.claims import JobClaim, claimed, forget
from coterie.gateway.fencing import SQLFence, StaleTokenError
from coterie.gateway.standby import Changes, Standby
from coterie.recipes.claim import DoneAlready
from coterie.recipes.grant import Grant
from coterie.testing.errand import Errand, guard_of, own_name
from coterie.testing.guard import Guard, Holding
from coterie.testing.history import Violation
from coterie.testing.programs import Program, Work

_T = TypeVar("_T")

_LEADERS: Final = "/gateway/leaders/store"
_CLAIMS: Final = b"/gateway/claims/"
_USES_MAX: Final = 4
_SCHEMA: Final = (
    "CREATE TABLE writes (id INTEGER, token INTEGER)",
    "CREATE TABLE jobs (id TEXT PRIMARY KEY)",
    "CREATE TABLE ends (job TEXT, token INTEGER)",
)
_WAITING: Final = "SELECT id FROM jobs WHERE id NOT IN (SELECT job FROM ends) ORDER BY id"


class Store:
    """A fenced database that programs send requests to."""

    def __init__(self, simulation: Any) -> None:
        self.newest: dict[str, int] = {}
        """The newest token that each fence has let in, as told by who looks on."""
        self._simulation = simulation
        self._under_way = 0
        self._dice = simulation.dice("store")
        # Whichever thread collects garbage closes it.
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        for statement in _SCHEMA:
            self._connection.execute(statement)
        SQLFence().prepare(self._connection)

    def __del__(self) -> None:
        self._connection.close()

    @property
    def idle(self) -> bool:
        """Whether no request is on its way to it."""
        return self._under_way == 0

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What is in it now; for who looks on."""
        return self._connection.execute(query, values).fetchall()

    async def read(self, program: Program, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What is in it, as a program reads it. Raises `TimeoutError`."""
        return await self._send(program, lambda: self.ask(query, *values))

    async def submit(self, program: Program, job: str) -> None:
        """Hand in a job. Raises `TimeoutError`; then it may be there, or come to be."""

        def carried_out() -> None:
            with self._connection:
                self._connection.execute("INSERT INTO jobs VALUES (?)", (job,))

        await self._send(program, carried_out)

    async def write(
        self, program: Program, resource: str, token: int, change: Callable[[sqlite3.Cursor], _T]
    ) -> _T:
        """Change something under a token.

        Raises `StaleTokenError`, and `TimeoutError` when no answer has come: the change may have
        been made, or may yet be.
        """
        return await self._send(program, lambda: self._let_in(resource, token, change))

    def _let_in(self, resource: str, token: int, change: Callable[[sqlite3.Cursor], _T]) -> _T:
        newest = self.newest.get(resource, 0)
        try:
            with SQLFence(resource).writing(self._connection, token) as cursor:
                changed = change(cursor)
        except StaleTokenError:
            self._simulation.note("refuses", resource, token)
            self._simulation.mark("the store has refused a stale token")
            if token >= newest:
                self._simulation.failed(Violation(f"{resource}: {token:#x} is refused as stale"))
            raise
        self._simulation.note("lets in", resource, token)
        if token < newest:
            self._simulation.failed(
                Violation(f"{resource}: {token:#x} was let in after {newest:#x}")
            )
        self.newest[resource] = max(token, newest)
        return changed

    async def _send(self, program: Program, carry_out: Callable[[], _T]) -> _T:
        simulation, dice = self._simulation, self._dice
        time, loop = simulation.time, program.loop
        answer: asyncio.Future[_T] = loop.create_future()
        stuck = not program.healed and dice.random() < 0.2
        delay_ms = simulation.timeout_ms if stuck else simulation.use_ms / 4
        lost = not program.healed and dice.random() < 0.1

        def arrives() -> None:
            self._under_way -= 1
            told: Callable[[], None]
            try:
                told = _telling(answer, carry_out())
            except (sqlite3.Error, StaleTokenError) as error:
                told = _failing(answer, error)
            if not lost:
                time.after(dice.random() * delay_ms, lambda: loop.call_soon(told))

        self._under_way += 1
        time.after(dice.expovariate(1 / delay_ms), arrives)
        async with asyncio.timeout(None if program.healed else simulation.timeout_ms / 1000.0):
            return await answer


def _telling(answer: asyncio.Future[_T], result: _T) -> Callable[[], None]:
    return lambda: None if answer.done() else answer.set_result(result)


def _failing(answer: asyncio.Future[_T], error: Exception) -> Callable[[], None]:
    return lambda: None if answer.done() else answer.set_exception(error)


# Copies read, one leader writes


class StandingBy(Errand):
    """Each stands by to lead, and writes while it leads."""

    def __init__(self, simulation: Any) -> None:
        super().__init__(simulation)
        self.store = Store(simulation)
        self.guard = guard_of(simulation, "lead")
        self.copies: dict[str, _Copy] = {}
        """By what each calls itself: one that has crashed is not among them."""
        self.writes = 0
        self.told: set[int] = set()
        """The writes that were made, as their writers were told."""
        self.refused: set[int] = set()

    def work(self, program: Program) -> Work:
        made = self.copies[own_name(program)] = _Copy(program, self)
        return made

    def look(self) -> None:
        self.guard.look()

    def leads(self) -> int | None:
        """The token of who leads, where it is one alone."""
        tokens = [copy.token for copy in self.copies.values() if copy.token is not None]
        return tokens[0] if len(tokens) == 1 else None

    def end(self) -> None:
        rows = self.store.ask("SELECT id, token FROM writes ORDER BY rowid")
        written = [row[0] for row in rows]
        tokens = [row[1] for row in rows]
        if tokens != sorted(tokens):
            raise Violation(f"the store was not written in the order of the tokens: {tokens}")
        for number in sorted(self.told):
            if written.count(number) != 1:
                raise Violation(f"write {number} was made, it was said, and is not there once")
        for number in sorted(self.refused):
            if number in written:
                raise Violation(f"write {number} was refused, it was said, and is there")


class _Copy(Work):
    def __init__(self, program: Program, errand: StandingBy) -> None:
        super().__init__(program)
        self._errand = errand
        self._standby: Standby | None = None
        self._holding: Holding | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def token(self) -> int | None:
        return None if self._standby is None else self._standby.token

    async def open(self) -> None:
        standby = Standby(self.client, _LEADERS, identifier=own_name(self.program).encode())
        self._standby = await standby.enter()
        following = self._follow(standby.changes())
        self._following = asyncio.get_running_loop().create_task(following)

    async def _follow(self, changes: Changes) -> None:
        newest = 0
        async for leading, leader in changes:
            if leader is not None:
                if leader.token < newest:
                    self._fail(f"knew that {newest:#x} led, and then that {leader.token:#x} did")
                newest = leader.token
            if leading is not None and self._told_of(leading):
                self._take(leading)

    def _told_of(self, leading: Grant) -> bool:
        return self._holding is None or self._holding.token != leading.token

    def _take(self, leading: Grant) -> None:
        guard = self._errand.guard
        try:
            holding = guard.granted(self.program, leading.token, leading.session_id)
        except Violation as violation:
            self.program.simulation.failed(violation)
            return
        self._holding = holding

        def lost() -> None:
            guard.let_go(holding)
            if self.token == holding.token:
                self._fail(f"leads with {holding.token:#x}, which it has lost")

        leading.on_lost(lost)

    async def round(self) -> None:
        program, standby = self.program, self._standby
        assert standby is not None
        program.doing = "wants to lead"
        grant = await standby.wait_leading(program.patience_s(0.3))
        program.doing = f"leads with {grant.token:#x}"
        careful = program.healed or program.dice.random() < 0.5
        for _ in range(program.dice.randrange(1, _USES_MAX)):
            await program.pause(program.dice.choice((0.05, 0.5)))
            if careful:
                grant.check()
            await self._write(grant.token)
        if program.healed or program.dice.random() < 0.5:
            await self._resign(standby)

    async def _write(self, token: int) -> None:
        errand = self._errand
        errand.writes += 1
        number = errand.writes
        change = partial(_insert, "INSERT INTO writes VALUES (?, ?)", (number, token))
        try:
            await errand.store.write(self.program, "lead", token, change)
        except StaleTokenError:
            errand.refused.add(number)
            raise
        errand.told.add(number)

    async def _resign(self, standby: Standby) -> None:
        if self._holding is not None:
            self._errand.guard.let_go(self._holding)
        if await standby.resign():
            self.program.simulation.mark("a leader has resigned")

    def enough(self) -> bool:
        return all(program.served for program in self.program.simulation.programs)

    async def close(self) -> None:
        assert self._standby is not None
        assert self._following is not None
        self._following.cancel()
        if self._holding is not None:
            self._errand.guard.let_go(self._holding)
        await self._standby.leave(None)

    def settled(self) -> bool:
        assert self._standby is not None
        leader, leads = self._standby.leader, self._errand.leads()
        return self._errand.store.idle and leader is not None and leader.token == leads

    def _fail(self, message: str) -> None:
        self.program.simulation.failed(Violation(f"{self.program.name} {message}"))


# Jobs: each ends once


class Working(Errand):
    """Each hands in jobs, and works on those that have not ended."""

    def __init__(self, simulation: Any) -> None:
        super().__init__(simulation)
        self.store = Store(simulation)
        self.guards: dict[str, Guard] = {}
        self.jobs = 0
        self.handed_in: set[str] = set()
        """As was told; others may have been."""
        self.settled: set[str] = set()

    def work(self, program: Program) -> Work:
        return _Worker(program, self)

    def guard(self, job: str) -> Guard:
        if job not in self.guards:
            self.guards[job] = guard_of(self.simulation, job)
        return self.guards[job]

    def look(self) -> None:
        for guard in self.guards.values():
            guard.look()

    def waiting(self) -> list[str]:
        """The jobs that have not ended."""
        return [row[0] for row in self.store.ask(_WAITING)]

    def left(self) -> list[bytes]:
        """What is in the tree of jobs."""
        return [path for path in self.simulation.tree.nodes if path.startswith(_CLAIMS)]

    def check_ended(self, job: str) -> None:
        if job in self.waiting():
            self.simulation.failed(Violation(f"{job} was said to be done, and is not"))

    def end(self) -> None:
        jobs = [row[0] for row in self.store.ask("SELECT id FROM jobs")]
        ends = [row[0] for row in self.store.ask("SELECT job FROM ends")]
        for job in sorted({*jobs, *ends, *self.handed_in, *self.settled}):
            if (jobs.count(job), ends.count(job)) != (1, 1):
                raise Violation(f"{job} is there {jobs.count(job)}, ended {ends.count(job)} times")


class _Worker(Work):
    def __init__(self, program: Program, errand: Working) -> None:
        super().__init__(program)
        self._errand = errand

    async def round(self) -> None:
        program, errand = self.program, self._errand
        if not (program.healed and program.served):
            await self._hand_in()
        program.doing = "looks for a job"
        jobs = await errand.store.read(program, _WAITING)
        if jobs:
            # Most take the same one.
            job = jobs[0] if program.dice.random() < 0.7 else program.dice.choice(jobs)
            await self._claim(job[0])
        if program.healed:
            await self._clear()

    async def _hand_in(self) -> None:
        errand = self._errand
        errand.jobs += 1
        job = f"job {errand.jobs}"
        await errand.store.submit(self.program, job)
        errand.handed_in.add(job)

    async def _claim(self, job: str) -> None:
        program = self.program
        program.doing = f"wants {job}"
        claim = JobClaim(
            self.client,
            job,
            identifier=program.name.encode(),
            patience_s=program.patience_s(0.3),
        )
        try:
            async with claim:
                await self._do(job, claim)
        except DoneAlready:
            self._errand.check_ended(job)
            program.simulation.mark("one who waited for a job learned that it is done")

    async def _do(self, job: str, claim: JobClaim) -> None:
        program, errand = self.program, self._errand
        guard = errand.guard(job)
        program.doing = f"has {job} with {claim.token:#x}"
        try:
            holding = guard.granted(program, claim.token, claim.grant.session_id)
        except Violation as violation:
            program.simulation.failed(violation)
            raise
        try:
            begun = partial(_begin, job)
            if await errand.store.write(program, job, claim.token, begun):
                program.simulation.mark("one who got a job found it done")
                return
            await program.pause(program.dice.choice((0.05, 0.5)))
            if not program.healed and program.dice.random() < 0.2:
                program.simulation.mark("one who had a job left it")
                return
            await self._settle(job, claim, partial(guard.let_go, holding))
        finally:
            guard.let_go(holding)

    async def _settle(self, job: str, claim: JobClaim, recorded: Callable[[], None]) -> None:
        program, errand = self.program, self._errand

        async def record(token: int) -> None:
            await errand.store.write(program, job, token, partial(_end, job, token))
            recorded()

        timeouts = program.dice.choice((1, 20))
        await claim.settle(record, timeout_s=timeouts * program.simulation.timeout_ms / 1000.0)
        errand.settled.add(job)
        errand.check_ended(job)
        program.simulation.mark("a job was settled")

    async def _clear(self) -> None:
        """Let nothing stay that somebody who crashed has left."""
        waiting = self._errand.waiting()
        for job in await claimed(self.client):
            if job not in waiting:
                await forget(self.client, job)

    def enough(self) -> bool:
        errand = self._errand
        served = all(program.served for program in self.program.simulation.programs)
        return served and errand.store.idle and not errand.waiting() and not errand.left()

    def settled(self) -> bool:
        errand = self._errand
        return errand.store.idle and not errand.waiting() and not errand.left()


def _insert(statement: str, values: tuple[object, ...], cursor: sqlite3.Cursor) -> None:
    cursor.execute(statement, values)


def _begin(job: str, cursor: sqlite3.Cursor) -> bool:
    """Whether it has ended already; under the fence, so that no older end can come after this."""
    return cursor.execute("SELECT 1 FROM ends WHERE job = ?", (job,)).fetchone() is not None


def _end(job: str, token: int, cursor: sqlite3.Cursor) -> None:
    """May be run again under the same token. That it has not ended by another is not looked at:
    tokens alone see to that here."""
    found = cursor.execute("SELECT 1 FROM ends WHERE job = ? AND token = ?", (job, token))
    if found.fetchone() is None:
        cursor.execute("INSERT INTO ends VALUES (?, ?)", (job, token))
