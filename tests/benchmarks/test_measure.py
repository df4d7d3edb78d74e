"""Which samples belong to a snapshot, when one is finished, and which turns are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import measure
from benchmarks.generator import Job, Outcome
from benchmarks.measure import QUICK, Bench, MeasureError, Snapshot, await_snapshot
from benchmarks.prober import Sample
from benchmarks.results import Result
from benchmarks.servers import Server


class Clock:
    """Time passes by sleeping only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(measure, "time", clock)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_snapshot_lasts_from_its_file_to_its_last_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    def files() -> dict[str, int]:
        found = {"version-2/snapshot.0": 10, "version-2/log.1": int(clock.now * 1000)}
        if clock.now >= 1.0:
            found["version-2/unfinished.snapshot.5"] = int(min(clock.now, 2.0) * 1000)
        return found

    snapshot = await_snapshot(files, 10.0)
    assert snapshot.began_at == pytest.approx(1.0, abs=0.03)
    assert snapshot.ended_at == pytest.approx(2.0, abs=0.03)


def test_a_snapshot_that_does_not_come_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    with pytest.raises(MeasureError, match="within 3 s"):
        await_snapshot(lambda: {"version-2/snapshot.0": 10}, 3.0)


def test_pauses_within_and_before_a_snapshot() -> None:
    samples = [
        Sample(1.0, "read", 0.005, 0.0),
        Sample(9.999, "read", 0.007, 0.001),
        Sample(11.0, "write", 0.020, 0.002),
        Sample(12.0, "read", 0.003, 0.0),
        Sample(21.0, "read", 0.500, 0.3),
    ]
    result = Result("pause", "pause", "reads", "ms", False)
    measure._add_pauses(result, "coterie", samples, Snapshot(10.0, 20.0))
    assert result.value("coterie") == pytest.approx(7)
    assert result.detail("coterie", "before_ms") == pytest.approx(5)
    assert result.detail("coterie", "late_ms") == pytest.approx(2)
    assert result.detail("coterie", "snapshot_s") == pytest.approx(10)


class Three:
    """An ensemble without processes."""

    ports = (1, 2, 3)

    def __init__(self, name: str) -> None:
        self.name = name


def test_three_members_are_loaded_together_and_fail_in_turns(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[str] = []

    def fail(ensemble: Three) -> float:
        order.append(ensemble.name)
        return 0.5 * len(order)

    @contextmanager
    def running(_: Bench) -> Iterator[list[Three]]:
        yield [Three("first"), Three("second")]

    monkeypatch.setattr(measure, "fail_over", fail)
    monkeypatch.setattr(Bench, "_ensembles", running)
    bench = Bench([], tmp_path, QUICK, 1, lambda _: None)
    results = bench.members()
    assert [result.case for result in results] == ["48x20", "48x20", "48x1"]
    assert all(result.label.startswith("3 members: ") for result in results)
    assert {(job.port, tuple(job.others), job.timed) for job in jobs} == {(1, (2, 3), True)}
    (result,) = bench.failover()
    assert order == ["first", "second", "second", "first"]
    assert result.values == {"first": [0.5, 2.0], "second": [1.0, 1.5]}


class Idle(Server):
    """Needs no process: its loads are faked."""

    def start(self) -> None:
        pass


class First(Idle):
    name = title = "first"


class Second(Idle):
    name = title = "second"


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were run; each has as many operations as its place among them."""
    done: list[Job] = []

    def run_job(job: Job) -> Outcome:
        done.append(job)
        return Outcome(len(done), 1.0, 0.5, None, None)

    monkeypatch.setattr(measure, "run_job", run_job)
    monkeypatch.setattr(Bench, "_warm", lambda *_: None)
    monkeypatch.setattr(Bench, "_canned_turn", lambda *_: None)
    return done


def test_servers_take_turns_and_who_begins_alternates(jobs: list[Job], tmp_path: Path) -> None:
    said: list[str] = []
    bench = Bench([First, Second], tmp_path, QUICK, 2, said.append)
    results = bench.throughput(["reads"])
    assert [(job.connections, job.outstanding) for job in jobs[::2]] == [*measure.SHAPES] * 2
    assert results[0].values == {"first": [1.0, 8.0], "second": [2.0, 7.0]}
    assert [result.aim for result in results] == [1.6, 1.7, 5.0]
    assert said[0] == "round 1 of 2: getData, 1 KiB 1x1: first 1 /s, second 2 /s"
    assert not list(tmp_path.iterdir())
