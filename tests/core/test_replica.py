"""What a member holds in any role: the order from logged over synced to applied."""

from __future__ import annotations

from random import Random

import pytest

from coterie.core.effects import Epochs
from coterie.core.link import QUORUM, Link
from coterie.core.member import Member
from coterie.core.replica import Replica, epoch_of
from coterie.core.tree import Tree
from coterie.paths import CONFIG
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import CreateSessionTxn
from tests.core.pack import config, three


def replica() -> Replica:
    ensemble = three(observers=1).ensemble
    return Member(config(ensemble, 1), Tree(), 0, Epochs(3, 2), 0.0, 1, Random(1))


def txn(zxid: int) -> Txn:
    return Txn(zxid, 1, zxid, 1, Op.CREATE_SESSION, CreateSessionTxn(4000))


def test_what_is_logged_waits_for_its_commit() -> None:
    made = replica()
    made.log(txn(1))
    assert (made.logged_zxid, made.synced_zxid, made.applied_zxid) == (1, 0, 0)
    assert [each.zxid for each in made.effects.appends] == [1]
    assert made.outstanding_txns == 1
    made.apply()
    assert made.applied_zxid == 1
    assert made.tree.sessions == {1: 4000}
    assert made.history.max_zxid == 1


def test_it_is_quiet_when_the_disk_has_all() -> None:
    made = replica()
    assert made.quiet
    made.log(txn(1))
    assert not made.quiet
    made.synced_zxid = 1
    assert made.quiet
    made.failure = "full"
    assert not made.quiet


def test_epochs_only_grow() -> None:
    made = replica()
    with pytest.raises(AssertionError):
        made.save_epochs(2, 2)
    made.save_epochs(4, 2)
    assert made.effects.save_epochs == Epochs(4, 2)
    with pytest.raises(AssertionError):
        made.log(txn(1))


def test_clients_see_the_epoch_and_who_the_members_are() -> None:
    made = replica()
    made.begin_epoch(5)
    assert epoch_of(made.tree.zxid) == 5
    node = made.tree.nodes[CONFIG]
    assert node.data == made.ensemble.text().encode()
    assert (node.version, node.mzxid) == (-1, 0)


def test_another_tree_takes_the_place_of_all_that_was_pending() -> None:
    made = replica()
    made.log(txn(1))
    tree = Tree()
    made.replace(tree, 9)
    assert made.tree is tree
    assert made.outstanding_txns == 0
    assert made.logged_zxid == made.synced_zxid == made.applied_zxid == 9


def test_a_link_is_sent_to_once_a_turn_and_closed_once() -> None:
    made = replica()
    link = Link(QUORUM)
    made.send(link, b"a")
    made.send(link, b"b")
    assert made.effects.link_outputs == [link]
    assert link.out == [b"a", b"b"]
    made.close(link)
    made.close(link)
    made.send(link, b"c")
    assert made.effects.link_closes == [link]
    assert link.out == [b"a", b"b"]
