"""Who dials whom, what is kept of what could not be said, what is refused; whole elections."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from coterie.core.courier import Courier
from coterie.core.effects import Effects
from coterie.core.election import Election, Vote
from coterie.core.link import ELECTION, Link
from coterie.ensemble import Ensemble
from coterie.wire.peers import MAX_LONG, Initial, Notification

LOOKING, FOLLOWING, LEADING, OBSERVING = range(4)


def _ensemble(*voters: int, observers: tuple[int, ...] = ()) -> Ensemble:
    lines = {f"server.{each}": f"m{each}:2888:3888" for each in voters}
    lines |= {f"server.{each}": f"m{each}:2888:3888:observer" for each in observers}
    return Ensemble.of(lines)


THREE = _ensemble(1, 2, 3)


class _Post:
    """The courier of one member, and what it asks of its driver."""

    def __init__(self, my_id: int, **settings: Any) -> None:
        self.effects = Effects()
        self.courier = Courier(my_id, THREE, lambda: self.effects, Random(1), **settings)

    def take(self) -> Effects:
        effects, self.effects = self.effects, Effects()
        for link in effects.link_outputs:
            link.touched = False
        return effects

    def dialled(self) -> Link:
        """The one link that is to be dialled."""
        (link,) = self.take().dials
        return link

    def accept(self, server_id: int, more: bytes = b"", now_ms: float = 0) -> Link:
        """A link on which a member introduces itself, from its address in the ensemble."""
        link = Link(ELECTION)
        self.courier.accepted(link, now_ms)
        self.courier.heard(link, _initial(server_id) + more, now_ms)
        return link

    def lost(self, link: Link, now_ms: float = 0) -> None:
        self.courier.lost(link, now_ms)


def _initial(server_id: int) -> bytes:
    return Initial(server_id, ((f"m{server_id}", 3888),)).encode()


def _framed(*payloads: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(each)) + each for each in payloads)


def _sent(link: Link) -> bytes:
    """What goes out on a link; a segment at a time."""
    sent = b"".join(link.out)
    link.out.clear()
    return sent


# Who dials


def test_the_higher_id_keeps_what_it_dialled() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    assert (link.kind, link.peer, link.addresses) == (ELECTION, 1, (("m1", 3888),))
    post.courier.opened(link, 5)
    effects = post.take()
    assert effects.link_outputs == [link]
    assert link.out[0] == _initial(3), "in one segment"
    assert _sent(link) == _initial(3) + _framed(b"vote")
    assert not effects.link_closes
    assert post.courier.connected == [1]


def test_the_lower_id_says_who_it_is_and_is_dialled_back() -> None:
    post = _Post(1)
    post.courier.send(3, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 5)
    effects = post.take()
    assert effects.link_outputs == effects.link_closes == [link]
    assert _sent(link) == _initial(1)
    post.courier.heard(link, b"ignored", 5)
    post.lost(link, 6)
    back = post.accept(3, _framed(b"hello"), 20)
    assert post.courier.inbox == [(3, b"hello")]
    assert _sent(back) == _framed(b"vote")
    assert post.courier.connected == [3]
    assert not post.take().dials


def test_a_lower_id_that_dials_is_dialled_back() -> None:
    post = _Post(3)
    link = post.accept(1)
    effects = post.take()
    assert effects.link_closes == [link]
    (back,) = effects.dials
    assert back.peer == 1
    # While that is under way nothing else is dialled.
    assert post.take().dials == []
    post.accept(1)
    post.courier.send(1, b"vote", 0)
    assert not post.take().dials
    post.courier.opened(back, 10)
    assert _sent(back) == _initial(3) + _framed(b"vote")


def test_a_lower_id_that_dials_has_lost_its_connection() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 5)
    post.take()
    again = post.accept(1, now_ms=6)
    effects = post.take()
    assert effects.link_closes == [again, link]
    (back,) = effects.dials
    post.lost(link, 7)
    post.courier.opened(back, 8)
    assert _sent(back) == _initial(3) + _framed(b"vote"), "said again: it may have been lost"


def test_a_lower_id_that_dialled_before_it_was_dialled_keeps_its_connection() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    crossing = Link(ELECTION)
    post.courier.accepted(crossing, 4)
    post.courier.opened(link, 5)
    post.courier.heard(crossing, _initial(1), 6)
    effects = post.take()
    assert effects.link_closes == [crossing]
    assert not effects.dials
    assert post.courier.connected == [1]


def test_a_higher_id_that_dials_replaces_what_there_is() -> None:
    post = _Post(1)
    first = post.accept(3)
    second = post.accept(3)
    assert post.take().link_closes == [first]
    post.lost(first)
    assert post.courier.connected == [3]
    post.courier.send(3, b"vote", 0)
    assert _sent(second) == _framed(b"vote")
    assert not first.out


def test_a_higher_id_that_dials_ends_our_own_attempt() -> None:
    post = _Post(1)
    post.courier.send(3, b"vote", 0)
    mine = post.dialled()
    link = post.accept(3)
    assert post.take().link_closes == [mine]
    assert _sent(link) == _framed(b"vote")
    post.courier.opened(mine, 5)
    assert not mine.out
    post.lost(mine, 6)
    assert post.courier.connected == [3]


def test_the_address_that_a_member_tells_is_tried_after_the_known_one() -> None:
    post = _Post(3)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    post.courier.heard(link, Initial(1, (("10.0.0.1", 3888),)).encode(), 0)
    assert post.dialled().addresses == (("m1", 3888), ("10.0.0.1", 3888))


# What is said


def test_of_what_waits_only_the_newest_is_kept() -> None:
    post = _Post(3)
    for payload in (b"old", b"new"):
        post.courier.send(1, payload, 0)
    link = post.dialled()
    post.courier.send(1, b"newest", 1)
    post.courier.opened(link, 5)
    assert _sent(link) == _initial(3) + _framed(b"newest")
    for payload in (b"a", b"b"):
        post.courier.send(1, payload, 6)
    assert _sent(link) == _framed(b"a", b"b")
    assert post.take().link_outputs == [link]


def test_the_last_that_was_said_is_said_again_on_a_new_connection() -> None:
    post = _Post(1)
    link = post.accept(3)
    assert _sent(link) == b""
    post.courier.send(3, b"first", 0)
    post.courier.send(3, b"last", 0)
    post.lost(link)
    assert post.courier.connected == []
    assert _sent(post.accept(3)) == _framed(b"last")
    # What waits is newer than that.
    post = _Post(1)
    link = post.accept(3)
    post.courier.send(3, b"last", 0)
    post.lost(link)
    post.courier.send(3, b"newer", 0)
    assert _sent(post.accept(3)) == _framed(b"newer")


def test_messages_come_out_whole_however_they_come_in() -> None:
    post = _Post(1)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    stream = _initial(3) + _framed(b"a", b"bcd" * 100, b"e")
    for at in range(len(stream)):
        post.courier.heard(link, stream[at : at + 1], 0)
    assert post.courier.inbox == [(3, b"a"), (3, b"bcd" * 100), (3, b"e")]


# What is refused


@pytest.mark.parametrize("length", [-1, 0, 512 * 1024 + 1])
def test_a_length_that_lies_closes_the_connection(length: int) -> None:
    post = _Post(1)
    link = post.accept(3, struct.pack(">i", length))
    effects = post.take()
    assert effects.link_closes == [link]
    assert len(effects.notes) == 1
    assert post.courier.connected == []
    post.courier.send(3, b"vote", 0)
    assert not link.out


def test_the_longest_message_is_taken() -> None:
    post = _Post(1)
    post.accept(3, _framed(bytes(512 * 1024)))
    assert len(post.courier.inbox[0][1]) == 512 * 1024


def test_who_is_not_of_the_ensemble_is_refused() -> None:
    post = _Post(2)
    for stranger in (9, 2, 0):
        link = post.accept(stranger, _framed(b"vote"))
        effects = post.take()
        assert effects.link_closes == [link]
        assert not effects.dials
        assert len(effects.notes) == 1
    assert not post.courier.inbox


def test_who_may_join_is_heard() -> None:
    post = _Post(2, joiners=True)
    link = post.accept(9, _framed(b"vote"))
    assert post.courier.inbox == [(9, b"vote")]
    post.lost(link)
    post.accept(1 << 40)
    post.accept(0)
    assert post.dialled().addresses == (("m0", 3888),)


def test_an_observer_without_an_id_gets_one() -> None:
    post = _Post(2)
    links = [post.accept(MAX_LONG, _framed(b"who leads?")) for _ in range(2)]
    assert post.courier.inbox == [(-1, b"who leads?"), (-2, b"who leads?")]
    assert not post.take().link_closes
    post.courier.send(-2, b"3", 0)
    assert _sent(links[1]) == _framed(b"3")
    # There is no way to dial it.
    post.lost(links[1])
    post.courier.send(-2, b"3", 0)
    assert not post.take().dials
    assert post.courier.next_due_ms() is None


def test_what_is_no_initial_message_closes_the_connection() -> None:
    post = _Post(2)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    post.courier.heard(link, b"\xff" * 20, 0)
    assert post.take().link_closes == [link]


def test_who_never_says_who_it_is_is_closed() -> None:
    post = _Post(2, introduce_ms_max=300)
    link = Link(ELECTION)
    post.courier.accepted(link, 50)
    post.courier.heard(link, _initial(3)[:20], 60)
    assert post.courier.next_due_ms() == 350
    post.courier.tick(349)
    assert not post.take().link_closes
    post.courier.tick(350)
    assert post.take().link_closes == [link]
    assert post.courier.next_due_ms() is None
    post.courier.heard(link, _initial(3)[20:], 360)
    assert post.courier.connected == []


def test_those_who_do_not_say_who_they_are_are_few() -> None:
    post = _Post(2)
    links = [Link(ELECTION) for _ in range(100)]
    for link in links:
        post.courier.accepted(link, 0)
    assert post.take().link_closes == links[:36]


# Time


def test_dialling_is_repeated_ever_more_seldom_for_as_long_as_the_message_is_worth_it() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    times: list[float] = []
    now: float | None = 0.0
    while now is not None:
        post.courier.tick(now)
        for link in post.take().dials:
            times.append(now)
            post.lost(link, now)
        now = post.courier.next_due_ms()
    gaps = [after - before for before, after in pairwise(times)]
    for gap, longest in zip(gaps, [200, 400, 800, 1600] + [2000] * 100, strict=False):
        assert longest / 2 <= gap <= longest
    assert 57_000 < times[-1] < 60_000
    # With what was too old to be said nothing is begun.
    post.courier.tick(100_000)
    assert not post.take().dials
    post.courier.send(1, b"again", 100_000)
    assert post.dialled().peer == 1


def test_an_attempt_without_an_answer_is_given_up() -> None:
    post = _Post(3, connect_ms_max=700)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    assert post.courier.next_due_ms() == 700
    post.courier.tick(700)
    effects = post.take()
    assert effects.link_closes == [link]
    due = post.courier.next_due_ms()
    assert due is not None
    post.courier.tick(max(due, 701))
    assert post.dialled() is not link
    post.courier.opened(link, 800)
    assert not link.out


def test_who_dials_back_gets_the_time_it_takes() -> None:
    post = _Post(1)
    post.courier.send(3, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 400)
    post.take()
    post.lost(link, 401)
    due = post.courier.next_due_ms()
    assert due is not None
    assert due >= 400 + 3 * 400


def test_nothing_is_dialled_when_there_is_nothing_to_say() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 1)
    post.lost(link, 2)
    post.courier.tick(100_000)
    assert not post.take().dials
    assert post.courier.next_due_ms() is None


def test_who_dials_us_is_dialled_back_at_once() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    now = 0.0
    for _ in range(6):
        post.lost(post.dialled(), now)
        due = post.courier.next_due_ms()
        assert due is not None
        now = due
        post.courier.tick(now)
    post.lost(post.dialled(), now)
    post.courier.tick(now + 1)
    assert not post.take().dials
    post.accept(1, now_ms=now + 2)
    assert post.dialled().peer == 1


# Whole elections: machines wired back to back through a courier's bytes, on virtual time


class _Member:
    """One member that plays its role as far as an election needs it: a leader that no quorum
    follows, and a follower of one that does not lead, look again."""

    def __init__(self, my_id: int, ensemble: Ensemble, dice: Random) -> None:
        self.effects = Effects()
        self.election = Election(my_id, ensemble)
        self.courier = Courier(my_id, ensemble, lambda: self.effects, dice)
        self.id = my_id
        self.zxid = 0
        self.epoch = 0
        self.up = True
        self.plays: int | None = None
        """The leader it follows or is, once that has worked."""


class _Network:
    """Delivers bytes in pieces after random times, in order on each link, and plays the roles."""

    def __init__(self, ensemble: Ensemble, seed: int, latency_ms: float = 20) -> None:
        self.dice = Random(seed)
        self.ensemble = ensemble
        self.latency_ms = latency_ms
        self.members = {each: _Member(each, ensemble, self.dice) for each in ensemble.seats}
        self.now = 0.0
        self.cut: set[int] = set()
        """Members that nobody reaches."""
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ends: dict[Link, tuple[_Member, Link | None]] = {}
        """Who has an end of a link, and the other end."""
        self._busy_until: dict[Link, float] = {}

    def at(self, when: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._later, (when, self._count, do))

    def _on(self, link: Link, do: Callable[[], None]) -> None:
        """Let something happen to a link after all that will happen to it already."""
        when = self.now + self.dice.uniform(0.1, self.latency_ms)
        self._busy_until[link] = when = max(when, self._busy_until.get(link, 0))
        self.at(when, do)

    def run(self, until: Callable[[], bool], patience_ms: float = 120_000) -> None:
        give_up = self.now + patience_ms
        while not until():
            for member in self.members.values():
                self._turn(member)
            due = [when for when, *_ in self._later[:1]]
            for member in self.members.values():
                due += [
                    when
                    for when in (member.election.next_due_ms(), member.courier.next_due_ms())
                    if when is not None and member.up
                ]
            assert due, "everything stands still"
            self.now = max(self.now, min(due))
            assert self.now < give_up, "it takes too long"
            if self._later and self._later[0][0] <= self.now:
                heapq.heappop(self._later)[2]()
            for member in self.members.values():
                if member.up:
                    member.election.tick(self.now)
                    member.courier.tick(self.now)

    def look(self, member: _Member) -> None:
        member.plays = None
        member.election.look(self.now, member.zxid, member.epoch)

    def _turn(self, member: _Member) -> None:
        election, courier = member.election, member.courier
        while courier.inbox or election.out:
            for sender, payload in courier.inbox:
                election.received(sender, Notification.decode(payload), self.now)
            courier.inbox.clear()
            for receiver, said in election.out:
                courier.send(receiver, said.encode(), self.now)
            election.out.clear()
        if election.outcome is not None:
            self.at(self.now + 300, partial(self._play, member, election.outcome))
            election.outcome = None
        effects, member.effects = member.effects, Effects()
        for link in effects.dials:
            self._dial(member, link)
        for link in effects.link_outputs:
            link.touched = False
            self._carry(link)
        for link in effects.link_closes:
            self.lose(link)

    def _play(self, member: _Member, vote: Vote) -> None:
        if not member.up or member.election.vote != vote or member.election.state == LOOKING:
            return
        leader = self.members[vote.leader]
        followers = {
            each.id
            for each in self.members.values()
            if each.up
            and each.election.vote.leader == leader.id
            and each.election.state != LOOKING
        }
        if leader.election.state == LEADING and self.ensemble.is_quorum(followers - self.cut):
            if leader.plays is None:
                leader.plays = leader.id
                leader.epoch = max(each.epoch for each in self.members.values()) + 1
            member.plays = leader.id
            member.epoch = leader.epoch
            member.election.settled(member.election.state, leader.epoch)
        else:
            self.look(member)

    def _dial(self, member: _Member, link: Link) -> None:
        self._ends[link] = (member, None)
        peer = self.members[int(link.addresses[0][0][1:])]
        if not peer.up or self.cut & {peer.id, member.id}:
            self._on(link, partial(self._tell_lost, link))
            return
        other = Link(ELECTION)
        self._ends[link] = (member, other)
        self._ends[other] = (peer, link)
        self._on(other, partial(self._tell_open, other))
        self._on(link, partial(self._tell_open, link))

    def _tell_open(self, link: Link) -> None:
        if self._alive(link):
            courier = self._ends[link][0].courier
            (courier.opened if link.dialled else courier.accepted)(link, self.now)

    def _alive(self, link: Link) -> bool:
        return link in self._ends and self._ends[link][0].up

    def _carry(self, link: Link) -> None:
        data = b"".join(link.out)
        link.out.clear()
        other = self._ends[link][1] if link in self._ends else None
        if other is None:
            return
        half = self.dice.randrange(len(data) + 1)
        for piece in (data[:half], data[half:]):
            if piece:
                self._on(other, partial(self._hear, other, piece))

    def _hear(self, link: Link, data: bytes) -> None:
        if self._alive(link) and not link.closing:
            self._ends[link][0].courier.heard(link, data, self.now)

    def _tell_lost(self, link: Link) -> None:
        if self._alive(link):
            self._ends.pop(link)[0].courier.lost(link, self.now)

    def lose(self, link: Link) -> None:
        """Both ends hear of it, after what is under way."""
        if link in self._ends:
            other = self._ends[link][1]
            for end in (link, other):
                if end is not None:
                    self._on(end, partial(self._tell_lost, end))

    def lose_links(self, member: _Member) -> None:
        for link, (owner, other) in list(self._ends.items()):
            if owner is member or (other in self._ends and self._ends[other][0] is member):
                self.lose(link)

    def crash(self, member: _Member) -> None:
        member.up = False
        member.plays = None
        self.lose_links(member)

    def restart(self, member: _Member) -> None:
        """Begin anew: of the old one only its data is left."""
        fresh = _Member(member.id, self.ensemble, self.dice)
        fresh.zxid, fresh.epoch = member.zxid, member.epoch
        self.members[member.id] = fresh
        self.look(fresh)

    def leader(self) -> int | None:
        """The one that all who can take part follow, if there is one."""
        able = [each for each in self.members.values() if each.up and each.id not in self.cut]
        followed = {each.plays for each in able}
        return followed.pop() if len(followed) == 1 else None


def _start(ensemble: Ensemble, seed: int, latency_ms: float = 20) -> _Network:
    """Members with some history each, that begin to look at about the same time."""
    network = _Network(ensemble, seed, latency_ms)
    for member in network.members.values():
        member.zxid, member.epoch = network.dice.choice([(7, 1), (9, 1), (3, 2)])
        network.at(network.dice.uniform(0, 300), partial(network.look, member))
    return network


def _elect(network: _Network) -> _Member:
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
        leader = _elect(_start(ensemble, seed, latency_ms))
        assert ensemble.weight(leader.id) > 0


@pytest.mark.parametrize("seed", range(10))
def test_links_may_be_lost_at_any_time(seed: int) -> None:
    network = _start(_ENSEMBLES[seed % 2], seed)
    for _ in range(20):
        member = network.members[network.dice.choice(sorted(network.members))]
        network.at(network.dice.uniform(0, 1000), partial(network.lose_links, member))
    _elect(network)


@pytest.mark.parametrize("seed", range(10))
def test_a_leader_that_crashes_is_replaced_and_joins_its_successor(seed: int) -> None:
    network = _start(_ENSEMBLES[seed % 3], seed)
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
    network = _start(_ENSEMBLES[1], seed)
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
    network = _start(_ENSEMBLES[1], 1)
    for each in (1, 3, 5):
        network.members[each].up = False
    for member in network.members.values():
        member.zxid = 9
    network.at(100_000, lambda: None)
    network.run(lambda: network.now >= 100_000)
    assert {network.members[each].election.state for each in (2, 4)} == {LOOKING}
    network.restart(network.members[1])
    assert _elect(network).id == 4
