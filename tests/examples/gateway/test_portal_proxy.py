"""Requests that are passed on: to whom, how often, and what becomes of those nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coterie.recipes.discovery import Instance
from examples.gateway.portal.proxy import BODY_BYTES_MAX, ApiServers

pytestmark = pytest.mark.gateway

Handler = Callable[[httpx.Request], httpx.Response]


class _Names:
    """A directory of API servers a, b, ... whose ports are 1, 2, ..."""

    def __init__(self, names: str) -> None:
        self.names = names

    def find(self, kind: str, versions: str = "", *, flavor: str | None = None) -> list[Instance]:
        assert kind == "api"
        return [
            Instance("api", "1.0", "127.0.0.1", port, id=name)
            for port, name in enumerate(self.names, 1)
        ]


def _refuses(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def _hangs_up(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset")


def _answer(status: int, body: str, **headers: str) -> httpx.Response:
    """One whose body is still to be read, as those of a network are."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=httpx.ByteStream(body.encode()))


def _answers(request: httpx.Request) -> httpx.Response:
    return _answer(200, f"{request.url.port}")


class _Portal:
    """A portal whose API servers are functions, by port."""

    def __init__(self, *handlers: Handler, names: str = "") -> None:
        self.heard: list[httpx.Request] = []
        self._handlers = handlers
        self._names = _Names(names or "abc"[: len(handlers)])

    async def _api(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request)
        return self._handlers[(request.url.port or 1) - 1](request)

    async def ask(self, method: str = "GET", path: str = "/api/x", **sent: Any) -> httpx.Response:
        api = httpx.AsyncClient(transport=httpx.MockTransport(self._api))
        servers = ApiServers(self._names, api, patience_s=0)

        async def pass_on(request: Request) -> Response:
            return await servers.pass_on(request)

        app = Starlette(routes=[Route("/api/{rest:path}", pass_on, methods=["GET", "POST"])])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://portal") as browser:
            return await browser.request(method, path, **sent)

    def ports(self) -> list[int | None]:
        return [request.url.port for request in self.heard]


async def test_a_request_arrives_as_it_was_sent() -> None:
    portal = _Portal(_answers)
    headers = {"Authorization": "Bearer t", "Cookie": "a=b", "Connection": "x-mine", "X-Mine": "1"}
    await portal.ask("POST", "/api/v1/x%20y?a=b&c=%26", headers=headers, content=b"body")
    (sent,) = portal.heard
    assert (sent.method, sent.read()) == ("POST", b"body")
    assert str(sent.url) == "http://127.0.0.1:1/api/v1/x%20y?a=b&c=%26"
    assert sent.headers["authorization"] == "Bearer t"
    assert "cookie" not in sent.headers
    assert "x-mine" not in sent.headers


async def test_servers_take_turns() -> None:
    names = _Names("ab")
    servers = ApiServers(names, httpx.AsyncClient(), now_s=lambda: 0.0)
    assert [[one.id for one in servers.in_turn()] for _ in range(3)] == [
        ["b", "a"],
        ["a", "b"],
        ["b", "a"],
    ]


async def test_a_refused_connection_was_never_heard_so_any_request_goes_elsewhere() -> None:
    portal = _Portal(_answers, _refuses)
    answer = await portal.ask("POST")
    assert (answer.status_code, answer.text) == (200, "1")
    assert portal.ports() == [2, 1]


async def test_who_did_not_answer_is_asked_last_for_a_while() -> None:
    now_s = 100.0

    async def api(request: httpx.Request) -> httpx.Response:
        return _refuses(request) if request.url.port == 2 else _answers(request)

    client = httpx.AsyncClient(transport=httpx.MockTransport(api))
    servers = ApiServers(_Names("ab"), client, now_s=lambda: now_s)
    await servers.send("GET", "/")
    assert {servers.in_turn()[0].id for _ in range(4)} == {"a"}
    now_s += 5
    assert {servers.in_turn()[0].id for _ in range(4)} == {"a", "b"}


@pytest.mark.parametrize(("method", "headers"), [("GET", {}), ("POST", {"Idempotency-Key": "1"})])
async def test_what_is_safe_is_sent_again(method: str, headers: dict[str, str]) -> None:
    portal = _Portal(_answers, _hangs_up)
    answer = await portal.ask(method, headers=headers, content=b"x")
    assert answer.status_code == 200
    assert portal.ports() == [2, 1]
    assert [request.read() for request in portal.heard] == [b"x", b"x"]


async def test_what_may_have_been_done_is_not_sent_again() -> None:
    portal = _Portal(_answers, _hangs_up)
    answer = await portal.ask("POST")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "outcome-unknown"
    assert answer.json()["error"]["retry"] is False
    assert "retry-after" not in answer.headers
    assert portal.ports() == [2]


async def test_when_nobody_is_there_it_may_be_tried_again() -> None:
    for portal in (_Portal(), _Portal(_refuses, _refuses)):
        answer = await portal.ask("POST")
        assert answer.status_code == 503
        assert answer.json()["error"]["retry"] is True
        assert answer.headers["retry-after"] == "1"


async def test_what_is_safe_and_unanswered_may_be_tried_again() -> None:
    answer = await _Portal(_hangs_up).ask("GET")
    assert (answer.status_code, answer.json()["error"]["retry"]) == (504, True)


async def test_an_answer_comes_as_it_is_errors_too() -> None:
    def refuses(request: httpx.Request) -> httpx.Response:
        return _answer(503, '{"error": 1}', retry_after="3", set_cookie="a=b", connection="close")

    answer = await _Portal(refuses).ask()
    assert (answer.status_code, answer.json()) == (503, {"error": 1})
    assert answer.headers["retry-after"] == "3"
    assert "set-cookie" not in answer.headers


async def test_a_file_of_a_user_is_no_page_of_ours() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        return _answer(200, "<script>steal()</script>", content_type="text/html")

    answer = await _Portal(page).ask(path="/api/v1/experiments/7/outputs/evil.html")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_too_long_a_body_is_refused() -> None:
    portal = _Portal(_answers)
    answer = await portal.ask("POST", content=bytes(BODY_BYTES_MAX + 1))
    assert answer.status_code == 413
    assert portal.heard == []


async def test_who_goes_before_the_answer_keeps_no_connection() -> None:
    answer = _answer(200, "late")
    api = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer))
    messages: list[dict[str, Any]] = [{"type": "http.request"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http", "method": "GET", "path": "/api/x", "query_string": b"",
        "headers": [(b"host", b"portal")], "scheme": "http", "server": ("portal", 80),
    }  # fmt: skip
    response = await ApiServers(_Names("a"), api).pass_on(Request(scope, receive))
    await response(scope, receive, send)
    assert answer.is_closed
