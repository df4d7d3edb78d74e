"""A manager that stands still in the middle of a job, and wakes up when another has done it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

import coterie
from coterie.gateway.directory import Directory
from examples.gateway.__main__ import Gateway, Plan
from examples.gateway.application import Application, Input, Output
from examples.gateway.check import User
from tests.examples.gateway import load

pytestmark = pytest.mark.gateway

_COUNTS: Final = (
    ("metadata", "", 1),
    ("api", "", 1),
    ("scheduler", "", 1),
    ("manager", "local", 2),
)
_SLOW: Final = Application(
    name="slow",
    version="1.0",
    command=("sh", "-c", "sleep {seconds}; echo {seconds} > out"),
    inputs=(Input("seconds", "number"),),
    outputs=(Output("out", "text"),),
)
_ENDED_S_MAX: Final = 60.0


@contextmanager
def _paused(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(180)
def test_who_has_slept_records_nothing(tmp_path: Path) -> None:
    slept, ended = coterie.run(_run(tmp_path))
    ((manager, attempts, token),) = load.rows(
        tmp_path, "SELECT manager, attempts, token FROM experiments"
    )
    assert manager == ended["manager"] != slept
    assert attempts == 2
    assert load.rows(tmp_path, "SELECT state, token FROM results") == [("done", token)]


async def _run(data: Path) -> tuple[str, dict[str, Any]]:
    async with Gateway(Plan(data, counts=_COUNTS)) as gateway:
        await gateway.ready()
        async with (
            coterie.connect(gateway.hosts) as zk,
            Directory(zk) as directory,
            User("ada", gateway.urls) as user,
        ):
            await user.sign_in()
            await user.ask("POST", "/api/v1/applications", json=_SLOW.as_json())
            job_id = (await user.submit("slow", {"seconds": "2"}, {}))["id"]
            while (found := await user.experiment(job_id))["state"] != "running":
                assert found["state"] in ("queued", "assigned")
                await asyncio.sleep(0.05)
            sleeper = gateway.supervisor[found["manager"]]
            assert sleeper.pid is not None
            with _paused(sleeper.pid):
                # Its command goes on to its end meanwhile, and so does that of the other.
                ended = await user.ended(job_id, _ENDED_S_MAX)
                assert ended["state"] == "done", ended["message"]
            # It comes back, in a new session, and has nothing to do with the job any more.
            await load.until(lambda: sleeper.spec.name in _names(directory))
            await load.until(lambda: "another's now" in sleeper.last_words())
            again = await user.experiment(job_id)
            assert await user.output(job_id, "out") == b"2\n"
            assert (again["manager"], again["ended"]) == (ended["manager"], ended["ended"])
            return sleeper.spec.name, ended


def _names(directory: Directory) -> list[str]:
    return [one.id for one in directory.find("manager")]
