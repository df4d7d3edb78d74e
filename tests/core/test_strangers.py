"""How a connection begins: strangers, ConnectRequests, and who is let in, told or turned away."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from coterie.errors import OK
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.core.conftest import NO_SESSION, Alone, create, framed, read
from tests.core.pack import Client as Visitor
from tests.core.pack import three


def hello(session_id: int = 0, password: bytes = NO_SESSION) -> bytes:
    """A ConnectRequest without its last byte, as clients before 3.4 sent it."""
    return requests.ConnectRequest(0, 0, 400, session_id, password).encode()


@pytest.mark.parametrize(("read_only", "length"), [(b"", 36), (b"\0", 37), (b"\1", 37)])
def test_the_answer_has_a_read_only_byte_if_the_question_had(
    alone: Alone, read_only: bytes, length: int
) -> None:
    client = alone.stranger()
    client.say(framed(hello() + read_only))
    for txn in alone.member.take().appends:
        alone.member.synced(txn.zxid, alone.now_ms)
    (answer,) = client.connection.out
    assert len(answer) == 4 + length
    assert answer[40:] == b"\0" * (length - 36)


def test_what_is_sent_behind_the_hello_waits_for_the_session(slow: Alone) -> None:
    client = slow.stranger()
    client.say(framed(hello() + b"\0") + client.frame(Op.CREATE, create(b"/a")))
    client.say(client.frame(Op.EXISTS, read(b"/a"))[:7])
    client.send(Op.PING, xid=-2)
    slow.turn()
    assert [txn.type for txn in slow.asked] == [Op.CREATE_SESSION]
    slow.sync()
    assert client.greeted
    assert [txn.type for txn in slow.asked] == [Op.CREATE]


def test_a_client_that_has_seen_more_than_the_server_is_turned_away(alone: Alone) -> None:
    alone.client()
    late = alone.client(seen_zxid=2)
    assert late.closed
    assert not late.greeted
    assert any("0x2" in note for note in alone.notes)
    assert not alone.client(seen_zxid=1).closed


def test_a_stranger_has_its_time_and_no_more(make_alone: Callable[..., Alone]) -> None:
    alone = make_alone(sessionless_timeout_ms=1000)
    stranger = alone.stranger()
    alone.tick(500)
    later, known = alone.stranger(), alone.client(timeout_ms=2000)
    alone.tick(499)
    assert not stranger.closed
    alone.tick(1)
    assert stranger.closed
    assert not later.closed
    alone.tick(500)
    assert later.closed
    assert not known.closed
    assert alone.member.server.stats.strangers_closed == 2


def test_four_letter_words_are_asked_of_strangers_only(alone: Alone) -> None:
    alone.member.server.words = lambda chunk: b"imok" if chunk == b"ruok" else None
    asker = alone.stranger()
    asker.say(b"ru")
    asker.say(b"ok")
    assert asker.connection.out == [b"imok"]
    assert alone.member.take().closes == [asker.connection]
    alone.clients.remove(asker)
    client = alone.client()
    client.say(b"ruok")
    alone.turn()
    assert client.closed
    assert client.heard == []


def test_a_client_that_goes_before_it_has_its_session_leaves_one(slow: Alone) -> None:
    client = slow.stranger()
    client.connect(timeout_ms=200)
    client.gone()
    slow.sync()
    assert slow.member.server.outstanding == 0
    assert len(slow.tree.sessions) == 1
    slow.tick(300)
    slow.sync()
    assert slow.tree.sessions == {}


# Who is not let in is told nothing, and whose session is over is told that


@pytest.mark.parametrize("length", [-1, -(2**31), 0, 7, 1025, 2**31 - 1])
def test_a_first_packet_that_can_be_none_ends_the_connection(
    make_alone: Callable[..., Alone], length: int
) -> None:
    alone = make_alone(frame_bytes_max=1024)
    stranger = alone.stranger()
    stranger.say(struct.pack(">i", length) + b"12345678")
    alone.turn()
    # A stranger may yet send what makes a ConnectRequest of this length, up to the limit.
    assert stranger.closed


@pytest.mark.parametrize("read_only", [b"", b"\0"])
def test_the_wrong_password_is_answered_with_zeros(alone: Alone, read_only: bytes) -> None:
    owner, other = alone.client(), alone.stranger()
    other.say(framed(hello(owner.session_id, b"not its password") + read_only))
    # protocolVersion, timeOut and sessionId are 0, the password is 16 zero bytes.
    length = 36 + len(read_only)
    assert other.connection.out == [
        struct.pack(">iiiqi", length, 0, 0, 0, 16) + bytes(16) + read_only
    ]
    alone.turn()
    assert other.closed
    assert owner.exists(b"/").error == 0


def test_where_reads_only_are_served_who_did_not_ask_for_that_is_turned_away(
    alone: Alone,
) -> None:
    owner = alone.client()
    alone.member.server.read_only = True
    for unable in (b"", b"\0"):
        stranger = alone.stranger()
        stranger.say(framed(hello() + unable))
        assert stranger.connection.out == []
        alone.turn()
        assert stranger.closed
    assert alone.client(read_only=b"\1").greeted
    again = alone.stranger()
    again.say(framed(hello(owner.session_id, owner.password) + b"\1"))
    assert again.connection.out[0][40:] == b"\1"


def test_who_asks_a_server_that_is_shut_is_turned_away_and_may_ask_for_words(
    alone: Alone,
) -> None:
    server = alone.member.server
    server.words = lambda chunk: b"imok" if chunk == b"ruok" else None
    alone.client()
    server.shut()
    alone.turn()
    stranger, asker = alone.stranger().connect(), alone.stranger()
    assert stranger.closed
    assert not stranger.greeted
    asker.say(b"ruok")
    assert asker.connection.out == [b"imok"]


@pytest.mark.parametrize("admits", [True, False])
def test_a_role_decides_who_comes_in(alone: Alone, admits: bool) -> None:
    """A leader may leave clients to its followers, and learners ask it about sessions."""
    owner, server = alone.client(), alone.member.server
    server.shut()
    alone.turn()
    asked: list[int] = []
    server.open(
        server.tree,
        server.sessions,
        alone.member.submit,
        revalidate=lambda connection, session_id, timeout_ms: asked.append(session_id),
        admits=admits,
    )
    assert alone.client().closed is not admits
    again = alone.client(session_id=owner.session_id, password=owner.password)
    assert asked == ([owner.session_id] if admits else [])
    assert not again.greeted
    if admits:
        server.revalidated(again.connection, owner.session_id, 400)
        alone.turn()
        assert again.session_id == owner.session_id


def test_a_session_that_cannot_be_written_is_no_session(slow: Alone) -> None:
    slow.member.log_failed("no room")
    client = slow.client()
    assert client.closed
    assert not client.greeted
    assert slow.member.server.outstanding == 0


# Sessions that are taken up again


def test_a_client_that_left_while_it_was_asked_about_does_not_take_its_session(
    alone: Alone,
) -> None:
    owner, late = alone.client(), alone.stranger()
    late.gone()
    alone.member.server.revalidated(late.connection, owner.session_id, 400)
    alone.turn()
    assert not owner.closed
    assert owner.exists(b"/").error == 0


def test_who_comes_back_takes_fewer_tokens_than_who_is_new(
    make_alone: Callable[..., Alone],
) -> None:
    # ZooKeeper's weights are 3 and 2: of nine tokens a new session leaves six.
    alone = make_alone(throttle_tokens=3, throttle_fill_ms=10**6, throttle_weighs=True)
    owner = alone.client()
    back = [alone.client(session_id=owner.session_id, password=owner.password) for _ in range(4)]
    assert [client.greeted for client in back] == [True, True, True, False]


def test_a_session_that_comes_to_the_leader_itself_may_write_there() -> None:
    pack = three()
    pack.start()
    pack.run(1000)
    old = Visitor(pack, 1)
    new = Visitor(pack, pack.leader, old.session_id, old.password)
    assert pack.leader != 1
    assert new.session_id == old.session_id
    assert new.create(b"/now") == OK
