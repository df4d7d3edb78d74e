"""Many seeds on every core, and one seed shown: what stands behind `coterie simulate`.

There are two kinds of runs: of servers with clients that speak the wire protocol (`simulator.py`),
and of programs with the real client and its recipes (`recipes.py`).

A failure is told with the command that repeats it. What the runs have come to pass is counted, so
that one sees whether they have been where it matters.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from coterie.testing.history import Violation
from coterie.testing.recipes import RecipeSimulation
from coterie.testing.service import Service
from coterie.testing.simulator import Simulation

_SHOW_S = 10.0
_CHUNK = 4


class Task(NamedTuple):
    """A seed to run, with so many members."""

    seed: int
    members: int
    recipes: bool = False

    def make(self) -> Service:
        kind = RecipeSimulation if self.recipes else Simulation
        return kind(self.seed, members=self.members)

    def __str__(self) -> str:
        option = " --recipes" if self.recipes else ""
        return f"coterie simulate {self.seed} --members {self.members}{option}"


class Result(NamedTuple):
    """What one seed came to."""

    task: Task
    failure: str
    """Empty if it passed."""
    marks: Counter[str]


def members_of(seed: int) -> int:
    """How many members a seed has voting, where nobody says otherwise; 1 is a server alone."""
    return (1, 3, 5, 3)[seed % 4]


def run(task: Task) -> Result:
    """Run one seed."""
    simulation = task.make()
    failure = ""
    try:
        simulation.run()
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return Result(task, failure, simulation.marks)


def replay(task: Task, say: Callable[[str], None], *, trace: bool) -> int:
    """Run one seed and tell what happens; 0 if it passed. Raises what a machine raises."""
    simulation = task.make()
    failure = ""
    try:
        simulation.run()
    except Violation as error:
        failure = str(error)
    finally:
        if trace:
            for line in simulation.lines():
                say(line)
    say(f"seed {task.seed}: {failure or 'passed'}; trace {simulation.digest()}")
    return 1 if failure else 0


def campaign(tasks: list[Task], jobs: int, say: Callable[[str], None]) -> int:
    """Run many seeds, in `jobs` processes; 0 if all passed."""
    count = len(tasks)
    marks: Counter[str] = Counter()
    failed = 0
    started_s = shown_s = time.monotonic()
    with multiprocessing.Pool(jobs) as pool:
        for done, result in enumerate(pool.imap_unordered(run, tasks, _CHUNK), 1):
            marks.update(result.marks)
            if result.failure:
                failed += 1
                say(f"seed {result.task.seed} failed: {result.failure}")
                say(f"  {result.task}")
            now_s = time.monotonic()
            if now_s - shown_s > _SHOW_S:
                shown_s = now_s
                rate = done / (now_s - started_s)
                say(f"{done} of {count}, {rate:.1f} a second, {failed} failed")
    for name, times in sorted(marks.items()):
        say(f"{times:10} {name}")
    say(f"{count - failed} passed, {failed} failed")
    return 1 if failed else 0


def jobs_by_default() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def fresh_seed() -> int:
    """Where seeds begin that nobody has run before."""
    return time.time_ns() // 1_000_000
