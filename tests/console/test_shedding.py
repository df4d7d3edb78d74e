"""/commands/shed_connections: who may have it done, how many go, and that sessions live on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import coterie
from coterie.config import embedded_default
from coterie.console.access import Access, Identity
from coterie.console.app import make_app
from coterie.console.clients import Clients
from coterie.console.operations import Operations
from coterie.console.shedding import Shedding
from coterie.console.site import client_of
from coterie.core.connection import Connection
from coterie.runtime.doors import Inside
from coterie.runtime.process import ServerProcess
from tests.admin.served import Served
from tests.conftest import until
from tests.console.asking import Answer, ask

_SUPER = f"su:{base64.b64encode(hashlib.sha1(b'su:secret').digest()).decode()}"
_APACHES = "digest su:secret"


class _Supers(Clients):
    """For whom everybody is super."""

    async def check_super(self, asker: Identity | None, what: str) -> None:
        pass


class _Port:
    """A port with the command; `closed` are the connections that it wants closed."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.served = Served()
        self.closed: list[Connection] = []
        inside = Inside(
            self.served.config,
            self.served.status,
            lambda: None,
            lambda: 1,
            False,
            shed=self._shed,
        )
        access = Access("127.0.0.1", read_only=read_only)
        shedding = Shedding(inside, access, _Supers(partial(client_of, "127.0.0.1:1")), Random(7))
        self._app = make_app(Operations(inside, access, None, shedding).routes(), access)

    def _shed(self, connections: Sequence[Connection]) -> None:
        self.closed += connections
        self.served.member.shed(connections)

    def post(self, body: bytes, name: str = "shed_connections") -> Answer:
        asked = ask(self._app, "POST", f"/commands/{name}", body, authorization=_APACHES)
        return asyncio.run(asked)


def test_all_go_who_have_a_session_or_none() -> None:
    port = _Port()
    clients = [port.served.connect(4001), port.served.connect(4002), port.served.stranger(4003)]
    answer = port.post(b'{"percentage": 100}', "shed")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "command": "shed_connections",
        "error": None,
        "connections_shed": 3,
        "percentage_requested": 100,
    }
    assert port.closed == clients
    assert port.post(b'{"percentage": 100}').json["connections_shed"] == 0, "they are going"


def test_none_go_of_none() -> None:
    port = _Port()
    port.served.connect(4001)
    assert port.post(b'{"percentage": 0}').json["connections_shed"] == 0
    assert port.closed == []


def test_about_so_many_go() -> None:
    port = _Port()
    for number in range(400):
        port.served.stranger(number)
    told = port.post(b'{"percentage": 25}').json
    assert told["connections_shed"] == len(set(port.closed))
    assert 70 < told["connections_shed"] < 130


def test_who_says_it_wrong_is_told_as_by_apache() -> None:
    port = _Port()
    port.served.connect(4001)
    answer = port.post(b'{"percentage": 101}')
    error = "Percentage must be between 0 and 100"
    assert (answer.status, answer.json) == (400, {"command": "shed_connections", "error": error})
    assert port.post(b" " * 5000).status == 413
    assert port.closed == []


def test_a_port_that_is_read_only_sheds_nobody() -> None:
    port = _Port(read_only=True)
    port.served.connect(4001)
    assert port.post(b'{"percentage": 100}').status == 403
    assert port.closed == []


def test_who_does_not_serve_says_so() -> None:
    port = _Port()
    port.served.member.server.serving = False
    answer = port.post(b'{"percentage": 100}')
    assert answer.status == 200
    assert "not currently serving" in answer.json["error"]


@asynccontextmanager
async def _serving(top: Path) -> AsyncIterator[ServerProcess]:
    config = embedded_default(str(top / "data"), port=0)
    server = ServerProcess(replace(config, super_digest=_SUPER))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_clients_come_back_with_their_sessions(tmp_path: Path) -> None:
    async with _serving(tmp_path) as server:
        await _shed_and_come_back(server)


async def _shed_and_come_back(server: ServerProcess) -> None:
    clients = Clients(partial(client_of, f"127.0.0.1:{server.port}"))
    inside = Inside(
        server.config, server._status, lambda: None, lambda: 1, False, shed=server._shed
    )
    access = Access("127.0.0.1", read_only=False)
    shedding = Shedding(inside, access, clients, Random(1))
    app = make_app(Operations(inside, access, None, shedding).routes(), access)

    async def shed(**headers: str) -> Answer:
        return await ask(app, "POST", "/commands/shed", b'{"percentage": 100}', **headers)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(clients.close)
        here = f"127.0.0.1:{server.port}"
        some = [await stack.enter_async_context(coterie.connect(here)) for _ in range(3)]
        for number, zk in enumerate(some):
            await zk.create(f"/own-{number}", b"", ephemeral=True)
        ids = [zk.session.id for zk in some]
        before = set(server._status().member.server.connections)

        assert (await shed(x_requested_by="me")).status == 401
        assert (await shed(authorization="digest ann:x")).status == 403
        assert (await shed(authorization=_APACHES, origin="http://evil.example")).status == 403
        assert before <= set(server._status().member.server.connections)
        # Those of the pages, which are here by now, do not count and stay.
        assert (await shed(authorization=_APACHES)).json["connections_shed"] == 3

        await until(lambda: not before & set(server._status().member.server.connections))
        for number, zk in enumerate(some):
            assert (await zk.exists(f"/own-{number}")) is not None
        assert [zk.session.id for zk in some] == ids
