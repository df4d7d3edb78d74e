"""The servers of a run: who is who, what is told, what may keep a server from starting."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

import pytest

from coterie.storage.errors import StorageError
from coterie.testing.faults import Plan
from coterie.testing.history import Violation
from coterie.testing.host import Host
from coterie.testing.service import Service
from coterie.testing.simulator import Simulation


def service(seed: int = 1, **sizes: Any) -> Service:
    return Service(seed, dataclasses.replace(Plan.draw(Random(1)), **sizes))


def test_every_server_is_a_machine_of_its_own() -> None:
    made = service(members=3, observers=1)
    assert [host.name for host in made.hosts] == ["s1", "s2", "s3", "s4"]
    assert made.host("s2") is made.hosts[1]
    draws = {host.dice.random() for host in made.hosts}
    assert len(draws) == 4


def test_what_is_told_is_kept_with_its_time() -> None:
    made = service()
    made.time.after(1.5, lambda: made.note("says", "s1", 255, 9, "so"))
    made.step()
    assert made.lines()[1] == "       1.500 says: s1 0xff 9 so"
    assert made.digest() != service().digest() == service().digest()


def test_a_server_that_does_not_start_is_a_violation() -> None:
    made = service()
    with pytest.raises(Violation, match="s1 does not start: broken"):
        made.not_recovered(made.hosts[0], StorageError("broken"))


def test_what_rotted_has_to_be_named() -> None:
    made = service()
    host = made.hosts[0]
    host.start()
    host.kill()
    host.rot(Random(1))
    with pytest.raises(Violation, match="not named"):
        made.not_recovered(host, StorageError("something is broken"))
    made.not_recovered(host, StorageError("data/version-2/log.1 is broken"))
    assert not host.flips


def test_a_disk_that_fails_excuses_a_server() -> None:
    made = service()
    made.hosts[0].disk.sync_fails = True
    made.not_recovered(made.hosts[0], StorageError("broken"))


def test_a_machine_that_halts_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = Host.start

    def noted(host: Host) -> None:
        started.append(host.disk.fuse)
        start(host)

    monkeypatch.setattr(Host, "start", noted)
    plan = Plan.draw(Random(2))
    plan = dataclasses.replace(
        plan, faults=frozenset({"fuse"}), faults_max=16, fault_every_ms=20.0
    )
    simulation = Simulation(2, plan)
    simulation.run()
    halts = sum(n for name, n in simulation.marks.items() if name.startswith("a machine halted"))
    assert 0 < halts < len(started)


def test_every_concern_has_dice_of_its_own() -> None:
    first = service(1).dice("a").random()
    assert first == service(1).dice("a").random()
    assert first not in (service(1).dice("b").random(), service(2).dice("a").random())
