"""Who has too much that waits for the log is not read, and nobody else; and is read again."""

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
