"""One server of an ensemble: roles come from elections and end with what they stand on."""

from __future__ import annotations

from coterie.core.leader import Leader
from coterie.core.link import QUORUM, Link
from coterie.errors import OK, NotReadOnlyError
from coterie.wire import requests
from tests.core.pack import Client, Pack, three

EPHEMERAL = 1


def started(observers: int = 0) -> Pack:
    pack = three(observers)
    pack.start()
    pack.run(1000)
    return pack


def test_three_members_elect_the_highest_id_and_all_serve() -> None:
    pack = started()
    assert pack.leader == 3
    assert pack.serving == [1, 2, 3]
    assert [pack.members[each].mode for each in (1, 2, 3)] == ["follower", "follower", "leader"]
    assert {member.epochs for member in pack.members.values()} == {(1, 1)}


def test_a_write_through_any_member_is_seen_on_all() -> None:
    pack = started()
    for each in pack.members:
        client = Client(pack, each)
        assert client.create(b"/from%d" % each, b"data") == OK
    for each in pack.members:
        assert Client(pack, each).get(b"/from1") == b"data"
    pack.same()


def test_a_majority_is_enough_and_a_minority_is_not() -> None:
    pack = three()
    pack.start(1)
    pack.run(3000)
    assert pack.serving == []
    pack.start(2)
    pack.run(2000)
    assert pack.leader == 2


def test_when_the_leader_dies_another_leads_and_nothing_acknowledged_is_lost() -> None:
    pack = started()
    client = Client(pack, 1)
    assert client.create(b"/kept", b"1") == OK
    pack.kill(3)
    pack.run(1500)
    assert pack.leader == 2
    assert Client(pack, 1).get(b"/kept") == b"1"
    assert pack.members[2].epochs == (2, 2)


def test_a_session_and_its_ephemerals_outlive_its_server() -> None:
    pack = started()
    client = Client(pack, 3)
    assert client.create(b"/mine", b"", EPHEMERAL) == OK
    pack.kill(3)
    pack.run(1500)
    again = Client(pack, 1, client.session_id, client.password)
    assert again.session_id == client.session_id
    assert again.get(b"/mine") == b""
    pack.run(10_000)
    assert Client(pack, 2).get(b"/mine") is None, "nobody touched it, so it expired"


def test_a_session_lives_as_long_as_its_follower_hears_from_it() -> None:
    pack = started()
    client = Client(pack, 1)
    assert client.create(b"/mine", b"", EPHEMERAL) == OK
    for _ in range(10):
        assert client.get(b"/mine") == b""
        pack.run(1000)
    assert Client(pack, 2).get(b"/mine") == b""


def test_clients_are_let_go_when_the_role_ends() -> None:
    pack = started()
    client = Client(pack, 1)
    pack.kill(3)
    pack.kill(2)
    pack.run(200)
    assert client.closed
    assert pack.members[1].mode == "looking"
    assert not pack.members[1].server.serving


def test_observers_serve_and_have_no_say() -> None:
    pack = started(observers=1)
    assert pack.members[4].mode == "observer"
    client = Client(pack, 4)
    assert client.create(b"/seen", b"1") == OK
    pack.kill(1)
    pack.kill(2)
    pack.run(3000)
    assert pack.serving == []


def test_without_a_leader_reads_go_on_for_those_who_asked() -> None:
    pack = three()
    pack.start(read_only_enabled=True)
    pack.run(1000)
    assert Client(pack, 1).create(b"/a", b"1") == OK
    pack.kill(3)
    pack.kill(2)
    pack.run(4000)
    member = pack.members[1]
    assert member.mode == "read-only"
    refused = Client(pack, 1)
    assert refused.closed, "it did not say that it can do with reads"
    hello = requests.ConnectRequest(0, 0, 4000, 0, bytes(16)).encode() + b"\1"
    connection = member.connected("127.0.0.1", 2, pack.now_ms)
    refused.connection = connection
    member.receive(connection, len(hello).to_bytes(4, "big") + hello, pack.now_ms)
    pack.run(20)
    assert refused.frames.pop()[-1] == 1
    assert refused.get(b"/a") == b"1"
    assert refused.create(b"/b") == NotReadOnlyError.code
    pack.start(2)
    pack.run(2000)
    assert pack.leader == 2
    assert Client(pack, 1).create(b"/b") == OK


def test_who_connects_before_the_election_is_over_waits_for_its_end() -> None:
    pack = three()
    pack.start(3)
    pack.run(100)
    member = pack.members[3]
    link = Link(QUORUM)
    member.accepted(link)
    assert not link.closing
    pack.start(1, 2)
    pack.run(1000)
    assert isinstance(member.role, Leader)
    assert link in member.role.learners


def test_those_who_wait_for_the_end_of_an_election_are_few() -> None:
    pack = three()
    pack.start(1)
    pack.run(500)
    member = pack.members[1]
    links = [Link(QUORUM) for _ in range(100)]
    for link in links:
        member.accepted(link)
        member.heard(link, b"x")
    assert member.take().link_closes == links[:36]
    assert len(member._early) == 64


def test_who_cannot_write_does_not_stand_for_election() -> None:
    pack = started()
    pack.members[3].log_failed("the disk is full")
    pack.run(3000)
    assert pack.members[3].mode == "looking"
    assert pack.leader == 2
    pack.members[3].synced(pack.members[3].logged_zxid, pack.now_ms)
    pack.run(1000)
    assert pack.members[3].mode == "follower"


def test_the_same_seed_gives_the_same_notes() -> None:
    assert started().notes == started().notes
