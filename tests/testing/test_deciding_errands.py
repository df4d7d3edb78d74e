"""What all agree on: what is right passes, and what is wrong is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from coterie.recipes.two_phase_commit import Decision
from coterie.testing.deciding_errands import Barring, Deciding
from coterie.testing.history import Violation
from coterie.values import OPEN_ACL
from coterie.wire import txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from tests.testing.quiet import ran

NOWHERE: Any = None
"""What needs no simulation."""


def test_one_is_told_what_all_are() -> None:
    errand: Any = Deciding(NOWHERE)
    errand.proposals["p"] = ("a", "b")
    errand.decide("p", Decision.ABORT)
    errand.decide("p", Decision.ABORT)
    with pytest.raises(Violation, match="commit for one, abort for another"):
        errand.decide("p", Decision.COMMIT)


def test_nothing_is_committed_that_one_has_not_voted_for() -> None:
    errand: Any = Deciding(NOWHERE)
    errand.proposals["p"] = ("a", "b")
    assert errand.vote("p", "a", yes=True)
    assert not errand.vote("p", "b", yes=False)
    assert not errand.vote("p", "b", yes=True), "it votes as it has voted before"
    with pytest.raises(Violation, match="b has not said yes"):
        errand.decide("p", Decision.COMMIT)


def test_what_is_decided_is_carried_out_by_all() -> None:
    simulation = ran(Deciding)
    errand: Any = simulation.errand
    errand.end()
    assert errand.open() == []
    assert simulation.marks["a proposal's commit was carried out"]
    errand.done.remove(min(errand.done))
    with pytest.raises(Violation, match="has not carried it out"):
        errand.end()


def txn(zxid: int, body: Record, op: int = Op.CREATE, session_id: int = 7) -> Txn:
    return Txn(session_id, 1, zxid, 0, op, body)


def create(path: bytes, *, ephemeral: bool = False) -> Record:
    return txns.CreateTxn(path, b"", OPEN_ACL, ephemeral, 1)


def test_a_gate_is_closed_from_its_create_to_its_delete() -> None:
    errand = Barring(NOWHERE)
    errand.committed(txn(3, create(b"/gate")))
    errand.committed(txn(4, create(b"/other")))
    errand.committed(txn(7, txns.DeleteTxn(b"/gate")))
    errand.committed(txn(9, txns.MultiTxn([(Op.CREATE, create(b"/gate"))])))
    assert errand.was_open(2, 3)
    assert not errand.was_open(3, 6)
    assert errand.was_open(3, 7)
    assert errand.was_open(7, 9)
    assert not errand.was_open(9, 20)
    errand.undone(8)
    assert errand.was_open(9, 20), "a server alone has lost the last one"


def test_a_gate_opens_with_the_end_of_the_session_that_has_closed_it() -> None:
    errand = Barring(NOWHERE)
    errand.committed(txn(3, create(b"/gate", ephemeral=True)))
    errand.committed(txn(4, txns.CloseSessionTxn([]), Op.CLOSE_SESSION, 8))
    assert not errand.was_open(3, 5)
    errand.committed(txn(6, txns.CloseSessionTxn([b"/gate"]), Op.CLOSE_SESSION))
    assert errand.was_open(3, 6)


def test_all_pass_a_gate_that_is_opened() -> None:
    simulation = ran(Barring)
    assert simulation.marks["an open gate was passed"] >= 3
