"""asyncio on virtual time: what it promises elsewhere it keeps here, and always in one order."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from coterie.testing.clock import Time
from coterie.testing.loop import HungError, VirtualLoop


def run(coroutine: Coroutine[Any, Any, Any], time: Time | None = None) -> Any:
    return VirtualLoop(time or Time()).run_until_complete(coroutine)


def test_a_day_is_over_at_once() -> None:
    async def sleeps() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(sleeps()) == pytest.approx(3600)


def test_a_timer_is_never_early_in_any_unit() -> None:
    async def wakes(delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        due_ms = loop.time() * 1000 + delay_s * 1000
        due_s = loop.time() + delay_s
        await asyncio.sleep(delay_s)
        assert loop.time() >= due_s
        assert loop.time() * 1000 >= due_ms

    async def many() -> None:
        for number in range(1000):
            await wakes(0.1 + number / 7)

    run(many())


def test_callbacks_happen_in_the_order_in_which_they_were_asked_for() -> None:
    time, said = Time(), list[str]()
    loop = VirtualLoop(time)
    loop.call_soon(said.append, "a")
    time.after(0, lambda: said.append("a machine"))
    loop.call_soon_threadsafe(said.append, "b")
    loop.call_later(0.002, said.append, "later")
    time.after(1, lambda: said.append("a machine, after 1 ms"))
    loop.call_at(0, said.append, "at a time that is past")
    time.run(10)
    assert said == [
        "a",
        "a machine",
        "b",
        "at a time that is past",
        "a machine, after 1 ms",
        "later",
    ]


def test_a_cancelled_callback_does_not_happen() -> None:
    time, said = Time(), list[str]()
    loop = VirtualLoop(time)
    loop.call_soon(said.append, "a").cancel()
    loop.call_later(1, said.append, "b").cancel()
    assert time.step()
    assert not time.step()
    assert not said


def test_what_asyncio_has_works() -> None:
    async def main() -> list[str]:
        said: list[str] = []
        event, queue = asyncio.Event(), asyncio.Queue[int](1)

        async def waits() -> None:
            await event.wait()
            said.append("event")

        async def puts() -> None:
            for number in range(3):
                await queue.put(number)
            event.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waits())
            tasks.create_task(puts())
            said += [str(await queue.get()) for _ in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(9), 1)
        said += await asyncio.gather(*(asyncio.sleep(3 - n, str(n)) for n in range(3)))
        assert asyncio.get_running_loop().time() == pytest.approx(6)
        return said

    assert run(main()) == ["0", "1", "2", "event", "0", "1", "2"]


def test_the_tasks_of_a_group_are_cancelled_in_one_order() -> None:
    async def main() -> list[int]:
        said: list[int] = []

        async def waits(number: int) -> None:
            try:
                await asyncio.sleep(9)
            finally:
                said.append(number)

        async def fails() -> None:
            raise OSError

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(40):
                    tasks.create_task(waits(number))
                await asyncio.sleep(0)
                tasks.create_task(fails())

        with pytest.raises(ExceptionGroup):
            await group()
        return said

    assert [run(main()) for _ in range(5)] == [list(range(40))] * 5


def test_every_task_has_a_context_of_its_own() -> None:
    name = contextvars.ContextVar("name", default="none")

    async def sets(value: str) -> str:
        name.set(value)
        await asyncio.sleep(1)
        return name.get()

    async def main() -> list[str]:
        return [*await asyncio.gather(sets("a"), sets("b")), name.get()]

    assert run(main()) == ["a", "b", "none"]


def test_asyncio_can_run_it_and_closes_what_is_left() -> None:
    closed: list[str] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            closed.append(name)

    async def main() -> None:
        async for _ in numbers("dropped"):
            break
        await asyncio.sleep(2)
        assert closed == ["dropped"]
        kept = numbers("kept")
        assert await anext(kept) == 1
        held.append(kept)

    held: list[AsyncIterator[int]] = []
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(Time())) as runner:
        runner.run(main())
    assert closed == ["dropped", "kept"]


def test_what_nobody_handles_is_collected() -> None:
    loop = VirtualLoop(Time())
    loop.call_soon(int, "no number")
    loop.run_until_complete(asyncio.sleep(0))
    assert isinstance(loop.errors[0]["exception"], ValueError)
    handled: list[str] = []
    loop.set_exception_handler(lambda _, context: handled.append(context["message"]))
    loop.call_soon(int, "no number")
    loop.run_until_complete(asyncio.sleep(0))
    assert len(handled) == len(loop.errors) == 1


def test_who_waits_for_nothing_is_told() -> None:
    time = Time()
    with pytest.raises(HungError, match="ever"):
        run(asyncio.Event().wait(), time)

    def ticks() -> None:
        time.after(1000, ticks)

    ticks()
    waiting = asyncio.Event().wait()
    with pytest.raises(HungError, match="so long"):
        VirtualLoop(time, patience_s=60).run_until_complete(waiting)
    assert time.now_ms == pytest.approx(61_000)


def test_processes_share_the_time_and_nothing_else() -> None:
    time, said = Time(), list[tuple[str, float]]()
    loops = [VirtualLoop(time, name) for name in ("a", "b")]

    async def speaks(delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for _ in range(3):
            await asyncio.sleep(delay_s)
            said.append((loop.name, round(loop.time(), 3)))

    loops[0].create_task(speaks(1))
    loops[1].create_task(speaks(1.5))
    time.run(10_000)
    # At 3 the other has asked first.
    assert said == [("a", 1), ("b", 1.5), ("a", 2), ("b", 3), ("a", 3), ("b", 4.5)]


def test_a_frozen_process_does_late_what_was_due() -> None:
    time, said = Time(), list[tuple[str, float]]()
    loop = VirtualLoop(time)

    def say(name: str) -> None:
        said.append((name, round(loop.time(), 3)))

    loop.call_later(1, say, "a")
    loop.call_later(2, say, "b")
    cancelled = loop.call_later(2, say, "c")
    time.after(500, loop.freeze)
    time.after(3000, cancelled.cancel)
    time.after(4000, loop.thaw)
    time.run(3999)
    assert loop.frozen
    assert not said
    time.run(5000)
    assert said == [("a", 4), ("b", 4)]


def test_a_closed_loop_does_nothing() -> None:
    time, said = Time(), list[str]()
    loop = VirtualLoop(time)
    loop.call_soon(said.append, "a")
    loop.close()
    time.run(1)
    assert not said
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(said.append, "b")
