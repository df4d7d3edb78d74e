"""Ensembles in the simulator: seeds that must pass, and rules of Zab whose absence must be seen.

Each ablation takes one rule away and demands that some seed, among few, ends with a violation:
otherwise a run that passes would prove nothing about that rule.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coterie.core.effects import Epochs
from coterie.core.election import Election, Vote
from coterie.core.history import History, Plan
from coterie.core.leader import Leader
from coterie.core.leader import Learner as Follower
from coterie.core.learner import Learner
from coterie.core.replica import Replica
from coterie.core.stranded import Stranded
from coterie.ensemble import Ensemble
from coterie.storage.store import Store
from coterie.testing import faults
from coterie.testing.history import Violation
from coterie.testing.simulator import Simulation
from coterie.wire import peers
from coterie.wire.numbered import Txn
from coterie.wire.peers import Kind

Patch = pytest.MonkeyPatch

KEPT = {
    "a sync was answered behind a later write of the same client": (1, 3),
    "a member without a leader said that sessions were over": (30005, 3),
    "an observer saved an epoch that it had not accepted": (30041, 3),
    "a write through a server that its session had left was judged as if it had not": (70026, 3),
}
"""Seeds that fail with a fault of the past, with how many members. They mean something else when
what is drawn changes: then look for new ones with the fault put back."""


def plan_of(seed: int, members: int, **sizes: Any) -> faults.Plan:
    alone = faults.Plan.draw(Random(f"{seed}:plan"))
    plan = alone.for_members(members, Random(f"{seed}:ensemble"))
    return replace(plan, **sizes)


BUSY: dict[str, Any] = {
    "tick_ms": 200,
    "sync_ms": 20.0,
    "think_ms": 5.0,
    "operations": 200,
    "clients": 3,
    "window": 16,
    "fault_every_ms": 300.0,
    "faults_max": 30,
}
"""Much is under way when something happens."""


def caught(
    monkeypatch: Patch,
    kinds: str,
    *,
    seeds: int = 40,
    first: int = 0,
    members: int = 3,
    **sizes: Any,
) -> str:
    """What the first seed to fail fails with, when only these faults happen.

    With the rule back in its place that seed has to pass: it was the rule that was missed.
    """
    for seed in range(first, first + seeds):
        plan = plan_of(seed, members, faults=frozenset(kinds.split()), **{**BUSY, **sizes})
        try:
            Simulation(seed, plan).run()
        except (Violation, AssertionError) as failure:
            monkeypatch.undo()
            Simulation(seed, plan).run()
            return f"{type(failure).__name__}: {failure}"
    pytest.fail(f"{seeds} seeds saw nothing")


@pytest.mark.parametrize("name", sorted(KEPT))
def test_kept_seeds_pass(name: str) -> None:
    seed, members = KEPT[name]
    Simulation(seed, members=members).run()


@pytest.mark.parametrize("members", [3, 5])
def test_fresh_seeds_pass(members: int) -> None:
    marks: Counter[str] = Counter()
    for seed in range(900, 906):
        simulation = Simulation(seed, members=members)
        simulation.run()
        marks.update(simulation.marks)
    assert marks["a member was elected"] >= 6
    assert marks["a learner got a DIFF"] > 6


def test_the_same_seed_is_the_same_run_under_any_hash_seed() -> None:
    script = (
        "from coterie.testing.simulator import Simulation\n"
        "run = Simulation(11, members=3)\n"
        "run.run()\n"
        "print(run.digest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == len(hashlib.sha256().hexdigest())


# The rules, one by one


def test_a_quorum_is_more_than_half(monkeypatch: Patch) -> None:
    def any_third(ensemble: Ensemble, ids: Iterable[int]) -> bool:
        return 3 * len(ensemble.voters.intersection(ids)) >= len(ensemble.voters)

    monkeypatch.setattr(Ensemble, "is_quorum", any_third)
    assert caught(monkeypatch, "alone split")


def test_a_proposal_is_acknowledged_only_from_the_disk(monkeypatch: Patch) -> None:
    def at_once(learner: Learner, txn: Txn) -> None:
        proposed(learner, txn)
        if learner.failed is None and learner.replica.votes:
            learner.replica.send(learner.link, peers.packet(Kind.ACK, txn.zxid))

    proposed = Learner._proposed
    monkeypatch.setattr(Learner, "_proposed", at_once)
    assert caught(monkeypatch, "outage power leader")


def test_the_leaders_own_disk_counts_only_when_it_has_synced(monkeypatch: Patch) -> None:
    def logged(leader: Leader) -> int:
        replica = leader.replica
        synced_zxid, replica.synced_zxid = replica.synced_zxid, replica.logged_zxid
        try:
            return committed(leader)
        finally:
            replica.synced_zxid = synced_zxid

    committed = Leader._committed_zxid
    monkeypatch.setattr(Leader, "_committed_zxid", logged)
    assert caught(monkeypatch, "outage power", first=220, seeds=300, sync_ms=60.0)


def test_a_commit_waits_for_a_quorum(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Leader, "_committed_zxid", lambda leader: leader.replica.synced_zxid)
    assert caught(monkeypatch, "leader alone")


def test_epochs_are_durable(monkeypatch: Patch) -> None:
    def forgets(store: Store, new: Epochs) -> None:
        return None

    monkeypatch.setattr(Store, "save_epochs", forgets)
    assert caught(monkeypatch, "leader outage kill")


def test_a_new_epoch_is_beyond_all_promised_ones(monkeypatch: Patch) -> None:
    def the_same(leader: Leader) -> None:
        if not leader.epoch and leader.replica.ensemble.is_quorum(leader._promised):
            leader.epoch = max(1, *leader._promised.values())
            leader.replica.save_epochs(leader.epoch, leader.replica.epochs.current)

    monkeypatch.setattr(Leader, "_find_epoch", the_same)
    assert caught(monkeypatch, "leader outage kill")


def test_the_leader_is_one_who_lacks_nothing(monkeypatch: Patch) -> None:
    def by_number(election: Election, candidate: Vote, other: Vote) -> bool:
        return candidate.leader > other.leader

    monkeypatch.setattr(Election, "_better", by_number)
    monkeypatch.setattr(Leader, "_epoch_acknowledged", _acknowledged_blindly)
    assert caught(monkeypatch, "leader outage alone")


def _acknowledged_blindly(leader: Leader, learner: Follower, packet: peers.Packet) -> None:
    leader._summary = (2**40, 2**62)
    _epoch_acknowledged(leader, learner, packet)


_epoch_acknowledged = Leader._epoch_acknowledged


def test_a_quorum_has_the_history_before_anybody_is_served(monkeypatch: Patch) -> None:
    def early(leader: Leader) -> None:
        leader._supporters.update(leader.replica.ensemble.voters)
        establish(leader)

    establish = Leader._establish
    monkeypatch.setattr(Leader, "_establish", early)
    assert caught(monkeypatch, "leader outage alone")


def test_what_nobody_else_has_is_cut_off(monkeypatch: Patch) -> None:
    def keeps(learner: Learner, kind: int, zxid: int) -> None:
        differ(learner, Kind.DIFF if kind == Kind.TRUNC else kind, zxid)

    differ = Learner._differ
    monkeypatch.setattr(Learner, "_differ", keeps)
    assert caught(monkeypatch, "leader alone")


def test_nothing_is_left_out_between_two_histories(monkeypatch: Patch) -> None:
    def gapped(history: History, peer_zxid: int, applied_zxid: int, *, log_allowed: bool) -> Plan:
        found = plan(history, peer_zxid, applied_zxid, log_allowed=log_allowed)
        return found._replace(txns=found.txns[1:])

    plan = History.plan
    monkeypatch.setattr(History, "plan", gapped)
    assert caught(monkeypatch, "kill leader", seeds=80)


def test_commits_come_in_the_order_of_the_proposals(monkeypatch: Patch) -> None:
    def backwards(replica: Replica, *args: Any) -> Txn:
        if len(replica.pending) > 1:
            replica.pending.rotate(-1)
        return apply(replica, *args)

    apply = Replica.apply
    monkeypatch.setattr(Replica, "apply", backwards)
    assert caught(monkeypatch, "kill")


def test_an_answer_to_a_sync_keeps_its_place(monkeypatch: Patch) -> None:
    def late(leader: Leader, zxid: int) -> None:
        if not leader.replica.pending:
            answer(leader, 2**62)

    answer = Leader._answer_syncs
    monkeypatch.setattr(Leader, "_answer_syncs", late)
    assert caught(monkeypatch, "kill")


def test_only_a_leader_ends_sessions(monkeypatch: Patch) -> None:
    def forgets(stranded: Stranded, connection: Any, session_id: int, timeout_ms: int) -> None:
        stranded.replica.server.revalidated(connection, session_id, timeout_ms)

    monkeypatch.setattr(Stranded, "revalidate", forgets)
    assert caught(monkeypatch, "outage", think_ms=100.0, fault_every_ms=1500.0)
