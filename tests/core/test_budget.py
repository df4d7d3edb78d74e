"""Who has too much that waits for the log is not read, and nobody else; and is read again.

Nor are answers behind a write made without end for one that does not take them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.core.connection import HOLD_OUTSTANDING
from coterie.core.prepare import Write
from coterie.errors import ServerFailureError
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client, create, read

MakeAlone = Callable[..., Alone]


def behind(alone: Alone, reads: int, *, client: Client | None = None) -> Client:
    """A client that writes to a disk that waits, and sends so many reads behind that."""
    client = client or alone.client(timeout_ms=2000)
    alone.slow = True
    client.send(Op.CREATE, create(b"/a"))
    client.say(b"".join(client.frame(Op.EXISTS, read(b"/a")) for _ in range(reads)))
    alone.turn()
    return client


def held(client: Client) -> bool:
    return bool(client.connection.hold & HOLD_OUTSTANDING)


def test_reads_behind_a_write_count_for_the_limit_of_all(make_alone: MakeAlone) -> None:
    alone = make_alone(outstanding_max=5)
    client = behind(alone, 20)
    assert held(client)
    assert alone.member.server.outstanding == 6
    alone.sync()
    assert client.answers() == [(i, 0) for i in range(1, 22)]
    assert not held(client)
    assert alone.member.server.outstanding == 0


def test_the_limit_of_one_is_no_matter_of_the_others(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_max=4)
    other = alone.client(timeout_ms=2000)
    client = behind(alone, 9)
    assert held(client)
    assert len(client.connection.fifo) == 5
    # Others read, and their writes are taken.
    assert other.exists(b"/").error == 0
    other.send(Op.CREATE, create(b"/b"))
    alone.turn()
    assert not held(other)
    assert len(alone.asked) == 2
    alone.sync()
    assert client.answers() == [(i, 0) for i in range(1, 11)]
    [said] = [note for note in alone.notes if "not reading from 127.0.0.1:4000" in note]
    assert "5 of its requests wait" in said
    assert alone.member.server.stats.holds >= 1


def test_who_is_held_goes_on_when_half_is_answered(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_max=4)
    client = alone.client(timeout_ms=2000)
    alone.slow = True
    client.say(b"".join(client.frame(Op.CREATE, create(b"/%d" % i)) for i in range(9)))
    alone.turn()
    taken = []
    for _ in range(9):
        alone.sync(1)
        taken.append(len(client.connection.fifo))
    assert taken == [4, 3, 5, 4, 3, 3, 2, 1, 0]
    assert client.answers() == [(i, 0) for i in range(1, 10)]


def test_requests_that_wait_count_by_their_size_as_well(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_bytes_max=10_000)
    client = alone.client(timeout_ms=2000)
    alone.slow = True
    for i in range(4):
        client.send(Op.CREATE, create(b"/%d" % i, bytes(4000)))
    alone.turn()
    assert held(client)
    assert len(alone.asked) == 3
    alone.sync(2)
    # What it sent is not counted off one by one: it goes on when nothing waits.
    assert held(client)
    alone.sync()
    assert not held(client)
    assert len(alone.asked) == 1
    alone.sync()
    assert client.answers() == [(i, 0) for i in range(1, 5)]


def test_who_takes_turns_with_the_log_is_never_held_by_size(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_bytes_max=10_000)
    client = alone.client(timeout_ms=2000)
    for i in range(9):
        assert client.create(b"/%d" % i, bytes(4000)).error == 0
    assert alone.member.server.stats.holds == 0


def test_a_proof_behind_a_write_counts_too(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_max=2)
    client = behind(alone, 0)
    proof = requests.AuthPacket(0, "digest", b"a:b")
    client.say(b"".join(client.frame(Op.AUTH, proof) for _ in range(5)))
    assert len(client.connection.fifo) == 3
    alone.sync()
    assert client.answers() == [(i, 0) for i in range(1, 7)]


def test_apaches_limit_of_requests_in_process_is_the_same(make_alone: MakeAlone) -> None:
    client = behind(make_alone(requests_in_process_max=3), 9)
    assert len(client.connection.fifo) == 4
    client = behind(make_alone(requests_in_process_max=30, outstanding_max=5), 9)
    assert len(client.connection.fifo) == 6


# Ways in which what waits comes to an end


def the_write(client: Client) -> Write:
    write = client.connection.fifo[0]
    assert isinstance(write, Write)
    return write


@pytest.mark.parametrize("limit", ["outstanding_max", "own_outstanding_max"])
def test_a_refusal_lets_go(make_alone: MakeAlone, limit: str) -> None:
    """As a leader refuses what a learner forwarded: no txn comes of it."""
    alone = make_alone(**{limit: 2})
    client = behind(alone, 5)
    assert held(client)
    alone.member.server.refuse(the_write(client), ServerFailureError())
    alone.turn()
    assert not held(client)
    assert [error for _, error in client.answers()] == [ServerFailureError.code] + [-101] * 5


@pytest.mark.parametrize("limit", ["outstanding_max", "own_outstanding_max"])
def test_a_sync_that_is_through_lets_go(make_alone: MakeAlone, limit: str) -> None:
    """As with a learner, whose sync goes to the leader and is no txn."""
    alone = make_alone(**{limit: 2})
    server = alone.member.server
    client = alone.client(timeout_ms=2000)
    writes: list[Write] = []
    server.shut()
    alone.turn()
    server.open(alone.tree, alone.member.sessions, writes.append, sync_goes_through=True)
    client = alone.stranger().connect(client.session_id, client.password)
    client.send(Op.SYNC, requests.PathRequest(b"/"))
    client.say(b"".join(client.frame(Op.EXISTS, read(b"/")) for _ in range(5)))
    assert held(client)
    server.caught_up(writes[0])
    alone.turn()
    assert not held(client)
    assert client.answers() == [(i, 0) for i in range(1, 7)]


def test_a_connection_that_goes_lets_the_others_go_on(make_alone: MakeAlone) -> None:
    alone = make_alone(outstanding_max=5)
    other = alone.client(timeout_ms=2000)
    client = behind(alone, 20)
    other.send(Op.CREATE, create(b"/b"))
    other.send(Op.EXISTS, read(b"/b"))
    assert held(other)
    client.gone()
    alone.turn()
    # Its write is still under way; what it wanted to read is nobody's any more.
    assert alone.member.server.outstanding == 3
    assert alone.member.server.stats.stale_dropped == 5
    assert not held(other)
    alone.sync()
    assert other.answers() == [(1, 0), (2, 0)]


def test_a_role_that_ends_holds_nobody(make_alone: MakeAlone) -> None:
    alone = make_alone(outstanding_max=2)
    client = behind(alone, 5)
    alone.member.server.shut()
    alone.turn()
    assert client.closed
    assert alone.member.server._budget.held == {}


# Answers that are not taken


def asks_much(alone: Alone, reads: int, op: int = Op.GET_DATA) -> Client:
    """A client that writes to a disk that waits, and reads 400 KB so many times behind that."""
    client = alone.client(timeout_ms=400)
    client.create(b"/big", b"a" * 400_000)
    client.answers()
    client.heard_bytes = 0
    alone.slow = True
    client.send(Op.CREATE, create(b"/other"))
    client.say(b"".join(client.frame(op, read(b"/big")) for _ in range(reads)))
    alone.turn()
    return client


def take(client: Client) -> int:
    """The client takes what there is until nothing more comes; in how many rounds."""
    for rounds in range(1_000):
        client.alone.turn()
        if not client.connection.hold:
            return rounds
        client.alone.member.drained(client.connection, client.alone.now_ms)
    raise AssertionError("it never has all")


def test_answers_behind_a_write_wait_until_they_are_taken(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_max=40)
    client = asks_much(alone, 60)
    alone.sync()
    assert client.heard_bytes < 2**20 + 400_200
    # What waits for nobody but its client takes no room from the others.
    assert alone.member.server.outstanding == 0
    assert take(client) == 19
    assert client.answers() == [(xid, 0) for xid in range(2, 63)]
    assert alone.member.server.outstanding == 0


def test_a_later_write_is_done_after_the_reads_before_it(make_alone: MakeAlone) -> None:
    alone = make_alone()
    client = asks_much(alone, 5)
    client.send(Op.GET_DATA, read(b"/big", watch=True))
    client.send(Op.SET_DATA, requests.SetDataRequest(b"/big", b"b" * 400_000, -1))
    client.say(b"".join(client.frame(Op.GET_DATA, read(b"/big")) for _ in range(4)))
    alone.sync()
    # The event is of the watch that the last of the reads before the write has set.
    assert [reply.xid for reply in client.heard] == [2, 3, 4, 5, 6, 7, 8, -1, 9]
    assert take(client) == 2
    data = [reply.body[4:5] for reply in client.heard if reply.xid > 2 and reply.xid != 9]
    assert data == [b"a"] * 6 + [b"b"] * 4
    assert alone.member.server.outstanding == 0


def test_a_sync_comes_after_the_reads_before_it(make_alone: MakeAlone) -> None:
    alone = make_alone()
    client = asks_much(alone, 5)
    server = alone.member.server
    server._through = server._through | {Op.SYNC}
    server._submit = lambda write: None
    client.send(Op.SYNC, requests.PathRequest(b"/"))
    sync = client.connection.fifo[-1]
    assert isinstance(sync, Write)
    alone.sync()
    assert client.connection.late == 2
    server.caught_up(sync)
    alone.turn()
    assert client.answers() == [(xid, 0) for xid in range(2, 9)]
    assert server.outstanding == 0


def test_who_asks_for_too_much_before_a_write_is_cut_off(make_alone: MakeAlone) -> None:
    alone = make_alone(own_unread_bytes_max=2**21)
    client, other = asks_much(alone, 9), alone.stranger()
    client.send(Op.CREATE, create(b"/b"))
    client.send(Op.GET_DATA, read(b"/big"))
    alone.sync()
    assert client.closed
    assert client.heard == []
    assert b"/b" in alone.tree.nodes
    server = alone.member.server
    assert (server.outstanding, server.stats.cut_off, server.stats.gone) == (0, 1, 1)
    assert any("it does not read what it asked for" in note for note in alone.notes)
    # Its session is there for whoever comes back.
    other.connect(client.session_id, client.password)
    assert other.session_id == client.session_id


def test_who_takes_nothing_is_silent(make_alone: MakeAlone) -> None:
    alone = make_alone(own_outstanding_max=20)
    client = asks_much(alone, 30)
    assert held(client)
    alone.tick(2000)
    alone.sync()
    # As long as the log was behind it could not speak.
    assert client.session_id in alone.tree.sessions
    assert held(client)
    alone.tick(300)
    alone.sync()
    assert client.session_id in alone.tree.sessions
    alone.tick(600)
    alone.sync()
    assert client.session_id not in alone.tree.sessions
    assert client.closed


# Watches


def watch(client: Client, op: int, path: bytes) -> int:
    """The error of setting a watch."""
    return client.call(op, read(path, watch=True)).error


def test_a_watch_too_many_is_refused_and_nothing_else(make_alone: MakeAlone) -> None:
    alone = make_alone(own_watches_max=2)
    client, other = alone.client(), alone.client()
    for path in (b"/a", b"/b", b"/c"):
        client.create(path)
    assert [watch(client, Op.GET_DATA, path) for path in (b"/a", b"/b", b"/c")] == [0, 0, -127]
    assert watch(client, Op.EXISTS, b"/c") == -127
    assert client.call(Op.ADD_WATCH, requests.WatchesRequest(b"/c", 1)).error == -127
    assert watch(client, Op.GET_DATA, b"/a") == 0
    assert watch(client, Op.GET_CHILDREN, b"/c") == 0
    assert client.call(Op.GET_DATA, read(b"/c")).error == 0
    assert watch(other, Op.GET_DATA, b"/c") == 0
    assert alone.member.server.stats.throttled_ops == 3
    assert sum("all watches that it may" in note for note in alone.notes) == 1


def test_who_cannot_have_its_watches_back_is_not_left_without_them(make_alone: MakeAlone) -> None:
    client = make_alone(own_watches_max=2).client()
    back = requests.SetWatches(0, [b"/", b"/zookeeper"], [b"/c"], [])
    assert client.call(Op.SET_WATCHES, back, requests.SET_WATCHES_XID).error == -127
    assert client.closed
    assert client.alone.member.server.watches.data.count() == 0
