"""Zab's follower and observer: it takes a leader's history over, then what it proposes.

The other end of `leader`, as ZooKeeper's `Learner`, `Follower` and `Observer` carry it out. Rules:
- an epoch is promised, and a history acknowledged, only when it is on this member's disk: first
  the txns, then the epoch that they belong to, then the acknowledgement (the other orders have
  lost data in ZooKeeper: ZOOKEEPER-3911, 4643, 4646, 4785);
- proposals come without a gap (ZOOKEEPER-4925) and commits in the order of the proposals; a leader
  that does otherwise is left;
- while the disk is asked for more than an append, nothing more is taken from the leader;
- a session is the leader's: this member asks before it takes one up again, and tells with every
  ping which ones it has heard from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from coterie.core.connection import Connection
from coterie.core.eager import early
from coterie.core.image import ImageReader
from coterie.core.link import QUORUM, Link
from coterie.core.prepare import Write
from coterie.core.replica import EPOCH_SHIFT, Replica, epoch_of
from coterie.core.tree import Tree
from coterie.errors import MarshallingError
from coterie.wire import entries, peers, txns
from coterie.wire.numbered import Txn, follows
from coterie.wire.peers import Kind, Packet
from coterie.wire.requests import Op

# Where a learner is.
DIALLING: Final = 0
DISCOVERY: Final = 1
"""It has said who it is."""
PROMISING: Final = 2
"""Its promise of the new epoch is on the way to the disk."""
DIFFERING: Final = 3
"""It waits to hear how its history differs from the leader's."""
MENDING: Final = 4
"""The end of its log is being cut off, or the leader's tree made durable."""
IMAGE: Final = 5
"""The leader's tree is on the way."""
CATCHING_UP: Final = 6
"""What it has missed is coming."""
LOGGING: Final = 7
"""The leader's history is complete and on the way to the disk."""
ENTERING: Final = 8
"""The history is on the disk and the epoch on the way there."""
WAITING: Final = 9
"""It waits to hear that a quorum has the history."""
BROADCAST: Final = 10


class Learner:
    """One member's following of a leader, until `failed` says why it is over."""

    def __init__(self, replica: Replica, leader_id: int) -> None:
        self.replica = replica
        self.leader_id = leader_id
        self.stage = DIALLING
        self.failed: str | None = None
        self.epoch = 0
        self._reader = peers.PacketReader(replica.packet_bytes_max)
        self._image: ImageReader | None = None
        self._image_zxid = 0
        self._owed: deque[int] = deque()
        """The proposals that are to be acknowledged once they are on the disk."""
        self._writes: dict[int, deque[Write]] = {}
        """The writes of this member's clients that the leader has, by session."""
        self._syncs: deque[Write] = deque()
        self._asking: dict[int, tuple[Connection, int]] = {}
        """Who waits to hear whether it may have the session, and with which time-out."""
        self._pinged_ms = 0.0
        self._heard_ms = self._deadline_ms = replica.now_ms
        self._deadline_ms += replica.config.connect_limit_ms
        self._redial_ms: float | None = None
        self._dial()

    @property
    def established(self) -> bool:
        """Whether it is up to date with the leader, and clients are served."""
        return self.stage == BROADCAST

    # The link

    def _dial(self) -> None:
        self._redial_ms = None
        addresses = self.replica.ensemble.seats[self.leader_id].quorum
        self.link = Link(QUORUM, self.leader_id, addresses)
        self.replica.dial(self.link)

    def opened(self, link: Link) -> None:
        if link is not self.link:
            return
        replica = self.replica
        kind = Kind.FOLLOWERINFO if replica.votes else Kind.OBSERVERINFO
        info = peers.LearnerInfo(replica.id, config_version=replica.ensemble.version).encode()
        replica.send(link, peers.packet(kind, replica.epochs.accepted << EPOCH_SHIFT, info))
        self.stage = DISCOVERY

    def lost(self, link: Link) -> None:
        if link is not self.link:
            return
        if self.stage == DIALLING:
            # A leader that was just elected may not listen yet.
            delay_ms = self.replica.config.leader_connect_delay_ms
            self._redial_ms = self.replica.now_ms + delay_ms
        else:
            self._fail("the connection is lost")

    def heard(self, link: Link, data: bytes) -> None:
        if link is not self.link:
            return
        if self._image is not None:
            self._take_image(data)
        else:
            self._reader.feed(data)
        self._go_on()

    def _go_on(self) -> None:
        """Take the packets that are there, as long as none has to wait for the disk."""
        self._heard_ms = self.replica.now_ms
        try:
            while self.failed is None and not self.replica.settling and self._image is None:
                packet = self._reader.next()
                if packet is None:
                    break
                self._packet(packet)
        except MarshallingError:
            self._fail("it sent what is no packet")

    def _fail(self, reason: str) -> None:
        if self.failed is None:
            self.failed = f"server {self.leader_id} is not followed any more: {reason}"

    def _packet(self, packet: Packet) -> None:
        kind = packet.kind
        if kind == Kind.PROPOSAL and self.stage >= CATCHING_UP:
            self._proposed(entries.decode(packet.data or b""))
        elif kind == Kind.COMMIT and self.stage >= CATCHING_UP:
            self._committed(packet.zxid)
        elif kind == Kind.INFORM and self.stage >= CATCHING_UP:
            self._informed(packet.zxid, packet.data or b"")
        elif kind == Kind.PING:
            self._ping(packet)
        elif kind == Kind.REVALIDATE and self.stage == BROADCAST:
            self._revalidated(packet.data or b"")
        elif kind == Kind.SYNC and self.stage == BROADCAST:
            if self._syncs:
                self.replica.server.caught_up(self._syncs.popleft())
        elif kind == Kind.COMMIT_AND_ACTIVATE and self.stage >= CATCHING_UP:
            self._committed(packet.zxid)
        elif kind == Kind.INFORM_AND_ACTIVATE and self.stage >= CATCHING_UP:
            self._informed(packet.zxid, (packet.data or b"")[8:])
        else:
            self._handshake(packet)

    def _handshake(self, packet: Packet) -> None:
        kind = packet.kind
        if kind == Kind.LEADERINFO and self.stage == DISCOVERY:
            self._promise(epoch_of(packet.zxid))
        elif kind in (Kind.DIFF, Kind.TRUNC, Kind.SNAP) and self.stage == DIFFERING:
            self._differ(kind, packet.zxid)
        elif kind == Kind.NEWLEADER and self.stage == CATCHING_UP:
            if packet.zxid != self.epoch << EPOCH_SHIFT:
                self._fail(f"it leads {packet.zxid:#x}, not the epoch that it proposed")
                return
            self.stage = LOGGING
            self._enter()
        elif kind == Kind.UPTODATE and self.stage == WAITING:
            self._start()
        else:
            self._fail(f"a packet of kind {kind} was not expected")

    # Discovery

    def _promise(self, epoch: int) -> None:
        replica = self.replica
        accepted, current = replica.epochs
        self.epoch = epoch
        if epoch < accepted and not replica.votes:
            # Nobody counts on what an observer promises, and it must not keep it from anybody.
            self._acknowledge_epoch(current)
        elif epoch < accepted:
            self._fail(f"it proposes epoch {epoch}, and {accepted} is promised")
        elif epoch == accepted:
            # It was promised before: this does not count as a second promise.
            self._acknowledge_epoch(-1)
        else:
            self.stage = PROMISING
            replica.save_epochs(epoch, current)

    def _acknowledge_epoch(self, current: int) -> None:
        replica = self.replica
        zxid = replica.logged_zxid
        if replica.starts_anew:
            # What it has cannot be mended: it asks for all, and nobody may count on it.
            current, zxid = -1, 0
        body = peers.encode_int(current)
        replica.send(self.link, peers.packet(Kind.ACKEPOCH, zxid, body))
        self.stage = DIFFERING

    def epochs_saved(self) -> None:
        """The epochs that were asked for are on the disk."""
        if self.stage == PROMISING:
            self._acknowledge_epoch(self.replica.epochs.current)
        elif self.stage == ENTERING:
            self._acknowledge_history()
        self._go_on()

    # Synchronisation

    def _differ(self, kind: int, zxid: int) -> None:
        replica = self.replica
        replica.note(
            f"server {self.leader_id} leads epoch {self.epoch}: "
            f"{peers.KIND_NAMES[kind]} {zxid:#x}, from {replica.logged_zxid:#x}"
        )
        if replica.starts_anew and kind != Kind.SNAP:
            self.stage = MENDING
            self._install(Tree(), 0)
        elif kind == Kind.DIFF:
            replica.apply_all()
            self.stage = CATCHING_UP
        elif kind == Kind.TRUNC:
            self.stage = MENDING
            replica.settling = True
            replica.effects.truncate_after = zxid
        else:
            self.stage = IMAGE
            self._image = ImageReader()
            self._image_zxid = zxid
            self._take_image(self._reader.rest())

    def truncated(self, zxid: int, tree: Tree | None) -> None:
        """The log ends with `zxid` now, and this is the tree that it makes; or that cannot be
        had any more, since older snapshots are gone."""
        if tree is None:
            self.replica.starts_anew = True
            self._fail(f"its history cannot be made to end with {zxid:#x}")
            return
        self.replica.replace(tree, zxid)
        self.stage = CATCHING_UP
        self._go_on()

    def _take_image(self, data: bytes) -> None:
        """Take more of the leader's tree; when it is whole, have it made durable."""
        image = self._image
        assert image is not None
        try:
            if not image.feed(data):
                return
        except MarshallingError:
            self._fail("it sent what is no tree")
            return
        self._image = None
        self._reader.feed(image.rest)
        self.stage = MENDING
        self._install(image.tree(self._image_zxid), self._image_zxid)

    def _install(self, tree: Tree, zxid: int) -> None:
        """Have another tree made durable, in place of all that is here."""
        replica = self.replica
        replica.settling = True
        replica.replace(tree, zxid)
        replica.effects.install = tree

    def installed(self) -> None:
        """The leader's tree is on the disk."""
        self.replica.starts_anew = False
        self.stage = CATCHING_UP
        self._go_on()

    def _enter(self) -> None:
        """Enter the epoch, once all of the leader's history is on the disk."""
        replica = self.replica
        if self.stage == LOGGING and replica.quiet:
            self.stage = ENTERING
            replica.save_epochs(max(replica.epochs.accepted, self.epoch), self.epoch)

    def _acknowledge_history(self) -> None:
        zxid = self.epoch << EPOCH_SHIFT
        self.stage = WAITING
        self.replica.send(self.link, peers.packet(Kind.ACK, zxid))

    def _start(self) -> None:
        """A quorum has the history: serve clients."""
        replica = self.replica
        self.stage = BROADCAST
        replica.send(self.link, peers.packet(Kind.ACK, self.epoch << EPOCH_SHIFT))
        replica.begin_epoch(self.epoch)
        submit: Callable[[Write], None] = self.submit
        if replica.config.eager_acl_check:
            submit = early(replica.tree, replica.server.access, submit)
        replica.server.open(
            replica.tree,
            replica.new_sessions(),
            submit,
            revalidate=self.revalidate,
            sync_goes_through=True,
        )
        self._pinged_ms = replica.now_ms
        self._owed = deque(txn.zxid for txn in replica.pending)
        self._acknowledge()

    # Broadcast

    def _proposed(self, txn: Txn) -> None:
        replica = self.replica
        if txn.zxid <= self._image_zxid:
            # ZooKeeper queues what it proposes before it says how far the tree is that it sends.
            return
        if not follows(txn.zxid, replica.logged_zxid):
            self._fail(f"it proposes {txn.zxid:#x} after {replica.logged_zxid:#x}")
            return
        replica.log(txn)
        if self.stage == BROADCAST:
            self._owed.append(txn.zxid)

    def _committed(self, zxid: int) -> None:
        replica = self.replica
        if zxid <= self._image_zxid:
            return
        if not replica.pending or replica.pending[0].zxid != zxid:
            self._fail(f"it commits {zxid:#x}, which is not the next")
            return
        self._apply()

    def _informed(self, zxid: int, entry: bytes) -> None:
        self._proposed(entries.decode(entry))
        if self.failed is None:
            self._committed(zxid)

    def _apply(self) -> None:
        replica = self.replica
        txn = replica.pending[0]
        write: Write | None = None
        mine = self._writes.get(txn.session_id)
        if mine and mine[0].cxid == txn.cxid:
            write = mine.popleft()
            if not mine:
                del self._writes[txn.session_id]
            if write.op == Op.CREATE_SESSION and txn.type == Op.CREATE_SESSION:
                assert isinstance(txn.body, txns.CreateSessionTxn)
                replica.sessions.track(txn.session_id, txn.body.timeout_ms, replica.now_ms)
        replica.apply(write)
        replica.server.committed()

    def synced(self) -> None:
        """This member's disk has come further."""
        if self.stage == BROADCAST:
            self._acknowledge()
        else:
            self._enter()

    def _acknowledge(self) -> None:
        replica = self.replica
        synced_zxid = replica.synced_zxid
        acks: list[bytes] = []
        while self._owed and self._owed[0] <= synced_zxid:
            acks.append(peers.packet(Kind.ACK, self._owed.popleft()))
        if acks and replica.votes:
            replica.send(self.link, b"".join(acks))

    # Clients

    def submit(self, write: Write) -> None:
        """Forward a client's write, or its sync, to the leader."""
        if write.op == Op.SYNC:
            self._syncs.append(write)
        else:
            self._writes.setdefault(write.session_id, deque()).append(write)
        body = peers.Forwarded(write.session_id, write.cxid, write.op, write.payload).encode()
        self.replica.send(self.link, peers.packet(Kind.REQUEST, -1, body, write.ids))

    def revalidate(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        """Ask the leader whether a client may have its session."""
        before = self._asking.get(session_id)
        self._asking[session_id] = (connection, timeout_ms)
        if before is not None:
            self.replica.server.turn_away(before[0])
        body = peers.encode_touches([(session_id, timeout_ms)])
        self.replica.send(self.link, peers.packet(Kind.REVALIDATE, -1, body))

    def _revalidated(self, data: bytes) -> None:
        replica = self.replica
        session_id, valid = peers.decode_revalidated(data)
        connection, timeout_ms = self._asking.pop(session_id, (None, 0))
        if connection is None:
            return
        sessions = replica.sessions
        if not valid:
            sessions.forget(session_id)
        elif session_id not in sessions.by_id:
            sessions.track(session_id, timeout_ms, replica.now_ms)
        replica.server.revalidated(connection, session_id, timeout_ms)

    def _ping(self, packet: Packet) -> None:
        """Answer, and say whose clients were heard from. Sessions whose clients have gone are
        told a last time and are then the leader's alone."""
        if self.stage < WAITING:
            return
        replica = self.replica
        touched: list[tuple[int, int]] = []
        gone: list[int] = []
        if self.stage == BROADCAST:
            for session in replica.sessions.by_id.values():
                if session.heard_ms >= self._pinged_ms or session.held:
                    touched.append((session.id, session.timeout_ms))
                if session.connection is None:
                    gone.append(session.id)
        for session_id in gone:
            replica.sessions.forget(session_id)
        self._pinged_ms = replica.now_ms
        body = peers.encode_touches(touched)
        replica.send(self.link, peers.packet(Kind.PING, packet.zxid, body))

    # Time

    def tick(self) -> None:
        replica = self.replica
        now_ms = replica.now_ms
        if self._redial_ms is not None and now_ms >= self._redial_ms:
            self._dial()
        if self.stage < DIFFERING:
            if now_ms >= self._deadline_ms:
                self._fail("it has not answered within initLimit")
        else:
            limit_ms = replica.config.init_limit_ms
            if self.stage == BROADCAST:
                limit_ms = replica.config.sync_limit_ms
            if now_ms - self._heard_ms > limit_ms and not replica.settling:
                self._fail(f"it was silent for {limit_ms} ms")
        if replica.fails_too_long():
            self._fail(f"the own disk fails: {replica.failure}")

    def next_due_ms(self) -> float:
        if self._redial_ms is not None:
            return self._redial_ms
        if self.stage < DIFFERING:
            return self._deadline_ms
        return self._heard_ms + self.replica.config.sync_limit_ms

    def leave(self) -> None:
        """The leader is not followed any more."""
        self.replica.close(self.link)
