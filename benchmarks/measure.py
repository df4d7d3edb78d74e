"""The measurements: throughput in turns, start, memory, pauses, and the same of three members.

Rules: servers take turns within each round, and the round's number decides who begins; only one is
asked anything at a time; what a measurement starts it stops. A JVM is measured warm: both servers
get the same load for `Plan.warm_s` first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import loads, protocol
from benchmarks.ensembles import MEMBERS, Ensemble
from benchmarks.failover import fail_over
from benchmarks.generator import Job, Outcome
from benchmarks.loads import LOADS
from benchmarks.prober import Sample
from benchmarks.results import Result
from benchmarks.servers import PROJECT, Server

SHAPES: Final = ((1, 1), (48, 1), (48, 20))
MEMBER_SHAPES: Final = (("reads", (48, 20)), ("writes", (48, 20)), ("writes", (48, 1)))
FILL_CONNECTIONS: Final = 20

_AIMS: Final = {
    ("reads", (48, 20)): 5.0,
    ("reads", (48, 1)): 1.7,
    ("reads", (1, 1)): 1.6,
    ("writes", (48, 20)): 1.3,
    ("writes", (48, 1)): 1.2,
    ("writes", (1, 1)): 1.2,
}
_MEMORY_AIM: Final = 0.65
_START_AIM: Final = 0.6
_PAUSE_LIMIT_MS: Final = 30.0

_WARM_LOADS: Final = ("reads", "writes", "mix", "creates-100")
_SETTLE_S: Final = 1.0
_SNAPSHOT_POLL_S: Final = 0.02
_SNAPSHOT_QUIET_S: Final = 0.6
_BATCH_FILL: Final = 100


class MeasureError(Exception):
    """A helper process failed, or what was to be measured did not happen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    rounds: int
    seconds: float
    ramp_s: float
    warm_s: float
    canned_s: float
    start_rounds: int
    memory_znodes: int
    memory_batch: int
    pause_znodes: int
    pause_s_max: float
    warm_at_once: bool
    failover_rounds: int


FULL: Final = Plan(
    rounds=5,
    seconds=1.3,
    ramp_s=0.2,
    warm_s=16.0,
    canned_s=0.5,
    start_rounds=5,
    memory_znodes=500_000,
    memory_batch=1,
    pause_znodes=1_000_000,
    pause_s_max=45.0,
    warm_at_once=False,
    failover_rounds=7,
)
QUICK: Final = Plan(
    rounds=1,
    seconds=0.4,
    ramp_s=0.1,
    warm_s=15.0,
    canned_s=0.2,
    start_rounds=1,
    memory_znodes=50_000,
    memory_batch=100,
    pause_znodes=100_000,
    pause_s_max=15.0,
    warm_at_once=True,
    failover_rounds=2,
)


class Bench:
    """One run: which servers, in which directory, how much, and whom to tell of progress."""

    def __init__(
        self,
        servers: Sequence[type[Server]],
        directory: Path,
        plan: Plan,
        rounds: int,
        say: Callable[[str], None],
    ) -> None:
        self.servers = servers
        self.directory = directory
        self.plan = plan
        self.rounds = rounds
        self.say = say

    def throughput(self, names: Sequence[str]) -> list[Result]:
        """Each of the loads in each shape on each server, in turns, round by round."""
        results = {
            (name, shape): _throughput_result(name, shape, _AIMS.get((name, shape)))
            for name in names
            for shape in SHAPES
        }
        with ExitStack() as stack:
            running = [
                stack.enter_context(_fresh(server, self.directory / server.name))
                for server in self.servers
            ]
            self._warm([[server.port] for server in running])
            for number in range(self.rounds):
                turns = running if number % 2 == 0 else running[::-1]
                for (name, shape), result in results.items():
                    self._canned_turn(name, shape, result)
                    for server in turns:
                        self._turn(server, name, shape, result)
                    self.say(f"round {number + 1} of {self.rounds}: {_last(result)}")
        return list(results.values())

    def _turn(self, server: Server, name: str, shape: tuple[int, int], result: Result) -> None:
        job = Job(server.port, name, *shape, self.plan.seconds, self.plan.ramp_s)
        _add_outcome(result, server.name, run_job(job))

    def _warm(self, running: Sequence[Sequence[int]]) -> None:
        """Load on servers that are given by their ports, those of one ensemble together."""
        self.say(f"warming: {self.plan.warm_s:.0f} s of load on each server")
        workers = len(running) if self.plan.warm_at_once else 1
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(self._warm_one, running))

    def _warm_one(self, ports: Sequence[int]) -> None:
        for port in ports:
            with protocol.Session(port) as session:
                loads.prepare(session)
                session.call(protocol.CLOSE_SESSION)
        seconds = self.plan.warm_s / len(_WARM_LOADS)
        for name in _WARM_LOADS:
            run_job(Job(ports[0], name, 48, 20, seconds, others=ports[1:]))

    def _canned_turn(self, name: str, shape: tuple[int, int], result: Result) -> None:
        """What the load generator reaches when every reply is ready beforehand."""
        plan = self.plan
        command = [sys.executable, "-m", "benchmarks.canned", name, str(shape[0])]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as canned:
            try:
                assert canned.stdout is not None
                port = int(canned.stdout.readline())
                job = Job(port, name, *shape, plan.canned_s, plan.ramp_s, clean=False)
                result.ceilings.append(run_job(job).per_second)
            finally:
                canned.kill()

    def members(self) -> list[Result]:
        """The loads of clients that are spread over three members, in turns, round by round."""
        results = {case: _members_result(*case) for case in MEMBER_SHAPES}
        with self._ensembles() as running:
            for number in range(self.rounds):
                turns = running if number % 2 == 0 else running[::-1]
                for (name, shape), result in results.items():
                    for ensemble in turns:
                        first, *others = ensemble.ports
                        seconds, ramp_s = self.plan.seconds, self.plan.ramp_s
                        job = Job(first, name, *shape, seconds, ramp_s, others=others, timed=True)
                        _add_outcome(result, ensemble.name, run_job(job))
                    self.say(f"round {number + 1} of {self.rounds}: {_last(result)}")
        return list(results.values())

    def failover(self) -> list[Result]:
        """From kill -9 of the leader under load to the next committed write, in turns."""
        label = f"{MEMBERS} members: kill -9 of the leader to the next committed write"
        result = Result("failover", label, "under load", "s", False)
        with self._ensembles() as running:
            for number in range(self.plan.failover_rounds):
                for ensemble in running if number % 2 == 0 else running[::-1]:
                    result.add(ensemble.name, fail_over(ensemble))
                self.say(f"failover {number + 1}: {_last(result)}")
        return [result]

    @contextmanager
    def _ensembles(self) -> Iterator[list[Ensemble]]:
        """An ensemble of each kind, warm."""
        with ExitStack() as stack:
            running = []
            for kind in self.servers:
                ensemble = Ensemble(kind, self.directory / f"three-{kind.name}")
                stack.callback(ensemble.discard)
                running.append(stack.enter_context(ensemble))
            self._warm([ensemble.ports for ensemble in running])
            yield running

    def start(self) -> list[Result]:
        """From spawning the process over an empty directory to the first create acknowledged."""
        result = Result(
            "start", "start to first committed write", "empty", "s", False, aim=_START_AIM
        )
        for number in range(self.plan.start_rounds):
            for kind in self.servers:
                server = kind(self.directory / f"start-{kind.name}")
                began = time.monotonic()
                server.spawn()
                try:
                    with server.when_ready() as session:
                        session.ensure(loads.ROOT)
                        result.add(server.name, time.monotonic() - began)
                finally:
                    server.stop()
                server.discard()
            self.say(f"start {number + 1} of {self.plan.start_rounds}: {_last(result)}")
        return [result]

    def memory(self) -> list[Result]:
        """Resident memory after creates, and again after a restart over the same data."""
        znodes = self.plan.memory_znodes
        results = []
        for parents in (500, 1):
            label = f"memory, {znodes:,} znodes of 100 B"
            case = "1 parent" if parents == 1 else f"{parents} parents"
            created = Result("memory", label, case, "MiB", False, aim=_MEMORY_AIM)
            restarted = Result("memory", label, f"{case}, restarted", "MiB", False)
            results += [created, restarted]
            for kind in self.servers:
                with _fresh(kind, self.directory / f"memory-{kind.name}") as server:
                    _fill(server, znodes, parents, self.plan.memory_batch)
                    created.add(server.name, _settled_mib(server))
                    server.stop()
                    server.start()
                    restarted.add(server.name, _settled_mib(server))
            self.say(f"{_last(created)}; {_last(restarted)}")
        return results

    def pause(self) -> list[Result]:
        """The longest wait of a client while the whole tree is written as a snapshot, under load.

        The tree is filled by multis, so that there is room between the txns of filling and the
        number at which a snapshot is due.
        """
        znodes = self.plan.pause_znodes
        label = f"longest pause, snapshot of {znodes:,} znodes under load"
        results = {
            kind: Result("pause", label, f"{kind}s", "ms", False, limit=_PAUSE_LIMIT_MS)
            for kind in ("read", "write")
        }
        filling = znodes // _BATCH_FILL
        for kind in self.servers:
            # Apache draws a number between the half of snapCount and all of it.
            snap_count = 2 * filling + 4000
            with _fresh(kind, self.directory / f"pause-{kind.name}", snap_count) as server:
                _fill(server, znodes, 500, _BATCH_FILL)
                with protocol.Session(server.port) as session:
                    loads.prepare(session)
                    session.call(protocol.CLOSE_SESSION)
                samples, snapshot = self._probe_a_snapshot(server)
            for result in results.values():
                _add_pauses(result, server.name, samples, snapshot)
            waits = [f"{result.values[kind.name][-1]:.1f} ms" for result in results.values()]
            self.say(
                f"{kind.name}: a snapshot in {snapshot.seconds:.1f} s, longest read {waits[0]}, "
                f"longest write {waits[1]}"
            )
        return list(results.values())

    def _probe_a_snapshot(self, server: Server) -> tuple[list[Sample], Snapshot]:
        """Load the server and probe it until it has written a snapshot."""
        job = Job(server.port, "mix", 48, 1, self.plan.pause_s_max + 10)
        with _helper("benchmarks.prober", str(server.port)) as prober:
            with _helper("benchmarks.generator") as generator:
                _give(generator, job)
                snapshot = await_snapshot(server.files, self.plan.pause_s_max)
                generator.terminate()
                _answer(generator)
            prober.terminate()
            samples = [Sample(*sample) for sample in json.loads(_answer(prober))]
        return samples, snapshot


class Snapshot(NamedTuple):
    """From the moment when a new snapshot file was seen to its last change."""

    began_at: float
    ended_at: float

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at


def await_snapshot(files: Callable[[], dict[str, int]], patience_s: float) -> Snapshot:
    """Watch a data directory until a snapshot that was not there has come and grows no more."""
    known = {name for name in files() if "snapshot" in name}
    began_at: float | None = None
    changed_at = time.monotonic()
    before: dict[str, int] = {}
    give_up_at = changed_at + patience_s
    while (now := time.monotonic()) < give_up_at:
        new = {
            name: size
            for name, size in files().items()
            if "snapshot" in name and name not in known
        }
        if new and began_at is None:
            began_at = now
        if new != before:
            before, changed_at = new, now
        elif began_at is not None and now - changed_at > _SNAPSHOT_QUIET_S:
            return Snapshot(began_at, changed_at)
        time.sleep(_SNAPSHOT_POLL_S)
    raise MeasureError(f"no snapshot was finished within {patience_s:.0f} s")


def run_job(job: Job) -> Outcome:
    """One job in a process of its own."""
    with _helper("benchmarks.generator") as generator:
        _give(generator, job)
        return Outcome(**json.loads(_answer(generator)))


@contextmanager
def _helper(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A module of this package as a process, which is gone at the end in any case."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _give(process: subprocess.Popen[str], job: Job) -> None:
    assert process.stdin is not None
    json.dump(asdict(job), process.stdin)
    process.stdin.close()


def _answer(process: subprocess.Popen[str]) -> str:
    """What it printed; its complaint, if any, is on our standard error already."""
    assert process.stdout is not None
    text = process.stdout.read()
    if process.wait() != 0:
        raise MeasureError("a load failed, see above")
    return text


@contextmanager
def _fresh(kind: type[Server], directory: Path, snap_count: int | None = None) -> Iterator[Server]:
    """A server over an empty directory, started; stopped and its data deleted at the end."""
    server = kind(directory, snap_count)
    try:
        with server:
            yield server
    finally:
        server.discard()


def _fill(server: Server, znodes: int, parents: int, batch: int) -> None:
    with protocol.Session(server.port) as session:
        loads.prepare_fill(session, parents)
        session.call(protocol.CLOSE_SESSION)
    outstanding = 20 if batch == 1 else 4
    run_job(
        Job(
            server.port,
            "fill",
            FILL_CONNECTIONS,
            outstanding,
            znodes=znodes,
            parents=parents,
            batch=batch,
        )
    )


def _settled_mib(server: Server) -> float:
    time.sleep(_SETTLE_S)
    return server.resident_bytes() / 2**20


def _throughput_result(name: str, shape: tuple[int, int], aim: float | None = None) -> Result:
    connections, outstanding = shape
    return Result(
        group=name,
        label=LOADS[name].label,
        case=f"{connections}x{outstanding}",
        unit="/s",
        more_is_better=True,
        aim=aim,
    )


def _members_result(name: str, shape: tuple[int, int]) -> Result:
    result = _throughput_result(name, shape)
    result.group = "members"
    result.label = f"{MEMBERS} members: {result.label}"
    return result


def _add_outcome(result: Result, server: str, outcome: Outcome) -> None:
    result.add(
        server,
        outcome.per_second,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        busy=outcome.busy,
    )


def _add_pauses(result: Result, server: str, samples: list[Sample], snapshot: Snapshot) -> None:
    """The longest wait of a kind in the snapshot, and what it was before; both in ms.

    A request that was under way when the snapshot began belongs to it.
    """
    kind = result.case.removesuffix("s")
    within, before = [0.0], [0.0]
    late_s = 0.0
    for sample in samples:
        if sample.sent_at > snapshot.ended_at:
            continue
        if sample.sent_at + sample.waited_s < snapshot.began_at:
            chosen = before
        else:
            chosen = within
            late_s = max(late_s, sample.late_s)
        if sample.kind == kind:
            chosen.append(sample.waited_s)
    result.add(
        server,
        1000 * max(within),
        p99_ms=1000 * sorted(within)[int(0.99 * len(within))],
        before_ms=1000 * max(before),
        late_ms=1000 * late_s,
        snapshot_s=snapshot.seconds,
    )


def _last(result: Result) -> str:
    """The round that was just added, in words."""
    parts = [
        f"{server} {values[-1]:,.{0 if result.unit == '/s' else 2}f} {result.unit}"
        for server, values in result.values.items()
    ]
    if result.ceilings:
        parts.append(f"canned {result.ceilings[-1]:,.0f} /s")
    return f"{result.label} {result.case}: " + ", ".join(parts)
