"""The gateway as it is now, followed for the live page.

    async with Live(zk, component.directory, hosts, ...) as live:
        live.state()                     # what the page draws
        async for text in live.changes():  # the same as JSON, whenever it changed

Who is there comes from the directory and who leads from the elections, both from local copies;
processes, servers and jobs are asked for, less often while nobody watches. Rules: whatever does
not answer leaves its last answer in place; a change is told of at most four times a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol, Self

import httpx

from coterie.client.client import Client
from coterie.client.hosts import ConnectString
from coterie.errors import ZooKeeperError
from coterie.recipes.discovery import Instance
from coterie.recipes.election import Election
from examples.gateway.portal import picture
from examples.gateway.portal.picture import Job, Picture, Process

_log = logging.getLogger(__name__)

_TURN_S: Final = 0.25
_WATCHED_PAUSE_S: Final = 0.5
_IDLE_PAUSE_S: Final = 2.0
_ANSWER_S_MAX: Final = 1.0
_ANSWER_BYTES_MAX: Final = 65_536
HEARTBEAT_S: Final = 2.0
_EVENTS_MAX: Final = 50
JOBS_MAX: Final = 60
"""How many of the newest jobs are followed."""

Jobs = Callable[[], Awaitable[tuple[tuple[Job, ...], dict[str, int]]]]
"""Asks for the newest jobs, and how many there are in each state."""


class People(Protocol):
    """The part of the directory that is needed."""

    def everyone(self, kind: str = "") -> list[Instance]: ...

    @property
    def stale_s(self) -> float: ...


class Live:
    """All of it, between `async with`."""

    def __init__(
        self,
        zk: Client,
        directory: People,
        hosts: str,
        *,
        root: str = "/gateway",
        processes: Callable[[], Awaitable[object]] | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self.zk = zk
        self.directory = directory
        self.closed = False
        self._leaders_at = f"{root}/leaders"
        self._addresses = [str(host) for host in ConnectString.parse(hosts).hosts]
        self._ask_processes = processes
        self._ask_jobs = jobs
        self._processes: tuple[Process, ...] = ()
        self._answers: dict[str, tuple[str, str]] = {}
        self._leaders: dict[str, str] = {}
        self._jobs: tuple[Job, ...] = ()
        self._counts: dict[str, int] = {}
        self._since: dict[str, str] = {}
        self._events: deque[dict[str, str]] = deque(maxlen=_EVENTS_MAX)
        self._picture = Picture()
        self._was_well = False
        self._news = asyncio.Event()
        self._watchers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._observers: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await asyncio.gather(self._look_for_kinds(), self._look_at_servers())
        asked = [self._look_for_kinds, self._look_at_servers]
        if self._ask_processes is not None:
            await self._look_at_processes()
            asked.append(self._look_at_processes)
        if self._ask_jobs is not None:
            asked.append(self._look_at_jobs)
        self._look()
        self._note("the portal began to watch", "joined")
        self._tasks = [asyncio.create_task(self._again(look)) for look in asked]
        self._tasks.append(asyncio.create_task(self._turns()))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
        tasks = [*self._tasks, *self._observers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End `changes()`, so that a server can stop."""
        self.closed = True
        self._tell()

    # What others are told

    def state(self) -> dict[str, Any]:
        """What the live page draws."""
        return self._picture.as_json() | {"events": list(self._events)}

    async def changes(self) -> AsyncIterator[str]:
        """The state as JSON: at once, whenever it changed, and every few seconds all the same: who
        hears nothing knows that nobody speaks."""
        self._watchers += 1
        try:
            while not self.closed:
                news = self._news
                yield json.dumps(self.state())
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        await news.wait()
        finally:
            self._watchers -= 1

    def killed(self, name: str) -> None:
        """Somebody pressed the button."""
        self._note(f"{name} was killed with -9 by hand", "killed")

    def _note(self, text: str, kind: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.appendleft({"at": now, "text": text, "kind": kind})
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # Putting it together

    async def _turns(self) -> None:
        while True:
            await asyncio.sleep(_TURN_S)
            try:
                self._look()
            except Exception:
                _log.exception("the live page is not drawn anew")

    def _look(self) -> None:
        everyone = self.directory.everyone()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._since = {one.id: self._since.get(one.id, now) for one in everyone}
        stale_s = self.directory.stale_s
        after = Picture(
            components=picture.nodes(everyone, self._processes, self._leaders, self._since),
            ensemble=picture.servers(self._addresses, self._answers, self._processes),
            jobs=self._jobs,
            counts=dict(self._counts),
            leaders=dict(self._leaders),
            # Less than that passes by itself; then it is told by the second.
            stale_s=float(int(stale_s)) if stale_s >= 1 else 0.0,
        )
        before, self._picture = self._picture, after
        if after == before:
            return
        if before.components or before.ensemble:
            for text, kind in picture.differences(before, after):
                # What was never well is not healed, but started.
                if kind != "healed" or self._was_well:
                    self._note(text, kind)
        self._was_well = self._was_well or not picture.troubled(after)
        self._tell()

    # Asking

    async def _again(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(_WATCHED_PAUSE_S if self._watchers else _IDLE_PAUSE_S)
            await look()

    async def _look_at_processes(self) -> None:
        assert self._ask_processes is not None
        try:
            self._processes = picture.read_processes(await self._ask_processes())
        except (httpx.HTTPError, ValueError) as error:
            _log.info("the launcher does not answer: %s", error)

    async def _look_at_jobs(self) -> None:
        assert self._ask_jobs is not None
        try:
            jobs, counts = await self._ask_jobs()
        except Exception as error:
            # Whatever it is, the others are to be seen.
            _log.info("nobody tells of jobs: %s", error)
            return
        self._jobs, self._counts = jobs[:JOBS_MAX], counts

    async def _look_at_servers(self) -> None:
        answers = await asyncio.gather(*map(_ask_srvr, self._addresses))
        self._answers = dict(zip(self._addresses, answers, strict=True))

    async def _look_for_kinds(self) -> None:
        """Follow each election that there is."""
        try:
            kinds = await self.zk.children(self._leaders_at)
        except ZooKeeperError:
            # None is there yet, or no server answers.
            return
        for kind in kinds:
            if kind not in self._observers or self._observers[kind].done():
                self._observers[kind] = asyncio.create_task(self._observe(kind))

    async def _observe(self, kind: str) -> None:
        try:
            async for leader in Election(self.zk, f"{self._leaders_at}/{kind}").observe():
                self._leaders[kind] = (
                    "" if leader is None else leader.identifier.decode("utf-8", "replace")
                )
        except ZooKeeperError as error:
            _log.info("who leads %s is not known: %s", kind, error)


async def _ask_srvr(address: str) -> tuple[str, str]:
    """What a server says of itself: its role and its zxid."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_ANSWER_S_MAX):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(b"srvr")
                answer = b""
                while len(answer) < _ANSWER_BYTES_MAX and (part := await reader.read(4096)):
                    answer += part
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return "down", ""
    return picture.read_srvr(answer.decode("utf-8", "replace"))
