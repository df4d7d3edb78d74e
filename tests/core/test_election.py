"""The rules of fast leader election, one by one, and whole elections."""

from __future__ import annotations

from functools import partial

import pytest

from coterie.core.election import Election, Vote, agree
from coterie.ensemble import Ensemble
from coterie.wire.peers import MAX_LONG, MIN_LONG, STATE_NAMES, Notification
from tests.core.electorate import Candidate, Electorate, start
from tests.golden.peers.messages import messages

LOOKING, FOLLOWING, LEADING, OBSERVING = range(4)
ZXID = 0x1_0000_0005


def _ensemble(*voters: int, observers: tuple[int, ...] = (), version: int = 0) -> Ensemble:
    lines = {f"server.{each}": f"m{each}:2888:3888" for each in voters}
    lines |= {f"server.{each}": f"m{each}:2888:3888:observer" for each in observers}
    return Ensemble.of(lines, version)


def _weighed(weights: dict[int, int]) -> Ensemble:
    lines = {f"server.{each}": f"m{each}:2888:3888" for each in weights}
    lines |= {f"weight.{each}": str(weight) for each, weight in weights.items()}
    return Ensemble.of(lines | {"group.1": ":".join(map(str, weights))})


def _said(
    leader: int,
    zxid: int = ZXID,
    round: int = 1,
    peer_epoch: int = 1,
    state: int = LOOKING,
    version: int = 2,
) -> Notification:
    return Notification(state, leader, zxid, round, peer_epoch, version)


def _looking(
    my_id: int, ensemble: Ensemble | None = None, zxid: int = ZXID, epoch: int = 1
) -> Election:
    """A member at time 0 that has just said whom it proposes: itself, in round 1."""
    election = Election(my_id, ensemble or _ensemble(1, 2, 3))
    election.look(0, zxid, epoch)
    election.out.clear()
    return election


def _told(election: Election) -> dict[int, tuple[int, ...]]:
    """What was said last to whom, without version and configuration."""
    told = {to: tuple(said[:5]) for to, said in election.out}
    election.out.clear()
    return told


# Who looks


def test_a_member_proposes_itself_to_all_voters() -> None:
    election = Election(2, _ensemble(1, 2, 3, observers=(4,)))
    election.look(0, ZXID, 1)
    assert [to for to, _ in election.out] == [1, 3]
    assert election.out[0][1] == (LOOKING, 2, ZXID, 1, 1, 2, election.ensemble.text().encode())
    assert election.state == LOOKING
    assert election.outcome is None


def test_every_election_is_a_new_round() -> None:
    election = _looking(2)
    election.look(50, ZXID, 1)
    assert _told(election)[1][3] == election.round == 2


def test_an_observer_proposes_nobody() -> None:
    election = Election(4, _ensemble(1, 2, 3, observers=(4,)))
    election.look(0, ZXID, 1)
    assert _told(election) == dict.fromkeys((1, 2, 3), (LOOKING, MIN_LONG, MIN_LONG, 1, MIN_LONG))


def test_a_member_alone_elects_itself_at_once() -> None:
    election = _looking(1, _ensemble(1))
    assert election.outcome == (1, ZXID, 1, 1)
    assert election.state == LEADING
    assert election.next_due_ms() is None


@pytest.mark.parametrize(
    ("candidate", "wins"),
    [
        (_said(1, zxid=0, peer_epoch=2), True),
        (_said(3, zxid=ZXID + 1, peer_epoch=0), False),
        (_said(1, zxid=ZXID + 1), True),
        (_said(3, zxid=ZXID - 1), False),
        (_said(3), True),
        (_said(1), False),
    ],
)
def test_newest_epoch_then_newest_zxid_then_highest_id(
    candidate: Notification, wins: bool
) -> None:
    election = _looking(2)
    election.received(1, candidate, 10)
    assert (election.vote.leader != 2) == wins
    adopted = dict.fromkeys((1, 3), tuple(candidate[:5]))
    assert _told(election) == (adopted if wins else {1: (LOOKING, 2, ZXID, 1, 1)})


def test_who_begins_to_look_later_is_told_of_a_better_vote_and_once() -> None:
    election = _looking(2)
    election.tick(200)
    election.out.clear()
    for _ in range(3):
        election.received(1, _said(1), 300)
    assert [to for to, _ in election.out] == [1]
    assert _told(election) == {1: (LOOKING, 2, ZXID, 1, 1)}
    election.tick(600)
    election.out.clear()
    election.received(1, _said(2), 610)
    assert not election.out, "it votes alike"
    election.received(1, _said(1), 620)
    assert _told(election) == {1: (LOOKING, 2, ZXID, 1, 1)}


def test_a_candidate_of_weight_0_never_wins() -> None:
    election = _looking(2, _weighed({1: 1, 2: 1, 3: 0}))
    election.received(3, _said(3, zxid=ZXID + 9, peer_epoch=9), 10)
    assert election.vote.leader == 2


def test_a_later_round_is_joined_and_earlier_votes_are_forgotten() -> None:
    election = _looking(2, _ensemble(1, 2, 3, 4, 5))
    election.received(1, _said(2), 10)
    election.received(4, _said(1, zxid=0, round=7), 10)
    assert election.round == 7
    assert election.vote == (2, ZXID, 7, 1)
    assert set(_told(election).values()) == {(LOOKING, 2, ZXID, 7, 1)}
    election.received(3, _said(2, round=7), 10)
    assert election.next_due_ms() == 210, "only members 2 and 3 are for it in round 7"
    election.received(1, _said(2, round=7), 20)
    assert election._decide_at == 220


def test_rounds_do_not_run_out_whatever_was_told_of_them() -> None:
    one, two = _looking(1), _looking(2)
    one.received(2, _said(2, round=MAX_LONG), 1)
    assert one.round == MAX_LONG
    for election in (one, two):
        election.look(2, ZXID, 1)
        assert all(said.encode() for _, said in election.out)
    assert one.round == MAX_LONG
    two.received(1, one.out[-1][1], 2)
    assert two.round == MAX_LONG


def test_in_a_later_round_the_candidate_is_measured_against_oneself() -> None:
    election = _looking(2)
    election.received(1, _said(3), 10)
    election.received(1, _said(1, round=4), 10)
    assert election.vote == (2, ZXID, 4, 1)
    election.received(1, _said(3, round=5), 10)
    assert election.vote == (3, ZXID, 5, 1)


def test_a_vote_of_an_earlier_round_is_answered_and_does_not_count() -> None:
    election = _looking(2)
    election.look(0, ZXID, 1)
    election.out.clear()
    election.received(1, _said(2, round=1), 10)
    assert _told(election) == {1: (LOOKING, 2, ZXID, 2, 1)}
    election.tick(900)
    assert election.outcome is None


def test_data_that_is_not_to_be_trusted_neither_elects_nor_is_elected() -> None:
    election = _looking(2, zxid=-1)
    for voter in (1, 3):
        election.received(voter, _said(3, round=5), 10)
    assert election.round == 1
    election.tick(300)
    assert election.outcome is None
    election = _looking(2)
    election.received(3, _said(3, zxid=-1, peer_epoch=9), 10)
    assert election.vote.leader == 2


def test_votes_for_strangers_and_of_strangers_do_not_count() -> None:
    election = _looking(2)
    election.received(1, _said(9, peer_epoch=9), 10)
    election.received(9, _said(9, peer_epoch=9), 10)
    election.received(9, _said(2), 10)
    assert election.vote.leader == 2
    assert election.next_due_ms() == 200
    election.tick(500)
    assert election.outcome is None


# When it is decided


def test_a_quorum_waits_for_a_better_vote() -> None:
    election = _looking(2)
    election.received(1, _said(2), 50)
    assert election.outcome is None
    election.tick(249)
    assert election.outcome is None
    election.tick(250)
    assert election.outcome == (2, ZXID, 1, 1)
    assert election.state == LEADING


def test_a_better_vote_in_the_wait_begins_it_anew() -> None:
    election = _looking(2, _ensemble(1, 2, 3, 4, 5))
    election.received(1, _said(2), 50)
    election.received(3, _said(2), 50)
    election.received(4, _said(4), 240)
    election.tick(260)
    assert election.outcome is None
    election.received(1, _said(4), 300)
    election.tick(499)
    assert election.outcome is None
    election.tick(500)
    assert election.outcome == (4, ZXID, 1, 1)
    assert election.state == FOLLOWING


def test_the_wait_is_as_long_for_a_better_vote_that_has_its_quorum_at_once() -> None:
    election = _looking(1)
    election.received(2, _said(2), 50)
    election.received(3, _said(3), 240)
    assert election.next_due_ms() == 440
    election.tick(440)
    assert election.outcome == (3, ZXID, 1, 1)


def test_when_all_voters_agree_there_is_nothing_to_wait_for() -> None:
    election = _looking(2)
    election.received(3, _said(3), 10)
    assert election.outcome is None
    election.received(1, _said(3), 20)
    assert election.outcome == (3, ZXID, 1, 1)
    assert election.state == FOLLOWING


def test_a_vote_that_changed_its_mind_does_not_count_twice() -> None:
    election = _looking(2, _ensemble(1, 2, 3, 4, 5))
    election.received(1, _said(2), 10)
    election.received(3, _said(2), 10)
    election.received(1, _said(1), 20)
    election.tick(900)
    assert election.outcome is None


def test_an_observer_observes_whom_the_voters_elect() -> None:
    election = _looking(4, _ensemble(1, 2, 3, observers=(4,)))
    for voter in (1, 2, 3):
        election.received(voter, _said(3, round=6), 10)
    assert election.outcome == (3, ZXID, 6, 1)
    assert election.state == OBSERVING


def test_a_reconfiguration_under_way_takes_both_quorums() -> None:
    election = Election(2, _ensemble(1, 2, 3))
    election.adopt(_ensemble(1, 2, 3), _ensemble(3, 4, 5, version=1))
    election.look(0, ZXID, 1)
    assert sorted(_told(election)) == [1, 3, 4, 5]
    for voter in (1, 4, 5):
        election.received(voter, _said(4), 10)
    assert election.vote.leader == 4
    election.tick(210)
    assert election.outcome == (4, ZXID, 1, 1)
    # An older proposal is none.
    election.out.clear()
    election.adopt(_ensemble(1, 2, 3, version=1), _ensemble(3, 4, 5, version=1))
    election.look(300, ZXID, 1)
    assert sorted(_told(election)) == [1, 3]


def test_a_newer_configuration_is_the_owners_to_adopt() -> None:
    election = _looking(2)
    said = _said(1)._replace(config=b"server.1=a:1:2:participant\nversion=a")
    election.received(1, said, 10)
    assert election.newer_config == said.config
    election.look(20, ZXID, 1)
    assert election.newer_config is None
    election.received(1, said._replace(config=b"version=0"), 30)
    assert election.newer_config is None


# Who looks while others have a leader


def test_a_late_member_joins_a_leader_that_a_quorum_follows() -> None:
    election = _looking(1, zxid=ZXID + 99, epoch=7)
    election.look(0, ZXID + 99, 7)
    election.received(3, _said(3, round=1, peer_epoch=4, state=LEADING), 10)
    assert election.outcome is None
    election.received(2, _said(3, zxid=7, round=9, peer_epoch=4, state=FOLLOWING), 20)
    assert election.outcome == (3, 7, 9, 4)
    assert election.round == 9, "the round of the vote that settled it"
    assert election.state == FOLLOWING


def test_nobody_is_followed_that_does_not_say_itself_that_it_leads() -> None:
    election = _looking(1, _ensemble(1, 2, 3, 4, 5))
    for voter in (2, 3, 4):
        election.received(voter, _said(5, round=8, peer_epoch=4, state=FOLLOWING), 10)
    assert election.outcome is None
    election.received(5, _said(5, round=8, peer_epoch=4, state=LEADING), 10)
    assert election.outcome is not None


def test_who_looks_again_follows_no_longer() -> None:
    election = _looking(1)
    election.received(3, _said(3, round=8, peer_epoch=4, state=LEADING), 10)
    election.received(3, _said(3, round=0, peer_epoch=4), 20)
    election.received(2, _said(3, round=8, peer_epoch=4, state=FOLLOWING), 30)
    assert election.outcome is None


def test_whom_others_follow_leads_only_in_its_own_round() -> None:
    election = _looking(1)
    for voter in (2, 3):
        election.received(voter, _said(1, round=8, state=FOLLOWING), 10)
    assert election.outcome is None
    election = _looking(1)
    for voter in (2, 3):
        election.received(voter, _said(1, round=1, state=FOLLOWING), 10)
    assert election.outcome == (1, ZXID, 1, 1)
    assert election.state == LEADING


def test_in_its_own_round_a_member_counts_itself() -> None:
    election = _looking(3)
    election.received(2, _said(2, zxid=ZXID + 1), 5)
    election.received(2, _said(2, zxid=ZXID + 1, state=LEADING), 10)
    assert election.outcome == (2, ZXID + 1, 1, 1), "2 leads, and 3 had voted for it"


def test_in_the_same_round_the_new_epoch_may_be_there_or_not_yet() -> None:
    election = _looking(1, _ensemble(1, 2, 3, 4, 5))
    election.received(5, _said(5, peer_epoch=2, state=LEADING), 10)
    election.received(4, _said(5, peer_epoch=1, state=FOLLOWING), 10)
    assert election.outcome is None
    election.received(3, _said(5, peer_epoch=2, state=FOLLOWING), 10)
    assert election.outcome is not None


def test_in_a_later_round_it_does_not_count_who_followed_in_an_earlier() -> None:
    election = _looking(1, _ensemble(1, 2, 3, 4, 5))
    for voter in (2, 3):
        election.received(voter, _said(5, peer_epoch=1, state=FOLLOWING), 10)
    election.received(4, _said(4, round=7), 10)
    election.received(5, _said(5, round=7, peer_epoch=2, state=LEADING), 10)
    assert election.outcome is None


def test_votes_are_compared_by_what_their_senders_say_of_themselves() -> None:
    following = _said(3, zxid=1, round=1, peer_epoch=4, state=FOLLOWING)
    assert agree(following, _said(3, zxid=2, round=2, peer_epoch=4, state=LEADING))
    assert not agree(following, _said(3, zxid=1, round=1, peer_epoch=5, state=FOLLOWING))
    assert not agree(following, _said(2, zxid=1, round=1, peer_epoch=4, state=FOLLOWING))
    # One that looks has to match in everything.
    assert agree(following, following._replace(state=LOOKING))
    assert not agree(following, _said(3, zxid=2, round=1, peer_epoch=4))
    assert not agree(_said(3, round=2), _said(3, round=1))
    # Beside releases that know no epoch of votes it is not compared.
    old = _said(3, zxid=1, round=1, peer_epoch=1, state=FOLLOWING, version=0)
    assert agree(following, old)
    assert not agree(old, old._replace(peer_epoch=4))


def test_an_observers_state_is_no_vote() -> None:
    election = _looking(1)
    for voter in (2, 3):
        election.received(voter, _said(3, round=1, state=OBSERVING), 10)
    election.tick(900)
    assert election.outcome is None


# Who has decided


def test_who_has_a_leader_answers_those_who_look_and_nobody_else() -> None:
    election = _looking(1)
    election.received(2, _said(3), 10)
    election.received(3, _said(3), 10)
    election.out.clear()
    election.received(2, _said(2, round=5), 20)
    assert _told(election) == {2: (FOLLOWING, 3, ZXID, 1, 1)}
    election.settled(FOLLOWING, 9)
    assert election.outcome is None
    election.received(2, _said(2, round=5), 30)
    assert _told(election) == {2: (FOLLOWING, 3, ZXID, 1, 9)}, "the leader's new epoch"
    for state in (FOLLOWING, LEADING):
        election.received(2, _said(2, round=5, state=state), 40)
    assert not election.out
    assert election.vote == Vote(3, ZXID, 1, 9)


def test_members_without_a_vote_are_answered_at_once() -> None:
    election = _looking(1, _ensemble(1, observers=(4,)))
    assert election.state == LEADING
    for state in (LOOKING, OBSERVING):
        election.received(4, _said(MIN_LONG, MIN_LONG, 7, MIN_LONG, state), 10)
        assert _told(election) == {4: (LEADING, 1, ZXID, 1, 1)}


def test_members_without_a_vote_are_told_of_every_change_but_answered_once() -> None:
    election = _looking(2, _ensemble(1, 2, 3, observers=(4,)))
    question = _said(MIN_LONG, MIN_LONG, 7, MIN_LONG)
    election.received(4, question, 10)
    assert _told(election) == {4: (LOOKING, 2, ZXID, 1, 1)}
    election.received(4, question, 10)
    assert _told(election) == {}
    election.received(3, _said(3), 20)
    assert _told(election)[4] == (LOOKING, 3, ZXID, 1, 1)
    election.received(1, _said(3), 20)
    assert _told(election)[4] == (FOLLOWING, 3, ZXID, 1, 1)


def test_a_member_without_a_vote_does_not_answer_who_is_behind() -> None:
    election = _looking(4, _ensemble(1, 2, 3, observers=(4,)))
    election.look(0, ZXID, 1)
    election.out.clear()
    election.received(1, _said(1, round=1), 10)
    assert not election.out


def test_a_silent_member_says_nothing() -> None:
    election = Election(2, _ensemble(1, 2, 3))
    for _ in range(2):
        election.received(1, _said(1), 0)
        election.tick(1e9)
        assert not election.out
        assert election.next_due_ms() is None
        election.look(0, ZXID, 1)
        election.silence()
        election.out.clear()


# Time


def test_what_is_proposed_is_said_again_after_200_ms_and_ever_more_seldom() -> None:
    election = _looking(2)
    times: list[float] = []
    due = election.next_due_ms()
    while due is not None and due < 300_000:
        election.tick(due - 1)
        assert not election.out
        election.tick(due)
        assert sorted(_told(election)) == [1, 3]
        times.append(due)
        due = election.next_due_ms()
    gaps = [after - before for before, after in zip([0, *times], times, strict=False)]
    assert gaps == [200 * 2**n for n in range(9)] + [60_000.0] * (len(gaps) - 9)
    assert len(gaps) > 10


def test_a_member_without_a_vote_asks_every_few_seconds() -> None:
    election = _looking(4, _ensemble(1, 2, 3, observers=(4,)))
    due = 0.0
    for _ in range(20):
        election.tick(due)
        due = election.next_due_ms() or 0
    election.tick(due)
    assert election.next_due_ms() == due + 5000


def test_a_changed_proposal_is_repeated_soon_again() -> None:
    election = _looking(2, _ensemble(1, 2, 3, 4, 5))
    election.tick(200)
    election.tick(600)
    assert election.next_due_ms() == 1400
    election.received(3, _said(3), 700)
    assert election.next_due_ms() == 900


@pytest.mark.parametrize(
    ("talk", "peer", "state", "epoch"),
    [("leading", 1, LEADING, 1), ("following", 3, FOLLOWING, 2)],
)
def test_in_apaches_place_it_says_what_apache_said(
    talk: str, peer: int, state: int, epoch: int
) -> None:
    by_apache = [
        Notification.decode(data[4:])
        for name, by_apache, data in messages(talk)
        if by_apache and name.split(",")[0] in STATE_NAMES
    ]
    (vote,) = [Notification.decode(d[4:]) for name, _, d in messages(talk) if "votes for" in name]
    election = Election(2, Ensemble.parse(vote.config.decode()))
    election.look(0, 0, 0)
    election.received(peer, vote, 10)
    election.tick(210)
    election.received(peer, vote, 220)
    election.settled(state, epoch)
    election.received(peer, vote, 300)
    assert [said for to, said in election.out if to == peer] == by_apache
    assert [each.state for each in by_apache[-2:]] == [state, state]


# Whole elections


def _elect(network: Electorate) -> Candidate:
    had = {each.id: (each.epoch, each.zxid) for each in network.members.values()}
    network.run(lambda: network.leader() is not None)
    leader = network.members[network.leader() or 0]
    assert [each.id for each in network.members.values() if each.plays == each.id] == [leader.id]
    for member in network.members.values():
        if member.plays is not None:
            votes = member.id in network.ensemble.voters
            state = LEADING if member is leader else FOLLOWING if votes else OBSERVING
            assert member.election.state == state
    # Of a quorum nobody had more.
    surpassed = {each for each in network.ensemble.voters if had[each] <= had[leader.id]}
    assert network.ensemble.is_quorum(surpassed)
    return leader


_ENSEMBLES = [
    _ensemble(1, 2, 3),
    _ensemble(1, 2, 3, 4, 5),
    _ensemble(2, 3, 4, observers=(1, 5)),
    Ensemble.of(
        {f"server.{each}": f"m{each}:2888:3888" for each in range(1, 6)}
        | {"group.1": "1:2:3:4:5", "weight.4": "0", "weight.5": "2"}
    ),
]


@pytest.mark.parametrize(
    "ensemble", _ENSEMBLES, ids=lambda each: f"{len(each.voters)} of {len(each.seats)}"
)
@pytest.mark.parametrize("latency_ms", [1, 40, 400])
def test_every_election_ends_with_one_leader_whom_a_quorum_follows(
    ensemble: Ensemble, latency_ms: float
) -> None:
    for seed in range(10):
        leader = _elect(start(ensemble, seed, latency_ms))
        assert ensemble.weight(leader.id) > 0


@pytest.mark.parametrize("seed", range(10))
def test_links_may_be_lost_at_any_time(seed: int) -> None:
    network = start(_ENSEMBLES[seed % 2], seed)
    for _ in range(20):
        member = network.members[network.dice.choice(sorted(network.members))]
        network.at(network.dice.uniform(0, 1000), partial(network.lose_links, member))
    _elect(network)


@pytest.mark.parametrize("seed", range(10))
def test_a_leader_that_crashes_is_replaced_and_joins_its_successor(seed: int) -> None:
    network = start(_ENSEMBLES[seed % 3], seed)
    for _ in range(3):
        old = _elect(network)
        network.crash(old)
        for member in network.members.values():
            if member.up:
                network.look(member)
        new = _elect(network)
        assert new.epoch > old.epoch
        epoch = new.epoch
        network.restart(old)
        assert _elect(network) is new
        assert new.epoch == epoch, "nobody had to look again"
        rejoined = network.members[old.id]
        assert rejoined.election.vote.peer_epoch == epoch
        for member in network.members.values():
            network.look(member)


@pytest.mark.parametrize("seed", range(10))
def test_a_member_that_looked_in_vain_for_long_is_back_soon_after_it_is_reached(seed: int) -> None:
    network = start(_ENSEMBLES[1], seed)
    lost = network.members[1 + seed % 5]
    network.cut.add(lost.id)
    leader = _elect(network)
    network.at(network.now + 300_000, lambda: None)
    until = network.now + 300_000
    network.run(lambda: network.now >= until, 400_000)
    assert lost.election.state == LOOKING
    network.cut.clear()
    network.run(lambda: network.leader() == leader.id, 3_000)


def test_without_a_quorum_nobody_is_elected() -> None:
    network = start(_ENSEMBLES[1], 1)
    for each in (1, 3, 5):
        network.members[each].up = False
    for member in network.members.values():
        member.zxid = 9
    network.at(100_000, lambda: None)
    network.run(lambda: network.now >= 100_000)
    assert {network.members[each].election.state for each in (2, 4)} == {LOOKING}
    network.restart(network.members[1])
    assert _elect(network).id == 4
