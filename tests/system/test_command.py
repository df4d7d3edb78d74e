"""Commands that are run to their end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from coterie.system.command import run_command


def _python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


async def test_one_that_ends_well_has_no_problem() -> None:
    outcome = await run_command(["sh", "-c", "echo $COLOUR; cat"], 20, {"COLOUR": "blue"})
    assert outcome == ("", "blue")


async def test_one_that_fails_is_known_by_its_last_line() -> None:
    outcome = await run_command(["sh", "-c", "echo one; echo 'no such port' >&2; exit 3"], 20)
    assert outcome.problem == "sh ended with status 3: no such port"
    outcome = await run_command(["sh", "-c", "kill -9 $$"], 20)
    assert outcome.problem == "sh was ended by SIGKILL"


async def test_one_that_is_not_there() -> None:
    outcome = await run_command(["/nowhere/at-all"], 20)
    assert outcome.problem == "/nowhere/at-all cannot be run: No such file or directory"


async def test_one_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    outcome = await run_command(["sh", "-c", f"sleep 60 & echo $! > {note}; wait"], 0.5)
    assert outcome.problem == "sh has not ended within 0.5 s"
    child = int(note.read_text())
    async with asyncio.timeout(5):
        while _alive(child):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_what_keeps_its_output_open_does_not_keep_us() -> None:
    async with asyncio.timeout(10):
        outcome = await run_command(["sh", "-c", "sleep 30 & echo done"], 20)
    assert outcome == ("", "done")


async def test_of_much_that_is_said_the_end_is_kept() -> None:
    outcome = await run_command(_python("print('x' * 3_000_000); print('end')"), 20)
    assert not outcome.problem
    assert outcome.said.endswith("x\nend")
    assert len(outcome.said) <= 4096


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="processes are looked up in /proc")
async def test_who_is_cancelled_ends_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    task = asyncio.create_task(run_command(["sh", "-c", f"echo $$ > {note}; sleep 60"], 60))
    async with asyncio.timeout(5):
        while not (note.exists() and note.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = int(note.read_text())
    async with asyncio.timeout(5):
        while _alive(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
