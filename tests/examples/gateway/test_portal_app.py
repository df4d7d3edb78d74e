"""The portal's application: what it serves, to whom, and what it lets nobody else do."""

from __future__ import annotations

import re
from typing import Any, cast

import httpx
import pytest

from examples.gateway.portal.app import _STATIC, KILL_HEADER, application
from examples.gateway.portal.live import Live
from examples.gateway.portal.proxy import ApiServers

pytestmark = pytest.mark.gateway

_KILL = {KILL_HEADER: "1"}


class _Live:
    """A live page's data that is always the same."""

    def __init__(self) -> None:
        self.dead: list[str] = []

    def state(self) -> dict[str, Any]:
        return {"components": []}

    async def changes(self) -> Any:
        yield '{"stale_s": 0}'
        yield '{"stale_s": 1}'

    def killed(self, name: str) -> None:
        self.dead.append(name)


class _Portal:
    def __init__(self, *, control: str | None = "127.0.0.1:7000") -> None:
        self.live = _Live()
        self.asked: list[str] = []
        self._control = control

    async def _launcher(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if request.url.path == "/kill/nobody":
            return httpx.Response(404, json={"error": {"code": "unknown"}})
        return httpx.Response(200, json={"killed": 7})

    async def ask(
        self, path: str, method: str = "GET", *, host: str = "127.0.0.1:8080", **sent: Any
    ) -> httpx.Response:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._launcher))
        servers = cast(ApiServers, None)
        app = application(cast(Live, self.live), servers, http, self._control)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as browser:
            return await browser.request(method, path, **sent)


PAGES = ["/", "/applications", "/applications/align", "/experiments", "/experiments/7f"]


@pytest.mark.parametrize("path", PAGES)
async def test_pages_run_no_script_but_ours(path: str) -> None:
    answer = await _Portal().ask(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for place in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert place.startswith(("/", "#")), f"{place} is not ours"
        if place.startswith("/static/"):
            assert (await _Portal().ask(place)).status_code == 200


def test_no_page_and_no_script_makes_markup_of_text() -> None:
    for file in _STATIC.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)
        assert not re.search(r"<[^>]+\son\w+=|<script>|<style|\sstyle=", text), file.name


async def test_what_is_not_there_is_a_page_too() -> None:
    answer = await _Portal().ask("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert (await _Portal().ask("/static/../app.py")).status_code == 404


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "[::2]:8080"])
async def test_another_host_name_is_refused(host: str) -> None:
    for path in ("/", "/live/state", "/api/v1/experiments"):
        answer = await _Portal().ask(path, host=host)
        assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost:8080", "[::1]:8080", "127.0.0.1"])
async def test_this_machine_is_answered(host: str) -> None:
    assert (await _Portal().ask("/live/state", host=host)).json() == {"components": []}


async def test_events_are_told_as_they_come() -> None:
    answer = await _Portal().ask("/live/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == ('retry: 1000\n\ndata: {"stale_s": 0}\n\ndata: {"stale_s": 1}\n\n')


async def test_a_kill_is_passed_on_and_told_of() -> None:
    portal = _Portal()
    answer = await portal.ask("/live/kill/api-1", "POST", headers=_KILL)
    assert (answer.status_code, answer.json()) == (200, {"killed": 7})
    assert portal.asked == ["http://127.0.0.1:7000/kill/api-1"]
    assert portal.live.dead == ["api-1"]


async def test_a_name_stays_one_part_of_the_launchers_path() -> None:
    portal = _Portal()
    await portal.ask("/live/kill/..%2Fstop%3Fx", "POST", headers=_KILL)
    assert all(url.startswith("http://127.0.0.1:7000/kill/") for url in portal.asked)


@pytest.mark.parametrize(
    "headers",
    [{}, {**_KILL, "Origin": "http://evil.example"}, {**_KILL, "Origin": "null"}],
)
async def test_another_sites_page_cannot_kill(headers: dict[str, str]) -> None:
    portal = _Portal()
    answer = await portal.ask("/live/kill/api-1", "POST", headers=headers)
    assert answer.status_code == 403
    assert (portal.asked, portal.live.dead) == ([], [])


async def test_nothing_is_killed_by_a_look() -> None:
    portal = _Portal()
    assert (await portal.ask("/live/kill/api-1", headers=_KILL)).status_code == 405
    assert portal.asked == []


async def test_what_the_launcher_does_not_know_is_told() -> None:
    portal = _Portal()
    answer = await portal.ask("/live/kill/nobody", "POST", headers=_KILL)
    assert answer.status_code == 404
    assert portal.live.dead == []


async def test_without_a_launcher_nothing_is_killed() -> None:
    answer = await _Portal(control=None).ask("/live/kill/api-1", "POST", headers=_KILL)
    assert answer.status_code == 404
