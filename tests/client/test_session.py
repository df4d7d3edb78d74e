"""The client's session against a server machine: what it promises when connections come and go."""

from __future__ import annotations

import pytest

from coterie.client import calls
from coterie.client.session import Settings
from coterie.errors import (
    AuthFailedError,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    OutcomeUnknown,
    SessionExpiredError,
    TooLargeError,
)
from coterie.values import OPEN_ACL, AddWatchMode, CreateMode, EventType, SessionState
from coterie.wire.requests import NOTIFICATION_XID, WatcherEvent, reply
from tests.client.duet import HOSTS, Duet, connected

LOST, SUSPENDED, CONNECTED = SessionState.LOST, SessionState.SUSPENDED, SessionState.CONNECTED


def create(path: str, data: bytes = b"", mode: CreateMode = CreateMode.PERSISTENT) -> calls.Call:
    return calls.create(path.encode(), path, data, OPEN_ACL, mode, 0)


def get(path: str) -> calls.Call:
    return calls.get(path.encode(), path)


def test_a_call_is_answered_with_what_it_asks_for() -> None:
    duet = connected()
    made = duet.call(create("/a", b"x"))
    assert made.result.path == "/a"
    assert made.result.stat.version == 0
    found = duet.call(get("/a"))
    assert found.result.data == b"x"
    assert duet.session.last_zxid == found.result.stat.mzxid


def test_an_error_has_its_class_the_operation_and_the_path() -> None:
    duet = connected()
    duet.call(create("/a"))
    error = duet.call(create("/a")).error
    assert isinstance(error, NodeExistsError)
    assert str(error) == "create /a: The znode exists already"
    assert isinstance(duet.call(get("/none")).error, NoNodeError)
    assert duet.call(calls.exists(b"/none", "/none")).result is None


def test_what_is_asked_for_before_there_is_a_server_waits_for_it() -> None:
    duet = Duet()
    answer = duet.ask(create("/a"))
    duet.run(100)
    assert answer.result.path == "/a"


def test_a_read_is_sent_again_over_the_next_connection_in_its_place() -> None:
    duet = connected()
    duet.call(create("/a", b"x"))
    duet.mute = True
    first, second = duet.ask(get("/a")), duet.ask(get("/none"))
    duet.run(20)
    duet.cut()
    third = duet.ask(get("/a"))
    assert not first.done
    duet.mute = False
    duet.run(200)
    assert first.result.data == third.result.data == b"x"
    assert isinstance(second.error, NoNodeError)


def test_a_write_that_was_sent_has_an_unknown_outcome_and_is_not_sent_again() -> None:
    """As in Jepsen's finding of 2024 on a client of etcd that sent writes twice."""
    duet = connected()
    duet.mute = True
    sent = duet.ask(create("/arrived"))
    duet.run(20)
    duet.deaf = True
    lost = duet.ask(create("/lost"))
    duet.run(20)
    duet.cut()
    assert isinstance(sent.error, OutcomeUnknown)
    assert isinstance(lost.error, OutcomeUnknown)
    assert str(sent.error).startswith("create /arrived: ")
    duet.mute = duet.deaf = False
    duet.run(200)
    assert duet.call(get("/arrived")).error is None
    assert isinstance(duet.call(get("/lost")).error, NoNodeError)


def test_a_write_that_was_not_sent_waits_for_the_session_to_go_on() -> None:
    duet = connected()
    duet.cut()
    answer = duet.ask(create("/a"))
    duet.run(200)
    assert answer.result.path == "/a"
    assert duet.states == [CONNECTED, SUSPENDED, CONNECTED]


def test_the_session_and_its_ephemerals_outlive_a_connection() -> None:
    duet = connected()
    duet.call(create("/e", mode=CreateMode.EPHEMERAL))
    before = duet.session.id
    duet.cut()
    duet.run(200)
    assert duet.session.id == before
    assert duet.call(get("/e")).result.stat.ephemeral_owner == before


def test_the_session_is_over_by_the_clients_own_clock_kazoo_89() -> None:
    """All servers are down: nobody can say that it has expired, and the client knows it."""
    duet = connected()
    write, read = duet.ask(create("/a")), duet.ask(get("/a"))
    duet.answers = False
    duet.run(20)
    duet.cut()
    waits, reads = duet.ask(create("/b")), duet.ask(get("/a"))
    started_ms = duet.now_ms
    while LOST not in duet.states:
        duet.run(10)
    assert duet.now_ms - started_ms <= duet.session.settings.timeout_ms
    assert duet.session.state == LOST
    assert write.result is not None
    assert read.result is not None
    assert isinstance(waits.error, SessionExpiredError)
    assert not reads.done
    duet.answers = True
    duet.run(3000)
    assert duet.states[-1] == CONNECTED
    assert reads.result is not None


def test_it_ends_no_later_for_the_client_than_for_the_server() -> None:
    """Whoever holds something by it has to be told before the server can give it to another."""
    duet = connected()
    old = duet.session.id
    duet.deaf = True
    while LOST not in duet.states:
        duet.run(10)
        assert old in duet.server.sessions.by_id or LOST in duet.states
    assert old in duet.server.sessions.by_id


def test_an_expired_session_is_not_what_a_slow_reconnect_is_called_kazoo_570() -> None:
    duet = connected()
    duet.answers = False
    duet.cut()
    read = duet.ask(get("/a"))
    duet.run(400)
    assert duet.states[-1] == SUSPENDED
    assert not read.done
    duet.answers = True
    duet.run(700)
    assert duet.states[-1] == CONNECTED
    assert LOST not in duet.states
    assert isinstance(read.error, NoNodeError)


def test_a_server_that_does_not_know_the_session_any_more_ends_it_at_once() -> None:
    duet = connected()
    first = duet.session.id
    duet.cut()
    del duet.server.sessions.by_id[first]
    duet.run(300)
    assert duet.states == [CONNECTED, SUSPENDED, LOST, CONNECTED]
    assert duet.session.id not in (0, first)


def test_a_server_that_falls_silent_is_left_for_another() -> None:
    duet = connected()
    duet.mute = True
    read = duet.ask(get("/a"))
    duet.run(700)
    assert duet.session.state == SUSPENDED
    duet.mute = False
    duet.run(600)
    assert duet.session.state == CONNECTED
    assert duet.dialled[1] != duet.dialled[0]
    assert read.done


def test_pings_keep_an_idle_session_alive() -> None:
    duet = connected()
    first = duet.session.id
    duet.run(20_000)
    assert duet.session.id == first
    assert duet.states == [CONNECTED]


def test_who_only_hears_events_pings_too() -> None:
    """A server counts what it hears of a client, not what it tells him."""
    duet = connected()
    event = reply(NOTIFICATION_XID, -1, 0, WatcherEvent(3, 3, b"/a").encode())
    for _ in range(50):
        duet.run(100)
        duet.session.receive(event)
    assert duet.states == [CONNECTED]


def test_no_call_hangs_kazoo_241() -> None:
    duet = connected()
    duet.mute = True
    write, read = duet.ask(create("/a"), 300), duet.ask(get("/a"), 300)
    duet.run(400)
    assert isinstance(write.error, OutcomeUnknown)
    assert isinstance(read.error, OperationTimeoutError)


def test_a_call_that_was_never_sent_says_so() -> None:
    duet = Duet()
    duet.answers = False
    write, read = duet.ask(create("/a"), 300), duet.ask(get("/a"), 300)
    duet.run(400)
    assert isinstance(write.error, OperationTimeoutError)
    assert not isinstance(write.error, OutcomeUnknown)
    assert isinstance(read.error, OperationTimeoutError)


def test_an_answer_that_comes_too_late_does_no_harm() -> None:
    duet = connected()
    duet.call(create("/a"))
    duet.server.tick(duet.now_ms, 0)
    late = duet.ask(get("/a"), 0)
    duet.run(10)
    assert isinstance(late.error, OperationTimeoutError)
    assert duet.call(get("/a")).error is None


def test_what_is_too_large_is_said_before_it_is_sent_helix_962() -> None:
    duet = connected(Settings(1000, 300.0, request_bytes_max=1000))
    answer = duet.call(create("/a", b"x" * 1000))
    assert isinstance(answer.error, TooLargeError)
    assert duet.states == [CONNECTED]
    assert duet.call(create("/a", b"x" * 900)).error is None


def test_one_shot_watches_outlive_a_connection_and_miss_nothing_kazoo_151() -> None:
    duet = connected()
    duet.call(create("/a"))
    duet.call(calls.watching(get("/a"), b"/a", duet.watcher()))
    duet.call(calls.watching(calls.exists(b"/b", "/b"), b"/b", duet.watcher()))
    duet.call(calls.watching(calls.children(b"/", "/"), b"/", duet.watcher()))
    duet.cut()
    other = duet.server.connected("127.0.0.2", 6, duet.now_ms)
    _as_another(duet, other, create("/b"))
    duet.run(300)
    assert sorted(duet.events) == [
        (EventType.NODE_CREATED, b"/b"),
        (EventType.NODE_CHILDREN_CHANGED, b"/"),
    ]
    duet.call(calls.set_data(b"/a", "/a", b"y", -1))
    assert duet.events[-1] == (EventType.NODE_DATA_CHANGED, b"/a")


def test_one_shot_watches_outlive_even_the_session() -> None:
    duet = connected()
    duet.call(create("/a"))
    duet.call(calls.watching(get("/a"), b"/a", duet.watcher()))
    duet.cut()
    del duet.server.sessions.by_id[duet.session.id]
    other = duet.server.connected("127.0.0.2", 6, duet.now_ms)
    _as_another(duet, other, calls.delete(b"/a", "/a", -1))
    duet.run(300)
    assert LOST in duet.states
    assert duet.events == [(EventType.NODE_DELETED, b"/a")]


def _as_another(duet: Duet, connection: object, call: calls.Call) -> None:
    """Let another client do something while this one is away."""
    from coterie.wire import requests

    hello = requests.ConnectRequest(0, 0, 1000, 0, bytes(16)).encode() + b"\0"
    body = requests.RequestHeader(1, call.op).encode() + call.body
    for payload in (hello, body):
        frame = len(payload).to_bytes(4, "big") + payload
        duet.server.receive(connection, frame, duet.now_ms)  # type: ignore[arg-type]
        effects = duet.server.take()
        if effects.appends:
            duet.server.synced(effects.appends[-1].zxid, duet.now_ms)
        duet.server.take()


def test_lasting_watches_are_armed_again_and_told_of_the_gap() -> None:
    duet = connected()
    duet.session.watches.add(AddWatchMode.PERSISTENT_RECURSIVE, b"/", duet.watcher())
    duet.call(calls.add_watch(b"/", "/", AddWatchMode.PERSISTENT_RECURSIVE))
    duet.call(create("/a"))
    assert duet.events == [(EventType.NODE_CREATED, b"/a")]
    duet.cut()
    duet.run(200)
    assert duet.events[1:] == [(EventType.NONE, b"/")]
    duet.call(create("/b"))
    assert duet.events[2:] == [(EventType.NODE_CREATED, b"/b")]


def test_who_the_client_is_is_said_again_over_every_connection() -> None:
    duet = connected(Settings(1000, 300.0, auth=[("digest", b"u:p")]))
    duet.call(calls.auth("digest", b"v:q"))
    assert len(duet.call(calls.who_am_i()).result) == 3
    duet.cut()
    duet.run(200)
    assert len(duet.call(calls.who_am_i()).result) == 3


def test_a_refused_authentication_ends_it() -> None:
    duet = connected()
    waits = duet.ask(get("/a"))
    refused = duet.call(calls.auth("no-such-scheme", b""))
    assert isinstance(refused.error, AuthFailedError)
    assert waits.done
    assert duet.states[-1] == SessionState.AUTH_FAILED
    duet.run(1000)
    assert len(duet.dialled) == 1
    assert isinstance(duet.call(get("/a")).error, AuthFailedError)


def test_to_close_ends_the_session_for_the_server_too() -> None:
    duet = connected()
    duet.call(create("/e", mode=CreateMode.EPHEMERAL))
    old = duet.session.id
    duet.session.close()
    duet.run(50)
    assert duet.states[-1] == SessionState.CLOSED
    assert old not in duet.server.sessions.by_id
    assert isinstance(duet.call(get("/a")).error, SessionExpiredError)
    duet.run(5000)
    assert len(duet.dialled) == 1


def test_to_close_ends_also_when_the_session_does_meanwhile() -> None:
    """A process that stood still while it closed: the time-out and the end are one turn's."""
    duet = connected()
    duet.deaf = True
    duet.session.close()
    duet.run(10)
    duet.now_ms += 5000
    duet.run(10)
    assert duet.session.state == SessionState.CLOSED
    duet.run(5000)
    assert duet.session.state == SessionState.CLOSED
    assert len(duet.dialled) == 1


def test_to_close_without_a_server_waits_for_none() -> None:
    duet = connected()
    duet.answers = False
    duet.cut()
    waits = duet.ask(create("/a"))
    duet.session.close()
    duet.run(10)
    assert duet.states[-1] == SessionState.CLOSED
    assert isinstance(waits.error, SessionExpiredError)


def test_what_a_caller_gave_up_before_it_was_sent_is_not_sent() -> None:
    duet = connected()
    duet.cut()
    given_up = create("/a")
    given_up.cancelled = lambda: True
    duet.ask(given_up)
    duet.run(200)
    assert isinstance(duet.call(get("/a")).error, NoNodeError)


@pytest.mark.parametrize("answer", [b"\xff" * 8, b"\0\0\0\x10" + b"\x11" * 16])
def test_a_server_that_talks_nonsense_is_left(answer: bytes) -> None:
    duet = connected()
    read = duet.ask(get("/a"))
    duet.session.receive(answer)
    duet.run(20)
    assert SUSPENDED in duet.states
    duet.run(200)
    assert duet.states[-1] == CONNECTED
    assert read.done


def test_the_failure_is_told_in_words() -> None:
    duet = Duet()
    duet.answers = False
    duet.run(500)
    assert duet.session.failure in {f"{host}: nobody listens" for host in HOSTS}
