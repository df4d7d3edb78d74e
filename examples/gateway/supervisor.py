"""Processes with names, which are started again when they die: what systemd does on a real host.

Rules:
- who died is started again after a short delay, which grows while it dies at once;
- who ends with the status INCOMPATIBLE is not: the same would happen again;
- the children end with this process, whatever becomes of it, and are ended by their numbers;
- what each says goes to a file of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from examples.gateway.orphans import dies_with_parent
from examples.gateway.process import INCOMPATIBLE

PROJECT: Final = Path(__file__).resolve().parent.parent.parent

_RESTART_S: Final = 0.5
_RESTART_S_MAX: Final = 5.0
_STEADY_S: Final = 5.0
_STOP_S_MAX: Final = 25.0
_SHOWN_BYTES: Final = 2000

log = logging.getLogger("gateway.supervisor")


@dataclass(frozen=True)
class Spec:
    """What a process is and how it is started."""

    name: str
    kind: str
    command: tuple[str, ...]
    flavor: str = ""
    version: str = ""
    address: str = ""

    def at_version(self, version: str) -> Spec:
        """The same in another version."""
        words = list(self.command)
        words[words.index("--version") + 1] = version
        return replace(self, command=tuple(words), version=version)


class Child:
    """One of them, through all its lives."""

    def __init__(self, spec: Spec, log_path: Path) -> None:
        self.spec = spec
        self.log_path = log_path
        self.restarts = 0
        self.wanted = True
        """Whether it is to run."""
        self.refused = False
        """Whether its version does not suit its partners."""
        self.kills = 0
        self.status: int | None = None
        """What it ended with last."""
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.starting = asyncio.Lock()
        """Whoever ends it waits until it is begun: half a process can be ended by nobody."""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.alive else None

    def last_words(self) -> str:
        """The end of what it said."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - _SHOWN_BYTES))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.spec.name,
            "kind": self.spec.kind,
            "flavor": self.spec.flavor,
            "version": self.spec.version,
            "pid": self.pid,
            "alive": self.alive,
            "restarts": self.restarts,
            "address": self.spec.address,
            "wanted": self.wanted,
            "status": self.status,
            "message": self.last_words().rpartition("\n")[2] if self.refused else "",
        }


class Supervisor:
    """The children, between `async with`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.children: dict[str, Child] = {}

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *failure: object) -> None:
        """End all: what serves last, so that the others can leave in order."""
        servers = [name for name, child in self.children.items() if child.spec.kind == "coterie"]
        others = [name for name in self.children if name not in servers]
        await asyncio.gather(*(self.stop(name, 5.0) for name in others))
        await asyncio.gather(*(self.stop(name, 5.0) for name in servers))

    def __getitem__(self, name: str) -> Child:
        """Raises `LookupError`."""
        if name not in self.children:
            raise LookupError(f"there is no process {name}")
        return self.children[name]

    def add(self, spec: Spec) -> Child:
        """Start one more, and keep it running. Raises `ValueError` for a name that is taken."""
        if spec.name in self.children:
            raise ValueError(f"there is a process {spec.name} already")
        child = self.children[spec.name] = Child(spec, self._logs / f"{spec.name}.log")
        self._keep(child)
        return child

    def _keep(self, child: Child) -> None:
        child.wanted = True
        child.refused = False
        child.task = asyncio.ensure_future(self._run(child))

    async def _run(self, child: Child) -> None:
        delay_s = _RESTART_S
        while child.wanted:
            began_s = time.monotonic()
            async with child.starting:
                if not child.wanted:
                    return
                try:
                    process = child.process = await _spawn(child.spec.command, child.log_path)
                except OSError as error:
                    log.warning("%s cannot be started: %s", child.spec.name, error)
                    process = None
            if process is None:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RESTART_S_MAX)
                continue
            child.status = await process.wait()
            if not child.wanted:
                return
            if child.status == INCOMPATIBLE:
                child.wanted, child.refused = False, True
                log.warning("%s is refused: %s", child.spec.name, child.last_words()[-300:])
                return
            lived_s = time.monotonic() - began_s
            delay_s = _RESTART_S if lived_s > _STEADY_S else min(2 * delay_s, _RESTART_S_MAX)
            log.info("%s has ended with status %s", child.spec.name, child.status)
            await asyncio.sleep(delay_s)
            child.restarts += 1

    def kill(self, name: str) -> int:
        """kill -9; the number of the process. Raises `LookupError` if it does not run."""
        child = self[name]
        if child.process is None or not child.alive:
            raise LookupError(f"{name} does not run at the moment")
        child.process.kill()
        child.kills += 1
        return child.process.pid

    async def stop(self, name: str, seconds: float = _STOP_S_MAX) -> None:
        """Ask it to end, and wait; who does not end is killed."""
        child = self[name]
        child.wanted = False
        task, child.task = child.task, None
        async with child.starting:
            process = child.process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def start(self, name: str, version: str = "") -> None:
        """Start one that was stopped, in another version if one is given."""
        child = self[name]
        if child.task is not None and not child.task.done():
            raise ValueError(f"{name} runs")
        if version:
            child.spec = child.spec.at_version(version)
        self._keep(child)

    async def upgrade(self, name: str, version: str) -> None:
        """Let it finish what it does, and start it in another version."""
        await self.stop(name)
        await self.start(name, version)


async def _spawn(command: Sequence[str], log_path: Path) -> asyncio.subprocess.Process:
    # Ctrl-C is for this process alone, which then ends the others in order: hence the new session.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with log_path.open("ab") as said:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=PROJECT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
            start_new_session=True,
            preexec_fn=dies_with_parent(),
        )


def python(module: str, *words: str) -> tuple[str, ...]:
    """The command that runs a module by this very Python."""
    return (sys.executable, "-m", module, *words)
