"""The same seed gives the same trace, in any interpreter, under any hash seed."""

from __future__ import annotations

import os
import subprocess
import sys

from coterie.testing.simulator import Simulation

SEEDS = range(40, 60)
_PROGRAM = """
import sys
from coterie.testing.simulator import Simulation
for seed in range(*map(int, sys.argv[1:])):
    simulation = Simulation(seed)
    simulation.run()
    print(seed, simulation.digest(), len(simulation.trace))
"""


def _traces(hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(SEEDS.start), str(SEEDS.stop)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_the_hash_seed_changes_nothing() -> None:
    traces = _traces("1")
    assert traces == _traces("2")
    assert len(traces.splitlines()) == len(SEEDS)


def test_another_seed_gives_another_trace() -> None:
    simulations = [Simulation(seed) for seed in (1, 1, 2)]
    for simulation in simulations:
        simulation.run()
    one, again, other = (simulation.digest() for simulation in simulations)
    assert one == again != other
