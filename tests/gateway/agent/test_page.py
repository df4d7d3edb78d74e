"""The agent's page, over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from coterie.gateway.agent.page import Page, page
from coterie.gateway.agent.status import decode
from coterie.system.transport import PortTakenError
from tests.gateway.agent.told import FILE, NOW, status

_FILE = replace(FILE, file="<b>api</b>", source="/a&b")
_STATUS = status(_FILE)


def test_all_is_well() -> None:
    text = page(_STATUS, NOW)
    assert 'class="banner good"' in text
    assert "All files say what the tree says." in text
    assert "&lt;b&gt;api&lt;/b&gt;" in text
    assert "/a&amp;b" in text
    assert "<b>" not in text


def test_a_stale_file_is_red() -> None:
    text = page(_STATUS, NOW + 700_000)
    assert 'class="banner bad"' in text
    assert "/etc/api is stale" in text
    assert 'class="state bad">stale' in text


def test_without_a_server_programs_go_on() -> None:
    away = replace(_STATUS, connected=False, trouble="no server (lost)")
    text = page(away, NOW)
    assert 'class="banner wait"' in text
    assert "Programs go on with the files that are here." in text
    assert "no server (lost)" in text


def test_a_held_set_says_how_to_let_it_pass() -> None:
    held = replace(_FILE, file="set", state="held", reason="only 2 of 9 are left", offered="abc")
    text = page(replace(_STATUS, files=(held,)), NOW)
    assert "only 2 of 9 are left" in text
    assert "coterie agent FILE --confirm set" in text
    assert "<button" not in text
    assert "<form" not in text


async def _get(
    port: int, path: str, host: str = "127.0.0.1", method: str = "GET"
) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_it_is_served_to_this_host_alone() -> None:
    shown = [_STATUS]
    now = [NOW]
    served = Page(lambda: shown[0], lambda: now[0], 0)
    with pytest.raises(PortTakenError):
        Page(lambda: shown[0], lambda: now[0], served.port)
    serving = asyncio.create_task(served.serve())
    try:
        async with asyncio.timeout(20):
            status, body = await _get(served.port, "/", f"localhost:{served.port}")
            assert status == 200
            assert "Files of host1" in body
            status, body = await _get(served.port, "/status.json")
            assert decode(body.encode()) == _STATUS
            assert json.loads(body)["pid"] == 17
            status, body = await _get(served.port, "/metrics")
            assert "coterie_agent_connected 1" in body
            assert (await _get(served.port, "/healthz"))[0] == 200
            now[0] += 700_000
            assert (await _get(served.port, "/healthz"))[0] == 503
            # A name that somebody else has let lead here.
            assert (await _get(served.port, "/", "evil.example"))[0] == 400
            assert (await _get(served.port, "/", method="POST"))[0] == 405
            assert (await _get(served.port, "/nothing"))[0] == 404
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    with pytest.raises(OSError, match=r"."):
        await _get(served.port, "/")
