"""Zab's leader: epochs, histories, quorums of disks, and when a leadership ends."""

from __future__ import annotations

from coterie.core.effects import Epochs
from coterie.core.leader import Leader
from coterie.core.link import QUORUM, Link
from coterie.errors import OK
from coterie.values import OPEN_ACL, CreateMode
from coterie.wire import peers, requests
from coterie.wire.peers import Kind
from coterie.wire.requests import Op
from tests.core.pack import Client, Pack, three


def started(observers: int = 0) -> Pack:
    pack = three(observers)
    pack.start()
    pack.run(1000)
    return pack


def role(pack: Pack) -> Leader:
    found = pack.members[pack.leader].role
    assert isinstance(found, Leader)
    return found


def create(path: bytes) -> bytes:
    return requests.CreateRequest(path, b"", OPEN_ACL, CreateMode.PERSISTENT).encode()


def test_the_new_epoch_is_beyond_all_that_a_quorum_has_promised() -> None:
    pack = three()
    pack.disks[1].epochs = Epochs(7, 0)
    pack.start()
    pack.run(1500)
    assert role(pack).epoch == 8


def test_a_voter_who_has_promised_a_newer_epoch_ends_the_leadership() -> None:
    pack = three()
    pack.start(2, 3)
    pack.run(1000)
    assert role(pack).epoch == 1
    pack.disks[1].epochs = Epochs(5, 0)
    pack.start(1)
    pack.run(3000)
    assert role(pack).epoch > 5
    assert pack.serving == [1, 2, 3]


def test_nothing_is_committed_before_a_quorum_of_disks_has_it() -> None:
    pack = started()
    client = Client(pack, 3)
    for disk in pack.disks.values():
        disk.slow = True
    client.ask(Op.CREATE, create(b"/a"))
    pack.run(100)
    assert client.frames == []
    pack.sync(3)
    pack.run(100)
    assert client.frames == [], "one disk of three is no quorum"
    pack.sync(1)
    pack.run(100)
    assert len(client.frames) == 1


def test_the_leaders_own_disk_need_not_be_among_them() -> None:
    pack = started()
    client = Client(pack, 3)
    pack.disks[3].slow = True
    assert client.create(b"/a") == OK
    pack.disks[3].slow = False
    pack.sync(3)


def test_a_write_takes_effect_in_the_order_of_its_proposal() -> None:
    pack = started()
    client = Client(pack, 2)
    for number in range(20):
        client.ask(Op.CREATE, create(b"/a%02d" % number))
    pack.run(200)
    zxids = [int.from_bytes(frame[4:12], "big") for frame in client.frames]
    assert zxids == sorted(zxids)
    assert len(set(zxids)) == 20
    pack.same()


def test_observers_acknowledge_nothing() -> None:
    pack = started(observers=2)
    client = Client(pack, 3)
    for each in (1, 2, 3):
        pack.disks[each].slow = True
    client.ask(Op.CREATE, create(b"/a"))
    pack.run(100)
    pack.sync(3)
    pack.run(100)
    assert client.frames == []
    pack.sync(2)
    pack.run(100)
    assert len(client.frames) == 1
    for each in (1, 2, 3):
        pack.disks[each].slow = False
    assert Client(pack, 4).get(b"/a") == b""


def test_a_leader_that_hears_from_no_quorum_leads_no_more() -> None:
    pack = started()
    pack.separate(3, 1)
    pack.separate(3, 2)
    pack.run(2000)
    assert pack.leader == 2
    assert pack.members[3].mode == "looking"


def test_what_a_deposed_leader_had_proposed_alone_is_cut_off() -> None:
    pack = started()
    client = Client(pack, 3)
    assert client.create(b"/kept") == OK
    pack.separate(3, 1)
    pack.separate(3, 2)
    client.ask(Op.CREATE, create(b"/alone"))
    pack.run(2000)
    assert Client(pack, 2).create(b"/later") == OK
    pack.cut.clear()
    pack.run(3000)
    assert pack.serving == [1, 2, 3]
    assert any("TRUNC" in note for note in pack.notes)
    reader = Client(pack, 3)
    assert reader.get(b"/kept") == b""
    assert reader.get(b"/alone") is None
    assert reader.get(b"/later") == b""
    pack.same()


def test_who_was_away_for_a_while_gets_what_it_missed() -> None:
    pack = started()
    pack.kill(1)
    client = Client(pack, 2)
    for number in range(5):
        assert client.create(b"/a%d" % number) == OK
    pack.start(1)
    pack.run(2000)
    assert any("server 1 is at" in note and "DIFF" in note for note in pack.notes)
    assert Client(pack, 1).get(b"/a4") == b""
    pack.same()


def test_who_was_away_stays_when_nobody_writes_any_more() -> None:
    """It acknowledges the epoch, and by that what came with the history."""
    pack = started()
    pack.kill(1)
    assert Client(pack, 2).create(b"/a") == OK
    pack.start(1)
    pack.run(1000 + 3 * role(pack).replica.config.sync_limit_ms)
    assert pack.serving == [1, 2, 3]
    assert not any("has not acknowledged" in note for note in pack.notes)


def test_an_empty_disk_gets_the_whole_tree_and_what_happens_meanwhile() -> None:
    pack = three()
    pack.start(2, 3, commit_log_count=2)
    pack.run(1000)
    client = Client(pack, 2)
    for number in range(10):
        assert client.create(b"/a%d" % number, b"x" * 100) == OK
    pack.disks[3].log = pack.disks[3].log[5:]
    pack.start(1)
    pack.run(2000)
    assert any("SNAP" in note for note in pack.notes)
    assert Client(pack, 1).get(b"/a9") == b"x" * 100
    assert Client(pack, 2).create(b"/b") == OK
    pack.same()


def test_the_end_of_the_history_may_be_acknowledged_before_the_epoch() -> None:
    """As by Apache's follower, of which one thread logs and another says that it is up to date."""
    pack = three()
    pack.start(2, 3)
    pack.run(1000)
    client = Client(pack, 3)
    pack.disks[2].slow = True
    client.ask(Op.CREATE, create(b"/a"))
    pack.run(50)
    leader, pending = pack.members[3], pack.members[3].logged_zxid
    link = Link(QUORUM)
    leader.accepted(link)
    leader.heard(link, peers.packet(Kind.FOLLOWERINFO, 0, peers.LearnerInfo(1).encode()))
    leader.heard(link, peers.packet(Kind.ACKEPOCH, 0, peers.encode_int(0)))
    leader.heard(link, peers.packet(Kind.ACK, pending))
    pack.run(50)
    assert client.frames == [], "it does not follow yet"
    leader.heard(link, peers.packet(Kind.ACK, 1 << 32))
    pack.run(50)
    assert len(client.frames) == 1, "what it had acknowledged counts now"
    assert not link.closing


def test_another_epoch_is_no_acknowledgement_of_this_one() -> None:
    pack = started()
    link = Link(QUORUM)
    leader = pack.members[3]
    leader.accepted(link)
    leader.heard(link, peers.packet(Kind.FOLLOWERINFO, 0, peers.LearnerInfo(1).encode()))
    leader.heard(link, peers.packet(Kind.ACKEPOCH, 0, peers.encode_int(0)))
    leader.heard(link, peers.packet(Kind.ACK, 7 << 32))
    assert link.closing


def test_a_sync_through_a_follower_waits_for_what_is_in_flight() -> None:
    pack = started()
    writer, reader = Client(pack, 3), Client(pack, 1)
    for disk in pack.disks.values():
        disk.slow = True
    writer.ask(Op.CREATE, create(b"/a"))
    pack.run(50)
    reader.ask(Op.SYNC, requests.PathRequest(b"/").encode())
    pack.run(50)
    assert reader.frames == []
    for each in pack.disks:
        pack.sync(each)
    pack.run(50)
    assert len(reader.frames) == 1
    assert reader.get(b"/a") == b""


def test_a_session_that_moved_may_not_write_from_where_it_was() -> None:
    pack = started()
    old = Client(pack, 1)
    new = Client(pack, 2, old.session_id, old.password)
    assert new.session_id == old.session_id
    old.ask(Op.CREATE, create(b"/from-the-past"))
    pack.run(100)
    assert old.closed
    assert new.get(b"/from-the-past") is None
    assert new.create(b"/now") == OK


def test_a_write_that_cannot_be_read_is_refused_wherever_it_comes_in() -> None:
    pack = started()
    for each in pack.members:
        error, _, _ = Client(pack, each).call(Op.CREATE, b"\0\0\0\x7f")
        assert error == -5


def test_an_epoch_ends_before_its_numbers_do() -> None:
    pack = started()
    authority = role(pack)._authority
    assert authority is not None
    client = Client(pack, 3)
    authority.prepare.zxid = (1 << 32) + 2**32 - 2**20 - 3
    pack.members[3].logged_zxid = pack.members[3].synced_zxid = authority.prepare.zxid
    for other in (1, 2):
        pack.members[other].logged_zxid = pack.members[other].synced_zxid = authority.prepare.zxid
    for number in range(5):
        client.ask(Op.CREATE, create(b"/a%d" % number))
    pack.run(2000)
    assert role(pack).epoch == 2
    assert Client(pack, 1).create(b"/after") == OK
    pack.same()


# Who is no member


def _stranger(pack: Pack, *packets: bytes) -> Link:
    """Somebody at the leader's quorum port, and what it says."""
    link = Link(QUORUM)
    member = pack.members[pack.leader]
    member.accepted(link)
    for packet in packets:
        member.heard(link, packet)
    return link


def _info(epoch: int, server_id: int, kind: int = Kind.FOLLOWERINFO) -> bytes:
    return peers.packet(kind, epoch << 32, peers.LearnerInfo(server_id).encode())


def test_an_epoch_that_nobody_can_have_promised_moves_nothing() -> None:
    pack = started()
    for epoch in (0x7FFFFFFF, 2**30):
        assert _stranger(pack, _info(epoch, 1)).closing
    pack.run(2000)
    assert role(pack).epoch == 1
    assert pack.serving == [1, 2, 3]


def test_such_an_epoch_is_not_agreed_on_either() -> None:
    pack = three()
    pack.start(1, 2)
    for _ in range(100):
        pack.run(10)
        for member in pack.members.values():
            link = Link(QUORUM)
            member.accepted(link)
            member.heard(link, _info(0x7FFFFFFF, 3))
    assert role(pack).epoch == 1


def test_a_byte_now_and_then_is_no_sign_of_life() -> None:
    pack = started()
    silent = _stranger(pack)
    slow = _stranger(pack, _info(1, 77, Kind.OBSERVERINFO))
    assert not slow.closing
    member = pack.members[3]
    for _ in range(30):
        pack.run(100)
        for link in (silent, slow):
            if not link.closing:
                member.heard(link, b"\0")
    assert silent.closing
    assert slow.closing
    assert pack.serving == [1, 2, 3]
    assert len(role(pack).learners) == 2


def test_strangers_are_few_and_what_they_say_is_short() -> None:
    pack = started()
    links = [_stranger(pack) for _ in range(100)]
    assert [link.closing for link in links] == [True] * 36 + [False] * 64
    large = _stranger(pack, peers.packet(Kind.FOLLOWERINFO, 0, bytes(5000))[:50])
    assert large.closing
    observers = [_stranger(pack, _info(0, 1000 + n, Kind.OBSERVERINFO)) for n in range(300)]
    assert sum(not link.closing for link in observers) == 256
    notes = pack.members[3].effects.notes
    assert len(notes) <= 2, notes
    pack.run(3000)
    assert pack.serving == [1, 2, 3]
    assert len(role(pack).learners) == 2


def test_a_leader_that_stood_still_hears_its_learners_before_it_expires_their_clients() -> None:
    pack = three()
    pack.start(sync_limit=100)
    pack.run(1000)
    speaks, silent = Client(pack, 1), Client(pack, 1)
    leader_id = pack.leader
    assert leader_id != 1
    leader = pack.members.pop(leader_id)
    for _ in range(12):  # three time-outs
        pack.run(500)
        speaks.ask(Op.PING, b"")
    pack.members[leader_id] = leader
    pack.run(100)
    assert any("late: all sessions" in note for note in pack.notes)
    assert set(leader.tree.sessions) == {speaks.session_id, silent.session_id}
    for _ in range(5):
        pack.run(500)
        speaks.ask(Op.PING, b"")
    assert set(leader.tree.sessions) == {speaks.session_id}
