"""Requests in order, watch events before replies that show the change, limits, bad packets."""

from __future__ import annotations

import struct
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from coterie.values import ACL, ANYONE, CREATOR_ALL_ACL, CreateMode, Perms
from coterie.wire import requests
from coterie.wire.jute import Record
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client, create, framed, read

CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4
EVENT = (-1, 0)
ROOT = read(b"/")


@pytest.fixture
def pair(slow: Alone) -> tuple[Client, Client]:
    """Two clients of a server whose disk waits."""
    one, other = slow.stranger(), slow.stranger()
    for each in (one, other):
        each.connect(timeout_ms=2000)
    slow.sync()
    return one, other


def set_data(path: bytes, data: bytes, version: int = -1) -> requests.SetDataRequest:
    return requests.SetDataRequest(path, data, version)


def data_in(client: Client) -> list[bytes]:
    """The data of the getData answers that have come."""
    came, client.heard = client.heard, []
    return [reply.path for reply in came if reply.xid > 0 and len(reply.body) > 68]


# Each client's requests in its order


def test_reads_behind_ones_own_write_wait_for_it(pair: tuple[Client, Client]) -> None:
    one, _ = pair
    one.send(Op.CREATE, create(b"/a", b"1"))
    one.send(Op.GET_DATA, read(b"/a"))
    one.send(Op.PING, xid=requests.PING_XID)
    one.send(Op.SYNC, requests.PathRequest(b"/"))
    one.alone.turn()
    assert one.heard == []
    one.alone.sync()
    assert one.answers() == [(1, 0), (2, 0), (-2, 0), (3, 0)]


def test_reads_behind_another_clients_write_do_not_wait(pair: tuple[Client, Client]) -> None:
    one, other = pair
    one.send(Op.CREATE, create(b"/a"))
    assert other.exists(b"/a").error == -101
    assert other.call(Op.GET_DATA, ROOT).error == 0
    one.alone.sync()
    assert other.exists(b"/a").error == 0


def test_a_client_sees_its_own_writes_and_only_those_before(pair: tuple[Client, Client]) -> None:
    one, _ = pair
    one.send(Op.CREATE, create(b"/a", b"first"))
    one.send(Op.GET_DATA, read(b"/a"))
    one.send(Op.SET_DATA, set_data(b"/a", b"second"))
    one.send(Op.GET_DATA, read(b"/a"))
    # Both writes are durable at once; the read between them still sees the first alone.
    one.alone.sync()
    assert [(reply.xid, reply.body[4:-68]) for reply in one.heard if reply.xid in (2, 4)] == [
        (2, b"first"),
        (4, b"second"),
    ]


def test_answers_come_in_order_whatever_is_asked(pair: tuple[Client, Client]) -> None:
    one, _ = pair
    requests_sent: list[tuple[int, Record | bytes]] = [
        (Op.GET_DATA, ROOT),
        (Op.CREATE, create(b"/a")),
        (Op.CREATE, create(b"/a")),
        (Op.EXISTS, ROOT),
        (Op.MULTI, requests.write_multi([])),
        (Op.GET_DATA, ROOT),
        (Op.SET_DATA, b"undecodable"),
        (Op.AUTH, requests.AuthPacket(0, "digest", b"a:b")),
        (Op.GET_EPHEMERALS, requests.PathRequest(b"/")),
        (Op.DELETE, requests.DeleteRequest(b"/a", -1)),
    ]
    one.say(b"".join(one.frame(op, body) for op, body in requests_sent))
    one.alone.sync()
    assert one.answers() == [
        (xid, {3: -110, 7: -5}.get(xid, 0)) for xid in range(1, len(requests_sent) + 1)
    ]


def test_a_batch_answers_each_client_in_its_own_order(pair: tuple[Client, Client]) -> None:
    one, other = pair
    for i in range(3):
        one.send(Op.CREATE, create(b"/one%d" % i))
        other.send(Op.CREATE, create(b"/other%d" % i))
        other.send(Op.GET_DATA, read(b"/one%d" % i))
    one.alone.sync(3)
    assert one.answers() == [(1, 0), (2, 0)]
    assert other.answers() == [(1, 0), (2, 0)]
    one.alone.sync()
    assert one.answers() == [(3, 0)]
    assert other.answers() == [(3, 0), (4, 0), (5, 0), (6, 0)]


def test_zxids_never_go_back_for_a_client(pair: tuple[Client, Client]) -> None:
    one, other = pair
    for i in range(4):
        one.send(Op.CREATE, create(b"/%d" % i))
        one.send(Op.EXISTS, ROOT)
        other.send(Op.EXISTS, ROOT)
        one.alone.sync(1)
    for each in pair:
        zxids = [reply.zxid for reply in each.heard]
        assert zxids == sorted(zxids)
    assert {reply.zxid for reply in one.heard} == {3, 4, 5, 6}


# Watch events before replies that show the change


def test_an_event_comes_before_the_read_that_shows_the_change(pair: tuple[Client, Client]) -> None:
    one, other = pair
    other.send(Op.CREATE, create(b"/a", b"old"))
    one.alone.sync()
    other.answers()
    one.call(Op.GET_DATA, read(b"/a", watch=True))
    other.send(Op.SET_DATA, set_data(b"/a", b"new"))
    # The watcher's read waits behind a write of its own until the change is committed.
    one.send(Op.CREATE, create(b"/b"))
    one.send(Op.GET_DATA, read(b"/a"))
    one.alone.sync()
    assert one.answers() == [EVENT, (2, 0), (3, 0)]


def test_who_does_not_wait_reads_the_old_until_the_event(pair: tuple[Client, Client]) -> None:
    one, other = pair
    other.send(Op.CREATE, create(b"/a", b"old"))
    one.alone.sync()
    one.call(Op.GET_DATA, read(b"/a", watch=True))
    other.send(Op.SET_DATA, set_data(b"/a", b"new"))
    assert one.call(Op.GET_DATA, read(b"/a")).body[4:-68] == b"old"
    one.alone.sync()
    one.send(Op.GET_DATA, read(b"/a"))
    one.alone.turn()
    assert [reply.xid for reply in one.heard] == [-1, 3]
    assert data_in(one) == [b"new"]


def test_ones_own_event_comes_before_ones_own_reply(alone: Alone) -> None:
    client = alone.client()
    client.exists(b"/a", watch=True)
    client.send(Op.CREATE, create(b"/a"))
    client.alone.turn()
    assert client.answers() == [EVENT, (2, 0)]


def test_events_of_a_batch_stand_between_its_replies(pair: tuple[Client, Client]) -> None:
    one, _ = pair
    body = requests.WatchesRequest(b"/a", 1)
    one.call(Op.ADD_WATCH, body)
    one.send(Op.CREATE, create(b"/a"))
    one.send(Op.CREATE, create(b"/b"))
    one.send(Op.DELETE, requests.DeleteRequest(b"/a", -1))
    one.alone.sync()
    assert one.answers() == [EVENT, (2, 0), (3, 0), EVENT, (4, 0)]


def test_all_events_of_a_multi_come_before_its_reply(alone: Alone) -> None:
    client = alone.client()
    client.exists(b"/a", watch=True)
    client.call(Op.GET_CHILDREN, read(b"/", watch=True))
    parts = [(Op.CREATE, create(b"/a")), (Op.CREATE, create(b"/b"))]
    client.send(Op.MULTI, requests.write_multi(parts))
    client.alone.turn()
    assert [reply.xid for reply in client.heard] == [-1, -1, 3]
    assert {reply.zxid for reply in client.heard} == {2}
    assert client.events() == [(CREATED, b"/a"), (CHILDREN, b"/")]


def test_a_failed_write_fires_nothing(alone: Alone) -> None:
    client = alone.client()
    client.call(Op.GET_DATA, read(b"/", watch=True))
    assert client.set(b"/", b"x", version=7).error == -103
    parts = [(Op.SET_DATA, set_data(b"/", b"x")), (Op.CREATE, create(b"/"))]
    client.call(Op.MULTI, requests.write_multi(parts))
    assert client.events() == []
    client.set(b"/", b"x")
    assert client.events() == [(CHANGED, b"/")]


def test_an_event_is_kept_from_who_may_not_read_the_znode(alone: Alone) -> None:
    one, other = alone.client(), alone.client()
    one.exists(b"/a", watch=True)
    one.call(Op.ADD_WATCH, requests.WatchesRequest(b"/a", 0))
    other.call(Op.CREATE, create(b"/a", b"", 0, (ACL(Perms.ALL & ~Perms.READ, ANYONE),)))
    assert one.events() == []
    # It has used up the one-shot watch all the same.
    checked = one.call(Op.CHECK_WATCHES, requests.WatchesRequest(b"/a", 2))
    assert checked.error == -121
    other.call(Op.SET_ACL, requests.SetACLRequest(b"/a", (ACL(Perms.ALL, ANYONE),), -1))
    other.set(b"/a", b"x")
    assert one.events() == [(CHANGED, b"/a")]


def test_watches_go_with_the_connection_and_not_with_the_session(alone: Alone) -> None:
    old, other = alone.client(), alone.client()
    old.exists(b"/a", watch=True)
    new = alone.client(session_id=old.session_id, password=old.password)
    other.create(b"/a")
    assert old.events() == new.events() == []


# Ends


def test_close_session_is_answered_and_then_the_connection_ends(
    pair: tuple[Client, Client],
) -> None:
    one, other = pair
    one.send(Op.CREATE, create(b"/e", b"", CreateMode.EPHEMERAL))
    one.send(Op.CLOSE_SESSION)
    one.send(Op.CREATE, create(b"/late"))
    one.alone.sync()
    assert one.answers()[:2] == [(1, 0), (2, 0)]
    assert one.closed
    assert other.exists(b"/e").error == other.exists(b"/late").error == -101
    assert one.alone.member.server.outstanding == 0


def test_a_session_that_has_ended_hears_of_nothing_more(pair: tuple[Client, Client]) -> None:
    one, other = pair
    other.exists(b"/a", watch=True)
    other.send(Op.CLOSE_SESSION)
    one.send(Op.CREATE, create(b"/a"))
    one.alone.sync()
    assert other.answers() == [(2, 0)]


def test_a_write_whose_client_is_gone_is_done_all_the_same(pair: tuple[Client, Client]) -> None:
    one, other = pair
    for i in range(3):
        one.send(Op.CREATE, create(b"/%d" % i))
        one.send(Op.EXISTS, ROOT)
    one.gone()
    one.alone.sync()
    assert other.call(Op.GET_ALL_CHILDREN_NUMBER, requests.PathRequest(b"/")).body == (
        struct.pack(">i", 6)
    )
    assert one.alone.member.server.outstanding == 0


# Authentication


def test_a_proof_counts_from_the_next_request_on(alone: Alone) -> None:
    client, other = alone.client(), alone.client()
    assert client.call(Op.CREATE, create(b"/mine", b"", 0, CREATOR_ALL_ACL)).error == -114
    auth = requests.AuthPacket(0, "digest", b"me:secret")
    answer = client.call(Op.AUTH, auth, requests.AUTH_XID)
    assert (answer.error, answer.zxid, answer.body) == (0, 0, b"")
    assert client.call(Op.CREATE, create(b"/mine", b"1", 0, CREATOR_ALL_ACL)).error == 0
    assert other.call(Op.GET_DATA, read(b"/mine")).error == -102
    assert client.call(Op.GET_DATA, read(b"/mine")).error == 0


@pytest.mark.parametrize("scheme", ["sasl", "", "world"])
def test_a_bad_proof_is_told_and_ends_the_connection(alone: Alone, scheme: str) -> None:
    client = alone.client()
    auth = requests.AuthPacket(0, scheme, b"me")
    client.say(
        client.frame(Op.AUTH, auth, requests.AUTH_XID) + client.frame(Op.CREATE, create(b"/a"))
    )
    alone.turn()
    assert [(reply.xid, reply.zxid, reply.error) for reply in client.heard] == [(-4, 0, -115)]
    assert client.closed
    assert alone.tree.get(b"/a") is None


def test_nothing_behind_a_bad_proof_is_done_though_its_answer_waits(
    pair: tuple[Client, Client],
) -> None:
    one, _ = pair
    frames = [
        one.frame(Op.CREATE, create(b"/before")),
        one.frame(Op.AUTH, requests.AuthPacket(0, "sasl", b""), requests.AUTH_XID),
        one.frame(Op.EXISTS, ROOT),
        one.frame(Op.CREATE, create(b"/behind")),
    ]
    one.say(b"".join(frames))
    one.send(Op.CREATE, create(b"/later"))
    one.alone.sync()
    assert one.answers() == [(1, 0), (-4, -115)]
    assert one.closed
    tree = one.alone.tree
    assert [tree.get(path) is None for path in (b"/before", b"/behind", b"/later")] == [
        False,
        True,
        True,
    ]
    assert one.alone.member.server.outstanding == 0


# What there is not, and what cannot be read


@pytest.mark.parametrize("op", [0, 10, 13, 77, -1, -10])
def test_an_unknown_operation_is_told_and_ends_the_connection(alone: Alone, op: int) -> None:
    client = alone.client()
    client.say(client.frame(op) + client.frame(Op.CREATE, create(b"/a")))
    alone.turn()
    assert [(reply.xid, reply.zxid, reply.error) for reply in client.heard] == [(1, -1, -6)]
    assert client.closed
    assert alone.tree.get(b"/a") is None


def test_the_reapers_delete_is_not_for_clients(alone: Alone) -> None:
    client = alone.client()
    client.call(Op.CREATE_CONTAINER, create(b"/c", flags=CreateMode.CONTAINER))
    assert client.call(Op.DELETE_CONTAINER, requests.PathRequest(b"/c")).error == -8
    assert client.exists(b"/c").error == 0


@pytest.mark.parametrize("op", [Op.CREATE, Op.SET_DATA, Op.SET_ACL, Op.DELETE, Op.GET_DATA])
def test_what_cannot_be_read_is_told_and_the_connection_goes_on(alone: Alone, op: int) -> None:
    client = alone.client()
    for body in (b"", b"\0\0\0\x7f/", b"\xff\xff\xff\xf0aaaa"):
        answer = client.call(op, body)
        assert (answer.error, answer.zxid, answer.body) == (-5, 1, b"")
    assert client.create(b"/a").stat.czxid == 2


def test_a_null_path_is_no_path(alone: Alone) -> None:
    client = alone.client()
    null = b"\xff\xff\xff\xff"
    assert client.call(Op.SET_DATA, null + b"\0\0\0\0" + null).error == -8
    assert client.call(Op.DELETE, null + null).error == -8


@pytest.mark.parametrize("length", [-1, -(2**31), 0, 7, 1025, 2**31 - 1])
def test_a_packet_that_can_be_none_ends_the_connection(
    make_alone: Callable[..., Alone], length: int
) -> None:
    alone = make_alone(frame_bytes_max=1024)
    client = alone.client()
    client.say(struct.pack(">i", length) + b"12345678")
    alone.turn()
    assert client.closed
    assert client.heard == []


def test_a_packet_may_be_as_long_as_the_limit(make_alone: Callable[..., Alone]) -> None:
    client = make_alone(frame_bytes_max=1024).client()
    room = 1024 + 4 - len(client.frame(Op.SET_DATA, set_data(b"/", b"")))
    assert client.set(b"/", b"x" * room).error == 0
    client.send(Op.SET_DATA, set_data(b"/", b"x" * (room + 1)))
    client.alone.turn()
    assert client.closed


def test_packets_may_come_in_any_pieces(alone: Alone) -> None:
    client = alone.stranger()
    hello = framed(requests.ConnectRequest(0, 0, 400, 0, bytes(16)).encode() + b"\0")
    for i in range(len(hello)):
        client.say(hello[i : i + 1])
    alone.turn()
    assert client.greeted
    frames = client.frame(Op.CREATE, create(b"/a", b"x")) + client.frame(Op.GET_DATA, read(b"/a"))
    for i in range(0, len(frames), 3):
        client.say(frames[i : i + 3])
    alone.turn()
    assert client.answers() == [(1, 0), (2, 0)]


# Limits


def test_who_has_too_much_outstanding_is_not_read_until_the_log_catches_up(
    make_alone: Callable[..., Alone],
) -> None:
    alone = make_alone(outstanding_max=3)
    client, other = alone.client(timeout_ms=2000), alone.client(timeout_ms=2000)
    alone.slow = True
    client.say(b"".join(client.frame(Op.CREATE, create(b"/%d" % i)) for i in range(9)))
    alone.turn()
    # The one that broke the limit was taken too.
    assert len(alone.asked) == 4
    assert other.exists(b"/").error == 0
    alone.sync(1)
    assert len(alone.asked) == 4
    for _ in range(9):
        alone.sync()
    assert client.answers() == [(i, 0) for i in range(1, 10)]
    assert alone.member.server.outstanding == 0


def test_who_is_not_read_is_not_silent(make_alone: Callable[..., Alone]) -> None:
    alone = make_alone(outstanding_max=1)
    stays, goes, silent = (alone.client(timeout_ms=400) for _ in range(3))
    alone.slow = True
    for client in (stays, goes):
        client.say(b"".join(client.frame(Op.CREATE, create(b"/%d" % i)) for i in range(2)))
        assert client.connection.hold
    alone.tick(2450)
    goes.gone()
    alone.sync()
    ids = {stays.session_id, goes.session_id, silent.session_id}
    assert ids - alone.tree.sessions.keys() == {silent.session_id}
    # Now it may speak, and has a whole time-out for it.
    alone.tick(390)
    alone.sync()
    assert not stays.closed
    assert goes.session_id in alone.tree.sessions


def test_answers_stop_when_the_client_has_to_take_them_first(alone: Alone) -> None:
    client = alone.client(timeout_ms=2000)
    client.create(b"/big", b"x" * 400_000)
    for op in (Op.GET_DATA, Op.EXISTS):
        client.call(op, read(b"/big"))
    client.say(b"".join(client.frame(Op.GET_DATA, read(b"/big")) for _ in range(8)))
    client.hear()
    assert len(client.answers()) == 3
    client.send(Op.EXISTS, ROOT)
    client.hear()
    assert client.heard == []
    rounds = 0
    while client.connection.hold:
        alone.member.drained(client.connection, alone.now_ms)
        client.hear()
        rounds += 1
    assert rounds == 2
    assert [xid for xid, _ in client.answers()] == list(range(7, 13))


def test_what_a_closed_connection_still_says_is_not_heard(alone: Alone) -> None:
    client = alone.client()
    client.say(struct.pack(">i", -1) + bytes(8))
    client.send(Op.CREATE, create(b"/a"))
    alone.member.resume(client.connection, alone.now_ms)
    alone.member.drained(client.connection, alone.now_ms)
    alone.turn()
    assert alone.tree.get(b"/a") is None
    assert client.heard == []


# Numbers


def test_what_was_done_is_counted(slow: Alone) -> None:
    client = slow.client(timeout_ms=2000)
    slow.sync()
    stats, connection = slow.member.server.stats, client.connection
    stats.reset()
    connection.reset_stats()
    client.send(Op.CREATE, create(b"/a"))
    slow.tick(30)
    slow.sync()
    client.call(Op.GET_DATA, read(b"/a"))
    client.call(Op.EXISTS, read(b"/b"))
    assert (stats.received, stats.sent) == (connection.received, connection.sent) == (3, 3)
    assert stats.requests == {Op.CREATE: 1, Op.GET_DATA: 1, Op.EXISTS: 1}
    assert (stats.latency_min_ms, stats.latency_max_ms, stats.latency_total_ms) == (0, 30, 30)
    assert (connection.last_op, connection.last_xid, connection.last_zxid) == ("EXIS", 3, 2)


# Whatever comes, in whatever order

HELLO = requests.ConnectRequest(0, 0, 400, 0, bytes(16)).encode()
PACKETS: list[tuple[int, Record | bytes]] = [
    (Op.CREATE, create(b"/a", b"", CreateMode.EPHEMERAL)),
    (Op.CREATE, create(b"/")),
    (Op.DELETE, requests.DeleteRequest(b"/a", -1)),
    (Op.MULTI, requests.write_multi([(Op.CREATE, create(b"/b"))] * 2)),
    (Op.MULTI, b"undecodable"),
    (Op.SET_DATA, b""),
    (Op.GET_DATA, read(b"/a", watch=True)),
    (Op.GET_CHILDREN, read(b"/", watch=True)),
    (Op.SET_WATCHES, requests.SetWatches(0, [b"/"], [b"/a"], [b"/"])),
    (Op.AUTH, requests.AuthPacket(0, "digest", b"a:b")),
    (Op.AUTH, requests.AuthPacket(0, "none", b"")),
    (Op.AUTH, b""),
    (Op.CLOSE_SESSION, b""),
    (Op.PING, b""),
    (77, b""),
]
chunks = st.lists(st.sampled_from(PACKETS), min_size=1, max_size=12)
steps = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2), chunks),
        st.tuples(st.just("sync"), st.integers(1, 4)),
        st.tuples(st.just("tick"), st.integers(1, 400)),
        st.tuples(st.just("gone"), st.integers(0, 2)),
        st.tuples(st.just("failed"), st.just(0)),
    ),
    max_size=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_nothing_that_clients_send_breaks_the_server(
    history: list[tuple[int | str, int | list[tuple[int, Record | bytes]]]],
) -> None:
    alone = Alone(slow=True)
    clients = [alone.stranger() for _ in range(3)]
    for client in clients:
        client.say(framed(HELLO + b"\0"))
    alone.sync()
    for step, what in history:
        if step == "sync":
            assert isinstance(what, int)
            alone.sync(what)
        elif step == "tick":
            assert isinstance(what, int)
            alone.tick(what)
        elif step == "failed":
            alone.member.log_failed("for a while")
        elif step == "gone":
            assert isinstance(what, int)
            if not clients[what].closed:
                clients[what].gone()
                clients[what] = alone.stranger()
                clients[what].say(framed(HELLO + b"\0"))
        else:
            assert isinstance(step, int)
            assert isinstance(what, list)
            clients[step].say(b"".join(clients[step].frame(*each) for each in what))
        alone.turn()
    alone.sync()
    for client in alone.clients:
        if not client.closed:
            client.gone()
    alone.sync()
    server = alone.member.server
    assert (server.outstanding, alone.member.outstanding_txns) == (0, 0)
    assert server.connections == {}
    assert server.watches.data.count() == server.watches.children.count() == 0
    assert alone.tree.digest_mismatches == 0
