"""Client programs of a simulation: processes on virtual time, with the real client.

A program is sent on an errand (`errands.py`) and goes round after round. Rules:
- it knows the errors that are documented, and tries again; any other fails the run;
- while faults happen it has so many rounds; when all is well again it goes on until one succeeds;
- it can stand still, as a process does that is stopped or swapped out, and it can crash: then
  another one is started in its place, which knows nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from coterie.client.client import Client, connect
from coterie.errors import (
    ConnectionLossError,
    GrantLostError,
    OperationTimeoutError,
    ServerFailureError,
    SessionExpiredError,
)
from coterie.testing.dialer import Dialer
from coterie.testing.guard import Guard, Holding
from coterie.testing.history import Violation
from coterie.testing.host import CLIENT_PORT
from coterie.testing.loop import VirtualLoop

if TYPE_CHECKING:
    from coterie.testing.errand import Errand
    from coterie.testing.recipes import RecipeSimulation

_T = TypeVar("_T")

DOCUMENTED: Final[tuple[type[Exception], ...]] = (
    ConnectionLossError,
    OperationTimeoutError,
    SessionExpiredError,
    ServerFailureError,
    GrantLostError,
    TimeoutError,
)
"""What any call may come to while servers fail, or a recipe, or who has no patience."""
_SLACK_S: Final = 0.005
_USES_MAX: Final = 4


class Work:
    """What one program does of an errand, with one client."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @property
    def client(self) -> Client:
        return self.program.client

    async def open(self) -> None:
        """Prepare the first round; it is tried again if it fails."""

    async def round(self) -> None:
        """Get what one wants, and do something with it."""

    async def close(self) -> None:
        """There will be no other round."""

    def enough(self) -> bool:
        """Whether it need not go on, now that all is well and one round has succeeded."""
        return True

    def settled(self) -> bool:
        """Whether it knows all that there is to know, now that all is well and quiet."""
        return True


class Program:
    """One process, from its start to its end."""

    def __init__(self, name: str, simulation: RecipeSimulation, errand: Errand) -> None:
        self.name = name
        self.simulation = simulation
        self.dice = simulation.dice(f"program {name}")
        self.loop = VirtualLoop(simulation.time, name)
        self.ran_ms = simulation.time.now_ms
        self.crashed = self.served = False
        self.client: Client
        self.rounds = simulation.rounds
        """How many it may still go while faults happen."""
        self.doing = "starts"
        self._dialer = Dialer(simulation.network, name, simulation.dice(f"dialer {name}"))
        self._work = errand.work(self)
        self._open = False
        self._healed, self._leaving = asyncio.Event(), asyncio.Event()
        self._paused = 0
        self._main = self.loop.create_task(self._live())

    # What the simulation asks of it

    @property
    def running(self) -> bool:
        return not self.crashed and not self.loop.frozen

    @property
    def healed(self) -> bool:
        """Whether it has heard that all is well from now on."""
        return self._healed.is_set()

    def expires_ms(self, session_id: int) -> float | None:
        return self.client.expires_ms if self.client.session_id == session_id else None

    def mute(self, timeouts: float) -> None:
        """Stand still for so many time-outs of a session."""
        if self.running:
            self.simulation.note("stands still", self.name, timeouts)
            self.loop.freeze()
            pause_ms = timeouts * self.simulation.timeout_ms
            self.simulation.time.after(pause_ms, self.unmute)

    def unmute(self) -> None:
        if self.loop.frozen and not self.crashed:
            self.simulation.note("goes on", self.name)
            self.ran_ms = self.simulation.time.now_ms
            self._paused += 1
            self.loop.thaw()

    def crash(self) -> None:
        """End without a word. The system tells the servers, unless the machine has failed."""
        self.simulation.note("crashes", self.name)
        self.crashed = True
        self.loop.freeze()
        powerless = self.dice.random() < 0.5
        self.simulation.network.machine_stopped(self.name, powerless=powerless)

    def heal(self) -> None:
        """All is well from now on."""
        self.unmute()
        self.loop.call_soon(self._healed.set)

    def leave(self) -> None:
        """Everybody has been served: end."""
        self.loop.call_soon(self._leaving.set)

    def settled(self) -> bool:
        return self.served and self._open and self._work.settled()

    def over(self) -> bool:
        """Whether it has ended. Raises what it has ended with, and what nobody has handled."""
        for context in self.loop.errors:
            error = context.get("exception")
            what = repr(error) if error is not None else ""
            raise Violation(f"{self.name}: {context.get('message')} {what}") from error
        if not self._main.done():
            return False
        error = self._main.exception()
        if isinstance(error, Violation):
            raise error
        if error is not None:
            raise Violation(f"{self.name} ({self.doing}) ended with {error!r}") from error
        return True

    def bury(self) -> None:
        """Let what is left of the process end, so that nothing of it stays."""
        self.crashed = True
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        if self.loop.frozen:
            self.loop.thaw()

    def buried(self) -> bool:
        return not asyncio.all_tasks(self.loop)

    # What it does

    async def _live(self) -> None:
        simulation = self.simulation
        hosts = ",".join(f"{host.name}:{CLIENT_PORT}" for host in simulation.hosts)
        while not self._leaving.is_set():
            client = connect(
                hosts,
                session_timeout_s=simulation.timeout_ms / 1000.0,
                call_timeout_s=simulation.call_timeout_s,
                network=self._dialer,
                dice=self.dice,
            )
            try:
                async with client:
                    self.client = client
                    await self._work.open()
                    self._open = True
                    await self._rounds()
                    self._open = False
                    await self._work.close()
            except DOCUMENTED as error:
                self._failed(error)
                await self.pause(1.0)

    async def _rounds(self) -> None:
        while not (self._healed.is_set() and self.served and self._work.enough()):
            if not self._healed.is_set() and self.rounds == 0:
                self.doing = "waits until all is well"
                await self._healed.wait()
            self.doing = "thinks"
            await self.pause(0.2)
            healed = self._healed.is_set()
            self.rounds = max(self.rounds - 1, 0)
            self.doing = "wants"
            try:
                await self._work.round()
            except DOCUMENTED as error:
                self._failed(error)
            else:
                self.served = self.served or healed
        self.doing = "is served"
        await self._leaving.wait()
        self.doing = "leaves"

    def _failed(self, error: Exception) -> None:
        self.simulation.note("is told", self.name, error)
        self.simulation.mark(f"a program was told {type(error).__name__}")

    async def pause(self, timeouts: float) -> None:
        """Do nothing for about so many time-outs of a session."""
        mean_s = timeouts * self.simulation.timeout_ms / 1000.0
        await asyncio.sleep(min(self.dice.expovariate(1 / mean_s), 5 * mean_s))

    def patience_s(self, impatience: float) -> float | None:
        """How long to be patient: some give up, at any moment; None for those who do not."""
        if self.dice.random() >= impatience:
            return None
        return self.dice.random() * self.simulation.timeout_ms / 1000.0

    async def within(self, limit_s: float, call: Coroutine[Any, Any, _T]) -> _T:
        """What `call` comes to. It must not take longer, unless the process stands still."""
        begun_s, paused = self.loop.time(), self._paused
        try:
            return await call
        finally:
            took_s = self.loop.time() - begun_s
            if took_s > limit_s + _SLACK_S and paused == self._paused and not self.crashed:
                self.simulation.failed(
                    Violation(f"{self.name} ({self.doing}) waited {took_s} s, not {limit_s} s")
                )

    async def hold(
        self,
        guard: Guard,
        token: int,
        session_id: int,
        *,
        shared: bool = False,
        renew: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Hold a resource for a while and use it, as the holder of a token."""
        self.doing = f"holds {guard.name} with {token:#x}"
        try:
            holding = guard.granted(self, token, session_id, shared=shared)
        except Violation as violation:
            self.simulation.failed(violation)
            raise
        try:
            for _ in range(self.dice.randrange(1, _USES_MAX)):
                await self.pause(self.dice.choice((0.05, 0.5)))
                if not await self.use(guard, holding):
                    return
                if renew is not None and self.dice.random() < 0.7:
                    await renew()
        finally:
            guard.let_go(holding)
            self.doing = "lets go"

    async def use(self, guard: Guard, holding: Holding) -> bool:
        """Ask a resource that is held to do something; whether it has."""
        done: asyncio.Future[bool] = self.loop.create_future()
        # Some requests are stuck on their way for longer than a session lasts. Where that
        # costs the grant a program could go on for ever without one round that succeeds.
        stuck = self.dice.random() < 0.2 and not self.healed
        delay_ms = self.simulation.timeout_ms if stuck else self.simulation.use_ms
        guard.use(holding, delay_ms, partial(self.loop.call_soon, _settle, done))
        return await done


def _settle(future: asyncio.Future[bool], done: bool) -> None:
    if not future.done():
        future.set_result(done)
