"""A run from its seed to its end: what it says of itself and what it does not let pass."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from coterie.core.tree import Tree
from coterie.testing.faults import Plan
from coterie.testing.history import Violation
from coterie.testing.simulator import Simulation
from coterie.testing.workload import Client
from coterie.wire.numbered import Txn
from coterie.wire.txns import DeleteTxn


def quiet(seed: int = 1) -> Simulation:
    plan = dataclasses.replace(Plan.draw(Random(seed)), faults=frozenset({"clock"}))
    return Simulation(seed, plan)


def test_a_run_says_how_it_was_made_and_what_happened() -> None:
    simulation = quiet()
    simulation.run()
    lines = simulation.lines()
    assert " plan: faults=clock fault_every_ms=" in lines[0]
    assert lines[-1].endswith(f" starts: s1 {simulation.history.zxid:#x}")
    times_ms = [float(line[:12]) for line in lines]
    assert times_ms == sorted(times_ms)
    assert len(simulation.digest()) == 64


def test_at_the_end_everybody_was_served() -> None:
    simulation = quiet()
    simulation.run()
    for client in simulation.clients:
        assert simulation.history.at(b"/last-" + client.name.encode(), simulation.history.zxid)


def test_who_is_not_served_when_all_is_well_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coterie.testing.simulator._HEALED_MS_MAX", 3000.0)
    monkeypatch.setattr(Client, "idle", property(lambda client: client.name != "c1"))
    with pytest.raises(Violation, match="all is well again, but c1 is not served"):
        quiet().run()


def test_what_nobody_logged_is_not_recovered() -> None:
    simulation = Simulation(1)
    tree = Tree()
    tree.zxid = 5
    with pytest.raises(Violation, match="which nothing has"):
        simulation.recovered(simulation.hosts[0], tree, [])


def test_a_refused_write_is_not_numbered() -> None:
    simulation = quiet()
    simulation.run()
    simulation.clients[0].view.refused.add((0, 0))
    txn = Txn(0, 0, simulation.history.zxid + 1, 0, 20, DeleteTxn(b"/no"))
    with pytest.raises(Violation):
        simulation.numbered(simulation.hosts[0], [txn])


def test_a_session_that_lives_is_not_said_to_be_over() -> None:
    simulation = quiet()
    simulation.run()
    alive = next(id for id in simulation.history.born if id not in simulation.history.ended)
    with pytest.raises(Violation, match="is said to have ended"):
        simulation.told_expired(alive)
