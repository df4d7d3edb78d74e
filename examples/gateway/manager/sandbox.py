"""A fenced folder in which one command is run: limits, a clean environment, and a certain end.

    sandbox = Sandbox(folder, Limits(cpu_s=60))
    ended = await sandbox.run(["python", "-m", "align", "inputs/first"])
    if ended.problem: ...

The command runs in FOLDER/work, without a shell; what it says is FOLDER/log. It is stopped, with
all that it has started, when the sandbox is told so, when its caller is cancelled, and when this
process is no more (`confine.py`). It may read what this user may read: this is a fence against
accidents and runaways, for programs that are let in by people one knows; for others' programs, let
containers or machines of their own be the sandbox.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NamedTuple

from examples.gateway.manager import confine

TOP: Final = Path(__file__).resolve().parents[3]
"""The folder from which the applications that come along are imported."""
LOG_BYTES: Final = 4000

_CONFINE: Final = Path(__file__).with_name("confine.py")
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What a command may use: each process of it, but for the time."""

    cpu_s: int = 60
    wall_s: float = 300
    memory_mb: int = 2048
    file_mb: int = 64
    open_files: int = 256
    network: bool = False


class Ended(NamedTuple):
    """How a command has ended."""

    status: int
    problem: str
    """What went wrong; empty if nothing has."""


class Sandbox:
    """One run of one command, below `folder`."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.work = folder / "work"
        self.log = folder / "log"
        self.stopped = False
        self._limits = Limits() if limits is None else limits
        self._process: asyncio.subprocess.Process | None = None

    async def run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run it to its end. When the caller is cancelled, it is ended first."""
        if self.stopped:
            return Ended(confine.STOPPED, "it was stopped before it began")
        self.work.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._words(command),
                cwd=self.work,
                env=self._environment(environment or {}),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self.stopped:
            self._close_pipe()
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            self.stop()
            await asyncio.shield(process.wait())
            raise
        finally:
            self._close_pipe()
        return Ended(status, self._problem(status))

    def stop(self) -> None:
        """End it, whether it has begun or not: `run` returns when it has ended."""
        self.stopped = True
        if self._process is not None:
            self._close_pipe()

    def tail(self, bytes_max: int = LOG_BYTES) -> str:
        """The last of what it has said."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - bytes_max))
                return log.read(bytes_max).decode(errors="replace").replace("\0", "")
        except FileNotFoundError:
            return ""

    def _words(self, command: Sequence[str]) -> list[str]:
        limits = json.dumps(asdict(self._limits))
        return [sys.executable, "-I", "-S", str(_CONFINE), limits, *command]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Nothing of this process's own: there may be secrets in it."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.work),
            "TMPDIR": str(self.work),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(TOP),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict.fromkeys(_THREADS, "1"),
            **more,
        }

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _problem(self, status: int) -> str:
        if status == 0:
            return ""
        if status == confine.STOPPED and self.stopped:
            return "it was stopped"
        if status == confine.OUT_OF_TIME:
            return f"it took longer than {self._limits.wall_s:g} s"
        if status < 0:
            return f"the process that watches it was killed by {_name_of(-status)}"
        if status - confine.BY_SIGNAL in set(signal.Signals):
            return self._killed_by(status - confine.BY_SIGNAL)
        said = self.tail(300).strip().rpartition("\n")[2]
        return f"it ended with status {status}" + (f": {said}" if said else "")

    def _killed_by(self, number: int) -> str:
        if number == signal.SIGXCPU:
            return f"it used more than {self._limits.cpu_s} s of CPU time"
        if number == signal.SIGXFSZ:
            return f"it wrote a file of more than {self._limits.file_mb} MB"
        return f"it was killed by {_name_of(number)}"


def _name_of(number: int) -> str:
    return signal.Signals(number).name
