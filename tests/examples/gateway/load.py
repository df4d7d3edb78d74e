"""Small jobs whose right results are known: submitted to a gateway that runs, then looked at."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from examples.gateway.application import Application, Input, Output
from examples.gateway.check import User
from examples.gateway.metadata import FILE

# As small as a job can be that does something: a gateway is under load here, not a machine.
SORT: Final = Application(
    name="sort",
    version="1.0",
    description="The lines of a file in their order",
    command=("sort", "-o", "{sorted.txt}", "{lines}"),
    inputs=(Input("lines", "file"),),
    outputs=(Output("sorted.txt", "text"),),
)

_POLL_S: Final = 0.05


async def register(user: User) -> None:
    """Let the gateway know of `SORT`."""
    await user.ask("POST", "/api/v1/applications", json=SORT.as_json())


async def submit(user: User, number: int) -> str:
    """Submit the job of that number; its id."""
    lines = f"{number}\nb\na\n".encode()
    key = f"job-{number}"
    made = await user.submit("sort", {}, {"lines": (f"{key}.txt", lines)}, key)
    return str(made["id"])


async def problem_of(user: User, job_id: str, number: int, seconds: float) -> str | None:
    """What is wrong with that job once it has ended; None if it is as it has to be."""
    ended = await user.ended(job_id, seconds)
    if ended["state"] != "done":
        return f"{job_id}: {ended['state']} {ended['message']}"
    found = await user.output(job_id, "sorted.txt")
    return None if found == f"{number}\na\nb\n".encode() else f"{job_id}: {found!r}"


@asynccontextmanager
async def steady_load(user: User, every_s: float) -> AsyncIterator[dict[int, str]]:
    """Submit a job every so often for the time of a block; the ids by their numbers."""
    ids: dict[int, str] = {}

    async def go_on() -> None:
        while True:
            number = len(ids)
            ids[number] = await submit(user, number)
            await asyncio.sleep(every_s)

    task = asyncio.ensure_future(go_on())
    try:
        yield ids
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so. Raises `TimeoutError`."""
    for _ in range(int(seconds / _POLL_S)):
        if condition():
            return
        await asyncio.sleep(_POLL_S)
    raise TimeoutError


def rows(data: Path, query: str) -> list[tuple[Any, ...]]:
    """What the database of a gateway's metadata servers says."""
    connection = sqlite3.connect(f"file:{data / FILE}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
