"""Commands that follow changes, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from coterie.gateway.agent.reload import Reload
from coterie.gateway.agent.subscriptions import Command
from coterie.system.command import Outcome
from coterie.testing.clock import Time
from coterie.testing.loop import VirtualLoop


class _Runs:
    """A command that takes ten seconds, and what became of it."""

    def __init__(self) -> None:
        self.began: list[tuple[float, str]] = []
        self.done: list[tuple[float, str]] = []
        self.problem = ""
        self.at_once = self.at_once_max = 0
        self.reload = Reload("tell", Command(("tell", "all"), 20.0), self._run)

    async def _run(
        self, words: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None
    ) -> Outcome:
        assert (tuple(words), timeout_s) == (("tell", "all"), 20.0)
        assert environment is not None
        self.began.append((_now(), environment["COTERIE_FILES"].replace("\n", " ")))
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        await asyncio.sleep(10)
        self.at_once -= 1
        return Outcome(self.problem, "")

    def want(self, file: str) -> None:
        async def done() -> None:
            self.done.append((_now(), file))

        self.reload.want(file, done)

    def play(self, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def both() -> None:
            working = asyncio.create_task(self.reload.work())
            await play()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

        VirtualLoop(Time()).run_until_complete(both())


def _now() -> float:
    return round(asyncio.get_running_loop().time())


def test_it_runs_once_for_all_that_have_changed() -> None:
    runs = _Runs()

    async def play() -> None:
        await asyncio.sleep(1)
        runs.want("a")
        runs.want("b")
        runs.want("a")
        await asyncio.sleep(100)
        assert runs.began == [(1, "a b")]
        assert runs.done == [(11, "a"), (11, "b")]
        assert not runs.reload.waiting
        assert (runs.reload.runs, runs.reload.failures) == (1, 0)

    runs.play(play)


def test_what_changes_meanwhile_lets_it_run_once_more_and_never_twice_at_once() -> None:
    runs = _Runs()

    async def play() -> None:
        runs.want("a")
        for _ in range(5):
            await asyncio.sleep(1)
            runs.want("a")
        runs.want("b")
        await asyncio.sleep(100)
        assert runs.began == [(0, "a"), (10, "a b")]
        # The first run began before the last change of `a`.
        assert runs.done == [(20, "a"), (20, "b")]
        assert runs.at_once_max == 1

    runs.play(play)


def test_one_that_fails_is_tried_again_later_each_time() -> None:
    runs = _Runs()
    runs.problem = "tell ended with status 1"

    async def play() -> None:
        runs.want("a")
        await asyncio.sleep(100)
        assert [began for began, _ in runs.began] == [0, 15, 35, 65]
        assert (runs.reload.problem, runs.reload.failures) == (runs.problem, 4)
        assert runs.reload.waiting
        assert not runs.done
        runs.problem = ""
        await asyncio.sleep(100)
        assert runs.done == [(125, "a")]
        assert runs.reload.problem == ""

    runs.play(play)


def test_another_change_is_a_reason_to_try_at_once() -> None:
    runs = _Runs()
    runs.problem = "no"

    async def play() -> None:
        runs.want("a")
        await asyncio.sleep(70)
        count = len(runs.began)
        await asyncio.sleep(10)
        runs.problem = ""
        runs.want("b")
        await asyncio.sleep(11)
        assert len(runs.began) == count + 1
        assert {file for _, file in runs.done} == {"a", "b"}

    runs.play(play)


def test_one_that_is_cancelled_is_still_wanted() -> None:
    runs = _Runs()

    async def play() -> None:
        runs.want("a")
        step = asyncio.create_task(runs.reload.once())
        await asyncio.sleep(1)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        assert runs.reload.waiting

    VirtualLoop(Time()).run_until_complete(play())
