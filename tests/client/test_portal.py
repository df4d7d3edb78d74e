"""The thread behind a blocking client."""

from __future__ import annotations

import asyncio
import threading

import pytest

from coterie.client.portal import Portal
from coterie.errors import ForkedError
from coterie.system import process


async def _thread() -> int:
    return threading.get_ident()


async def _fail() -> None:
    raise ZeroDivisionError


def test_coroutines_run_in_its_thread_from_any_other() -> None:
    portal = Portal()
    assert portal.call(_thread()) != threading.get_ident()
    assert portal.start(_thread()).result() == portal.call(_thread())
    with pytest.raises(ZeroDivisionError):
        portal.call(_fail())
    portal.close()
    portal.close()


def test_a_call_that_would_wait_for_itself_is_an_error_kazoo_208() -> None:
    portal = Portal()

    async def inside() -> None:
        portal.call(_thread())

    with pytest.raises(RuntimeError, match="never end"):
        portal.call(inside())
    portal.close()


def test_callbacks_run_elsewhere_one_after_the_other_and_may_call() -> None:
    portal = Portal()
    heard: list[object] = []
    done = threading.Event()

    def callback(fact: object) -> None:
        heard.append((fact, portal.call(_thread()) != threading.get_ident()))
        if len(heard) == 3:
            done.set()

    outside = portal.outside(callback)
    for fact in range(3):
        portal.loop.call_soon_threadsafe(outside, fact)
    assert done.wait(5)
    assert heard == [(0, True), (1, True), (2, True)]
    portal.close()


def test_a_closed_or_forked_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal()
    with monkeypatch.context() as patched:
        patched.setattr(process._Forks, "count", process.forks() + 1)
        with pytest.raises(ForkedError):
            portal.call(_thread())
    portal.close()
    with pytest.raises(RuntimeError, match="closed"):
        portal.call(_thread())


def test_what_still_runs_is_cancelled_at_its_end() -> None:
    portal = Portal()
    endless = portal.start(asyncio.sleep(60))
    portal.call(asyncio.sleep(0))
    portal.close()
    assert endless.cancelled()
