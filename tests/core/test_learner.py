"""Zab's follower: what it promises and acknowledges is on its disk, and it takes no gap."""

from __future__ import annotations

from random import Random

from coterie.core.effects import Epochs
from coterie.core.image import ImageWriter
from coterie.core.learner import Learner
from coterie.core.member import Member
from coterie.core.tree import Tree
from coterie.errors import OK
from coterie.wire import peers, requests, txns
from coterie.wire.numbered import Txn
from coterie.wire.peers import Kind
from coterie.wire.requests import Op
from tests.core.pack import FRESH, Client, config, three

LEADER = 3


class Fake:
    """A learner alone, and a leader whose packets the test writes."""

    def __init__(self, epochs: Epochs = FRESH, log: int = 0) -> None:
        ensemble = three().ensemble
        self.member = Member(config(ensemble, 1), Tree(), log, epochs, 0.0, 1, Random(1))
        self.role = self.member.role = Learner(self.member, LEADER)
        self.link = self.role.link
        self.member.take()
        self.member.opened(self.link)

    def sent(self) -> list[tuple[int, int]]:
        """Kind and zxid of what it has sent since this was last asked."""
        reader = peers.PacketReader(2**20)
        reader.feed(b"".join(self.link.out))
        self.link.out.clear()
        found = []
        while (packet := reader.next()) is not None:
            found.append((packet.kind, packet.zxid))
        return found

    def hears(self, kind: int, zxid: int, data: bytes | None = None) -> None:
        self.member.heard(self.link, peers.packet(kind, zxid, data))

    def proposal(self, zxid: int) -> None:
        txn = Txn(1, 1, zxid, 1, Op.CREATE_SESSION, txns.CreateSessionTxn(4000))
        self.hears(Kind.PROPOSAL, zxid, txn.encoded)

    def lead(self, epoch: int) -> None:
        self.hears(Kind.LEADERINFO, epoch << 32, peers.encode_int(peers.PROTOCOL_VERSION))


def test_it_says_which_epoch_it_has_promised() -> None:
    assert Fake(Epochs(4, 2)).sent() == [(Kind.FOLLOWERINFO, 4 << 32)]


def test_a_promise_is_on_the_disk_before_it_is_given() -> None:
    fake = Fake(log=9)
    fake.sent()
    fake.lead(1)
    assert fake.sent() == []
    assert fake.member.take().save_epochs == Epochs(1, 0)
    fake.member.epochs_saved()
    assert fake.sent() == [(Kind.ACKEPOCH, 9)]


def test_an_older_epoch_than_the_promised_one_is_refused() -> None:
    fake = Fake(Epochs(5, 3))
    fake.lead(4)
    assert fake.member.role is None


def test_an_epoch_that_was_promised_before_is_not_promised_twice() -> None:
    fake = Fake(Epochs(5, 3))
    fake.sent()
    fake.lead(5)
    reader = peers.PacketReader(2**20)
    reader.feed(b"".join(fake.link.out))
    packet = reader.next()
    assert packet is not None
    assert (packet.kind, packet.data) == (Kind.ACKEPOCH, b"\xff\xff\xff\xff")


def differing() -> Fake:
    fake = Fake()
    fake.lead(1)
    fake.member.take()
    fake.member.epochs_saved()
    fake.sent()
    fake.hears(Kind.DIFF, 0)
    return fake


def test_txns_then_the_epoch_then_the_acknowledgement() -> None:
    fake = differing()
    fake.proposal(1)
    fake.hears(Kind.COMMIT, 1)
    fake.hears(Kind.NEWLEADER, 1 << 32)
    effects = fake.member.take()
    assert [txn.zxid for txn in effects.appends] == [1]
    assert effects.save_epochs is None
    assert fake.sent() == []
    fake.member.synced(1, 1.0)
    assert fake.member.take().save_epochs == Epochs(1, 1)
    assert fake.sent() == []
    fake.member.epochs_saved()
    assert fake.sent() == [(Kind.ACK, 1 << 32)]
    assert not fake.member.server.serving
    fake.hears(Kind.UPTODATE, -1)
    assert fake.member.server.serving


def test_what_a_tree_already_holds_is_not_taken_again() -> None:
    """ZooKeeper's leader queues txns first and then sends a tree that holds some of them."""
    fake = Fake()
    fake.lead(1)
    fake.member.take()
    fake.member.epochs_saved()
    fake.hears(Kind.SNAP, 3)
    fake.member.heard(fake.link, ImageWriter(Tree()).step(100))
    assert fake.member.take().install is not None
    fake.member.installed()
    for zxid in (2, 3, 4):
        fake.proposal(zxid)
        fake.hears(Kind.COMMIT, zxid)
    assert fake.member.role is not None
    assert [txn.zxid for txn in fake.member.take().appends] == [4]


def test_a_gap_between_proposals_ends_it() -> None:
    fake = differing()
    fake.proposal(1)
    fake.proposal(3)
    assert fake.member.role is None


def test_a_commit_out_of_order_ends_it() -> None:
    fake = differing()
    fake.proposal(1)
    fake.proposal(2)
    fake.hears(Kind.COMMIT, 2)
    assert fake.member.role is None


def test_a_proposal_is_acknowledged_when_it_is_on_the_disk() -> None:
    fake = differing()
    fake.hears(Kind.NEWLEADER, 1 << 32)
    fake.member.epochs_saved()
    fake.hears(Kind.UPTODATE, -1)
    fake.sent()
    first = (1 << 32) + 1
    fake.proposal(first)
    fake.proposal(first + 1)
    assert fake.sent() == []
    fake.member.synced(first, 1.0)
    assert fake.sent() == [(Kind.ACK, first)]
    fake.member.synced(first + 1, 1.0)
    assert fake.sent() == [(Kind.ACK, first + 1)]


def test_what_was_proposed_before_it_was_up_to_date_is_acknowledged_then() -> None:
    fake = differing()
    fake.proposal(1)
    fake.hears(Kind.NEWLEADER, 1 << 32)
    fake.member.synced(1, 1.0)
    fake.member.epochs_saved()
    assert fake.sent() == [(Kind.ACK, 1 << 32)]
    fake.hears(Kind.UPTODATE, -1)
    assert fake.sent() == [(Kind.ACK, 1 << 32), (Kind.ACK, 1)]


def test_a_packet_that_makes_no_sense_here_ends_it() -> None:
    fake = Fake()
    fake.hears(Kind.UPTODATE, -1)
    assert fake.member.role is None


def test_silence_for_the_sync_limit_ends_it() -> None:
    fake = differing()
    fake.hears(Kind.NEWLEADER, 1 << 32)
    fake.member.epochs_saved()
    fake.hears(Kind.UPTODATE, -1)
    fake.member.tick(900.0, 1)
    assert fake.member.role is not None
    fake.member.tick(1101.0, 1)
    assert fake.member.role is None


def test_a_leader_that_does_not_listen_yet_is_dialled_again() -> None:
    fake = Fake()
    role = fake.member.role = Learner(fake.member, LEADER)
    assert len(fake.member.take().dials) == 1
    fake.member.lost(role.link)
    fake.member.tick(200.0, 1)
    assert len(fake.member.take().dials) == 1
    assert fake.member.role is role


def test_a_read_behind_a_forwarded_write_waits_for_it() -> None:
    pack = three()
    pack.start()
    pack.run(1000)
    client = Client(pack, 1)
    assert client.create(b"/a", b"1") == OK
    assert client.get(b"/a") == b"1"


def test_a_client_that_is_not_read_from_for_the_log_keeps_its_session() -> None:
    pack = three()
    pack.start(outstanding_max=1, sync_limit=100)
    pack.run(1000)
    client, other = Client(pack, 1), Client(pack, 2)
    for disk in pack.disks.values():
        disk.slow = True
    for _ in range(3):
        client.ask(Op.SET_DATA, requests.SetDataRequest(b"/", b"", -1).encode())
    assert client.connection.hold
    for _ in range(12):  # three time-outs
        pack.run(500)
        other.ask(Op.PING, b"")
    for server_id, disk in pack.disks.items():
        disk.slow = False
        pack.sync(server_id)
    pack.run(1000)
    assert not client.closed
    assert client.get(b"/") == b""
