"""The rules that every request and every answer meets."""

from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from coterie.console.access import Access
from coterie.console.app import make_app, read_body
from coterie.console.problems import Problem
from coterie.errors import NoNodeError
from tests.console.asking import Answer, ask


async def _fine(request: Request) -> Response:
    return PlainTextResponse("fine")


async def _body(request: Request) -> Response:
    return PlainTextResponse(str(len(await read_body(request, 10))))


async def _nothing(request: Request) -> Response:
    raise NoNodeError("/a", "get")


async def _refused(request: Request) -> Response:
    raise Problem(418, "no coffee")


async def _waiting(request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def _broken(request: Request) -> Response:
    raise RuntimeError("a secret of the inside")


_APP = make_app(
    [
        Route("/fine", _fine),
        Route("/body", _body, methods=["PUT"]),
        Route("/nothing", _nothing),
        Route("/refused", _refused),
        Route("/waiting", _waiting),
        Route("/broken", _broken),
    ],
    Access("127.0.0.1", read_only=False),
)


def _ask(method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    return asyncio.run(ask(_APP, method, target, body, **headers))


@pytest.mark.parametrize("target", ["/fine", "/nothing", "/elsewhere"])
def test_every_answer_bears_what_keeps_pages_safe(target: str) -> None:
    headers = _ask("GET", target).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


def test_who_may_not_come_in_is_told_before_anything_is_done() -> None:
    answer = _ask("GET", "/broken", host="evil.example")
    assert answer.status == 421
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/fine", 200),
        ("GET", "/nothing", 404),
        ("GET", "/refused", 418),
        ("GET", "/elsewhere", 404),
        ("TRACE", "/fine", 405),
        ("OPTIONS", "/fine", 405),
    ],
)
def test_errors_are_problem_documents(method: str, target: str, status: int) -> None:
    answer = _ask(method, target, x_requested_by="test")
    assert answer.status == status
    if status != 200:
        assert answer.json["status"] == status


def test_what_breaks_tells_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "coterie.console"):
        answer = _ask("GET", "/broken")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "/broken" in caplog.text


def test_a_body_has_a_bound() -> None:
    assert _ask("PUT", "/body", b"0123456789", x_requested_by="test").body == b"10"
    assert _ask("PUT", "/body", b"0123456789X", x_requested_by="test").status == 413
    told = _ask("PUT", "/body", b"", x_requested_by="test", content_length="99")
    assert told.status == 413


async def test_who_waits_when_the_port_is_closed_is_told() -> None:
    asking = asyncio.create_task(ask(_APP, "GET", "/waiting"))
    await asyncio.sleep(0)
    asking.cancel()
    answer = await asking
    assert (answer.status, answer.json["detail"]) == (503, "the server is stopping")
