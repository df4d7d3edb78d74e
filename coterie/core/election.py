"""Fast leader election as a machine: notifications in, and at the end a leader that a quorum has.

Rules: members vote in rounds, and a vote counts only in its round; everybody proposes itself first
and then the best it has heard of (newest epoch, then newest zxid, then highest id), so that the
leader is one that lacks nothing a quorum has. Who has decided tells those who still look. Nothing
here is a promise: two members may believe in different leaders, and only one gets its quorum in
the phases that follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from coterie.wire.peers import MAX_LONG, MIN_LONG, Notification, State, config_version

if TYPE_CHECKING:
    from coterie.ensemble import Ensemble

_ASKERS_MAX: Final = 256
_ASK_MS_MAX: Final = 5000
"""Voters that come back tell all voters; nobody tells those without a vote, so they ask."""


class Vote(NamedTuple):
    """For whom, what the candidate had when it stood, and in which round."""

    leader: int
    zxid: int
    round: int
    peer_epoch: int


def agree(one: Notification, other: Notification) -> bool:
    """Whether two members mean the same leader.

    One that looks has to be matched in everything. Of members that have decided the zxid and the
    round may differ, because some were there and some joined later (ZOOKEEPER-1805); and those of
    version 0 do not move the epoch of their vote on to their leader's, so that beside them it says
    nothing (ZOOKEEPER-1732).
    """
    if one.leader != other.leader:
        return False
    if State.LOOKING in (one.state, other.state):
        return (one.zxid, one.round, one.peer_epoch) == (other.zxid, other.round, other.peer_epoch)
    if (one.version > 0) != (other.version > 0):
        return True
    return one.peer_epoch == other.peer_epoch


class Election:
    """The votes of one member. What is in `out` is to be sent; `outcome` is to be acted on."""

    __slots__ = (
        "_askers",
        "_config",
        "_decide_at",
        "_elsewhere",
        "_ensembles",
        "_interval_ms",
        "_mine",
        "_received",
        "_reminded",
        "_resend_at",
        "_silent",
        "_voters",
        "ensemble",
        "finalize_ms",
        "my_id",
        "newer_config",
        "notify_ms_max",
        "notify_ms_min",
        "out",
        "outcome",
        "round",
        "state",
        "vote",
    )

    def __init__(
        self,
        my_id: int,
        ensemble: Ensemble,
        *,
        notify_ms_min: float = 200,
        notify_ms_max: float = 60_000,
        finalize_ms: float = 200,
    ) -> None:
        self.my_id = my_id
        self.notify_ms_min = notify_ms_min
        self.notify_ms_max = notify_ms_max
        self.finalize_ms = finalize_ms
        """How long a quorum waits for a better vote, unless it is known that none can come."""
        self.state: int = State.LOOKING
        self.round = 0
        """The logical clock of Apache: it outlives the elections of this member."""
        self.vote = Vote(MIN_LONG, MIN_LONG, 0, MIN_LONG)
        """What this member proposes, or whom it decided for."""
        self.outcome: Vote | None = None
        """The decision, until the owner says `settled`."""
        self.newer_config: bytes | None = None
        """A configuration that a member knows and this one, while it looks, does not: the owner
        may `adopt` it and look again."""
        self.out: list[tuple[int, Notification]] = []
        self._silent = True
        self._mine = self.vote
        self._received: dict[int, Notification] = {}
        """The votes of this round, one for each voter."""
        self._elsewhere: dict[int, Notification] = {}
        """What those who have decided said, of whatever round."""
        self._askers: set[int] = set()
        """Members without a vote that look as well: they are told what this one tells voters."""
        self._reminded: set[int] = set()
        """Who was told again of what was last broadcast."""
        self._decide_at: float | None = None
        self._resend_at = 0.0
        self._interval_ms = notify_ms_min
        self.adopt(ensemble)

    def adopt(self, ensemble: Ensemble, last_seen: Ensemble | None = None) -> None:
        """Vote in this ensemble, and in one that was proposed after it, if there is one: then it
        takes a quorum of both. A member that looks has to `look` again."""
        self.ensemble = ensemble
        self._ensembles = [ensemble]
        if last_seen is not None and last_seen.version > ensemble.version:
            self._ensembles.append(last_seen)
        self._voters = sorted(set().union(*[each.voters for each in self._ensembles]))
        self._config = ensemble.text().encode()

    def look(self, now_ms: float, logged_zxid: int, current_epoch: int) -> None:
        """Begin a round: this member has no leader. `logged_zxid` -1 is a member whose data
        is not to be trusted: it only joins those who have decided."""
        self.state = State.LOOKING
        self.outcome = None
        self.newer_config = None
        self._silent = False
        self._received.clear()
        self._elsewhere.clear()
        self._askers.clear()
        self._interval_ms = self.notify_ms_min
        # Somebody may have told a round beyond reason, and been believed: rounds stay at the last.
        self.round = min(self.round + 1, MAX_LONG)
        if self.my_id in self.ensemble.voters:
            self._mine = Vote(self.my_id, logged_zxid, self.round, current_epoch)
        else:
            self._mine = Vote(MIN_LONG, MIN_LONG, self.round, MIN_LONG)
        self._propose(self._mine, now_ms)
        self._count(now_ms)

    def silence(self) -> None:
        """Neither look nor answer until `look`: who is told of a vote counts on it."""
        self._silent = True
        self.state = State.LOOKING
        self.outcome = None

    def settled(self, state: int, vote_epoch: int) -> None:
        """The owner plays its role. Its vote moves on to the leader's new epoch, so that those
        who come later find the votes of all who follow alike."""
        self.state = state
        self.vote = self.vote._replace(peer_epoch=vote_epoch)
        self.outcome = None

    def next_due_ms(self) -> float | None:
        """When `tick` has something to do."""
        if self._silent or self.state != State.LOOKING:
            return None
        if self._decide_at is not None:
            return min(self._decide_at, self._resend_at)
        return self._resend_at

    def tick(self, now_ms: float) -> None:
        if self._silent or self.state != State.LOOKING:
            return
        if self._decide_at is not None and now_ms >= self._decide_at:
            self._decide(self.vote)
        elif now_ms >= self._resend_at:
            votes = self.my_id in self.ensemble.voters
            longest = self.notify_ms_max if votes else min(self.notify_ms_max, _ASK_MS_MAX)
            self._interval_ms = min(2 * self._interval_ms, longest)
            self._broadcast(now_ms)

    def received(self, sender: int, said: Notification, now_ms: float) -> None:
        if self._silent:
            return
        looking = self.state == State.LOOKING
        if looking and config_version(said.config) > self.ensemble.version:
            self.newer_config = said.config
        if sender not in self._voters:
            self._asked(sender)
        elif not looking:
            if said.state == State.LOOKING:
                self._tell(sender)
        elif said.state == State.LOOKING:
            if said.round < self.round and self._mine.leader == self.my_id:
                self._tell(sender)
            if said.leader in self._voters:
                self._heard_candidate(sender, said, now_ms)
        elif said.state != State.OBSERVING and said.leader in self._voters:
            self._heard_decision(sender, said)

    def _asked(self, sender: int) -> None:
        """A member without a vote wants to know. While this one looks it is answered once and then
        told with the others: one that believes it has a vote, and is in a later round, would
        answer every answer."""
        if self.state == State.LOOKING:
            if sender in self._askers or len(self._askers) >= _ASKERS_MAX:
                return
            self._askers.add(sender)
        self._tell(sender)

    def _heard_candidate(self, sender: int, said: Notification, now_ms: float) -> None:
        self._elsewhere.pop(sender, None)
        if self._mine.zxid == -1 or said.zxid == -1 or said.round < self.round:
            return
        candidate = Vote(said.leader, said.zxid, said.round, said.peer_epoch)
        if said.round > self.round:
            self.round = said.round
            self._received.clear()
            mine = self._mine._replace(round=self.round)
            self._propose(candidate if self._better(candidate, mine) else mine, now_ms)
        elif self._better(candidate, self.vote):
            self._propose(candidate, now_ms)
        elif self._better(self.vote, candidate) and sender not in self._reminded:
            # It began to look after this member had told it. Apache leaves it to the next
            # broadcast, which may be a minute away.
            self._reminded.add(sender)
            self._tell(sender)
        self._received[sender] = said
        self._count(now_ms)

    def _heard_decision(self, sender: int, said: Notification) -> None:
        if said.round == self.round:
            # Some of those who decided in this round say their leader's new epoch, and some do
            # not yet: with version 0 on one side the leader alone is compared.
            self._received[sender] = said._replace(version=0)
            if self._is_led(self._received, said):
                self._decide(_vote(said))
                return
        self._elsewhere[sender] = said
        if self._is_led(self._elsewhere, said):
            self._decide(_vote(said))

    def _is_led(self, votes: dict[int, Notification], said: Notification) -> bool:
        """Whether a quorum decided as `said`, and its leader knows. Without the latter, members
        would elect one that is gone again and again."""
        if not self._is_quorum(votes, said):
            return False
        if said.leader == self.my_id:
            return said.round == self.round
        leader = votes.get(said.leader)
        return leader is not None and leader.state == State.LEADING

    def _is_quorum(self, votes: dict[int, Notification], said: Notification) -> bool:
        ids = {sender for sender, vote in votes.items() if agree(said, vote)}
        return all(each.is_quorum(ids) for each in self._ensembles)

    def _better(self, candidate: Vote, other: Vote) -> bool:
        weighed = self._ensembles[0 if candidate.leader in self.ensemble.voters else -1]
        if weighed.weight(candidate.leader) == 0:
            return False
        return (candidate.peer_epoch, candidate.zxid, candidate.leader) > (
            other.peer_epoch,
            other.zxid,
            other.leader,
        )

    def _propose(self, vote: Vote, now_ms: float) -> None:
        self.vote = vote
        self._decide_at = None
        self._interval_ms = self.notify_ms_min
        self._broadcast(now_ms)

    def _broadcast(self, now_ms: float) -> None:
        self._resend_at = now_ms + self._interval_ms
        self._reminded.clear()
        for each in self._voters:
            if each != self.my_id:
                self._tell(each)
        for each in sorted(self._askers):
            self._tell(each)
        if self.my_id in self._voters and self._mine.zxid != -1:
            self._received[self.my_id] = self._notification()

    def _count(self, now_ms: float) -> None:
        """Decide, at once or in a while, if there is a quorum for what this member proposes."""
        mine = self._notification()
        if not self._is_quorum(self._received, mine):
            self._decide_at = None
        elif all(v in self._received and agree(mine, self._received[v]) for v in self._voters):
            self._decide(self.vote)
        elif self._decide_at is None:
            self._decide_at = now_ms + self.finalize_ms

    def _decide(self, vote: Vote) -> None:
        self._decide_at = None
        self.round = vote.round
        self.vote = self.outcome = vote
        if vote.leader == self.my_id:
            self.state = State.LEADING
        elif self.my_id in self.ensemble.voters:
            self.state = State.FOLLOWING
        else:
            self.state = State.OBSERVING
        for each in sorted(self._askers):
            self._tell(each)
        self._askers.clear()

    def _notification(self) -> Notification:
        leader, zxid, number, peer_epoch = self.vote
        return Notification(self.state, leader, zxid, number, peer_epoch, config=self._config)

    def _tell(self, member: int) -> None:
        self.out.append((member, self._notification()))


def _vote(said: Notification) -> Vote:
    return Vote(said.leader, said.zxid, said.round, said.peer_epoch)
