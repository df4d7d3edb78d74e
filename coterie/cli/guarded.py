"""A command that runs only while something is held: a lock, a leadership, a registration.

Rules:
- it is started when the thing is held, and told its fencing token;
- when that is lost, or no server has answered for so long that it will be lost within the grace
  time, the command gets SIGTERM, and SIGKILL after the grace time: so it has ended by the time
  that somebody else can be given it, provided that the session's time-out is three times the
  grace time or more;
- the thing is given back when the whole process group has ended, and no sooner;
- signals go to the command, and its exit status is that of this process. Statuses of our own are
  beyond those that commands use, as those of timeout(1) are;
- what can be drained is drained first: the signal that asks for the end waits for that, a second
  one does not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from coterie.cli.program import SIGNALLED, CannotRunError, Program, adopt_orphans
from coterie.client.client import Client, connect
from coterie.errors import (
    ConnectionLossError,
    GrantLostError,
    OperationTimeoutError,
    SessionExpiredError,
    ZooKeeperError,
)

USAGE: Final = 2
LOST: Final = 123
NOT_IN_TIME: Final = 124
FAILED: Final = 125

_TRANSIENT: Final = (
    ConnectionLossError,
    GrantLostError,
    OperationTimeoutError,
    SessionExpiredError,
)
_PAUSE_S: Final = 1.0
_FORWARDED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Held(Protocol):
    """What is held."""

    path: str

    @property
    def token(self) -> int | None: ...

    @property
    def lost(self) -> bool: ...

    def on_lost(self, callback: Callable[[], None]) -> object: ...


@runtime_checkable
class Drainable(Protocol):
    """What others can be told of before it ends."""

    async def drain(self) -> None: ...

    async def wait_asked(self) -> None:
        """Until an operator asks for the end."""
        ...


class Holder(Protocol):
    """What gives it, and takes it back."""

    async def acquire(self, timeout_s: float | None = None) -> Held: ...

    async def release(self, held: Held, /) -> None: ...


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    connection: Mapping[str, Any]
    """What says where to connect, and as whom."""
    timeout_s: float
    session_timeout_s: float
    wait_s: float | None
    grace_s: float
    on_lost: str
    command: Sequence[str]
    quiet: bool = False
    drain_s: float | None = None
    """How long others have to hear of the end before the command does; None: not at all."""


MakeHolder = Callable[[Client], Awaitable[Holder]]


def default_name() -> str:
    """Who this is, for others to read."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run(name: str, wishes: Wishes, make: MakeHolder) -> int:
    """Run the command under what `make` gives; returns the exit status."""
    try:
        zk = connect(
            **wishes.connection,
            call_timeout_s=wishes.timeout_s,
            session_timeout_s=wishes.session_timeout_s,
        )
    except ValueError as error:
        print(f"coterie {name}: {error}", file=sys.stderr)
        return USAGE
    adopt_orphans()
    guarded = Guarded(name, wishes)
    return asyncio.run(guarded.run(zk, make))


class Guarded:
    """One `coterie lock`, from its start to its end."""

    def __init__(self, name: str, wishes: Wishes) -> None:
        self.name = name
        self.wishes = wishes
        self._program: Program | None = None
        self._ended_by = 0
        """The first signal that asked for the end of all this."""
        self._drains: Drainable | None = None
        self._draining: set[asyncio.Task[None]] = set()

    def say(self, text: str) -> None:
        if not self.wishes.quiet:
            print(f"coterie {self.name}: {text}", file=sys.stderr, flush=True)

    async def run(self, zk: Client, make: MakeHolder) -> int:
        """Returns the exit status."""
        task = asyncio.current_task()
        assert task is not None
        self._take_signals(task)
        try:
            async with zk:
                return await self._hold(zk, await make(zk))
        except CannotRunError as error:
            self.say(str(error))
            return error.status
        except ZooKeeperError as error:
            self.say(str(error))
            return FAILED
        except asyncio.CancelledError:
            if not self._ended_by:
                raise
            task.uncancel()
            return SIGNALLED + self._ended_by

    def _take_signals(self, task: asyncio.Task[object]) -> None:
        def take(number: int) -> None:
            if number in _ENDING and self._program is None:
                self._ended_by = self._ended_by or number
                task.cancel()
            else:
                self._pass_on(number)

        loop = asyncio.get_running_loop()
        with suppress(RuntimeError, ValueError):  # Not in the main thread: tests.
            for number in _FORWARDED:
                loop.add_signal_handler(number, take, number)

    def _pass_on(self, number: int) -> None:
        """A signal for the command."""
        first = number in _ENDING and not self._ended_by
        if first:
            self._ended_by = number
        if first and self._drains is not None:
            self._beside(self._drain(self._drains, number))
        elif self._program is not None:
            self._program.signal(number)

    def _beside(self, step: Coroutine[Any, Any, None]) -> None:
        """What goes on while the command runs, and no longer."""
        self._draining.add(asyncio.get_running_loop().create_task(step))

    async def _drain(self, held: Drainable, number: int) -> None:
        drain_s = self.wishes.drain_s or 0.0
        loop = asyncio.get_running_loop()
        until_s = loop.time() + drain_s
        self.say(f"draining for {drain_s:g} s")
        # No longer than that, whatever becomes of the servers.
        with suppress(ZooKeeperError, TimeoutError):
            async with asyncio.timeout_at(until_s):
                await held.drain()
        await asyncio.sleep(until_s - loop.time())
        if self._program is not None:
            self._program.signal(number)

    async def _end_when_asked(self, held: Drainable) -> None:
        with suppress(ZooKeeperError):
            await held.wait_asked()
            self.say("asked to drain")
            if not self._ended_by:
                self._pass_on(signal.SIGTERM)

    async def _hold(self, zk: Client, holder: Holder) -> int:
        give_up_s: float | None = None
        if self.wishes.wait_s is not None:
            give_up_s = asyncio.get_running_loop().time() + self.wishes.wait_s
        while True:
            try:
                held = await self._acquire(zk, holder, give_up_s)
            except TimeoutError:
                self.say(f"it was not to be had within {self.wishes.wait_s:g} s")
                return NOT_IN_TIME
            status = await self._run_while_held(zk, held)
            # At the end the session is closed, and with it goes what is held.
            if status is not None:
                return status
            if self.wishes.on_lost != "restart" or self._ended_by:
                return LOST
            give_up_s = None
            with suppress(ZooKeeperError):
                await holder.release(held)

    async def _acquire(self, zk: Client, holder: Holder, give_up_s: float | None) -> Held:
        """Raises `TimeoutError`, and what is no matter of the connection."""
        loop = asyncio.get_running_loop()
        while True:
            left_s = None if give_up_s is None else max(give_up_s - loop.time(), 0.0)
            try:
                return await holder.acquire(left_s)
            except _TRANSIENT as error:
                if zk.over:
                    raise
                self.say(f"{error}; trying again")
            async with asyncio.timeout_at(give_up_s):
                await asyncio.sleep(_PAUSE_S)

    async def _run_while_held(self, zk: Client, held: Held) -> int | None:
        """The command's exit status; None if it was stopped because this was lost."""
        lost = asyncio.Event()
        held.on_lost(lost.set)
        environment = {
            "COTERIE_HOSTS": self.wishes.connection["hosts"],
            "COTERIE_PATH": held.path,
        }
        if held.token is not None:
            environment["COTERIE_TOKEN"] = str(held.token)
        if zk.session_timeout_ms < 3000.0 * self.wishes.grace_s and self.wishes.on_lost != "keep":
            granted = f"{zk.session_timeout_ms / 1000:g} s"
            self.say(
                f"a session lasts {granted} here: a third of that is the grace before its end"
            )
        program = self._program = Program(self.wishes.command, environment)
        if self.wishes.drain_s is not None and isinstance(held, Drainable):
            self._drains = held
            self._beside(self._end_when_asked(held))
        losing = asyncio.create_task(lost.wait())
        either: set[asyncio.Future[Any]] = {program.ended, losing}
        try:
            while not program.ended.done():
                safe_s = self._safe_s(zk, held)
                if safe_s is not None and safe_s <= 0:
                    break
                await asyncio.wait(either, timeout=safe_s, return_when=asyncio.FIRST_COMPLETED)
            if not program.ended.done():
                gone = "it is lost" if held.lost else "no server answers, it may soon be lost"
                self.say(f"{gone}: the command is stopped")
                await program.stop(self.wishes.grace_s)
                return None
            # What it has left behind in its group ends with it.
            return await program.stop(self.wishes.grace_s)
        finally:
            losing.cancel()
            self._program = self._drains = None
            for task in self._draining:
                task.cancel()
            self._draining.clear()
            if program.running:
                program.signal(signal.SIGKILL)

    def _safe_s(self, zk: Client, held: Held) -> float | None:
        """How long there is nothing to fear, if no server answers meanwhile; None: for ever."""
        if self.wishes.on_lost == "keep" and not held.lost:
            return None
        expires_ms = zk.expires_ms
        if held.lost or expires_ms is None:
            return 0.0
        early_ms = min(self.wishes.grace_s * 1000.0, zk.session_timeout_ms / 3)
        return (expires_ms - early_ms - zk.now_ms()) / 1000.0
