"""Sessions: ids and passwords as Apache makes them, time-outs, expiry, and their ephemerals."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from coterie.core.connection import HOLD_OUTPUT, HOLD_OUTSTANDING, Connection
from coterie.core.sessions import Sessions, first_id, password
from coterie.core.tree import Tree
from coterie.values import CreateMode
from coterie.wire.requests import Op
from tests.core.conftest import NO_SESSION, Alone, read

TICK_MS = 100


def sessions() -> Sessions:
    return Sessions(TICK_MS, 1)


def ends(it: Sessions, until_ms: int) -> list[tuple[int, int]]:
    """When each session ends, asked every millisecond."""
    return [(now, session.id) for now in range(until_ms) for session in it.expired(now)]


# What Apache makes


def test_passwords_are_those_of_java() -> None:
    # new java.util.Random(id ^ 0xB3415C00L).nextBytes(16), by hand for the first four bytes.
    assert password(0).hex()[:8] == _first_int(0xB3415C00)
    assert password(0x100000000000001).hex()[:8] == _first_int(0x100000000000001 ^ 0xB3415C00)
    assert len(password(5)) == 16
    assert password(5) != password(6)
    # Seeds that differ above bit 48 are one seed to Java.
    assert password(5) == password(5 | 1 << 60)
    assert password(-1) == password(2**48 - 1)


def _first_int(seed: int) -> str:
    state = ((seed ^ 0x5DEECE66D) * 0x5DEECE66D + 0xB) % 2**48
    return (state >> 16).to_bytes(4, "little").hex()


def test_an_id_starts_with_the_server_and_the_time() -> None:
    assert first_id(1, 0) == 0x0100000000000000
    assert first_id(1, 1) == 0x0100000000010000
    assert first_id(254, 1) < 0
    assert first_id(254, 1) % 2**64 == 0xFE00000000010000
    # Times of the same 40 bits make the same id; 2**40 ms are 34 years.
    assert first_id(1, 1_700_000_000_000) == first_id(1, 1_700_000_000_000 % 2**40)
    assert first_id(3, 1_700_000_000_000) >> 56 == 3
    assert first_id(1, 1, zxid=(2 << 32) + 7) == first_id(1, 1) + 7, "set back to that very time"


def test_an_id_that_is_taken_is_not_given_again() -> None:
    it = Sessions(TICK_MS, -1, taken={2})
    it.track(1, 400, 0)
    assert [it.new_id(), it.new_id(), it.new_id()] == [-1, 3, 4]


# Expiry in buckets


@pytest.mark.parametrize(
    ("heard_ms", "timeout_ms", "end_ms"),
    # Apache rounds up to the next tick, a whole one where it is even already.
    [(0, 400, 500), (0, 399, 400), (1, 399, 500), (99, 400, 500), (100, 400, 600)],
)
def test_a_session_ends_with_the_tick_after_its_time_out(
    heard_ms: int, timeout_ms: int, end_ms: int
) -> None:
    it = sessions()
    it.track(1, timeout_ms, heard_ms)
    assert it.next_due_ms() == end_ms
    assert ends(it, 1000) == [(end_ms, 1)]


def test_a_packet_gives_a_session_its_whole_time_again() -> None:
    it = sessions()
    session = it.track(1, 400, 0)
    session.heard_ms = 350
    assert it.expired(500) == []
    assert it.next_due_ms() == 800
    assert it.expired(799) == []
    assert it.expired(800) == [session]


def test_a_session_ends_once_and_counts_as_closing() -> None:
    it = sessions()
    session = it.track(1, 400, 0)
    assert it.expired(10_000) == [session]
    assert session.closing
    assert it.expired(20_000) == []
    assert it.next_due_ms() is None
    assert it.by_id[1] is session
    assert it.forget(1) is session
    assert it.forget(1) is None


def test_a_session_that_is_closing_already_does_not_expire_too() -> None:
    it = sessions()
    it.track(1, 400, 0).closing = True
    it.track(2, 400, 0)
    assert ends(it, 1000) == [(500, 2)]


def test_a_new_time_out_counts_from_now() -> None:
    it = sessions()
    session = it.track(1, 400, 0)
    it.retime(session, 2000, 450)
    assert ends(it, 3000) == [(2500, 1)]
    other = sessions()
    other.retime(other.track(1, 2000, 0), 200, 50)
    assert ends(other, 3000) == [(300, 1)]


def test_silence_that_is_nobodys_fault_does_not_count() -> None:
    it = sessions()
    it.track(1, 400, 0)
    it.track(2, 400, 200)
    it.lengthen(since_ms=200, late_ms=300, now_ms=550)
    assert [it.by_id[1].heard_ms, round(it.by_id[2].heard_ms)] == [300, 550]
    it.lengthen(since_ms=550, late_ms=300, now_ms=900)
    assert ends(it, 2000) == [(1100, 1), (1300, 2)]


def test_who_is_not_read_from_for_the_log_is_not_silent() -> None:
    it = sessions()
    for session_id in (1, 2):
        session = it.track(session_id, 400, 0)
        session.connection = Connection(session_id, "127.0.0.1", 1, 1000, 0, 0)
    held = it.by_id[2].connection
    assert held is not None
    held.hold = HOLD_OUTSTANDING
    assert it.by_id[2].held
    assert ends(it, 1200) == [(500, 1)]
    held.hold = HOLD_OUTPUT
    assert not it.by_id[2].held
    assert ends(it, 2000) == [(1500, 2)]


def test_time_that_jumps_ends_all_that_is_over_in_order() -> None:
    it = sessions()
    for session_id, timeout_ms in ((1, 900), (2, 200), (3, 90_000), (4, 200)):
        it.track(session_id, timeout_ms, 0)
    assert [session.id for session in it.expired(5000)] == [2, 4, 1]


def test_forgotten_sessions_do_not_end() -> None:
    it = sessions()
    it.track(1, 400, 0)
    it.forget(1)
    assert it.next_due_ms() is None
    assert ends(it, 1000) == []


def test_the_dump_shows_when_each_would_end_if_nothing_more_came() -> None:
    it = sessions()
    for session_id in (1, 2, 3):
        it.track(session_id, 400, 0)
    it.by_id[2].heard_ms = 250
    assert it.buckets() == {500: [1, 3], 700: [2]}


steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 700), st.sampled_from([200, 250, 400])),
    max_size=30,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_session_ends_early_or_more_than_a_tick_late(
    history: list[tuple[int, int, int]],
) -> None:
    it = sessions()
    heard: dict[int, tuple[int, int]] = {}
    now = 0
    for session_id, wait_ms, timeout_ms in history:
        until = now + wait_ms
        while now <= until:
            for ended in it.expired(now):
                since, allowed = heard.pop(ended.id)
                assert allowed < now - since <= allowed + TICK_MS
                it.forget(ended.id)
            for since, allowed in heard.values():
                assert now - since <= allowed + TICK_MS
            now += 1
        if session_id in heard:
            it.by_id[session_id].heard_ms = now
            heard[session_id] = (now, heard[session_id][1])
        else:
            it.track(session_id, timeout_ms, now)
            heard[session_id] = (now, timeout_ms)


# With clients


@pytest.mark.parametrize(
    ("asked_ms", "given_ms"), [(0, 200), (-5, 200), (199, 200), (700, 700), (9999, 2000)]
)
def test_the_time_out_is_between_two_ticks_and_twenty(
    alone: Alone, asked_ms: int, given_ms: int
) -> None:
    assert alone.client(timeout_ms=asked_ms).timeout_ms == given_ms


def test_the_bounds_may_be_set(make_alone: Callable[..., Alone]) -> None:
    bounds = {"min_session_timeout_given_ms": 50, "max_session_timeout_given_ms": 60}
    alone = make_alone(**bounds)
    assert [alone.client(timeout_ms=ms).timeout_ms for ms in (1, 55, 500)] == [50, 55, 60]


def test_ids_are_numbered_and_passwords_go_with_them(alone: Alone) -> None:
    one, other = alone.client(), alone.client()
    assert other.session_id == one.session_id + 1
    assert one.session_id >> 56 == 1
    assert one.password == password(one.session_id)
    assert sorted(alone.tree.sessions) == [one.session_id, other.session_id]


def test_ids_of_the_recovered_are_not_given_again(make_alone: Callable[..., Alone]) -> None:
    earlier = make_alone().client()
    tree = Tree()
    tree.sessions[earlier.session_id] = 400
    later = make_alone(tree=tree).client()
    assert later.session_id == earlier.session_id + 1


def test_an_ephemeral_lives_as_long_as_its_session_and_no_longer(alone: Alone) -> None:
    owner, other = alone.client(timeout_ms=400), alone.client(timeout_ms=2000)
    owner.create(b"/e", flags=CreateMode.EPHEMERAL)
    assert other.exists(b"/e").stat.ephemeral_owner == owner.session_id
    owner.gone()
    other.exists(b"/e", watch=True)
    alone.tick(400)
    assert other.exists(b"/e").error == 0
    alone.tick(100)
    assert other.events() == [(2, b"/e")]
    assert other.exists(b"/e").error == -101
    ended = alone.log[-1]
    assert (ended.type, ended.session_id) == (Op.CLOSE_SESSION, owner.session_id)
    assert sorted(alone.tree.sessions) == [other.session_id]


def test_whatever_a_client_sends_keeps_its_session(alone: Alone) -> None:
    owner = alone.client(timeout_ms=400)
    owner.create(b"/e", flags=CreateMode.EPHEMERAL)
    for _ in range(5):
        alone.tick(350)
        owner.call(Op.PING, xid=-2)
    for _ in range(5):
        alone.tick(350)
        owner.call(Op.GET_DATA, read(b"/"))
    assert alone.tree.get(b"/e") is not None


def test_a_session_that_is_closed_takes_its_ephemerals_with_it(alone: Alone) -> None:
    owner, other = alone.client(), alone.client()
    owner.create(b"/e", flags=CreateMode.EPHEMERAL)
    owner.create(b"/stays")
    other.exists(b"/e", watch=True)
    assert owner.call(Op.CLOSE_SESSION).error == 0
    assert owner.closed
    assert other.events() == [(2, b"/e")]
    assert alone.tree.get(b"/stays") is not None
    assert alone.client(session_id=owner.session_id, password=owner.password).timeout_ms == 0


def test_a_session_is_taken_up_again_with_id_and_password(alone: Alone) -> None:
    owner = alone.client(timeout_ms=400)
    owner.create(b"/e", flags=CreateMode.EPHEMERAL)
    owner.gone()
    alone.tick(390)
    again = alone.client(session_id=owner.session_id, password=owner.password, timeout_ms=1000)
    assert (again.session_id, again.timeout_ms) == (owner.session_id, 1000)
    alone.tick(1000)
    assert again.exists(b"/e").stat.ephemeral_owner == again.session_id
    # No txn tells of it.
    assert [txn.type for txn in alone.log] == [Op.CREATE_SESSION, Op.CREATE2]


def test_the_wrong_password_is_told_that_there_is_no_session(alone: Alone) -> None:
    owner = alone.client()
    for wrong in (NO_SESSION, b"", owner.password[:-1], owner.password + b"x"):
        thief = alone.client(session_id=owner.session_id, password=wrong)
        assert thief.hello is not None
        assert (thief.hello.timeout_ms, thief.hello.session_id) == (0, 0)
        assert thief.hello.password == NO_SESSION
        assert thief.closed
    assert owner.exists(b"/").error == 0


def test_a_session_that_moves_leaves_its_old_connection(alone: Alone) -> None:
    old = alone.client()
    new = alone.client(session_id=old.session_id, password=old.password)
    assert old.closed
    assert not new.closed
    assert new.create(b"/e", flags=CreateMode.EPHEMERAL).error == 0
    alone.tick(100)
    assert alone.tree.sessions == {new.session_id: 400}


def test_the_end_of_the_old_connection_is_not_the_end_of_the_session(alone: Alone) -> None:
    old = alone.client()
    new = alone.client(session_id=old.session_id, password=old.password)
    alone.member.disconnected(old.connection)
    session = alone.member.sessions.by_id[new.session_id]
    assert session.connection is new.connection


def test_a_session_on_its_way_out_is_not_taken_up_again(slow: Alone) -> None:
    owner = slow.stranger()
    owner.connect(timeout_ms=200)
    slow.sync()
    owner.gone()
    slow.tick(300)
    late = slow.client(session_id=owner.session_id, password=owner.password)
    assert late.closed
    assert late.timeout_ms == 0
    slow.sync()
    assert slow.tree.sessions == {}


def test_an_expired_clients_connection_is_closed(alone: Alone) -> None:
    client = alone.client(timeout_ms=200)
    alone.tick(300)
    assert client.closed
    assert any("expired" in note for note in alone.notes)


def test_recovered_sessions_get_a_whole_time_out(make_alone: Callable[..., Alone]) -> None:
    tree = Tree()
    tree.sessions[0x100000000000009] = 400
    alone = make_alone(tree=tree)
    session = alone.member.sessions.by_id[0x100000000000009]
    assert session.heard_ms == alone.now_ms
    alone.tick(400)
    assert tree.sessions
    alone.tick(100)
    assert not tree.sessions
