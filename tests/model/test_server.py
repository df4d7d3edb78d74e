"""A whole server against the model: what each client hears, in which order, to the byte.

The model does a write when it becomes durable, and a read when no write of the same client is
before it; so it states what the server promises: one order of writes, each client's answers in
its order, events before answers that show the change, sessions that end when their time is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from coterie.core.sessions import first_id, password
from coterie.errors import OK, ZooKeeperError
from coterie.testing.model import Model
from coterie.values import (
    ACL,
    ANYONE,
    OPEN_ACL,
    READ_ACL,
    ACLs,
    CreateMode,
    Perms,
    Stat,
    WatcherType,
)
from coterie.wire import requests
from coterie.wire.jute import Record
from coterie.wire.requests import STAT, Op
from tests.core.conftest import Alone, Client, Reply, framed

TICK_MS = 100

paths = st.sampled_from([b"/a", b"/b", b"/a/c", b"/a/c/d", b"/"])
versions = st.sampled_from([-1, -1, 0, 1])
acls = st.sampled_from([OPEN_ACL, OPEN_ACL, READ_ACL, (ACL(Perms.ALL & ~Perms.READ, ANYONE),)])
modes = st.sampled_from([CreateMode(flags) for flags in range(4)])
which = st.integers(0, 10)

Body = bytes | list[bytes]
Paths = list[bytes]


class Ask(NamedTuple):
    """A request, and what the model does for it, given who asks (a session, or a watcher)."""

    op: int
    body: Record | bytes
    model: Callable[[Model, int], Body]


def stat_bytes(stat: Stat | None) -> bytes:
    assert stat is not None
    return STAT.pack(*stat)


def create(path: bytes, acl: ACLs, mode: CreateMode) -> Ask:
    def done(model: Model, who: int) -> Body:
        made, stat = model.create(who, path, b"data", acl, mode)
        return framed(made) + stat_bytes(stat)

    return Ask(Op.CREATE2, requests.CreateRequest(path, b"data", acl, mode), done)


def set_data(path: bytes, version: int) -> Ask:
    def done(model: Model, who: int) -> Body:
        return stat_bytes(model.set_data(who, path, b"new", version)[1])

    return Ask(Op.SET_DATA, requests.SetDataRequest(path, b"new", version), done)


def delete(path: bytes, version: int) -> Ask:
    def done(model: Model, who: int) -> Body:
        model.delete(who, path, version)
        return b""

    return Ask(Op.DELETE, requests.DeleteRequest(path, version), done)


def exists(path: bytes, watch: bool) -> Ask:
    def done(model: Model, who: int) -> Body:
        return stat_bytes(model.exists(who, path, watch))

    return Ask(Op.EXISTS, requests.PathWatchRequest(path, watch), done)


def get_data(path: bytes, watch: bool) -> Ask:
    def done(model: Model, who: int) -> Body:
        data, stat = model.get_data(who, path, watch)
        return framed(data or b"") + stat_bytes(stat)

    return Ask(Op.GET_DATA, requests.PathWatchRequest(path, watch), done)


def get_children(path: bytes, watch: bool) -> Ask:
    def done(model: Model, who: int) -> Body:
        return model.get_children(who, path, watch)

    return Ask(Op.GET_CHILDREN, requests.PathWatchRequest(path, watch), done)


def add_watch(path: bytes, recursive: bool) -> Ask:
    def done(model: Model, who: int) -> Body:
        model.add_watch(who, path, recursive)
        return bytes(4)

    return Ask(Op.ADD_WATCH, requests.WatchesRequest(path, recursive), done)


def remove_watches(path: bytes, type: WatcherType) -> Ask:
    def done(model: Model, who: int) -> Body:
        model.remove_watches(who, path, type)
        return b""

    return Ask(Op.REMOVE_WATCHES, requests.WatchesRequest(path, type), done)


def set_watches(seen: int, data: Paths, exist: Paths, child: Paths) -> Ask:
    def done(model: Model, who: int) -> Body:
        model.set_watches(who, seen, data, exist, child)
        return b""

    return Ask(Op.SET_WATCHES, requests.SetWatches(seen, data, exist, child), done)


asks = st.one_of(
    st.builds(create, paths, acls, modes),
    st.builds(create, paths, acls, modes),
    st.builds(set_data, paths, versions),
    st.builds(delete, paths, versions),
    st.builds(exists, paths, st.booleans()),
    st.builds(get_data, paths, st.booleans()),
    st.builds(get_children, paths, st.booleans()),
    st.builds(add_watch, paths, st.booleans()),
    st.builds(remove_watches, paths, st.sampled_from(list(WatcherType))),
    st.builds(set_watches, st.integers(0, 30), *[st.lists(paths, max_size=2)] * 3),
)
WRITES = (Op.CREATE2, Op.SET_DATA, Op.DELETE)


class Expected:
    """What one client must have heard by now, and what of it still waits."""

    def __init__(self, client: Client, watcher: int, session: int, timeout_ms: int) -> None:
        self.client = client
        self.watcher = watcher
        self.session = session
        self.timeout_ms = timeout_ms
        self.heard: list[tuple[int, int, int, Body]] = []
        self.waiting: deque[tuple[int, Ask] | None] = deque()
        """Reads behind a write of its own; None is a write."""
        self.xid = 0
        self.ending = False
        """It has said its last, or its session ends."""


class Queued(NamedTuple):
    """A write on its way through the log; without an `ask` it ends the session."""

    session: int
    wall_ms: int
    ask: Ask | None
    who: Expected | None = None
    xid: int = 0


class ServerMachine(RuleBasedStateMachine):
    """Clients come, ask, break off and come back; the disk gets on by one txn or by many."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = Alone(slow=True)
        self.model = Model()
        self.clients: list[Expected] = []
        self.writes: deque[Queued] = deque()
        self.next_id = first_id(1, self.alone.wall_ms)
        self.heard_ms: dict[int, float] = {}
        self.timeouts: dict[int, int] = {}

    @initialize()
    def begin(self) -> None:
        for timeout_ms in (200, 1000):
            self.connect(timeout_ms)

    # What clients do

    @rule(timeout_ms=st.sampled_from([200, 400, 1000]))
    def connect(self, timeout_ms: int) -> None:
        client = self.alone.client(timeout_ms=timeout_ms)
        session, self.next_id = self.next_id, self.next_id + 1
        self.timeouts[session] = timeout_ms
        self.heard_ms[session] = self.alone.now_ms
        self.sync_all()
        self.model.open_session(session)
        self.alone.sync()
        assert (client.session_id, client.timeout_ms) == (session, timeout_ms)
        self.clients.append(Expected(client, len(self.clients), session, timeout_ms))

    def pick(self, number: int) -> Expected | None:
        able = [each for each in self.clients if not each.ending and not each.client.closed]
        return able[number % len(able)] if able else None

    @rule(number=which, several=st.lists(asks, min_size=1, max_size=4))
    def ask(self, number: int, several: list[Ask]) -> None:
        who = self.pick(number)
        if who is None:
            return
        frames = b""
        for each in several:
            who.xid += 1
            frames += who.client.frame(each.op, each.body, who.xid)
            if each.op in WRITES:
                who.waiting.append(None)
                self.writes.append(Queued(who.session, self.alone.wall_ms, each, who, who.xid))
            elif who.waiting:
                who.waiting.append((who.xid, each))
            else:
                self.answer(who, who.xid, each, who.watcher)
        who.client.say(frames)
        self.heard_ms[who.session] = self.alone.now_ms
        self.compare()

    @rule(number=which)
    def close(self, number: int) -> None:
        who = self.pick(number)
        if who is not None:
            who.xid += 1
            who.ending = True
            who.waiting.append(None)
            self.writes.append(Queued(who.session, self.alone.wall_ms, None, who, who.xid))
            who.client.send(Op.CLOSE_SESSION, b"", who.xid)
            self.compare()

    @rule(number=which)
    def break_off(self, number: int) -> None:
        who = self.pick(number)
        if who is not None:
            who.client.gone()
            self.leave(who)

    @rule(number=which, timeout_ms=st.sampled_from([200, 1000]))
    def come_back(self, number: int, timeout_ms: int) -> None:
        """Take a session up again, whether or not its old connection has ended."""
        able = sorted(self.timeouts)
        session = able[number % len(able)]
        client = self.alone.client(
            session_id=session, password=password(session), timeout_ms=timeout_ms
        )
        if session in self.ending() or session not in self.model.sessions:
            assert (client.timeout_ms, client.closed) == (0, True)
            return
        assert (client.session_id, client.timeout_ms) == (session, timeout_ms)
        for old in self.clients:
            if old.session == session and not old.client.closed:
                raise AssertionError("two connections of one session")
            if old.session == session:
                self.leave(old)
        self.timeouts[session] = timeout_ms
        self.heard_ms[session] = self.alone.now_ms
        self.clients.append(Expected(client, len(self.clients), session, timeout_ms))

    def leave(self, who: Expected) -> None:
        """A connection is over: nothing more is heard there, but its writes are done."""
        who.ending = True
        self.model.forget(who.watcher)
        who.waiting.clear()

    def ending(self) -> set[int]:
        """The sessions whose end is on its way through the log."""
        return {write.session for write in self.writes if write.ask is None}

    # What time and the disk do

    @rule(ms=st.integers(1, 300))
    def wait(self, ms: int) -> None:
        before = len(self.alone.asked)
        self.alone.tick(ms)
        ended = [txn.session_id for txn in self.alone.asked[before:]]
        for session in self.model.sessions - self.ending():
            end_ms = self.heard_ms[session] + self.timeouts[session]
            due_ms = (end_ms // TICK_MS + 1) * TICK_MS
            assert (session in ended) is (self.alone.now_ms >= due_ms)
        for session in ended:
            who = next((c for c in self.clients if c.session == session and not c.ending), None)
            if who is not None:
                who.ending = True
            self.writes.append(Queued(session, self.alone.wall_ms, None))
        self.compare()

    @precondition(lambda self: self.writes)
    @rule(count=st.integers(1, 3))
    def sync(self, count: int) -> None:
        count = min(count, len(self.writes))
        for _ in range(count):
            self.commit(self.writes.popleft())
        self.alone.sync(count)
        self.compare()

    def sync_all(self) -> None:
        if self.writes:
            self.sync(len(self.writes))

    # What the model says to it

    def answer(self, who: Expected | None, xid: int, ask: Ask, asker: int) -> None:
        error = OK
        body: Body = b""
        try:
            body = ask.model(self.model, asker)
        except ZooKeeperError as refused:
            error = refused.code
        self.tell_events()
        if who is not None:
            who.heard.append((xid, self.model.zxid, error, body))

    def tell_events(self) -> None:
        for watcher, event, path, zxid in self.model.events:
            told = requests.WatcherEvent(event, 3, path).encode()
            self.clients[watcher].heard.append((-1, zxid, 0, told))
        self.model.events.clear()

    def commit(self, write: Queued) -> None:
        who = write.who if write.who is not None and not write.who.client.closed else None
        self.model.time_ms = write.wall_ms
        if write.ask is not None:
            self.answer(who, write.xid, write.ask, write.session)
        else:
            self.model.close_session(write.session)
            self.tell_events()
            if who is not None:
                who.heard.append((write.xid, self.model.zxid, OK, b""))
            for each in self.clients:
                if each.session == write.session:
                    self.leave(each)
        if who is not None and who.waiting:
            who.waiting.popleft()
            while who.waiting and (read := who.waiting[0]) is not None:
                who.waiting.popleft()
                self.answer(who, *read, who.watcher)

    def compare(self) -> None:
        self.alone.turn()
        for who in self.clients:
            heard, who.client.heard = who.client.heard, []
            expected, who.heard = who.heard, []
            assert [
                _shown(reply, wanted[3]) for reply, wanted in zip(heard, expected, strict=False)
            ] == (expected[: len(heard)])
            assert len(heard) == len(expected)

    def teardown(self) -> None:
        self.sync_all()
        self.alone.turn()
        tree, model = self.alone.tree, self.model
        assert {path for path, _ in tree.walk()} == set(model.nodes)
        assert set(tree.sessions) == model.sessions
        assert tree.digest_mismatches == 0
        assert self.alone.member.server.outstanding == 0
        for who in self.clients:
            assert who.client.closed is (who.client.closed or who.session not in model.sessions)


def _shown(reply: Reply, wanted: Body) -> tuple[int, int, int, Body]:
    """A reply in the form in which it is expected: children come in no order."""
    body: Body = reply.names if isinstance(wanted, list) and not reply.error else reply.body
    return (reply.xid, reply.zxid, reply.error, body)


TestServer = ServerMachine.TestCase
TestServer.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
