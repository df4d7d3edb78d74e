"""Plans: carried out on any learner's log, they make it the leader's history, and nothing else."""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from coterie.core.history import READ_LOG, History, Plan
from coterie.wire.numbered import Txn
from coterie.wire.peers import KIND_NAMES, Kind
from coterie.wire.requests import Op
from coterie.wire.txns import CreateSessionTxn

EPOCH: Final = 2**32


def txn(epoch: int, count: int, size: int = 0) -> Txn:
    encoded = bytes(size) if size else None
    body = CreateSessionTxn(400)
    return Txn(1, 0, epoch * EPOCH + count, 0, Op.CREATE_SESSION, body, None, encoded)


def zxid(epoch: int, count: int) -> int:
    return epoch * EPOCH + count


def zxids(txns: list[Txn]) -> list[int]:
    return [txn.zxid for txn in txns]


def history(*txns: Txn, begin: int = 0, count_max: int = 500) -> History:
    made = History(begin, count_max)
    for each in txns:
        made.add(each)
    return made


# Whole stories


class Story(NamedTuple):
    """What happened in epochs 1, 2, ...: how much of each was proposed and committed."""

    epochs: list[tuple[int, int]]

    @property
    def committed(self) -> list[Txn]:
        return [
            txn(epoch, count)
            for epoch, (_, committed) in enumerate(self.epochs, 1)
            for count in range(1, committed + 1)
        ]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Epochs in which nothing was committed, or nothing proposed, are as frequent as others."""
    epochs = draw(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5)
    )
    return Story([(max(pair), min(pair)) for pair in epochs])


class Peer(NamedTuple):
    """A learner's log, and the zxid that it tells."""

    log: list[Txn]
    zxid: int


@st.composite
def peers(draw: st.DrawFn, story: Story) -> Peer:
    """It has followed until some moment of some epoch: what it has then, it has from its leader,
    whose history was all that had been committed before."""
    epoch = draw(st.integers(1, len(story.epochs)))
    log = [each for each in story.committed if each.zxid < zxid(epoch, 0)]
    count = draw(st.integers(0, story.epochs[epoch - 1][0]))
    if not count and draw(st.booleans()):
        return Peer(log, zxid(epoch, 0))
    log += [txn(epoch, each) for each in range(1, count + 1)]
    return Peer(log, log[-1].zxid if log else 0)


def carry_out(plan: Plan, peer: Peer, committed: list[Txn]) -> list[int]:
    """The zxids of the learner's log afterwards."""
    log = zxids(peer.log)
    if plan.kind == Kind.SNAP:
        return zxids(committed)
    if plan.kind == Kind.TRUNC:
        assert plan.zxid in log, "what is cut off begins behind a txn of its log"
        assert plan.zxid // EPOCH == log[-1] // EPOCH, "and in the epoch of its last"
        log = log[: log.index(plan.zxid) + 1]
    else:
        assert plan.kind == Kind.DIFF
    return log + zxids(plan.txns)


def read_log(log: list[Txn], after: int, until: int) -> list[Txn] | None:
    """As `Store.log_since`: what is beyond a txn that the log has."""
    holds = any(each.zxid == after for each in log)
    reaches = not after % EPOCH and (not after or any(each.zxid <= after for each in log))
    found = [each for each in log if after < each.zxid <= until]
    return found if holds or reaches else None


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_a_plan_carried_out_makes_a_learners_log_the_leaders_history(data: st.DataObject) -> None:
    story = data.draw(stories(), "story")
    committed = story.committed
    peer = data.draw(peers(story), "peer")
    # Who leads the last epoch has all that was committed before it; what it commits is under way.
    earlier = sum(each.zxid < zxid(len(story.epochs), 0) for each in committed)
    asked = data.draw(st.integers(earlier, len(committed)), "asked")
    begun = data.draw(st.integers(0, asked), "begun")
    begin = committed[begun - 1].zxid if begun else 0
    if begun < len(committed) and committed[begun].zxid % EPOCH == 1 and data.draw(st.booleans()):
        begin = committed[begun].zxid - 1
    leader = History(begin, data.draw(st.integers(0, 4), "count_max"))
    for each in committed[begun:asked]:
        leader.add(each)
    applied = committed[asked - 1].zxid if begun < asked else begin
    plan = leader.plan(peer.zxid, applied, log_allowed=True)
    event(KIND_NAMES.get(plan.kind, "READ_LOG"))
    if plan.kind != READ_LOG:
        assert carry_out(plan, peer, committed[:asked]) == zxids(committed[:asked])
        return
    # A log on the disk may lack what this server was once sent as a tree.
    gap = [0, 0]
    if data.draw(st.booleans(), "gap"):
        gap = sorted([data.draw(st.integers(0, begun)), data.draw(st.integers(0, begun))])
    log = committed[: gap[0]] + committed[gap[1] :]
    logged = read_log(log, peer.zxid, applied)
    for each in committed[asked:]:
        leader.add(each)
    plan = leader.plan_with_log(peer.zxid, applied, logged)
    event(f"then {KIND_NAMES[plan.kind]}")
    assert carry_out(plan, peer, committed) == zxids(committed)


# Row by row, as ZooKeeper chooses

ONE: Final = [txn(1, 1), txn(1, 2), txn(1, 3), txn(1, 4), txn(2, 1), txn(2, 2)]
"""A history that begins behind 1:2, so what it has beyond is 1:3, 1:4, 2:1 and 2:2."""


@pytest.mark.parametrize(
    ("peer", "kind", "packet", "lacks"),
    [
        ((2, 2), Kind.DIFF, (2, 2), []),
        ((2, 1), Kind.DIFF, (2, 2), [(2, 2)]),
        ((1, 4), Kind.DIFF, (2, 2), [(2, 1), (2, 2)]),
        ((1, 3), Kind.DIFF, (2, 2), [(1, 4), (2, 1), (2, 2)]),
        # The txn before the first in memory: its number is known as well.
        ((1, 2), Kind.DIFF, (2, 2), [(1, 3), (1, 4), (2, 1), (2, 2)]),
        ((2, 0), Kind.DIFF, (2, 2), [(2, 1), (2, 2)]),
        # More than was committed in the epoch that still goes on.
        ((2, 5), Kind.TRUNC, (2, 2), []),
        # More than was committed in an epoch that is over.
        ((1, 6), Kind.TRUNC, (1, 4), [(2, 1), (2, 2)]),
        # An epoch of which nothing was committed.
        ((3, 1), Kind.SNAP, (2, 2), []),
        # One that was led and is over, without a txn.
        ((3, 0), Kind.DIFF, (3, 0), []),
        ((1, 1), READ_LOG, (0, 0), []),
        ((1, 0), READ_LOG, (0, 0), []),
        ((0, 0), READ_LOG, (0, 0), []),
    ],
)
def test_the_choice(
    peer: tuple[int, int], kind: int, packet: tuple[int, int], lacks: list[tuple[int, int]]
) -> None:
    known = history(*ONE[2:], begin=zxid(1, 2))
    plan = known.plan(zxid(*peer), zxid(2, 2), log_allowed=True)
    assert (plan.kind, plan.zxid) == (kind, zxid(*packet))
    assert zxids(plan.txns) == [zxid(*each) for each in lacks]
    if kind == READ_LOG:
        assert known.plan(zxid(*peer), zxid(2, 2), log_allowed=False).kind == Kind.SNAP


def test_a_learner_that_is_new_gets_all_where_memory_has_all() -> None:
    assert zxids(history(*ONE).plan(0, ONE[-1].zxid, log_allowed=True).txns) == zxids(ONE)


def test_with_nothing_in_memory_only_equals_are_brought_together() -> None:
    empty = History(zxid(1, 4))
    assert empty.plan(zxid(1, 4), zxid(1, 4), log_allowed=True) == (Kind.DIFF, zxid(1, 4), [])
    assert empty.plan(zxid(1, 3), zxid(1, 4), log_allowed=True).kind == READ_LOG
    assert empty.plan(zxid(1, 5), zxid(1, 4), log_allowed=True).kind == Kind.TRUNC


def test_a_log_is_not_cut_off_at_an_epochs_beginning() -> None:
    """It is no txn: the learner would not find it."""
    known = History(zxid(2, 0))
    assert known.plan(zxid(2, 3), zxid(2, 0), log_allowed=True).kind == Kind.SNAP


def test_an_epoch_in_which_nothing_happened_costs_no_learner_the_whole_tree() -> None:
    known = history(*ONE[:4])
    for epoch in (2, 3):
        plan = known.plan(zxid(epoch, 0), zxid(1, 4), log_allowed=True)
        assert plan == (Kind.DIFF, zxid(epoch, 0), [])


# The log on the disk


def test_the_log_and_memory_are_put_together() -> None:
    known = history(*ONE, count_max=3)
    assert known.min_zxid == zxid(1, 3)
    plan = known.plan_with_log(zxid(1, 1), zxid(2, 2), ONE[1:])
    assert (plan.kind, plan.zxid, zxids(plan.txns)) == (Kind.DIFF, zxid(2, 2), zxids(ONE[1:]))


@pytest.mark.parametrize(
    "logged",
    [
        None,
        [],
        pytest.param([ONE[1]], id="ends before memory begins"),
        pytest.param([ONE[2], ONE[3]], id="begins too late"),
        pytest.param([ONE[1], ONE[3]], id="has a gap"),
    ],
)
def test_a_log_that_leaves_a_gap_is_not_sent(logged: list[Txn] | None) -> None:
    """ZOOKEEPER-4925: the learner would take it for all that there was."""
    known = history(*ONE, count_max=2)
    assert known.plan_with_log(zxid(1, 1), zxid(2, 2), logged).kind == Kind.SNAP


def test_a_new_epoch_in_a_log_of_another_life_may_hide_a_gap() -> None:
    """ZOOKEEPER-2846: 1:5 and more were committed elsewhere, and came here as a tree at 2:0."""
    log = [txn(1, 3), txn(1, 4), txn(2, 1), txn(2, 2), txn(2, 3)]
    later = history(txn(2, 2), txn(2, 3), begin=zxid(2, 1), count_max=1)
    assert later.plan_with_log(zxid(1, 3), zxid(2, 3), log[1:]).kind == Kind.SNAP
    assert later.plan_with_log(zxid(2, 1), zxid(2, 3), log[3:]).kind == Kind.DIFF
    present = history(*log[2:], begin=zxid(1, 4), count_max=1)
    assert present.plan_with_log(zxid(1, 3), zxid(2, 3), log[1:]).kind == Kind.DIFF


def test_what_is_committed_while_the_log_is_read_is_not_lost_from_memory() -> None:
    known = history(*ONE[:4], count_max=1)
    assert known.plan(zxid(1, 1), zxid(1, 4), log_allowed=True).kind == READ_LOG
    for count in range(1, 9):
        known.add(txn(2, count))
    plan = known.plan_with_log(zxid(1, 1), zxid(1, 4), ONE[1:4])
    assert plan.kind == Kind.DIFF
    assert zxids(plan.txns) == zxids(ONE[1:4]) + [zxid(2, count) for count in range(1, 9)]
    known.add(txn(2, 9))
    assert known.min_zxid == zxid(2, 8), "nothing is held any more"


# What is kept


def test_as_many_as_are_wanted_are_kept() -> None:
    known = history(*ONE, count_max=2)
    assert (known.min_zxid, known.max_zxid) == (zxid(1, 4), zxid(2, 2))


def test_as_many_bytes_as_there_may_be_are_kept() -> None:
    known = History(0, 500, 350)
    for count in range(1, 10):
        known.add(txn(1, count, 100 - 32))
    assert known.min_zxid == zxid(1, 6)
    known.add(txn(1, 10, 1000))
    assert known.min_zxid == known.max_zxid == zxid(1, 10), "even the last was too large"
    assert known.plan(zxid(1, 10), zxid(1, 10), log_allowed=True).kind == Kind.DIFF


def test_bytes_are_bounded_while_a_log_is_read() -> None:
    known = History(zxid(1, 0), 2, 350)
    known.plan(0, zxid(1, 0), log_allowed=True)
    for count in range(1, 10):
        known.add(txn(1, count, 100 - 32))
    assert known.min_zxid == zxid(1, 6)


@pytest.mark.parametrize("after_gap", [txn(1, 6), txn(1, 4), txn(2, 2)])
def test_a_txn_that_does_not_follow_makes_the_history_begin_anew(after_gap: Txn) -> None:
    """ZOOKEEPER-4925: what is before a gap is not what a learner lacks."""
    known = history(*ONE[:4])
    known.add(after_gap)
    assert known.min_zxid == known.max_zxid == after_gap.zxid
    assert known.plan(zxid(1, 2), after_gap.zxid, log_allowed=False).kind == Kind.SNAP
