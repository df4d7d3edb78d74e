"""Reads: what each answers, what it refuses first, and which watches it leaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.errors import MarshallingError, NoAuthError, NoNodeError, NoWatcherError
from coterie.values import ACL, ANYONE, ACLs, AddWatchMode, CreateMode, Id, Perms, WatcherType
from coterie.wire import requests
from coterie.wire.cursor import Reader, read_acls
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client, create, framed, read

READS = (Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2)
CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4


def only(perms: int, who: Id = ANYONE) -> ACLs:
    return (ACL(perms, who),)


@pytest.fixture
def client(alone: Alone) -> Client:
    return alone.client(timeout_ms=2000)


def make(client: Client, *paths: bytes, acl: ACLs | None = None) -> None:
    for path in paths:
        body = create(path, b"data") if acl is None else create(path, b"data", 0, acl)
        assert client.call(Op.CREATE, body).error == 0


def path_op(client: Client, op: int, path: bytes) -> tuple[int, Reader]:
    reply = client.call(op, requests.PathRequest(path))
    return reply.error, Reader(reply.body)


def watch_op(client: Client, op: int, path: bytes, kind: int) -> int:
    return client.call(op, requests.WatchesRequest(path, kind)).error


# The reads that may watch


def test_get_data_gives_data_and_stat(client: Client) -> None:
    make(client, b"/a")
    reply = client.call(Op.GET_DATA, read(b"/a"))
    assert reply.body[:8] == framed(b"data")
    assert (reply.stat.czxid, reply.stat.data_length, len(reply.body)) == (2, 4, 8 + 68)


def test_children_are_names_and_with_a_stat_if_asked(client: Client) -> None:
    make(client, b"/a", b"/a/x", b"/a/y", b"/a/y/z")
    plain, with_stat = (client.call(op, read(b"/a")) for op in (Op.GET_CHILDREN, Op.GET_CHILDREN2))
    assert plain.names == with_stat.names == [b"x", b"y"]
    assert len(with_stat.body) - len(plain.body) == 68
    assert with_stat.stat.num_children == 2
    assert client.call(Op.GET_CHILDREN, read(b"/a/x")).names == []
    assert client.call(Op.GET_CHILDREN, read(b"/")).names == [b"a", b"zookeeper"]


@pytest.mark.parametrize("op", READS)
def test_what_is_not_there_and_what_may_not_be_read(client: Client, op: int) -> None:
    make(client, b"/shut", acl=only(Perms.ALL & ~Perms.READ))
    assert client.call(op, read(b"/missing")).error == NoNodeError.code
    assert client.call(op, read(b"/shut")).error == NoAuthError.code
    assert client.call(op, b"\0\0\0\x09/short").error == MarshallingError.code
    # As in Apache, the root is also known without its slash.
    assert client.call(op, read(b"")).error == 0


def test_exists_looks_at_the_path_a_little(client: Client) -> None:
    assert client.exists(b"/\0").error == -8
    assert client.call(Op.GET_DATA, read(b"/\0")).error == NoNodeError.code
    assert client.exists(b"no slash").error == NoNodeError.code


def test_a_read_that_fails_watches_nothing_but_exists_waits_for_its_znode(client: Client) -> None:
    for op in READS:
        client.call(op, read(b"/a", watch=True))
    watches = client.alone.member.server.watches
    assert (watches.data.count(), watches.children.count()) == (1, 0)
    make(client, b"/a")
    assert client.events() == [(CREATED, b"/a")]
    make(client, b"/shut", acl=only(Perms.WRITE))
    for op in READS:
        client.call(op, read(b"/shut", watch=True))
    assert (watches.data.count(), watches.children.count()) == (0, 0)


@pytest.mark.parametrize(
    ("op", "event"),
    [
        (Op.EXISTS, CHANGED),
        (Op.GET_DATA, CHANGED),
        (Op.GET_CHILDREN, CHILDREN),
        (Op.GET_CHILDREN2, CHILDREN),
    ],
)
def test_which_change_a_watch_hears_of(client: Client, op: int, event: int) -> None:
    make(client, b"/a")
    client.call(op, read(b"/a", watch=True))
    client.set(b"/a", b"new")
    make(client, b"/a/b")
    assert client.events() == [(event, b"/a")]
    client.set(b"/a", b"again")
    assert client.events() == []


def test_an_event_bears_the_zxid_of_its_txn(client: Client) -> None:
    make(client, b"/a")
    client.exists(b"/a", watch=True)
    done = client.set(b"/a", b"x")
    (event,) = client.heard
    assert (event.xid, event.zxid, event.error) == (-1, done.zxid, 0)


# ACLs


def test_get_acl_masks_hashes_from_who_may_not_administer(client: Client) -> None:
    bob = Id("digest", "bob:hash")
    acl = (ACL(Perms.ALL, bob), ACL(Perms.READ, ANYONE))
    make(client, b"/a", acl=acl)
    error, reader = path_op(client, Op.GET_ACL, b"/a")
    assert error == 0
    assert read_acls(reader) == (ACL(Perms.ALL, Id("digest", "bob:x")), acl[1])
    assert requests.read_stat(reader).czxid == 2
    make(client, b"/b", acl=(*acl, ACL(Perms.ADMIN, ANYONE)))
    assert read_acls(path_op(client, Op.GET_ACL, b"/b")[1])[0].id == bob


@pytest.mark.parametrize(
    ("perms", "error"),
    [(Perms.READ, 0), (Perms.ADMIN, 0), (Perms.WRITE | Perms.CREATE | Perms.DELETE, -102)],
)
def test_get_acl_wants_the_right_to_read_or_to_administer(
    client: Client, perms: int, error: int
) -> None:
    make(client, b"/a", acl=only(perms))
    assert path_op(client, Op.GET_ACL, b"/a")[0] == error
    assert path_op(client, Op.GET_ACL, b"/missing")[0] == NoNodeError.code


# Counting, listing, and who one is


def test_all_children_are_counted_at_any_depth(client: Client) -> None:
    make(client, b"/a", b"/a/b", b"/a/b/c", b"/ab")
    counts = {
        path: path_op(client, Op.GET_ALL_CHILDREN_NUMBER, path)[1].int32()
        for path in (b"/a", b"/ab", b"/")
    }
    assert counts == {b"/a": 2, b"/ab": 0, b"/": 7}
    make(client, b"/shut", acl=only(Perms.WRITE))
    assert path_op(client, Op.GET_ALL_CHILDREN_NUMBER, b"/shut")[0] == NoAuthError.code
    assert path_op(client, Op.GET_ALL_CHILDREN_NUMBER, b"/missing")[0] == NoNodeError.code


def test_ephemerals_are_ones_own_by_prefix(client: Client) -> None:
    other = client.alone.client()
    other.create(b"/z", flags=CreateMode.EPHEMERAL)
    for path in (b"/x1", b"/x2", b"/y"):
        client.create(path, flags=CreateMode.EPHEMERAL)
    found = {
        prefix: client.call(Op.GET_EPHEMERALS, requests.PathRequest(prefix)).names
        for prefix in (b"", b"/", b" / ", b"/x", b"/x1", b"/none")
    }
    everything = [b"/x1", b"/x2", b"/y"]
    assert found == {
        b"": everything,
        b"/": everything,
        b" / ": everything,
        b"/x": everything[:2],
        b"/x1": everything[:1],
        b"/none": [],
    }


def test_who_am_i_names_schemes_and_users_without_hashes(
    make_alone: Callable[..., Alone],
) -> None:
    alone = make_alone(super_digest="super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
    client = alone.client("10.1.2.3")

    def ids() -> list[tuple[str, str]]:
        reader = Reader(client.call(Op.WHO_AM_I).body)
        return [(reader.string(), reader.string()) for _ in range(reader.int32())]

    assert ids() == [("ip", "10.1.2.3")]
    for proof in (b"bob:secret", b"bob:secret", b"super:test"):
        auth = requests.AuthPacket(0, "digest", proof)
        assert client.call(Op.AUTH, auth, requests.AUTH_XID).error == 0
    assert ids() == [("ip", "10.1.2.3"), ("digest", "bob"), ("super", ""), ("digest", "super")]


def test_sync_and_ping(client: Client) -> None:
    make(client, b"/a")
    assert client.call(Op.SYNC, requests.PathRequest(b"/any")).path == b"/any"
    ping = client.call(Op.PING, xid=requests.PING_XID)
    assert (ping.zxid, ping.error, ping.body) == (2, 0, b"")
    # Whatever xid a ping comes with, its answer has the ping's.
    client.send(Op.PING, xid=77)
    client.alone.turn()
    assert client.answers() == [(requests.PING_XID, 0)]


# Several reads in one


def test_multi_read_answers_each_part(client: Client) -> None:
    make(client, b"/a", b"/a/b")
    make(client, b"/shut", acl=only(Perms.WRITE))
    parts = [
        (Op.GET_DATA, read(b"/a", watch=True)),
        (Op.GET_CHILDREN, read(b"/a")),
        (Op.GET_DATA, read(b"/missing")),
        (Op.GET_CHILDREN, read(b"/shut")),
    ]
    reply = client.call(Op.MULTI_READ, requests.write_multi(parts))
    reader = Reader(reply.body)
    header = requests.MULTI_HEADER
    assert header.unpack(reader.raw(9)) == (Op.GET_DATA, False, 0)
    assert reader.buffer() == b"data"
    assert requests.read_stat(reader).num_children == 1
    assert header.unpack(reader.raw(9)) == (Op.GET_CHILDREN, False, 0)
    assert [reader.path() for _ in range(reader.count())] == [b"b"]
    for code in (NoNodeError.code, NoAuthError.code):
        assert (*header.unpack(reader.raw(9)), reader.int32()) == (-1, False, code, code)
    assert header.unpack(reader.raw(9)) == (-1, True, -1)
    assert reader.at_end()
    # As in Apache, where the operations of a multi know no watch.
    assert client.alone.member.server.watches.data.count() == 0


def test_multi_read_takes_only_reads_that_it_knows(client: Client) -> None:
    for op, body in ((Op.EXISTS, read(b"/")), (Op.CREATE, create(b"/a"))):
        sent = requests.write_multi([(op, body)])
        assert client.call(Op.MULTI_READ, sent).error == MarshallingError.code


def test_multi_read_stops_where_its_answer_is_too_large(
    make_alone: Callable[..., Alone],
) -> None:
    client = make_alone(own_unread_bytes_max=10_000).client()
    client.create(b"/a", bytes(4_000))
    client.create(b"/b", bytes(20_000))
    for paths, error in ((b"b", 0), (b"aaa", 0), (b"aaaa", -127), (b"ba", -127)):
        parts = [(Op.GET_DATA, read(b"/%c" % name)) for name in paths]
        reply = client.call(Op.MULTI_READ, requests.write_multi(parts))
        assert (reply.error, bool(reply.body)) == (error, not error)
    assert client.exists(b"/a").error == 0
    assert client.alone.member.server.stats.throttled_ops == 2
    assert any("asked for more in one multiRead" in note for note in client.alone.notes)


# Watches by themselves


def test_an_added_watch_needs_no_znode_and_stays(client: Client) -> None:
    assert watch_op(client, Op.ADD_WATCH, b"/a", AddWatchMode.PERSISTENT) == 0
    make(client, b"/a", b"/a/b")
    client.set(b"/a", b"x")
    client.set(b"/a/b", b"x")
    client.delete(b"/a/b")
    client.delete(b"/a")
    assert client.events() == [
        (CREATED, b"/a"),
        (CHILDREN, b"/a"),
        (CHANGED, b"/a"),
        (CHILDREN, b"/a"),
        (DELETED, b"/a"),
    ]


def test_a_recursive_watch_hears_the_subtree(client: Client) -> None:
    assert watch_op(client, Op.ADD_WATCH, b"/a", AddWatchMode.PERSISTENT_RECURSIVE) == 0
    make(client, b"/a", b"/a/b", b"/ab")
    client.set(b"/a/b", b"x")
    client.delete(b"/a/b")
    assert client.events() == [
        (CREATED, b"/a"),
        (CREATED, b"/a/b"),
        (CHANGED, b"/a/b"),
        (DELETED, b"/a/b"),
    ]


def test_add_watch_answers_with_an_error_record(client: Client) -> None:
    body = requests.WatchesRequest(b"/a", AddWatchMode.PERSISTENT)
    assert client.call(Op.ADD_WATCH, body).body == b"\0\0\0\0"
    assert watch_op(client, Op.ADD_WATCH, b"/a", 2) == MarshallingError.code


def test_watches_are_checked_and_removed_by_kind(client: Client) -> None:
    client.exists(b"/a", watch=True)
    for op in (Op.CHECK_WATCHES, Op.REMOVE_WATCHES):
        assert watch_op(client, op, b"/a", WatcherType.CHILDREN) == NoWatcherError.code
        assert watch_op(client, op, b"/b", WatcherType.DATA) == NoWatcherError.code
        assert watch_op(client, op, b"/a", 0) == MarshallingError.code
        assert watch_op(client, op, b"/a", WatcherType.DATA) == 0
    assert watch_op(client, Op.CHECK_WATCHES, b"/a", WatcherType.ANY) == NoWatcherError.code
    make(client, b"/a")
    # The server tells nobody of a watch that was removed: that is the client library's own.
    assert client.events() == []


def test_others_watches_are_not_ones_own(client: Client) -> None:
    other = client.alone.client()
    other.exists(b"/a", watch=True)
    assert watch_op(client, Op.CHECK_WATCHES, b"/a", WatcherType.ANY) == NoWatcherError.code
    assert watch_op(client, Op.REMOVE_WATCHES, b"/a", WatcherType.ANY) == NoWatcherError.code


# Watches set again after a reconnect


def rearm(
    client: Client, zxid: int, data: bytes = b"", exist: bytes = b"", child: bytes = b""
) -> None:
    lists = [[path] if path else [] for path in (data, exist, child)]
    reply = client.call(Op.SET_WATCHES, requests.SetWatches(zxid, *lists), -8)
    assert (reply.error, reply.body) == (0, b"")


def test_what_was_missed_is_told_at_once(client: Client) -> None:
    make(client, b"/a", b"/b")
    seen = client.exists(b"/a").zxid
    client.set(b"/a", b"x")
    make(client, b"/b/c")
    rearm(client, seen, data=b"/a")
    rearm(client, seen, child=b"/b")
    rearm(client, seen, exist=b"/a")
    rearm(client, seen, data=b"/gone")
    rearm(client, seen, child=b"/gone")
    assert client.events() == [
        (CHANGED, b"/a"),
        (CHILDREN, b"/b"),
        (CREATED, b"/a"),
        (DELETED, b"/gone"),
        (DELETED, b"/gone"),
    ]
    watches = client.alone.member.server.watches
    assert (watches.data.count(), watches.children.count()) == (0, 0)


def test_what_was_not_missed_is_watched(client: Client) -> None:
    make(client, b"/a")
    client.set(b"/a", b"x")
    make(client, b"/a/b")
    # The data is seen up to its last change, though the children changed since.
    rearm(client, 3, data=b"/a")
    rearm(client, 4, child=b"/a")
    rearm(client, 0, exist=b"/later")
    assert client.events() == []
    make(client, b"/a/c", b"/later")
    client.set(b"/a", b"y")
    assert client.events() == [(CHILDREN, b"/a"), (CREATED, b"/later"), (CHANGED, b"/a")]


def test_missed_events_come_before_the_reply_and_bear_no_zxid(client: Client) -> None:
    make(client, b"/a")
    client.send(Op.SET_WATCHES, requests.SetWatches(0, [b"/a"], [], []), -8)
    client.alone.turn()
    event, reply = client.heard
    assert (event.event, event.zxid) == ((CHANGED, b"/a"), -1)
    assert (reply.xid, reply.zxid) == (-8, 2)


def test_set_watches_2_knows_persistent_ones_too(client: Client) -> None:
    lists = [[b"/d"], [b"/e"], [b"/c"], [b"/p"], [b"/r"]]
    make(client, b"/d", b"/c")
    client.call(Op.SET_WATCHES2, requests.SetWatches2(99, *lists), -8)
    kinds = {
        path: [kind for kind in WatcherType if not watch_op(client, Op.CHECK_WATCHES, path, kind)]
        for path in (b"/d", b"/e", b"/c", b"/p", b"/r")
    }
    assert kinds == {
        b"/d": [WatcherType.DATA, WatcherType.ANY],
        b"/e": [WatcherType.DATA, WatcherType.ANY],
        b"/c": [WatcherType.CHILDREN, WatcherType.ANY],
        b"/p": [WatcherType.ANY, WatcherType.PERSISTENT],
        b"/r": [WatcherType.ANY, WatcherType.PERSISTENT_RECURSIVE],
    }


# What writes answer


def test_each_write_answers_as_its_opcode_says(client: Client) -> None:
    assert client.call(Op.CREATE, create(b"/a")).body == framed(b"/a")
    made = client.call(Op.CREATE2, create(b"/b-", b"123", CreateMode.EPHEMERAL_SEQUENTIAL))
    assert made.path == b"/b-0000000001"
    assert made.stat.ephemeral_owner == client.session_id
    held = client.call(Op.CREATE_CONTAINER, create(b"/c", flags=CreateMode.CONTAINER))
    assert (held.path, held.stat.ephemeral_owner) == (b"/c", 0)
    assert client.set(b"/a", b"1").stat.version == 1
    changed = client.call(Op.SET_ACL, requests.SetACLRequest(b"/a", only(Perms.ALL), -1))
    assert (changed.stat.aversion, changed.stat.version) == (1, 1)
    assert client.delete(b"/a").body == b""
