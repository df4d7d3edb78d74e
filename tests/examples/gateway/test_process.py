"""How a process of the gateway comes and goes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from coterie.gateway.component import Component, Identity, ask_to_drain
from coterie.gateway.directory import Directory, IncompatibleError
from coterie.recipes.discovery import Instance
from examples.gateway.process import NotForPages, Options, Service, parse, run, serving
from tests.conftest import Connect

pytestmark = pytest.mark.gateway


class Recorder:
    """A process's app, and what happened to it."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    async def drained(self) -> None:
        self.happened.append("drained")

    @asynccontextmanager
    async def serve(self, component: Component[Any], options: Options) -> AsyncIterator[Service]:
        async def hello(request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"I am {options.name}")

        self.happened.append(component.state)
        yield Service(Starlette(routes=[Route("/", hello)]), self.drained)
        self.happened.append(component.state)


async def ask(one: Instance) -> str:
    reader, writer = await asyncio.open_connection(one.host, one.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer.rpartition("\r\n")[2]


@pytest.mark.parametrize("how", ["signal", "tree"])
async def test_it_is_found_when_it_serves_and_not_any_more_when_it_ends(
    hosts: str, connect: Connect, how: str
) -> None:
    recorder = Recorder()
    async with connect() as zk, Directory(zk) as directory:
        options = Options("echo", "echo-1", hosts=hosts)
        running = asyncio.ensure_future(run(options, recorder.serve))
        one = await directory.wait_for("echo", timeout_s=20)
        assert (one.id, one.version) == ("echo-1", "1.0.0")
        assert await ask(one) == "I am echo-1"
        if how == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            await ask_to_drain(zk, "echo", "echo-1")
        await running
        await directory.look()
        assert directory.everyone("echo") == []
    assert recorder.happened == ["starting", "drained", "draining"]


async def test_what_does_not_fit_ends_before_anybody_finds_it(
    hosts: str, connect: Connect
) -> None:
    recorder = Recorder()
    partner = Identity("partner", "1.0", "127.0.0.1", 9, speaks={"echo": ">=1,<3"})
    async with connect() as zk, Component[Any](zk, partner) as other:
        options = Options("echo", "echo-1", hosts=hosts, version="3.0.0")
        with pytest.raises(IncompatibleError, match=r"3\.0"):
            await run(options, recorder.serve)
        await other.directory.look()
        assert other.directory.everyone("echo") == []
    assert recorder.happened == []


async def test_one_that_is_told_to_end_while_it_waits_ends(hosts: str, connect: Connect) -> None:
    recorder = Recorder()
    first = Identity("echo", "1.0", "127.0.0.1", 9, id="echo-1")
    async with connect() as zk, Component[Any](zk, first):
        running = asyncio.ensure_future(
            run(Options("echo", "echo-1", hosts=hosts), recorder.serve)
        )
        for _ in range(20):
            await zk.exists("/gateway")
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            await running
    assert recorder.happened == []


def test_the_name_is_that_of_the_kind_and_the_flavor_unless_it_is_given() -> None:
    assert parse("api", []).name == "api-1"
    assert parse("manager", ["--flavor", "dask"]).name == "manager-dask-1"
    given = parse("api", ["--name", "x", "--data", "/tmp/../d", "--version", "2"])
    assert (given.name, str(given.data), given.version, given.host) == (
        "x",
        "/d",
        "2",
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:9161"}, 200),
        ({"Host": "[::1]:9161"}, 200),
        ({"Host": "node-7:9161"}, 200),
        ({"Host": "localhost:9161", "Origin": "http://localhost:9161"}, 200),
        ({"Host": "127.0.0.1:9161", "Origin": "http://evil.example"}, 403),
        ({"Host": "127.0.0.1:9161", "Origin": "null"}, 403),
        ({"Host": "evil.example:9161", "Origin": "http://evil.example:9161"}, 403),
    ],
)
async def test_no_page_of_another_site_is_answered(headers: dict[str, str], status: int) -> None:
    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = NotForPages(Starlette(routes=[Route("/", hello, methods=["POST"])]), "node-7")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node-7") as browser:
        assert (await browser.post("/", headers=headers)).status_code == status


async def test_it_ends_when_it_cannot_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*given: Any, **named: Any) -> None:
        raise OSError("in use")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", fails)
    with pytest.raises(OSError, match="in use"):
        async with asyncio.timeout(5), serving(Starlette(), "127.0.0.1", 0):
            pass
