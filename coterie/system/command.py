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
_LAST_WORDS_S: Final = 0.5
_GRACE_S: Final = 5.0


class Outcome(NamedTuple):
    """How it ended."""

    problem: str
    """Why that was not well, in one line; nothing if it was."""
    said: str
    """The end of what it said."""


class _Listener(asyncio.SubprocessProtocol):
    """Keeps the end of what a command says, and hears of its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.kept = bytearray()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.silent: asyncio.Future[None] = loop.create_future()
        """Done when nobody has its output open any more."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.kept += data
        del self.kept[:-_KEPT_BYTES]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if not self.silent.done():
            self.silent.set_result(None)

    def process_exited(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def run_command(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run it. Who is cancelled meanwhile ends it."""
    try:
        transport, listener = await asyncio.get_running_loop().subprocess_exec(
            _Listener,
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
    pid = transport.get_pid()
    try:
        done, _ = await asyncio.wait({listener.ended}, timeout=timeout_s)
        if not done:
            await _end(pid, listener.ended)
        # What it has left behind could hold its output open for ever.
        _signal(pid, signal.SIGKILL)
        await asyncio.wait({listener.silent}, timeout=_LAST_WORDS_S)
    except asyncio.CancelledError:
        _signal(pid, signal.SIGKILL)
        await asyncio.wait({listener.ended})
        raise
    finally:
        transport.close()
    said = listener.kept.decode(errors="replace").strip()
    if not done:
        return Outcome(f"{command[0]} has not ended within {timeout_s:g} s", said)
    status = transport.get_returncode()
    if status:
        last = said.rpartition("\n")[2]
        why = f": {last}" if last else ""
        return Outcome(f"{command[0]} {_ending(status)}{why}", said)
    return Outcome("", said)


async def _end(pid: int, ended: asyncio.Future[None]) -> None:
    _signal(pid, signal.SIGTERM)
    await asyncio.wait({ended}, timeout=_GRACE_S)
    _signal(pid, signal.SIGKILL)
    await asyncio.wait({ended})


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
