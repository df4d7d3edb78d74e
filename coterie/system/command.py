"""A command that is run to its end, or to the end of its time.

Rules: it has a process group of its own, which is ended with it; it reads nothing; of what it says
the last lines are kept, and the rest is thrown away, so that one that talks much costs no memory.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

_KEPT_BYTES: Final = 4096
_READ_BYTES: Final = 65_536
_LAST_WORDS_S: Final = 0.5
_GRACE_S: Final = 5.0


class Outcome(NamedTuple):
    """How it ended."""

    problem: str
    """Why that was not well, in one line; nothing if it was."""
    said: str
    """The end of what it said."""


async def run_command(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run it. Who is cancelled meanwhile ends it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Outcome(f"{command[0]} cannot be run: {reason}", "")
    kept = bytearray()
    assert process.stdout is not None
    listening = asyncio.create_task(_listen(process.stdout, kept))
    in_time = True
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            in_time = False
            await _end(process)
        # What it has left behind may hold its output open for ever.
        await asyncio.wait({listening}, timeout=_LAST_WORDS_S)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        _signal(process, signal.SIGKILL)
    said = kept.decode(errors="replace").strip()
    if not in_time:
        return Outcome(f"{command[0]} has not ended within {timeout_s:g} s", said)
    if process.returncode:
        last = said.rpartition("\n")[2]
        why = f": {last}" if last else ""
        return Outcome(f"{command[0]} {_ending(process.returncode)}{why}", said)
    return Outcome("", said)


async def _listen(output: asyncio.StreamReader, kept: bytearray) -> None:
    while data := await output.read(_READ_BYTES):
        kept += data
        del kept[:-_KEPT_BYTES]


async def _end(process: asyncio.subprocess.Process) -> None:
    _signal(process, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
            return
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
