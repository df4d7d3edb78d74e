"""`python -m examples.gateway.scheduler`: gives each job to a manager; of its copies one does.

    look at what waits and what was given away (the metadata servers know both)
    -> whose manager is gone, or knows nothing of the job, is queued again
    -> what waits goes to the manager of the right flavor with the least to do

It keeps no state: a copy that begins to lead looks, and goes on. Rules:
- a job is given away in the store first, then told to its manager; what was given and not heard is
  noticed, because a manager says what it works on;
- that a job is run by one manager is the matter of its claim, not of this: here a mistake costs
  time, never a result;
- the token of the leadership goes with all that it writes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from coterie.errors import GrantLostError
from coterie.gateway.component import Component
from coterie.gateway.standby import Standby
from coterie.recipes.discovery import Instance
from examples.gateway.metadata_client import Metadata, RefusedError, UnavailableError, inside
from examples.gateway.process import Options, Service, main
from examples.gateway.submission import as_given

KIND: Final = "scheduler"
MANAGER: Final = "manager"
SPEAKS: Final = {"metadata": ">=1,<3", MANAGER: ">=1,<3"}

_ANSWER_S_MAX: Final = 2.0
_OK: Final = (202, 409)
_SHUNNED_S: Final = 1.0

log = logging.getLogger("gateway.scheduler")


@dataclass(frozen=True)
class Settings:
    """Kept at /gateway/config/scheduler, and followed."""

    turn_s: float = 0.2
    slots: int = 4
    """How many jobs a manager gets at a time, if it does not say so itself (`slots`)."""
    unheard_s: float = 3.0
    """After this a job that its manager knows nothing of is given to another."""


@dataclass
class Turn:
    """One look at all jobs and all managers, and what follows from it. Nothing here waits."""

    managers: dict[str, Instance]
    """All that are registered, also those that take nothing at the moment."""
    works_on: dict[str, set[str] | None]
    """What each says that it works on; None if it does not answer."""
    active: Sequence[dict[str, Any]]
    at: datetime
    unheard_s: float
    slots: int
    given: Counter[str] = field(default_factory=Counter)
    """How many jobs each has."""

    def __post_init__(self) -> None:
        for job in self.active:
            self.given[job["manager"]] += 1

    def lost(self) -> list[tuple[dict[str, Any], str]]:
        """The jobs that nobody works on although they were given away, and why."""
        found = []
        for job in self.active:
            name = job["manager"]
            if name not in self.managers:
                found.append((job, f"{name} is gone"))
                continue
            works_on = self.works_on.get(name)
            if works_on is None or job["id"] in works_on:
                # One that does not answer is not gone, as long as it is registered.
                continue
            given = datetime.fromisoformat(job["assigned"])
            if (self.at - given).total_seconds() > self.unheard_s:
                found.append((job, f"{name} knows nothing of it"))
        return found

    def has_room(self, one: Instance) -> bool:
        return self.given[one.id] < self.slots_of(one)

    def slots_of(self, one: Instance) -> int:
        slots = one.metadata.get("slots")
        return slots if isinstance(slots, int) and slots > 0 else self.slots

    def least_given(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: who has the least to do, for how much it can do.

        What was given a moment ago is in nobody's load yet: so it is counted here first.
        """

        def burden(one: Instance) -> tuple[float, float, str]:
            load = one.metadata.get("load")
            told = float(load) if isinstance(load, int | float) else 0.0
            return self.given[one.id] / self.slots_of(one), told, one.id

        return min(found, key=burden)


class Scheduler:
    """The leading copy's work."""

    def __init__(self, component: Component[Settings], metadata: Metadata) -> None:
        self._component = component
        self._metadata = metadata
        self._http = inside(_ANSWER_S_MAX)
        self._applications: dict[tuple[str, str], dict[str, Any]] = {}
        """As they were read: a version never changes."""
        self._shunned: dict[str, float] = {}
        """Who did not take a job, and until when it gets none: the directory may not know yet."""
        self.turns = 0

    async def close(self) -> None:
        await self._http.aclose()

    async def lead(self, standby: Standby) -> None:
        """Schedule whenever this copy leads."""
        while True:
            grant = await standby.wait_leading()
            log.info("leads, with the token %#x", grant.token)
            while not grant.lost:
                try:
                    await self.turn(grant.token)
                except GrantLostError as error:
                    # It comes from the store: another copy has led since.
                    log.warning("deposed: %s", error)
                    await standby.resign()
                    break
                except (UnavailableError, RefusedError, LookupError) as error:
                    log.warning("%s", error)
                except Exception:
                    # One job that nobody understands does not keep the others waiting for ever.
                    log.exception("a turn failed")
                await asyncio.sleep(self._component.settings.current.turn_s)

    async def turn(self, token: int) -> None:
        """One look, and what follows. Raises `StaleTokenError`, `UnavailableError`."""
        work = await self._metadata.work()
        settings = self._component.settings.current
        everyone = {one.id: one for one in self._component.directory.everyone(MANAGER)}
        named = {job["manager"] for job in work["active"]} & everyone.keys()
        answers = await asyncio.gather(*(self._works_on(everyone[name]) for name in named))
        turn = Turn(
            managers=everyone,
            works_on=dict(zip(named, answers, strict=True)),
            active=work["active"],
            at=datetime.now(UTC),
            unheard_s=settings.unheard_s,
            slots=settings.slots,
        )
        for job, why in turn.lost():
            log.info("%s is queued again: %s", job["id"], why)
            await self._metadata.requeue(job["id"], token, job["attempts"], why, lost=True)
        # One after the other, so that each choice knows of the one before; told all at once.
        telling = []
        for job in work["queued"]:
            chosen = self._choose(turn, job)
            if chosen is None:
                continue
            attempt = await self._metadata.assign(job["id"], token, chosen.id)
            if attempt is not None:
                turn.given[chosen.id] += 1
                telling.append(self._give(job, attempt, chosen, token))
        await asyncio.gather(*telling)
        self.turns += 1

    def _choose(self, turn: Turn, job: dict[str, Any]) -> Instance | None:
        """A manager of the job's flavor and of a version that is spoken here, with room."""
        found = self._component.directory.find(MANAGER, flavor=job["flavor"])
        now_s = asyncio.get_running_loop().time()
        found = [
            one for one in found if turn.has_room(one) and self._shunned.get(one.id, 0.0) <= now_s
        ]
        return turn.least_given(found) if found else None

    async def _works_on(self, manager: Instance) -> set[str] | None:
        try:
            answer = await self._http.get(f"http://{manager.address}/jobs")
            return set(map(str, answer.json())) if answer.is_success else None
        except (httpx.HTTPError, ValueError, TypeError):
            return None

    async def _give(
        self, job: dict[str, Any], attempt: int, manager: Instance, token: int
    ) -> None:
        """Tell a manager of a job that it was given."""
        application = await self._application(job)
        try:
            answer = await self._http.post(
                f"http://{manager.address}/jobs", json=as_given(job, attempt, application)
            )
        except httpx.ConnectError as error:
            why = f"{manager.id} cannot be reached"
            log.info("%s: %s: %s", job["id"], why, error)
        except httpx.HTTPError as error:
            # It may have heard: what it works on will tell.
            log.info("%s: %s has not answered: %s", job["id"], manager.id, error)
            return
        else:
            if answer.status_code in _OK:
                return
            why = f"{manager.id} does not take it: {answer.status_code}"
            if answer.is_client_error:
                # It is the job's fault, with every manager: it is not tried for ever.
                await self._metadata.requeue(job["id"], token, attempt, why, lost=True)
                return
        self._shunned[manager.id] = asyncio.get_running_loop().time() + _SHUNNED_S
        await self._metadata.requeue(job["id"], token, attempt, why, lost=False)

    async def _application(self, job: dict[str, Any]) -> dict[str, Any]:
        key = (job["application"], job["version"])
        if key not in self._applications:
            found = await self._metadata.application(*key)
            if found is None:
                raise LookupError(f"there is no application {' '.join(key)}")
            self._applications[key] = found
        return self._applications[key]


def _app(scheduler: Scheduler, standby: Standby) -> Starlette:
    async def status(request: Request) -> JSONResponse:
        leader = standby.leader
        told = {
            "leads": standby.leading is not None,
            "leader": None if leader is None else leader.identifier.decode(),
            "turns": scheduler.turns,
        }
        return JSONResponse(told)

    return Starlette(routes=[Route("/status", status)])


async def _say_who_leads(component: Component[Any], standby: Standby) -> None:
    async for leading, _ in standby.changes():
        await component.report(leads=leading is not None)


@asynccontextmanager
async def serve(component: Component[Settings], options: Options) -> AsyncIterator[Service]:
    """A scheduler, between two moments."""
    async with AsyncExitStack() as stack:
        metadata = await stack.enter_async_context(Metadata(component))
        scheduler = Scheduler(component, metadata)
        stack.push_async_callback(scheduler.close)
        leaders = f"{options.root}/leaders/{KIND}"
        standby = Standby(component.zk, leaders, identifier=options.name.encode())
        await stack.enter_async_context(standby)
        tasks = [
            asyncio.ensure_future(scheduler.lead(standby)),
            asyncio.ensure_future(_say_who_leads(component, standby)),
        ]

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        stack.push_async_callback(stop)
        yield Service(_app(scheduler, standby), stop)


if __name__ == "__main__":
    sys.exit(main(KIND, serve, Settings, speaks=SPEAKS))
