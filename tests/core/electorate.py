"""Members that elect: election and courier wired back to back, by chance, on virtual time.

Bytes arrive in pieces, after random times, in order on each link. A role is played only so far as
an election needs it: a leader that no quorum follows, and who follows one that does not lead, look
again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from random import Random

from coterie.core.courier import Courier
from coterie.core.effects import Effects
from coterie.core.election import Election, Vote
from coterie.core.link import ELECTION, Link
from coterie.ensemble import Ensemble
from coterie.wire.peers import Notification, State


class Candidate:
    """One member."""

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


class Electorate:
    """Delivers bytes in pieces after random times, in order on each link, and plays the roles."""

    def __init__(self, ensemble: Ensemble, seed: int, latency_ms: float = 20) -> None:
        self.dice = Random(seed)
        self.ensemble = ensemble
        self.latency_ms = latency_ms
        self.members = {each: Candidate(each, ensemble, self.dice) for each in ensemble.seats}
        self.now = 0.0
        self.cut: set[int] = set()
        """Members that nobody reaches."""
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ends: dict[Link, tuple[Candidate, Link | None]] = {}
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

    def look(self, member: Candidate) -> None:
        member.plays = None
        member.election.look(self.now, member.zxid, member.epoch)

    def _turn(self, member: Candidate) -> None:
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

    def _play(self, member: Candidate, vote: Vote) -> None:
        if not member.up or member.election.vote != vote or member.election.state == State.LOOKING:
            return
        leader = self.members[vote.leader]
        able = [each for each in self.members.values() if each.up and each.id not in self.cut]
        settled = [each for each in able if each.election.state != State.LOOKING]
        followers = [each.id for each in settled if each.election.vote.leader == leader.id]
        if leader.election.state == State.LEADING and self.ensemble.is_quorum(followers):
            if leader.plays is None:
                leader.plays = leader.id
                leader.epoch = max(each.epoch for each in self.members.values()) + 1
            member.plays = leader.id
            member.epoch = leader.epoch
            member.election.settled(member.election.state, leader.epoch)
        else:
            self.look(member)

    def _dial(self, member: Candidate, link: Link) -> None:
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

    def lose_links(self, member: Candidate) -> None:
        for link, (owner, other) in list(self._ends.items()):
            if owner is member or (other in self._ends and self._ends[other][0] is member):
                self.lose(link)

    def crash(self, member: Candidate) -> None:
        member.up = False
        member.plays = None
        self.lose_links(member)

    def restart(self, member: Candidate) -> None:
        """Begin anew: of the old one only its data is left."""
        fresh = Candidate(member.id, self.ensemble, self.dice)
        fresh.zxid, fresh.epoch = member.zxid, member.epoch
        self.members[member.id] = fresh
        self.look(fresh)

    def leader(self) -> int | None:
        """The one that all who can take part follow, if there is one."""
        able = [each for each in self.members.values() if each.up and each.id not in self.cut]
        followed = {each.plays for each in able}
        return followed.pop() if len(followed) == 1 else None


def start(ensemble: Ensemble, seed: int, latency_ms: float = 20) -> Electorate:
    """Members with some history each, that begin to look at about the same time."""
    network = Electorate(ensemble, seed, latency_ms)
    for member in network.members.values():
        member.zxid, member.epoch = network.dice.choice([(7, 1), (9, 1), (3, 2)])
        network.at(network.dice.uniform(0, 300), partial(network.look, member))
    return network
