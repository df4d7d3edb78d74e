"""Telling of oneself: few writes, the newest counts; on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from coterie.errors import ThrottledError
from coterie.gateway.announcement import Announcement
from coterie.recipes.discovery import Instance, Registration
from coterie.testing.clock import Time
from coterie.testing.loop import VirtualLoop


class Registered:
    """A registration that keeps what is written, and when."""

    def __init__(self, *errors: Exception, takes_s: float = 0.0) -> None:
        self.instance = Instance("a", "1", "h", 1, metadata={"load": 0})
        self.written: list[tuple[float, Any]] = []
        self._errors = list(errors)
        self._takes_s = takes_s

    async def update(self) -> None:
        metadata, now_s = self.instance.metadata, asyncio.get_running_loop().time()
        await asyncio.sleep(self._takes_s)
        if self._errors:
            raise self._errors.pop(0)
        self.written.append((round(now_s, 3), metadata.get("load")))


def announcement(registered: Registered, every_s: float = 1.0) -> Announcement:
    made = Announcement(cast(Registration, registered), every_s)
    made.open()
    return made


def run(test: Coroutine[Any, Any, None]) -> None:
    VirtualLoop(Time()).run_until_complete(test)


def test_a_storm_costs_a_write_for_each_interval() -> None:
    async def test() -> None:
        registered = Registered()
        told = announcement(registered)
        for number in range(1, 2501):
            told.change({"load": number})
            await asyncio.sleep(0.001)
        await asyncio.sleep(5)
        assert [at for at, _ in registered.written] == [0.0, 1.0, 2.0, 3.0]
        assert registered.written[-1] == (3.0, 2500)
        await told.close()

    run(test())


def test_what_changes_nothing_costs_nothing() -> None:
    async def test() -> None:
        registered = Registered()
        told = announcement(registered)
        told.change({"load": 0})
        await asyncio.sleep(5)
        assert registered.written == []
        assert told.wanted == told.told == 0
        await told.close()

    run(test())


def test_the_urgent_does_not_wait_and_takes_the_rest_along() -> None:
    async def test() -> None:
        registered = Registered()
        told = announcement(registered, every_s=60)
        told.change({"load": 1})
        await asyncio.sleep(1)
        told.change({"load": 2})
        await asyncio.sleep(1)
        told.change({"state": "draining"}, urgent=True)
        await asyncio.sleep(1)
        assert registered.written == [(0.0, 1), (2.0, 2)]
        # One that changes nothing makes the next one urgent, no more than that.
        told.change({"load": 3})
        told.change({"state": "draining"}, urgent=True)
        await asyncio.sleep(1)
        assert registered.written[-1] == (3.0, 3)
        told.change({"load": 4})
        await asyncio.sleep(1)
        assert registered.written[-1] == (3.0, 3)
        await told.close()

    run(test())


def test_an_urgent_one_that_changes_nothing_hurries_nothing_later() -> None:
    async def test() -> None:
        registered = Registered()
        told = announcement(registered, every_s=60)
        told.change({"load": 1})
        await asyncio.sleep(1)
        told.change({"load": 1}, urgent=True)
        await asyncio.sleep(1)
        told.change({"load": 2})
        await asyncio.sleep(1)
        assert registered.written == [(0.0, 1)]
        await told.close()

    run(test())


def test_what_fails_and_passes_is_tried_again_with_the_newest() -> None:
    async def test() -> None:
        registered = Registered(*[ThrottledError("/a", "set")] * 3)
        told = announcement(registered)
        told.change({"load": 1})
        await asyncio.sleep(0.15)
        told.change({"load": 2})
        await asyncio.sleep(5)
        assert [load for _, load in registered.written] == [2]
        assert told.told == told.wanted == 2
        await told.close()

    run(test())


def test_what_changes_while_it_is_written_is_written_next() -> None:
    async def test() -> None:
        registered = Registered(takes_s=0.5)
        told = announcement(registered)
        told.change({"load": 1})
        await asyncio.sleep(0.2)
        told.change({"load": 2})
        assert (told.wanted, told.told) == (2, 1)
        await asyncio.sleep(5)
        assert registered.written == [(0.0, 1), (1.5, 2)]
        await told.close()

    run(test())


def test_none_takes_a_key_away() -> None:
    told = Announcement(cast(Registration, Registered()), 1)
    told.change({"problem": "bad", "more": (1, 2)})
    assert told.metadata == {"load": 0, "problem": "bad", "more": [1, 2]}
    told.change({"problem": None})
    assert told.metadata == {"load": 0, "more": [1, 2]}


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_json_cannot_say(value: Any) -> None:
    told = Announcement(cast(Registration, Registered()), 1)
    with pytest.raises(ValueError, match=r"metadata|JSON"):
        told.change({"load": value})
    assert told.wanted == 0
