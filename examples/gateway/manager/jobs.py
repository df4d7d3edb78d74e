"""The jobs of one manager: taken, claimed, run, and recorded under the token of the claim.

A job is given by the scheduler, and is run when there is a slot for it and nobody else has its
claim. Rules:
- what is written for a job takes the token of its claim along: if this process stands still and
  another takes over, what it then writes late is refused by the metadata servers;
- a claim that may be lost ends the command at once, and nothing is recorded;
- an end is recorded until it is known to be recorded (`JobClaim.settle`); a job that cannot be
  run, for an input is missing or an output was not made, has failed, and that is recorded, too;
- of a job that goes, its folder goes; those that an earlier process has left go at the start.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from coterie.errors import GrantLostError
from coterie.gateway.claims import JobClaim
from coterie.gateway.component import Component
from coterie.gateway.directory import DRAINING
from coterie.recipes.claim import DoneAlready
from examples.gateway.application import INPUTS, Application, InputValue, Output
from examples.gateway.files import DataStore
from examples.gateway.manager.sandbox import Ended, Limits, Sandbox
from examples.gateway.metadata_client import Metadata, RefusedError, UnavailableError

_PROGRESS_EVERY_S: Final = 1.0
_SETTLE_S_MAX: Final = 600.0

log = logging.getLogger("gateway.manager")


@dataclass(frozen=True)
class Settings:
    """Of all managers, in the tree: followed while they run."""

    slots: int = 2
    """Jobs that run at the same time."""
    waiting: int = 2
    """Jobs that are taken beyond that."""
    cpu_s: int = 120
    wall_s: float = 600.0
    memory_mb: int = 2048
    file_mb: int = 64

    def __post_init__(self) -> None:
        if self.slots < 1 or self.waiting < 0:
            raise ValueError("a manager has a slot at least, and none or more wait")
        if min(self.cpu_s, self.wall_s, self.memory_mb, self.file_mb) <= 0:
            raise ValueError("a limit of nothing lets no command run")


class BusyError(Exception):
    """No job is taken now; another manager may take it, or this one later."""


class KnownError(Exception):
    """It has this job already."""


class Result(NamedTuple):
    """What a job has come to."""

    state: Literal["done", "failed"]
    message: str
    outputs: list[dict[str, Any]]


@dataclass
class Job:
    """A job that was taken."""

    id: str
    application: Application
    inputs: Mapping[str, InputValue]
    attempt: int = 1
    stopped: bool = False
    sandbox: Sandbox | None = field(default=None, repr=False)
    said: str = ""
    """The last lines of its log."""
    told: str = ""
    """What the metadata servers know of them."""

    def stop(self) -> None:
        """End it, and record nothing."""
        self.stopped = True
        if self.sandbox is not None:
            self.sandbox.stop()


class Jobs:
    """Those that this manager has taken."""

    def __init__(
        self,
        component: Component[Settings],
        metadata: Metadata,
        store: DataStore,
        folder: Path,
        *,
        network: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Commands run below `folder`, with this `environment` and, if wanted, a `network`."""
        self._component = component
        self._metadata = metadata
        self._store = store
        self._folder = folder
        self._network = network
        self._environment = dict(environment or {})
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running = 0
        self._changed = asyncio.Condition()

    @property
    def ids(self) -> list[str]:
        return list(self._jobs)

    def take(self, job: Job) -> None:
        """Take a job; it is worked on from now on. Raises `BusyError`, `KnownError`."""
        if job.id in self._jobs:
            raise KnownError(job.id)
        settings = self._component.settings.current
        if self._component.state == DRAINING:
            raise BusyError("it drains")
        if len(self._jobs) >= settings.slots + settings.waiting:
            raise BusyError(f"it has {len(self._jobs)} jobs")
        self._jobs[job.id] = job
        self._tasks[job.id] = asyncio.get_running_loop().create_task(self._work(job))

    def cancel(self, job_id: str) -> bool:
        """End a job; whether there was one."""
        job = self._jobs.get(job_id)
        if job is None:
            return False
        job.stop()
        return True

    async def drained(self) -> None:
        """Wait until no job is left."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._jobs)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """For the time of a block; at its end, what is still worked on is left to others."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._report()
        telling = asyncio.get_running_loop().create_task(self._tell_of_settings())
        try:
            yield
        finally:
            tasks = [telling, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell_of_settings(self) -> None:
        """Other settings may mean more slots."""
        async for _ in self._component.settings.changes():
            async with self._changed:
                self._changed.notify_all()
            await self._report()

    async def _report(self) -> None:
        settings = self._component.settings.current
        load = round(len(self._jobs) / settings.slots, 2)
        # What a scheduler may give it: the next job is here when one has ended.
        await self._component.report(load=load, slots=settings.slots + settings.waiting)

    # One job

    async def _work(self, job: Job) -> None:
        try:
            await self._report()
            async with self._slot():
                if not job.stopped:
                    await self._claim_and_run(job)
        except DoneAlready:
            log.info("%s was settled by another", job.id)
        except GrantLostError as lost:
            log.info("%s is another's now: %s", job.id, lost)
        except RefusedError as refused:
            log.info("%s is not wanted: %s", job.id, refused)
        except Exception:
            # The scheduler sees that nobody has it, and gives it away again.
            log.exception("%s came to nothing", job.id)
        finally:
            del self._jobs[job.id], self._tasks[job.id]
            async with self._changed:
                self._changed.notify_all()
            await self._report()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._running < self._component.settings.current.slots
            )
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _claim_and_run(self, job: Job) -> None:
        me = self._component
        async with JobClaim(me.zk, job.id, root=me.path, identifier=me.id.encode()) as claim:
            keep_no_more = claim.on_lost(job.stop)
            try:
                result = None
                if not job.stopped and await self._started(job, claim):
                    result = await self._attempt(job, claim.token)
                if job.stopped:
                    result = None

                async def record(token: int) -> None:
                    # Without a result it has ended before: nothing of its claim is to stay.
                    if result is not None:
                        await self._tell(job, token)
                        await self._metadata.record(
                            job.id, token, result.state, result.message, result.outputs
                        )

                await claim.settle(record, timeout_s=_SETTLE_S_MAX)
                log.info("%s: %s", job.id, " ".join(result[:2]) if result else "is not wanted")
            finally:
                keep_no_more()

    async def _started(self, job: Job, claim: JobClaim) -> bool:
        """Say that it is run under this claim; whether it is still to be run."""
        while True:
            claim.check()
            try:
                return await self._metadata.started(job.id, claim.token, self._component.id)
            except UnavailableError as error:
                log.warning("%s: %s", job.id, error)

    async def _attempt(self, job: Job, token: int) -> Result:
        folder = self._folder / f"{job.id}-{token:x}"
        settings = self._component.settings.current
        limits = Limits(
            cpu_s=settings.cpu_s,
            wall_s=settings.wall_s,
            memory_mb=settings.memory_mb,
            file_mb=settings.file_mb,
            network=self._network,
        )
        sandbox = job.sandbox = Sandbox(folder, limits)
        if job.stopped:
            sandbox.stop()
        try:
            try:
                await asyncio.to_thread(self._lay_out, job, sandbox.work)
            except OSError as error:
                return Result("failed", f"its inputs cannot be had: {error.strerror}", [])
            ended = await self._run(job, token, sandbox)
            if ended.problem:
                return Result("failed", ended.problem, [])
            try:
                return await asyncio.to_thread(self._collect, job, token, sandbox.work, limits)
            except OSError as error:
                return Result("failed", f"its outputs cannot be kept: {error.strerror}", [])
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _run(self, job: Job, token: int, sandbox: Sandbox) -> Ended:
        command = job.application.command_line(job.inputs)
        telling = asyncio.get_running_loop().create_task(self._tell_on(job, token, sandbox))
        try:
            ended = await sandbox.run(command, self._environment)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        job.said = sandbox.tail()
        return ended

    async def _tell_on(self, job: Job, token: int, sandbox: Sandbox) -> None:
        """Let users see what it says, while it runs."""
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_S)
            job.said = sandbox.tail()
            try:
                await self._tell(job, token)
            except GrantLostError:
                job.stop()
                return
            except (RefusedError, UnavailableError) as error:
                log.info("%s: its progress is not told: %s", job.id, error)

    async def _tell(self, job: Job, token: int) -> None:
        said = job.said
        if said != job.told:
            await self._metadata.progress(job.id, token, said)
            job.told = said

    def _lay_out(self, job: Job, work: Path) -> None:
        """Copies: whatever a command does to its inputs, the user's stay as they are."""
        (work / INPUTS).mkdir(parents=True, exist_ok=True)
        for name in job.application.file_inputs(job.inputs):
            shutil.copyfile(self._store.input_path(job.id, name), work / INPUTS / name)

    def _collect(self, job: Job, token: int, work: Path, limits: Limits) -> Result:
        """Store what it has made, as attempt `token`."""
        outputs: list[dict[str, Any]] = []
        for output in job.application.outputs:
            problem = _problem(output, work / output.name, limits.file_mb << 20)
            if problem is not None:
                return Result("failed", problem, [])
            size = self._store.put_output(job.id, token, output.name, work / output.name)
            outputs.append({"name": output.name, "size": size, "type": output.type})
        return Result("done", "", outputs)


def _problem(output: Output, path: Path, bytes_max: int) -> str | None:
    """What keeps a file from being this output: it is what a command has left there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return f"it made no {output.name}"
    if not stat.S_ISREG(found.st_mode):
        return f"{output.name} is no file"
    if found.st_size > bytes_max:
        return f"{output.name} is larger than {bytes_max >> 20} MB"
    return None if output.type == "file" else output.problem(path.read_bytes())
