"""Recipes are tested over real connections; a coroutine may leave nothing running.

`hosts` and `connect` are those of all tests of clients: a test that needs only them and `expire`
runs against any ensemble. One that lets its server fail asks for `coterie_server` and has
`coterie_connect` for its clients.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import pytest

from coterie.client.client import Client
from coterie.system.transport import new_event_loop
from coterie.wire.requests import ConnectRequest, Op

Expire = Callable[[Client], Awaitable[None]]

_TEST_S_MAX: Final = 30.0
_REST_S_MAX: Final = 2.0
_ENDED_S_MAX: Final = 5.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine. What it leaves running, or an error that nobody handles, fails the test."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(test))
    return True


async def _run(test: Coroutine[Any, Any, None]) -> None:
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: unhandled.append(context))
    async with asyncio.timeout(_TEST_S_MAX):
        await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=_REST_S_MAX)
    assert not left
    assert not unhandled


@pytest.fixture
def expire(hosts: str) -> Expire:
    """Ends a client's session behind its back, as can be done to any ensemble: by a connection
    of the same session, which closes it."""
    address = hosts.partition("/")[0].partition(",")[0]
    host, _, port = address.rpartition(":")

    async def end(zk: Client) -> None:
        session = zk.session
        reader, writer = await asyncio.open_connection(host, int(port))
        hello = ConnectRequest(0, 0, session.timeout_ms, session.id, session.password)
        close = b"\0\0\0\1" + int(Op.CLOSE_SESSION).to_bytes(4, "big", signed=True)
        for packet in (hello.encode() + b"\0", close):
            writer.write(len(packet).to_bytes(4, "big") + packet)
        async with asyncio.timeout(_ENDED_S_MAX):
            await reader.read()
        writer.close()

    return end
