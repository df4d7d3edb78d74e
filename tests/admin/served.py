"""A server machine that serves clients on virtual time, and its status as the runtime gives it."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from coterie.admin.commands import Status
from coterie.config import embedded_default
from coterie.core.connection import Connection
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.system.clock import show_time
from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.framing import LENGTH
from coterie.wire.requests import Op

WALL_MS: Final = 1_795_539_494_000
_START_MS: Final = 100_000.0


class Served:
    """`now_ms` moves only by hand. The log is always durable at once, unless `log_waits`."""

    def __init__(self) -> None:
        self.now_ms = _START_MS
        self.config = replace(embedded_default("data"), tick_time_ms=2000)
        self.member = Standalone(self.config, Tree(), self.now_ms, WALL_MS)
        self.log_waits = False
        self._xid = 0

    def connect(self, port: int, timeout_ms: int = 30_000) -> Connection:
        """A client with a session."""
        client = self.stranger(port)
        hello = requests.ConnectRequest(0, 0, timeout_ms, 0, bytes(16)).encode() + b"\0"
        self._receive(client, hello)
        return client

    def stranger(self, port: int) -> Connection:
        return self.member.connected("127.0.0.1", port, self.now_ms)

    def ask(self, client: Connection, op: int, body: bytes = b"", after_ms: int = 0) -> None:
        """A request, whose answer may take its time."""
        self._xid += 1
        self._receive(client, struct.pack(">ii", self._xid, op) + body, after_ms)

    def create(self, client: Connection, path: bytes, data: bytes = b"", flags: int = 0) -> None:
        self.ask(client, Op.CREATE, requests.CreateRequest(path, data, OPEN_ACL, flags).encode())

    def set(self, client: Connection, path: bytes, data: bytes, after_ms: int = 0) -> None:
        body = requests.SetDataRequest(path, data, -1).encode()
        self.ask(client, Op.SET_DATA, body, after_ms)

    def get(self, client: Connection, path: bytes, watch: bool = False) -> None:
        self.ask(client, Op.GET_DATA, requests.PathWatchRequest(path, watch).encode())

    def children(self, client: Connection, path: bytes) -> None:
        self.ask(client, Op.GET_CHILDREN, requests.PathWatchRequest(path, True).encode())

    def _receive(self, client: Connection, payload: bytes, after_ms: int = 0) -> None:
        self.member.receive(client, LENGTH.pack(len(payload)) + payload, self.now_ms)
        self.now_ms += after_ms
        self._settle()

    def _settle(self) -> None:
        for _ in range(1000):
            effects = self.member.take()
            if not effects:
                return
            if effects.appends and not self.log_waits:
                self.member.synced(effects.appends[-1].zxid, self.now_ms)
            for connection in effects.closes:
                self.member.disconnected(connection)
            for connection in effects.resumes:
                self.member.resume(connection, self.now_ms)
        raise AssertionError("the machine never comes to rest")

    def status(self) -> Status:
        return Status(
            member=self.member,
            config=self.config,
            port=2181,
            now_ms=self.now_ms,
            wall_ms=WALL_MS + int(self.now_ms - _START_MS),
            started_ms=_START_MS,
            environment={"host.name": "here", "python.version": "3"},
            process={"open_file_descriptor_count": 7},
            sizes=lambda: (1000, 2000),
            show_time=show_time,
        )
