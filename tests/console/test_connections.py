"""What a stranger at the HTTP port can claim: garbage, headers that are too long or never end,
answers that nobody takes, and too many connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from coterie.console import connections
from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.connections import Connections
from tests.conftest import until

_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _here(request: Request) -> Response:
    return PlainTextResponse("here")


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65536)
        await asyncio.sleep(0)


async def _much(request: Request) -> Response:
    return StreamingResponse(_endless())


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[Connections, int]]:
    routes = [Route("/", _here), Route("/much", _much)]
    port = Connections(make_app(routes, Access("127.0.0.1", read_only=True)), idle_s=30)
    server = await asyncio.get_running_loop().create_server(port.protocol, "127.0.0.1", 0)
    try:
        yield port, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await port.close()


async def _say(number: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read(65536)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_request_and_the_next() -> None:
    async with _listening() as (port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        for _ in range(3):
            writer.write(_GET)
            assert await reader.readuntil(b"here")
        assert len(port) == 1
        writer.close()


async def test_headers_have_a_bound() -> None:
    async with _listening() as (_, number):
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000
        assert (await _say(number, long)).startswith(b"HTTP/1.1 400")
        assert b"200 OK" in await _say(number, _GET)


async def test_garbage_makes_nothing_fall() -> None:
    dice = random.Random(6)
    async with _listening() as (port, number):
        for size in (1, 3, 100, 3000):
            answer = await _say(number, dice.randbytes(size) + b"\r\n\r\n")
            assert b"HTTP/1.1 400" in answer or answer == b""
        assert b"200 OK" in await _say(number, _GET)
        await until(lambda: not len(port))


async def test_who_sends_a_byte_now_and_then_is_shown_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_HEADERS_S", 0.05)
    async with _listening() as (_, number):
        assert await _say(number, b"") == b""
        assert await _say(number, b"GET / HTTP/1.1\r\nHost: lo") == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(_GET)
        await reader.readuntil(b"here")
        writer.write(b"GET / HT")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)
        writer.close()


async def test_who_does_not_take_the_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_TAKES_S", 0.05)
    async with _listening() as (port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", number, limit=1024)
        writer.write(_GET.replace(b"/ ", b"/much "))
        await reader.readexactly(1)
        await until(lambda: not len(port))
        writer.close()


async def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_CONNECTIONS_MAX", 2)
    async with _listening() as (port, number):
        held = [await asyncio.open_connection("127.0.0.1", number) for _ in range(2)]
        assert await _say(number, _GET) == b""
        assert port.refused == 1
        for _, writer in held:
            writer.close()
        for _ in range(100):
            if b"200 OK" in await _say(number, _GET):
                break
        else:
            raise AssertionError("nobody is let in any more")
