"""One look of the scheduler: who gets a job, and whose jobs are given to others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coterie.recipes.discovery import Instance
from examples.gateway.scheduler import Turn

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
