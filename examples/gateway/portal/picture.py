"""What the live page shows: the gateway as it is known at one moment, and what changed since.

Rules: nothing here waits, asks or reads a clock. What is unknown is left out or said to be so; a
program that says nonsense about itself spoils its own line only. A component is taken for dead
when its process is, though its session may live on: that is the time in which the others do not
know it yet, and it has a state of its own, "silent".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from coterie.recipes.discovery import Instance

ENSEMBLE_KIND: Final = "coterie"
_JOBS_TOLD_MAX: Final = 3
_OLD_S: Final = 1.0
_ENDED: Final = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True)
class Process:
    """A process as the launcher knows it."""

    name: str
    kind: str
    flavor: str = ""
    version: str = ""
    pid: int | None = None
    alive: bool = True
    address: str = ""


@dataclass(frozen=True)
class Node:
    """A component. States: starting, serving, draining; silent: registered, but its process is
    dead; joining: a process that is not registered yet; down: neither."""

    name: str
    kind: str
    flavor: str
    version: str
    address: str
    state: str
    leader: bool = False
    load: float | None = None
    healthy: bool = True
    since: str = ""
    pid: int | None = None
    alive: bool | None = None


@dataclass(frozen=True)
class Server:
    """A Coterie or ZooKeeper server."""

    name: str
    address: str
    role: str = "down"
    zxid: str = ""
    pid: int | None = None
    alive: bool | None = None


@dataclass(frozen=True)
class Job:
    """An experiment on its way."""

    id: str
    application: str
    state: str
    manager: str = ""
    attempts: int = 0


@dataclass(frozen=True)
class Picture:
    """All of it."""

    components: tuple[Node, ...] = ()
    ensemble: tuple[Server, ...] = ()
    jobs: tuple[Job, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    leaders: Mapping[str, str] = field(default_factory=dict)
    """Who leads each replicated kind; nobody is an empty name."""
    stale_s: float = 0.0

    @property
    def old(self) -> bool:
        return self.stale_s >= _OLD_S

    def as_json(self) -> dict[str, Any]:
        return {
            "components": [asdict(node) for node in self.components],
            "ensemble": [asdict(server) for server in self.ensemble],
            "jobs": [asdict(job) for job in self.jobs],
            "counts": dict(self.counts),
            "leaders": dict(self.leaders),
            "stale_s": round(self.stale_s, 1),
        }


# Reading what others say


def read_processes(answer: object) -> tuple[Process, ...]:
    """What the launcher lists; lines that make no sense are left out."""
    found: list[Process] = []
    for item in answer if isinstance(answer, list) else []:
        if not isinstance(item, dict) or not item.get("name"):
            continue
        pid = item.get("pid")
        text = {key: str(item.get(key) or "") for key in ("name", "kind", "flavor", "version")}
        found.append(
            Process(
                **text,
                pid=pid if isinstance(pid, int) else None,
                alive=bool(item.get("alive", True)),
                address=str(item.get("address") or ""),
            )
        )
    return tuple(found)


def read_jobs(answer: object) -> tuple[Job, ...]:
    """The experiments in an answer of the API."""
    listed = answer.get("experiments") if isinstance(answer, dict) else answer
    found: list[Job] = []
    for item in listed if isinstance(listed, list) else []:
        if not isinstance(item, dict) or not item.get("id"):
            continue
        attempts = item.get("attempts")
        found.append(
            Job(
                id=str(item["id"]),
                application=str(item.get("application") or ""),
                state=str(item.get("state") or ""),
                manager=str(item.get("manager") or ""),
                attempts=attempts if isinstance(attempts, int) else 0,
            )
        )
    return tuple(found)


def read_srvr(answer: str) -> tuple[str, str]:
    """Role and zxid in an answer to `srvr`; a server that serves nobody is down."""
    said = dict(line.split(": ", 1) for line in answer.split("\n") if ": " in line)
    return said.get("Mode", "down").strip(), said.get("Zxid", "").strip()


def count(jobs: Sequence[Job]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.state] = counts.get(job.state, 0) + 1
    return counts


# Composing


def nodes(
    instances: Sequence[Instance],
    processes: Sequence[Process],
    leaders: Mapping[str, str],
    since: Mapping[str, str],
) -> tuple[Node, ...]:
    """Who is registered, and whose process is known without that."""
    of_name = {process.name: process for process in processes}
    found = [
        _node(one, of_name.get(one.id), leaders.get(one.name) == one.id, since.get(one.id, ""))
        for one in instances
    ]
    registered = {one.id for one in instances}
    found += [
        _absent(process)
        for process in processes
        if process.kind != ENSEMBLE_KIND and process.name not in registered
    ]
    return tuple(sorted(found, key=lambda node: (node.kind, node.flavor, node.name)))


def _absent(process: Process) -> Node:
    return Node(
        name=process.name,
        kind=process.kind,
        flavor=process.flavor,
        version=process.version,
        address=process.address,
        state="joining" if process.alive else "down",
        pid=process.pid,
        alive=process.alive,
    )


def _node(one: Instance, process: Process | None, leads: bool, since: str) -> Node:
    said = one.metadata
    load = said.get("load")
    state = str(said.get("state") or "serving")
    if process is not None and not (process.alive and said.get("pid", process.pid) == process.pid):
        # What is registered is of a process that is no more, whoever has its name now.
        state = "silent"
    return Node(
        name=one.id,
        kind=one.name,
        flavor=one.flavor,
        version=one.version,
        address=one.address,
        state=state,
        leader=leads,
        load=float(load) if isinstance(load, int | float) and load is not True else None,
        healthy=said.get("healthy") is not False,
        since=since,
        pid=process.pid if process is not None else None,
        alive=process.alive if process is not None else None,
    )


def servers(
    addresses: Sequence[str], answers: Mapping[str, tuple[str, str]], processes: Sequence[Process]
) -> tuple[Server, ...]:
    """The servers of the connect string, by what they answered last."""
    of_address = {p.address: p for p in processes if p.kind == ENSEMBLE_KIND}
    found: list[Server] = []
    for number, address in enumerate(addresses, 1):
        process = of_address.get(address)
        role, zxid = answers.get(address, ("down", ""))
        if process is None:
            found.append(Server(f"server-{number}", address, role, zxid))
            continue
        role = role if process.alive else "down"
        found.append(Server(process.name, address, role, zxid, process.pid, process.alive))
    return tuple(sorted(found, key=lambda server: server.name))


# What happened


def differences(before: Picture, after: Picture) -> list[tuple[str, str]]:
    """What is worth a line in the log: text and kind, in the order in which things follow."""
    told = [*_components_changed(before, after), *_ensemble_changed(before, after)]
    for kind, name in after.leaders.items():
        was = before.leaders.get(kind, "")
        if name and name != was:
            told.append((f"{name} leads {kind}" + (f", after {was}" if was else ""), "leader"))
        elif was and not name:
            told.append((f"nobody leads {kind}", "left"))
    told += _jobs_changed(before, after)
    if after.old and not before.old:
        told.append(("no server of the ensemble answers: the last good answer is shown", "old"))
    if before.old and not after.old:
        told.append(("the ensemble answers again", "healed"))
    if before.components and troubled(before) and not troubled(after):
        told.append(("healed: everyone serves", "healed"))
    return told


def troubled(picture: Picture) -> bool:
    """Whether something is not as it should be."""
    return (
        picture.old
        or any(node.state in ("silent", "down", "joining") for node in picture.components)
        or any(server.role == "down" for server in picture.ensemble)
        or any(not name for name in picture.leaders.values())
    )


def _components_changed(before: Picture, after: Picture) -> Iterator[tuple[str, str]]:
    gone = {node.name: node for node in before.components}
    for node in after.components:
        was = gone.pop(node.name, None)
        there = node.state in ("starting", "serving", "draining")
        was_there = was is not None and was.state in ("starting", "serving", "draining")
        if node.state == "silent" and was_there:
            yield f"{node.name} died; its session is not over yet", "killed"
        elif node.state in ("joining", "down") and was is not None:
            if was.state == "silent":
                yield f"{node.name} is found by nobody any more: its session is over", "left"
            elif was_there:
                yield f"{node.name} left", "left"
        elif there and (not was_there or (was is not None and node.pid != was.pid)):
            yield f"{node.name} joined, version {node.version}", "joined"
        elif was is not None and was.state != node.state == "draining":
            yield f"{node.name} drains", "left"
        if there and was is not None and was.healthy != node.healthy:
            well = "is well again" if node.healthy else "says that it is not well"
            yield f"{node.name} {well}", "joined" if node.healthy else "left"
    for node in gone.values():
        yield f"{node.name} left", "left"


def _ensemble_changed(before: Picture, after: Picture) -> Iterator[tuple[str, str]]:
    roles = {server.address: server.role for server in before.ensemble}
    for server in after.ensemble:
        was = roles.get(server.address)
        if was is None or was == server.role:
            continue
        if server.role == "down":
            yield f"{server.name} is down" + (" (it led)" if was == "leader" else ""), "killed"
        elif server.role == "leader":
            yield f"{server.name} leads the ensemble", "leader"
        elif was == "down":
            yield f"{server.name} is back as {server.role}", "joined"


def _jobs_changed(before: Picture, after: Picture) -> Iterator[tuple[str, str]]:
    known = {job.id: job for job in before.jobs}
    ended: dict[str, list[Job]] = {}
    new: list[Job] = []
    for job in after.jobs:
        was = known.get(job.id)
        if was is None:
            # At the first look, and when older ones come into sight, nothing is new.
            if before.jobs and job.state not in _ENDED:
                new.append(job)
            continue
        again = (job.manager, job.attempts) != (was.manager, was.attempts)
        if job.manager and job.attempts > 1 and again:
            # Perhaps to the same one, which was started anew between two looks.
            start = f" from {was.manager}" if was.manager else ""
            yield f"{_title(job)} moved{start} to {job.manager}, attempt {job.attempts}", "moved"
        if job.state in _ENDED and was.state not in _ENDED:
            ended.setdefault(job.state, []).append(job)
    yield from _many(new, "was submitted", "were submitted")
    for state, jobs in ended.items():
        yield from _many(jobs, f"is {state}", f"are {state}")


def _many(jobs: Sequence[Job], one: str, several: str) -> Iterator[tuple[str, str]]:
    if len(jobs) > _JOBS_TOLD_MAX:
        yield f"{len(jobs)} jobs {several}", "job"
        return
    for job in jobs:
        yield f"{_title(job)} {one}", "job"


def _title(job: Job) -> str:
    return f"{job.application} {job.id[:8]}"
