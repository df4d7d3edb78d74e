"""A session and a server alone, wired back to back on virtual time: no socket, no event loop."""

from __future__ import annotations

from random import Random
from typing import Any

from coterie.client.calls import Call
from coterie.client.hosts import Host
from coterie.client.session import Session, Settings
from coterie.client.watches import Watcher
from coterie.config import Config
from coterie.core.connection import Connection
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.errors import ZooKeeperError
from coterie.values import EventType, SessionState

WALL_MS = 1_700_000_000_000
HOSTS = (Host("a", 1), Host("b", 2))


class Answer:
    """What a call has come to."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.result: Any = None
        self.error: ZooKeeperError | None = None
        self.done = False
        call.settle = self._settle

    def _settle(self, result: Any, error: ZooKeeperError | None) -> None:
        assert not self.done
        self.done, self.result, self.error = True, result, error


class Duet:
    """Time goes in steps of ten milliseconds, and everything arrives within a step."""

    def __init__(self, settings: Settings | None = None, **config: Any) -> None:
        self.now_ms = 1000.0
        self.server = Standalone(
            Config(data_dir="data", tick_time_ms=100, **config), Tree(), self.now_ms, WALL_MS
        )
        self.session = Session(HOSTS, settings or Settings(1000, 300.0), Random(1), self.now_ms)
        self.connection: Connection | None = None
        self.states: list[SessionState] = []
        self.events: list[tuple[EventType, bytes]] = []
        self.dialled: list[Host] = []
        self.answers = True
        """Somebody listens where the session dials."""
        self.deaf = False
        """What the session sends does not arrive."""
        self.mute = False
        """What the server sends does not arrive."""

    def run(self, ms: float) -> None:
        until_ms = self.now_ms + ms
        while self.now_ms < until_ms:
            self.now_ms += 10
            self.server.tick(self.now_ms, WALL_MS + int(self.now_ms))
            self.session.tick(self.now_ms)
            while self._turn():
                continue

    def _turn(self) -> bool:
        wishes = self.session.take()
        if wishes.hang_up and self.connection is not None:
            self.server.disconnected(self.connection)
            self.connection = None
        self.states += wishes.states
        for watcher, event, path in wishes.events:
            watcher(event, path)
        if wishes.dial is not None:
            self.dialled.append(wishes.dial)
            if self.answers:
                self.connection = self.server.connected("127.0.0.1", 5, self.now_ms)
                self.session.opened()
            else:
                self.session.lost("nobody listens")
            return True
        if wishes.output and self.connection is not None and not self.deaf:
            self.server.receive(self.connection, b"".join(wishes.output), self.now_ms)
        return self._serve() or bool(wishes.states)

    def _serve(self) -> bool:
        effects = self.server.take()
        if effects.appends:
            self.server.synced(effects.appends[-1].zxid, self.now_ms)
        for waiting in effects.resumes:
            self.server.resume(waiting, self.now_ms)
        connection = self.connection
        if connection is None:
            return bool(effects.appends)
        data = b"".join(connection.out)
        connection.out.clear()
        if data and not self.mute:
            self.session.receive(data)
        if connection in effects.closes and self.connection is connection:
            self.server.disconnected(connection)
            self.connection = None
            self.session.lost("it closed the connection")
            return True
        return bool(data or effects.appends)

    def ask(self, call: Call, deadline_ms: float = 30_000) -> Answer:
        """Submit a call; run on to have it answered."""
        answer = Answer(call)
        call.deadline_ms = self.now_ms + deadline_ms
        self.session.submit(call)
        return answer

    def call(self, call: Call) -> Answer:
        answer = self.ask(call)
        self.run(20)
        return answer

    def cut(self) -> None:
        """The connection breaks."""
        if self.connection is not None:
            self.server.disconnected(self.connection)
            self.connection = None
        self.session.lost("cut")

    def watcher(self) -> Watcher:
        def told(event: EventType, path: bytes) -> None:
            self.events.append((event, path))

        return told


def connected(settings: Settings | None = None, **config: Any) -> Duet:
    duet = Duet(settings, **config)
    duet.run(100)
    assert duet.session.state == SessionState.CONNECTED, duet.session.failure
    return duet
