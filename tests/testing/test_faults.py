"""What is drawn for a run, and that each fault does what it is called."""

from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random
from typing import Any

import pytest

from coterie.testing.faults import KINDS, KINDS_OF_ENSEMBLES, Faults, Plan
from coterie.testing.simulator import Simulation


def plan(**changes: Any) -> Plan:
    fixed = Plan.draw(Random(1))
    return dataclasses.replace(fixed, faults=frozenset(), clock_rate=1.0, **changes)


def running() -> tuple[Simulation, Faults]:
    """A run of one second in which all is well, with clients at work."""
    simulation = Simulation(1, plan(clients=2, sync_ms=0.2))
    simulation.hosts[0].start()
    # Without any kind of fault nothing happens but what the test asks for.
    faults = Faults(simulation, plan(fault_every_ms=1e12), Random(2))
    for client in simulation.clients:
        client.budget = 1000
    go_on(simulation, 1000)
    return simulation, faults


def go_on(simulation: Simulation, ms: float) -> None:
    simulation.time.run(simulation.time.now_ms + ms)


def test_a_seed_draws_the_same_plan_and_others_other_ones() -> None:
    plans = [Plan.draw(Random(seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    assert str(plans[0]) == str(plans[1])


def test_every_fault_is_on_in_some_runs_and_off_in_most() -> None:
    counts: Counter[str] = Counter()
    for seed in range(300):
        counts.update(Plan.draw(Random(seed)).faults)
    assert set(counts) == set(KINDS)
    assert all(60 < count < 200 for count in counts.values())


def test_every_run_has_a_fault_that_ends_a_server() -> None:
    stops = {"power", "fuse", "kill", "stop", "flip"}
    assert all(Plan.draw(Random(seed)).faults & stops for seed in range(300))


def test_the_config_says_what_was_drawn() -> None:
    config = plan(log_apart=True, snap_count=7).config()
    assert (config.data_dir, config.data_log_dir, config.snap_count) == ("data", "log", 7)
    assert config.ensemble is None


def test_an_ensemble_has_faults_of_its_own() -> None:
    found: set[str] = set()
    for seed in range(50):
        wider = plan().for_members(3, Random(seed))
        assert wider.ensemble() is not None
        assert wider.faults & set(KINDS_OF_ENSEMBLES)
        found |= wider.faults
    assert found == set(KINDS_OF_ENSEMBLES)


@pytest.mark.parametrize("kind", ["power", "kill", "flip"])
def test_a_server_that_was_stopped_is_started_again(kind: str) -> None:
    simulation, faults = running()
    faults._plan.fault_every_ms = 50
    getattr(faults, f"_{kind}")()
    assert simulation.hosts[0].life is None
    go_on(simulation, 5000)
    assert simulation.hosts[0].life is not None


def test_a_stop_lets_the_write_under_way_finish_and_starts_again() -> None:
    simulation, faults = running()
    life = simulation.hosts[0].life
    faults._stop()
    go_on(simulation, 5000)
    assert simulation.hosts[0].life not in (None, life)


def test_a_disk_fails_for_a_while() -> None:
    simulation, faults = running()
    faults._plan.fault_every_ms = 50
    disk = simulation.hosts[0].disk
    faults._sync()
    faults._full()
    faults._slow()
    assert disk.sync_fails
    assert disk.capacity is not None
    assert simulation.hosts[0].sync_ms > simulation.plan.sync_ms
    go_on(simulation, 5000)
    assert not disk.sync_fails
    assert disk.capacity is None
    assert simulation.hosts[0].sync_ms == simulation.plan.sync_ms


def test_a_server_stands_still_for_a_while() -> None:
    simulation, faults = running()
    faults._pause()
    noted = len(simulation.trace)
    go_on(simulation, 30)
    assert {kind for _, kind, _ in simulation.trace[noted:]}.isdisjoint({"numbers", "synced"})
    go_on(simulation, 100_000)
    assert "thaws" in {kind for _, kind, _ in simulation.trace[noted:]}
    assert simulation.marks["a server stood still"] == 1


def test_connections_break_and_machines_are_parted_for_a_while() -> None:
    simulation, faults = running()
    faults._plan.fault_every_ms = 50
    before = set(simulation.network.ends)
    faults._cut()
    faults._half_open()
    assert set(simulation.network.ends) < before
    faults._partition()
    assert simulation.network.blocked
    go_on(simulation, 5000)
    assert not simulation.network.blocked


def test_a_clock_jumps_and_a_client_falls_silent() -> None:
    simulation, faults = running()
    wall_ms = simulation.hosts[0].clock.wall_ms()
    faults._clock()
    assert simulation.hosts[0].clock.wall_ms() != wall_ms
    faults._mute()
    muted = [c for c in simulation.clients if c._mute_until_ms > simulation.time.now_ms]
    assert len(muted) == 1


def test_after_heal_all_is_well_and_nothing_more_happens() -> None:
    simulation = Simulation(1, dataclasses.replace(plan(), faults=frozenset(KINDS)))
    faults = Faults(simulation, simulation.plan, Random(1))
    host = simulation.hosts[0]
    faults._full()
    faults._partition()
    host.disk.fuse = 3
    faults.heal()
    assert host.life is not None
    assert host.disk.capacity is None
    assert host.disk.fuse is None
    assert not simulation.network.blocked
    noted = len([kind for _, kind, _ in simulation.trace if kind in ("power lost", "killed")])
    go_on(simulation, 20_000)
    later = len([kind for _, kind, _ in simulation.trace if kind in ("power lost", "killed")])
    assert noted == later
