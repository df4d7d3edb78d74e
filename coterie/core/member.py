"""One server of an ensemble: it looks for a leader, then leads, follows or observes.

It is what a driver talks to, as `standalone.Standalone` is: events come as method calls, `take`
gives what is to be done. It joins the machines of its roles. Rules:
- one role at a time; when it is over, every client's connection is closed, for the next role may
  know less than was shown;
- an election is begun only when the disk has all that it was given, so that the vote is true; who
  cannot write does not stand for election and says nothing;
- a member that has connected before this one knows that it leads waits until it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.config import Config
from coterie.core.connection import Connection
from coterie.core.courier import Courier
from coterie.core.effects import Epochs
from coterie.core.election import Election, Vote
from coterie.core.leader import Leader
from coterie.core.learner import Learner
from coterie.core.link import ELECTION, Link
from coterie.core.prepare import Write
from coterie.core.remarks import STRANGERS_MS, Remarks
from coterie.core.replica import Replica
from coterie.core.stranded import Stranded
from coterie.core.tree import Tree
from coterie.errors import MarshallingError, ServerFailureError
from coterie.wire.numbered import Txn
from coterie.wire.peers import Notification

if TYPE_CHECKING:
    from random import Random

_EARLY_MAX: Final = 64
_EARLY_BYTES_MAX: Final = 65_536
_STRANDED_MS_MIN: Final = 2000
_RETRY_MS: Final = 10


class Member(Replica):
    """A server that is one of several, over a tree that was recovered from its log."""

    def __init__(
        self,
        config: Config,
        tree: Tree,
        logged_zxid: int,
        epochs: Epochs,
        now_ms: float,
        wall_ms: int,
        dice: Random,
    ) -> None:
        super().__init__(config, tree, logged_zxid, epochs, now_ms, wall_ms)
        self.courier = Courier(
            self.id,
            self.ensemble,
            lambda: self.effects,
            dice,
            connect_ms_max=config.connection_timeout_ms,
        )
        self.election = Election(
            self.id,
            self.ensemble,
            notify_ms_min=config.notification_interval_min_ms,
            notify_ms_max=config.notification_interval_max_ms,
        )
        self.role: Leader | Learner | None = None
        self._stranded: Stranded | None = None
        self._early: dict[Link, bytes] = {}
        """Who has connected to the quorum port while no leader is known, and what it said."""
        self._remarks = Remarks(every_ms=STRANGERS_MS)
        self._looks = False
        self._told = False
        """The election was told that the role is established."""
        self._alone_since_ms = now_ms

    @property
    def mode(self) -> str:
        role = self.role
        if self._stranded is not None:
            return "read-only"
        if role is None or not role.established:
            return "looking"
        if isinstance(role, Leader):
            return "leader"
        return "follower" if self.votes else "observer"

    @property
    def leader_id(self) -> int | None:
        role = self.role
        if role is None or not role.established:
            return None
        return self.id if isinstance(role, Leader) else role.leader_id

    def role_numbers(self) -> dict[str, float]:
        return self.role.numbers() if isinstance(self.role, Leader) else {}

    def submit(self, write: Write) -> None:
        """Not asked while no role has opened the server."""
        raise ServerFailureError

    # Events

    def tick(self, now_ms: float, wall_ms: int) -> None:
        super().tick(now_ms, wall_ms)
        if self.role is not None:
            self.role.tick()
        elif self._stranded is not None:
            self._stranded.tick()
        self.election.tick(now_ms)
        self.courier.tick(now_ms)
        self._settle()

    def receive(self, connection: Connection, data: bytes, now_ms: float) -> None:
        self.server.receive(connection, data, now_ms)
        if self.role is not None and self.role.failed is not None:
            self._settle()

    def accepted(self, link: Link) -> None:
        """Another member has connected."""
        if link.kind == ELECTION:
            self.courier.accepted(link, self.now_ms)
        elif isinstance(self.role, Leader):
            self.role.accepted(link)
        elif self.role is None:
            self._came_early(link)
        else:
            self.close(link)
        self._settle()

    def _came_early(self, link: Link) -> None:
        """Somebody is at the quorum port while there is no leader, which may be for long."""
        if len(self._early) >= _EARLY_MAX:
            oldest = next(iter(self._early))
            del self._early[oldest]
            self.close(oldest)
        self._early[link] = b""

    def opened(self, link: Link) -> None:
        """A link that was dialled is open."""
        link.open = True
        if link.kind == ELECTION:
            self.courier.opened(link, self.now_ms)
        elif isinstance(self.role, Learner):
            self.role.opened(link)
        self._settle()

    def heard(self, link: Link, data: bytes) -> None:
        """Bytes have come from another member."""
        if link.kind == ELECTION:
            self.courier.heard(link, data, self.now_ms)
        elif link in self._early:
            self._early[link] += data
            if len(self._early[link]) > _EARLY_BYTES_MAX:
                self.close(link)
        elif self.role is not None:
            self.role.heard(link, data)
        self._settle()

    def drained_link(self, link: Link) -> None:
        """What a streaming link had to send is sent."""
        if isinstance(self.role, Leader):
            self.role.drained(link)

    def lost(self, link: Link) -> None:
        """A link is closed, or could not be opened."""
        link.gone = True
        if link.kind == ELECTION:
            self.courier.lost(link, self.now_ms)
        elif link in self._early:
            del self._early[link]
        elif self.role is not None:
            self.role.lost(link)
        self._settle()

    def synced(self, zxid: int, now_ms: float) -> None:
        """The log is durable up to `zxid`."""
        self.now_ms = self.server.now_ms = now_ms
        self.synced_zxid = max(self.synced_zxid, zxid)
        self._disk_works()
        if self.role is not None:
            self.role.synced()
        self._settle()

    def log_failed(self, reason: str) -> None:
        """The disk did not take what it was given; it is tried again."""
        if self.failure is None:
            self.note(f"no write is acknowledged: {reason}")
            self.failing_since_ms = self.now_ms
        self.failure = reason

    def _disk_works(self) -> None:
        if self.failure is not None:
            self.note("the disk can be written again")
            self.failure = self.failing_since_ms = None

    def _settled(self) -> None:
        self.settling = False
        self._disk_works()

    def epochs_saved(self) -> None:
        self._settled()
        if self.role is not None:
            self.role.epochs_saved()
        self._settle()

    def truncated(self, zxid: int, tree: Tree | None) -> None:
        self._settled()
        if isinstance(self.role, Learner):
            self.role.truncated(zxid, tree)
        elif tree is not None:
            self.replace(tree, zxid)
        self._settle()

    def installed(self) -> None:
        self._settled()
        if isinstance(self.role, Learner):
            self.role.installed()
        self._settle()

    def log_read(self, link: Link, txns: list[Txn] | None) -> None:
        if isinstance(self.role, Leader):
            self.role.log_read(link, txns)
        self._settle()

    # Roles

    def _settle(self) -> None:
        """Go on to whatever follows from what has just happened."""
        role = self.role
        if role is not None and role.failed is not None:
            self._leave(role.failed)
        if self.role is None:
            self._look()
        elif self.role.established and not self._told:
            self._told = True
            self.election.settled(self.election.state, self.role.epoch)
        self._exchange_votes()
        if self.role is None and self.election.outcome is not None:
            self._play(self.election.outcome)

    def _exchange_votes(self) -> None:
        """Carry notifications between the election and the other members."""
        inbox, self.courier.inbox = self.courier.inbox, []
        for sender, payload in inbox:
            try:
                said = Notification.decode(payload)
            except MarshallingError:
                text = f"server {sender} sent what is no notification"
                kind = str(sender) if sender in self.ensemble.seats else "stranger"
                line = self._remarks.line(kind, text, self.now_ms)
                if line is not None:
                    self.note(line)
            else:
                self.election.received(sender, said, self.now_ms)
        out, self.election.out = self.election.out, []
        for receiver, notification in out:
            self.courier.send(receiver, notification.encode(), self.now_ms)

    def _look(self) -> None:
        if not self._looks and self.quiet:
            self._looks = True
            self.election.look(self.now_ms, self.logged_zxid, self.epochs.current)
        patience_ms = max(_STRANDED_MS_MIN, self.config.tick_time_ms)
        if (
            self._stranded is None
            and self.config.read_only_enabled
            and self.now_ms - self._alone_since_ms >= patience_ms
        ):
            self._stranded = Stranded(self)

    def _play(self, vote: Vote) -> None:
        """Take the role that an election has given."""
        if self._stranded is not None:
            self._stranded = None
            self.server.shut()
        self._looks = self._told = False
        self.election.outcome = None
        early, self._early = self._early, {}
        if vote.leader == self.id:
            self.note(f"was elected, with zxid {self.logged_zxid:#x}")
            role = self.role = Leader(self)
            for link, data in early.items():
                role.accepted(link)
                role.heard(link, data)
        else:
            self.note(f"server {vote.leader} was elected")
            self.role = Learner(self, vote.leader)
            for link in early:
                self.close(link)

    def _leave(self, reason: str) -> None:
        assert self.role is not None
        self.note(reason)
        self.role.leave()
        self.role = None
        self.election.silence()
        if self.server.serving:
            self.server.shut()
        self._alone_since_ms = self.now_ms

    # Time

    def next_due_ms(self) -> float:
        """When `tick` has something to do at the latest, as far as is known now."""
        due = [self.election.next_due_ms(), self.courier.next_due_ms()]
        if self.role is not None:
            due.append(self.role.next_due_ms())
        elif self._stranded is not None:
            due.append(self._stranded.next_due_ms())
        elif self.config.read_only_enabled:
            due.append(self._alone_since_ms + _STRANDED_MS_MIN)
        return min((when for when in due if when is not None), default=self.now_ms + _RETRY_MS)
