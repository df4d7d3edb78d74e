"""One look of the scheduler: who gets a job, and whose jobs are given to others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from coterie.gateway.component import Component
from coterie.gateway.fencing import StaleTokenError
from coterie.recipes.discovery import Instance
from coterie.testing.ports import free_port
from examples.gateway.process import serving
from examples.gateway.scheduler import Scheduler, Settings, Turn
from examples.gateway.store import LOST_MAX, Store
from tests.examples.gateway.direct import Direct

pytestmark = pytest.mark.gateway

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def manager(id: str, **metadata: Any) -> Instance:
    return Instance("manager", "1.0", "127.0.0.1", 9161, "local", metadata, id)


def given(id: str, to: str, seconds_ago: float = 10) -> dict[str, Any]:
    at = (NOW - timedelta(seconds=seconds_ago)).isoformat(timespec="milliseconds")
    return {"id": id, "state": "assigned", "manager": to, "attempts": 1, "assigned": at}


def turn(
    *active: dict[str, Any],
    managers: tuple[Instance, ...] = (),
    works_on: Mapping[str, set[str] | None] | None = None,
) -> Turn:
    return Turn(
        managers={one.id: one for one in managers},
        works_on=dict(works_on or {}),
        active=active,
        at=NOW,
        unheard_s=3,
        slots=2,
    )


def test_jobs_of_a_manager_that_is_gone_are_lost() -> None:
    found = turn(given("a", "m1"), given("b", "m2"), managers=(manager("m2"),))
    assert [(job["id"], why) for job, why in found.lost()] == [("a", "m1 is gone")]


def test_a_manager_that_says_nothing_is_not_gone() -> None:
    found = turn(given("a", "m1"), managers=(manager("m1"),), works_on={"m1": None})
    assert found.lost() == []


def test_a_job_that_its_manager_does_not_know_is_lost_after_a_while() -> None:
    found = turn(
        given("known", "m1"),
        given("unknown", "m1"),
        given("on its way", "m1", seconds_ago=1),
        managers=(manager("m1"),),
        works_on={"m1": {"known"}},
    )
    assert [job["id"] for job, _ in found.lost()] == ["unknown"]


def test_a_manager_gets_as_many_as_it_says() -> None:
    one, other = manager("m1", slots=3), manager("m2")
    found = turn(*(given(str(n), to) for n, to in enumerate(("m1", "m1", "m2", "m2"))))
    assert found.has_room(one)
    assert not found.has_room(other)


def test_who_has_least_to_do_for_what_it_can_do_is_next() -> None:
    large, small = manager("large", slots=8), manager("small", slots=2)
    found = turn(given("a", "large"), given("b", "small"), managers=(large, small))
    assert found.least_given([small, large]) is large
    found.given["large"] = 4
    found.given["small"] = 0
    assert found.least_given([small, large]) is small


def test_of_equals_the_less_loaded_is_next() -> None:
    busy, idle = manager("m1", load=0.9), manager("m2", load=0.1)
    assert turn(managers=(busy, idle)).least_given([busy, idle]) is idle


class World:
    """A scheduler over the store itself, and the managers that the directory knows of."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path / "db")
        application = {"name": "sort", "version": "1.0", "flavor": "local"}
        self.metadata = Direct(self.store)
        self.store.write(1, "register", {"application": application, "user": "gateway"})
        self.managers: list[Instance] = []
        directory = SimpleNamespace(
            everyone=lambda kind: self.managers,
            find=lambda kind, flavor: [m for m in self.managers if m.flavor == flavor],
        )
        settings = SimpleNamespace(current=Settings())
        fake = SimpleNamespace(directory=directory, settings=settings)
        self.scheduler = Scheduler(cast("Component[Settings]", fake), self.metadata)

    async def submit(self, *ids: str) -> None:
        for id in ids:
            await self.metadata.create(
                id=id, user="a", key=id, digest="", application="sort", version="1.0", inputs={}
            )

    async def where(self, id: str) -> tuple[str, str]:
        found = await self.metadata.job(id)
        assert found is not None
        return found["state"], found["manager"]


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    made = World(path)
    yield made
    await made.scheduler.close()
    made.store.close()


@asynccontextmanager
async def taking(id: str, status: int = 202) -> AsyncIterator[tuple[Instance, list[Any]]]:
    """A manager that takes what it is given, or does not."""
    taken: list[Any] = []

    async def jobs(request: Request) -> JSONResponse:
        if request.method == "GET":
            return JSONResponse([job["id"] for job in taken])
        if status == 202:
            taken.append(await request.json())
        return JSONResponse({}, status)

    app = Starlette(routes=[Route("/jobs", jobs, methods=["GET", "POST"])])
    async with serving(app, "127.0.0.1", 0) as port:
        yield Instance("manager", "1.0", "127.0.0.1", port, "local", {}, id), taken


async def test_who_cannot_be_reached_is_passed_over_for_a_while(tmp_path: Path) -> None:
    async with world(tmp_path) as made, taking("alive") as (alive, taken):
        dead = Instance("manager", "1.0", "127.0.0.1", free_port(), "local", {}, "a-dead-one")
        made.managers = [dead, alive]
        await made.submit("one", "two")
        await made.scheduler.turn(1)
        assert await made.where("one") == ("queued", "")
        assert await made.where("two") == ("assigned", "alive")
        await made.scheduler.turn(1)
        assert await made.where("one") == ("assigned", "alive")
        assert [job["id"] for job in taken] == ["two", "one"]
        assert taken[0]["application"]["name"] == "sort"


async def test_who_is_full_loses_no_job(tmp_path: Path) -> None:
    async with world(tmp_path) as made, taking("full", 503) as (full, _):
        made.managers = [full]
        await made.submit("one")
        await made.scheduler.turn(1)
        assert await made.where("one") == ("queued", "")


async def test_a_job_that_no_manager_can_read_is_given_up_and_hinders_no_other(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as made, taking("refuses", 400) as (refuses, _):
        made.managers = [refuses]
        await made.submit("bad")
        for _ in range(LOST_MAX):
            await made.scheduler.turn(1)
        assert await made.where("bad") == ("failed", "refuses")


async def test_jobs_of_another_flavor_wait(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.managers = [Instance("manager", "1.0", "127.0.0.1", 9, "dask", {}, "d")]
        await made.submit("one")
        await made.scheduler.turn(1)
        assert await made.where("one") == ("queued", "")


async def test_a_manager_that_is_gone_is_replaced(tmp_path: Path) -> None:
    async with world(tmp_path) as made, taking("other") as (other, taken):
        await made.submit("one")
        await made.metadata.assign("one", 1, "gone")
        made.managers = [other]
        await made.scheduler.turn(2)
        await made.scheduler.turn(2)
        assert await made.where("one") == ("assigned", "other")
        assert taken[0]["attempt"] == 2


async def test_a_deposed_scheduler_gives_nothing_away(tmp_path: Path) -> None:
    async with world(tmp_path) as made, taking("one") as (manager, taken):
        await made.submit("one")
        await made.metadata.requeue("one", 9, 1, "", lost=False)
        made.managers = [manager]
        with pytest.raises(StaleTokenError):
            await made.scheduler.turn(8)
        assert taken == []
