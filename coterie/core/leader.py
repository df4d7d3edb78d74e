"""Zab's leader: it agrees on an epoch, brings its learners up to date, proposes and commits.

The phases are those of Zab 1.0 (Junqueira, Reed, Serafini: "Zab: High-performance broadcast for
primary-backup systems", DSN 2011) as ZooKeeper's `Leader` and `LearnerHandler` carry them out:

    discovery        a quorum says which epochs it has promised; the new one is beyond all of them
    synchronisation  a quorum has this leader's history on its disks
    broadcast        proposals, acknowledged after they are on a disk, committed in order

Rules:
- an epoch is on this member's disk before anyone else hears of it;
- a learner that knows more than this leader ends the leadership before the history is fixed;
- acknowledgements are counted by how far each voter's disk is: they come in zxid order, so one
  for zxid z stands for all before it. This member's own disk is one of the voters;
- a learner gets every packet in the order of zxids: what happens while its history is being sent
  queues behind it;
- who hears nothing from a quorum for `syncLimit` leads no more;
- before it follows, a learner has to say whole packets in time, small ones at first, and there are
  only so many who have not said who they are, or whom the ensemble does not know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from coterie.core.authority import Authority
from coterie.core.eager import early
from coterie.core.history import READ_LOG, Plan
from coterie.core.image import ImageWriter
from coterie.core.link import Link
from coterie.core.prepare import Write
from coterie.core.remarks import STRANGERS_MS, Remarks
from coterie.core.replica import EPOCH_SHIFT, Replica, counter_of, epoch_of
from coterie.errors import MarshallingError
from coterie.wire import peers
from coterie.wire.numbered import Txn
from coterie.wire.peers import Kind, Packet
from coterie.wire.requests import Op

_IMAGE_NODES: Final = 200
_STRANGERS_MAX: Final = 64
_UNKNOWN_MAX: Final = 256
"""Observers without a server line."""
_INTRODUCTION_BYTES_MAX: Final = 1024
_EPOCHS_AHEAD_MAX: Final = 2**24
"""An epoch more for each election that failed: nobody has seen so many without this member. Who
says so would make the epochs run out, and there is no way back."""
_COUNTER_MAX: Final = 2**32 - 2**20
"""Where an epoch ends because its numbers run out. What is left is for the writes that are at
hand when that is found."""

# Where a leader is.
DISCOVERY: Final = 0
"""It waits for a quorum to say which epochs it has promised."""
PROMISING: Final = 1
"""It waits for a quorum to promise the new epoch."""
SYNCHRONISATION: Final = 2
"""It waits for a quorum to have its history."""
BROADCAST: Final = 3

# Where a learner is, as its leader sees it.
_STRANGER: Final = 0
_INTRODUCED: Final = 1
_PROMISED: Final = 2
_SYNCING: Final = 3
_FOLLOWS: Final = 4


class Learner:
    """What a leader knows of one learner."""

    __slots__ = (
        "acked_zxid",
        "behind_ms",
        "forwarding",
        "heard_ms",
        "id",
        "image",
        "last_zxid",
        "link",
        "mark_zxid",
        "queue",
        "reader",
        "stage",
        "votes",
    )

    def __init__(self, link: Link, now_ms: float) -> None:
        self.link = link
        self.reader = peers.PacketReader(_INTRODUCTION_BYTES_MAX)
        self.id = 0
        self.votes = False
        self.stage = _STRANGER
        self.last_zxid = 0
        """The last txn in its log, as it said."""
        self.acked_zxid = -1
        """How far its disk is; it counts once the learner follows. -1: it has not said so."""
        self.forwarding = False
        """Proposals and commits are for it as well."""
        self.image: ImageWriter | None = None
        self.queue: list[bytes] = []
        """What waits for the whole image to be sent."""
        self.heard_ms = now_ms
        self.mark_zxid = 0
        self.behind_ms = now_ms
        """Since when it has owed the acknowledgement of `mark_zxid`."""


class Leader:
    """One member's leadership, until `failed` says why it is over."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.stage = DISCOVERY
        self.failed: str | None = None
        self.epoch = 0
        self.learners: dict[Link, Learner] = {}
        self._summary = (replica.epochs.current, replica.logged_zxid)
        self._promised: dict[int, int] = {replica.id: replica.epochs.accepted}
        """The newest epoch that each voter has promised so far."""
        self._promisers: set[int] = set()
        """Who has promised the new epoch."""
        self._supporters: set[int] = set()
        """Who has this leader's history on its disk."""
        self._authority: Authority | None = None
        self._writes: deque[Write] = deque()
        """Where the pending txns came from."""
        self._syncs: deque[tuple[int, Learner]] = deque()
        """Learners that wait until the txn is committed."""
        self._deadline_ms = replica.now_ms + replica.config.init_limit_ms
        self._pings_ms = replica.now_ms
        self._remarks = Remarks(every_ms=STRANGERS_MS)
        replica.apply_all()
        self._find_epoch()

    @property
    def established(self) -> bool:
        """Whether a quorum follows, and clients are served."""
        return self.stage == BROADCAST

    def numbers(self) -> dict[str, float]:
        """Who follows, by Apache's metric names."""
        follow = [other for other in self.learners.values() if other.stage == _FOLLOWS]
        voters = sum(other.votes for other in follow)
        return {
            "learners": len(self.learners),
            "synced_followers": voters,
            "synced_observers": len(follow) - voters,
            "pending_syncs": len(self._syncs),
            "quorum_size": len(self.replica.ensemble.voters),
        }

    # Links

    def accepted(self, link: Link) -> None:
        """A member has connected to the quorum port."""
        strangers = [each for each in self.learners.values() if each.stage == _STRANGER]
        if len(strangers) >= _STRANGERS_MAX:
            self._drop(strangers[0], "too many have not said who they are")
        self.learners[link] = Learner(link, self.replica.now_ms)

    def heard(self, link: Link, data: bytes) -> None:
        learner = self.learners.get(link)
        if learner is None or link.closing:
            return
        if learner.stage == _FOLLOWS:
            learner.heard_ms = self.replica.now_ms
        learner.reader.feed(data)
        try:
            while self.failed is None:
                packet = learner.reader.next()
                if packet is None or learner.link.closing:
                    break
                learner.heard_ms = self.replica.now_ms
                self._packet(learner, packet)
        except MarshallingError:
            self._drop(learner, "it sent what is no packet")
        self._commit()

    def drained(self, link: Link) -> None:
        """A learner has taken what was sent: send more of the image that it gets."""
        learner = self.learners.get(link)
        if learner is not None and learner.image is not None:
            learner.heard_ms = self.replica.now_ms
            self._send_image(learner)

    def lost(self, link: Link) -> None:
        learner = self.learners.pop(link, None)
        if learner is not None and learner.id:
            self._note(learner, f"lost the connection to server {learner.id}")

    def _note(self, learner: Learner, text: str) -> None:
        """Say it of a member; of others from time to time."""
        line: str | None = text
        if learner.id not in self.replica.ensemble.seats:
            line = self._remarks.line("stranger", text, self.replica.now_ms)
        if line is not None:
            self.replica.note(line)

    def _drop(self, learner: Learner, reason: str) -> None:
        who = learner.id or "unknown"
        self._note(learner, f"closing the connection to server {who}: {reason}")
        self.replica.close(learner.link)
        self.learners.pop(learner.link, None)

    def _put(self, learner: Learner, data: bytes) -> None:
        """Send, behind the image if one is on its way."""
        if learner.image is not None:
            learner.queue.append(data)
        else:
            self.replica.send(learner.link, data)

    def _packet(self, learner: Learner, packet: Packet) -> None:
        kind = packet.kind
        if learner.stage == _FOLLOWS:
            if kind == Kind.ACK:
                self._acknowledged(learner, packet.zxid)
            elif kind == Kind.REQUEST:
                self._requested(learner, packet)
            elif kind == Kind.PING:
                self._touched(packet.data)
            elif kind == Kind.REVALIDATE:
                self._revalidate(learner, packet.data)
        elif learner.stage == _STRANGER and kind in (Kind.FOLLOWERINFO, Kind.OBSERVERINFO):
            self._introduced(learner, packet)
        elif learner.stage == _INTRODUCED and kind == Kind.ACKEPOCH:
            self._epoch_acknowledged(learner, packet)
        elif learner.stage == _SYNCING and kind == Kind.ACK:
            self._synchronised(learner, packet.zxid)
        else:
            self._drop(learner, f"a packet of kind {kind} was not expected")

    # Discovery

    def _introduced(self, learner: Learner, packet: Packet) -> None:
        replica = self.replica
        info = peers.LearnerInfo.decode(packet.data)
        accepted = epoch_of(packet.zxid)
        if accepted - replica.epochs.accepted > _EPOCHS_AHEAD_MAX:
            self._drop(learner, f"it claims to have promised epoch {accepted}")
            return
        learner.id = info.server_id
        learner.votes = (
            packet.kind == Kind.FOLLOWERINFO
            and learner.id in replica.ensemble.voters
            and learner.id != replica.id
        )
        if info.config_version > replica.ensemble.version:
            self._drop(learner, "it has a newer configuration of the ensemble")
            return
        for other in list(self.learners.values()):
            if other.id == learner.id and other.stage != _STRANGER:
                self._drop(other, "it has connected anew")
        if learner.id not in replica.ensemble.seats and self._unknown() >= _UNKNOWN_MAX:
            self._drop(learner, "there are too many that the ensemble does not know")
            return
        learner.stage = _INTRODUCED
        learner.reader.data_bytes_max = replica.packet_bytes_max
        if self.stage != DISCOVERY or self.epoch:
            if learner.votes and accepted > self.epoch:
                self.failed = f"server {learner.id} has promised epoch {accepted} to another"
            elif self.stage != DISCOVERY:
                self._propose_epoch(learner)
            return
        if learner.votes:
            self._promised[learner.id] = accepted
            self._find_epoch()

    def _unknown(self) -> int:
        """How many have said who they are, and have no server line."""
        seats = self.replica.ensemble.seats
        known = [each.id for each in self.learners.values() if each.stage != _STRANGER]
        return sum(each not in seats for each in known)

    def _find_epoch(self) -> None:
        """A new epoch, once a quorum has said which ones it has promised."""
        if not self.epoch and self.replica.ensemble.is_quorum(self._promised):
            self.epoch = max(self._promised.values()) + 1
            self.replica.save_epochs(self.epoch, self.replica.epochs.current)

    def epochs_saved(self) -> None:
        """The epoch that was asked for is on the disk."""
        if self.stage == DISCOVERY:
            self.stage = PROMISING
            self._promisers.add(self.replica.id)
            for learner in self.learners.values():
                if learner.stage == _INTRODUCED:
                    self._propose_epoch(learner)
            self._close_discovery()
        elif self.stage == PROMISING:
            self.stage = SYNCHRONISATION
            self._supporters.add(self.replica.id)
            for learner in list(self.learners.values()):
                if learner.stage == _PROMISED:
                    self._synchronise(learner)
            self._establish()

    def _propose_epoch(self, learner: Learner) -> None:
        zxid = self.epoch << EPOCH_SHIFT
        body = peers.encode_int(peers.PROTOCOL_VERSION)
        self.replica.send(learner.link, peers.packet(Kind.LEADERINFO, zxid, body))

    def _epoch_acknowledged(self, learner: Learner, packet: Packet) -> None:
        current = peers.decode_int(packet.data)
        learner.last_zxid = packet.zxid
        learner.stage = _PROMISED
        if self.stage == PROMISING:
            if current != -1:
                if (current, packet.zxid) > self._summary:
                    self.failed = (
                        f"server {learner.id} knows more: epoch {current}, zxid {packet.zxid:#x}"
                    )
                    return
                if learner.votes:
                    self._promisers.add(learner.id)
            self._close_discovery()
        else:
            self._synchronise(learner)

    def _close_discovery(self) -> None:
        if not self.replica.settling and self.replica.ensemble.is_quorum(self._promisers):
            self.replica.save_epochs(self.epoch, self.epoch)

    # Synchronisation

    def _synchronise(self, learner: Learner) -> None:
        """Begin to bring a learner to this leader's history."""
        replica = self.replica
        learner.stage = _SYNCING
        plan = replica.history.plan(
            learner.last_zxid, replica.applied_zxid, log_allowed=replica.log_sync_allowed
        )
        if replica.config.force_snapshot_sync:
            plan = Plan(Kind.SNAP, replica.tree.zxid, [])
        if plan.kind == READ_LOG:
            request = (learner.link, learner.last_zxid, replica.applied_zxid)
            replica.effects.log_reads.append(request)
        else:
            self._carry_out(learner, plan)

    def log_read(self, link: Link, txns: list[Txn] | None) -> None:
        """What the log has beyond a learner's last txn, or None."""
        learner = self.learners.get(link)
        if learner is not None and not learner.forwarding:
            replica = self.replica
            plan = replica.history.plan_with_log(learner.last_zxid, replica.applied_zxid, txns)
            self._carry_out(learner, plan)

    def _carry_out(self, learner: Learner, plan: Plan) -> None:
        replica = self.replica
        # A whole tree is told by its last txn, not by the epoch: it has no more than that.
        zxid = replica.applied_zxid if plan.kind == Kind.SNAP else plan.zxid
        self._note(
            learner,
            f"server {learner.id} is at {learner.last_zxid:#x}: {peers.KIND_NAMES[plan.kind]} "
            f"{zxid:#x} and {len(plan.txns)} txns",
        )
        replica.send(learner.link, peers.packet(plan.kind, zxid))
        for txn in plan.txns:
            replica.send(learner.link, peers.packet(Kind.PROPOSAL, txn.zxid, txn.encoded))
            replica.send(learner.link, peers.packet(Kind.COMMIT, txn.zxid))
        if plan.kind == Kind.SNAP:
            learner.image = ImageWriter(replica.tree)
        learner.forwarding = True
        learner.mark_zxid = replica.logged_zxid
        if learner.votes:
            # What is committed it acknowledges with the epoch, not txn by txn: were that owed, it
            # would be left for its silence in an epoch in which nobody writes any more.
            learner.acked_zxid = max(learner.acked_zxid, replica.applied_zxid)
            for txn in replica.pending:
                self._put(learner, peers.packet(Kind.PROPOSAL, txn.zxid, txn.encoded))
        config = replica.ensemble.text().encode()
        self._put(learner, peers.packet(Kind.NEWLEADER, self.epoch << EPOCH_SHIFT, config))
        if learner.image is not None:
            self._send_image(learner)

    def _send_image(self, learner: Learner) -> None:
        """Send a slice of the tree; the driver asks for the next when that one is sent."""
        image = learner.image
        assert image is not None
        data = b""
        while not data and not image.done:
            data = image.step(_IMAGE_NODES)
        self.replica.send(learner.link, data)
        learner.link.streaming = not image.done
        if image.done:
            learner.image = None
            for waiting in learner.queue:
                self.replica.send(learner.link, waiting)
            learner.queue.clear()

    def _synchronised(self, learner: Learner, zxid: int) -> None:
        """A learner has this leader's history on its disk: it acknowledges the epoch.

        Apache's follower logs the proposals that came with the history by one thread and says
        this by another (ZOOKEEPER-3911), so acknowledgements of those may come first. They are
        kept, and count from here on.
        """
        if counter_of(zxid):
            self._acknowledged(learner, zxid)
            return
        if zxid != self.epoch << EPOCH_SHIFT:
            self._drop(learner, f"it acknowledges {zxid:#x}, not this epoch")
            return
        learner.stage = _FOLLOWS
        learner.behind_ms = self.replica.now_ms
        if learner.votes:
            learner.acked_zxid = max(learner.acked_zxid, zxid)
            self._supporters.add(learner.id)
        if self.established:
            self._welcome(learner)
        else:
            self._establish()

    def _establish(self) -> None:
        """Begin the broadcast, once a quorum has the history on its disks."""
        replica = self.replica
        if self.stage != SYNCHRONISATION or not replica.ensemble.is_quorum(self._supporters):
            return
        self.stage = BROADCAST
        self._pings_ms = replica.now_ms
        replica.begin_epoch(self.epoch)
        sessions = replica.new_sessions()
        self._authority = Authority(
            replica.config, replica.tree, sessions, replica.access, replica.now_ms
        )
        replica.quotas = self._authority.quotas
        submit: Callable[[Write], None] = self.submit
        if replica.config.eager_acl_check:
            submit = early(replica.tree, replica.server.access, submit)
        replica.server.open(replica.tree, sessions, submit, admits=replica.config.leader_serves)
        replica.note(f"leads epoch {self.epoch} from {replica.applied_zxid:#x} on")
        for learner in self.learners.values():
            if learner.stage == _FOLLOWS:
                self._welcome(learner)

    def _welcome(self, learner: Learner) -> None:
        self._put(learner, peers.packet(Kind.UPTODATE, -1))

    # Broadcast

    def submit(self, write: Write) -> None:
        """Propose a client's write. Raises `MarshallingError` for one that cannot be read."""
        replica = self.replica
        authority = self._authority
        assert authority is not None
        self._propose(authority.number(write, replica.now_ms, replica.wall_ms), write)

    def _propose(self, txn: Txn, write: Write) -> None:
        self.replica.log(txn)
        self._writes.append(write)
        if counter_of(txn.zxid) >= _COUNTER_MAX:
            self.failed = "the epoch runs out of numbers for txns"
        data = peers.packet(Kind.PROPOSAL, txn.zxid, txn.encoded)
        for learner in self.learners.values():
            if learner.forwarding and learner.votes:
                self._put(learner, data)

    def _requested(self, learner: Learner, packet: Packet) -> None:
        """A learner forwards a write of one of its clients, or a sync."""
        replica = self.replica
        session_id, cxid, op, body = peers.Forwarded.decode(packet.data)
        if op == Op.SYNC:
            if replica.pending:
                self._syncs.append((replica.logged_zxid, learner))
            else:
                self._put(learner, peers.packet(Kind.SYNC, 0))
            return
        write = Write(
            None, session_id, cxid, op, body, packet.ids or (), replica.now_ms, learner.link
        )
        authority = self._authority
        if authority is None or self.failed is not None:
            return
        try:
            self.submit(write)
        except MarshallingError as error:
            # The client is not ours to be told at once: it hears of it by a txn.
            txn = authority.prepare.refused(write, replica.wall_ms, error.code)
            self._propose(txn, write)

    def synced(self) -> None:
        """This member's own disk has come further."""
        self._commit()

    def _acknowledged(self, learner: Learner, zxid: int) -> None:
        if counter_of(zxid) and learner.votes:
            learner.acked_zxid = max(learner.acked_zxid, zxid)

    def _committed_zxid(self) -> int:
        """How far a quorum of disks has come."""
        replica = self.replica
        acked = {replica.id: replica.synced_zxid} if replica.votes else {}
        for learner in self.learners.values():
            if learner.votes and learner.stage == _FOLLOWS:
                acked[learner.id] = learner.acked_zxid
        for zxid in sorted(set(acked.values()), reverse=True):
            if replica.ensemble.is_quorum([who for who in acked if acked[who] >= zxid]):
                return zxid
        return 0

    def _commit(self) -> None:
        """Commit, in order, what a quorum has on its disks."""
        replica = self.replica
        if self.stage != BROADCAST or not replica.pending or self.failed is not None:
            return
        until = self._committed_zxid()
        if replica.pending[0].zxid > until:
            return
        authority = self._authority
        assert authority is not None
        commits: list[bytes] = []
        informs: list[bytes] = []
        observed = any(other.forwarding and not other.votes for other in self.learners.values())
        while replica.pending and replica.pending[0].zxid <= until:
            txn = replica.apply(self._writes.popleft())
            authority.prepare.applied(txn.zxid)
            commits.append(peers.packet(Kind.COMMIT, txn.zxid))
            if observed:
                informs.append(peers.packet(Kind.INFORM, txn.zxid, txn.encoded))
            if self._syncs and self._syncs[0][0] <= txn.zxid:
                # A client's sync may stand before a write of the same client that is committed
                # next, so its answer has to.
                self._tell_committed(commits, informs)
                self._answer_syncs(txn.zxid)
        self._tell_committed(commits, informs)
        replica.server.committed()

    def _tell_committed(self, commits: list[bytes], informs: list[bytes]) -> None:
        """Tell voters, and observers with the txns, what was committed since this was done."""
        if not commits:
            return
        for_voters, for_observers = b"".join(commits), b""
        for learner in self.learners.values():
            if learner.forwarding and learner.votes:
                self._put(learner, for_voters)
            elif learner.forwarding:
                for_observers = for_observers or b"".join(informs)
                self._put(learner, for_observers)
        commits.clear()
        informs.clear()

    def _answer_syncs(self, zxid: int) -> None:
        while self._syncs and self._syncs[0][0] <= zxid:
            self._put(self._syncs.popleft()[1], peers.packet(Kind.SYNC, 0))

    # Sessions

    def _touched(self, data: bytes | None) -> None:
        by_id = self.replica.sessions.by_id
        for session_id, _ in peers.decode_touches(data):
            session = by_id.get(session_id)
            if session is not None:
                session.heard_ms = self.replica.now_ms

    def _revalidate(self, learner: Learner, data: bytes | None) -> None:
        """A learner asks whether a client may have its session."""
        replica = self.replica
        session_id, timeout_ms = peers.decode_touch(data)
        session = replica.sessions.by_id.get(session_id)
        valid = self.established and session is not None and not session.closing
        if session is not None and valid:
            replica.server.drop_session(session)
            session.owner = learner.link
            replica.sessions.retime(session, timeout_ms, replica.now_ms)
        reply = peers.encode_revalidated(session_id, valid)
        self._put(learner, peers.packet(Kind.REVALIDATE, -1, reply))

    # Time

    def tick(self) -> None:
        replica = self.replica
        now_ms = replica.now_ms
        if not self.established and now_ms >= self._deadline_ms:
            self.failed = "no quorum has followed within initLimit"
        elif replica.fails_too_long():
            self.failed = f"its disk fails: {replica.failure}"
        if self.failed is not None:
            return
        if self._authority is not None:
            self._authority.tick(
                now_ms, replica.wall_ms, replica.effects, self._internal, replica.failure is None
            )
        if now_ms >= self._pings_ms:
            self._pings_ms = now_ms + replica.config.tick_time_ms / 2
            self._check_learners()

    def _internal(self, write: Write) -> None:
        if self.failed is None:
            self.submit(write)

    def _check_learners(self) -> None:
        """Ping everyone, leave who is gone or too far behind, and count who is left."""
        replica = self.replica
        config = replica.config
        following = {replica.id}
        ping = peers.packet(Kind.PING, replica.logged_zxid)
        for learner in list(self.learners.values()):
            follows = learner.stage == _FOLLOWS
            limit_ms = config.sync_limit_ms if follows else config.init_limit_ms
            if not learner.votes or learner.acked_zxid >= learner.mark_zxid:
                learner.mark_zxid = replica.logged_zxid
                learner.behind_ms = replica.now_ms
            if replica.now_ms - learner.heard_ms > limit_ms:
                self._drop(learner, f"it was silent for {limit_ms} ms")
            elif follows and replica.now_ms - learner.behind_ms > limit_ms:
                self._drop(learner, f"it has not acknowledged for {limit_ms} ms")
            elif follows:
                self._put(learner, ping)
                if learner.votes:
                    following.add(learner.id)
        if self.established and not replica.ensemble.is_quorum(following):
            self.failed = "no quorum follows any more"

    def next_due_ms(self) -> float:
        due_ms = [self._pings_ms]
        if not self.established:
            due_ms.append(self._deadline_ms)
        authority_ms = self._authority.next_due_ms() if self._authority is not None else None
        if authority_ms is not None:
            due_ms.append(authority_ms)
        return min(due_ms)

    def leave(self) -> None:
        """The leadership is over: let every learner go."""
        for learner in list(self.learners.values()):
            self.replica.close(learner.link)
        self.learners.clear()
