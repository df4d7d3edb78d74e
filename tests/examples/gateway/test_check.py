"""A user in a program: what is sent again, and what is a fault of the gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coterie.testing.ports import free_port
from examples.gateway.check import AnswerError, User
from examples.gateway.process import serving

pytestmark = pytest.mark.gateway


def app(answer: Callable[[Request], Response]) -> Starlette:
    async def anything(request: Request) -> Response:
        return answer(request)

    return Starlette(routes=[Route("/{path:path}", anything, methods=["GET", "POST"])])


def later(headers: dict[str, str]) -> JSONResponse:
    error = {"code": "unavailable", "message": "later", "retry": True}
    return JSONResponse({"error": error}, 503, headers)


async def test_what_may_be_sent_again_is_sent_to_the_other_server_with_the_same_key() -> None:
    keys: list[str] = []

    def answer(request: Request) -> Response:
        keys.append(request.headers["idempotency-key"])
        return later({"Retry-After": "1"}) if len(keys) < 3 else JSONResponse({"id": "x"}, 201)

    dead = f"http://127.0.0.1:{free_port()}"
    async with (
        serving(app(answer), "127.0.0.1", 0) as port,
        User("ada", lambda: [dead, f"http://127.0.0.1:{port}"]) as user,
    ):
        assert (await user.submit("sort", {}, {"lines": ("x", b"y")}))["id"] == "x"
        assert user.retried >= 4
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Response("it broke", 500),
        JSONResponse({"error": {"code": "x", "message": "no", "retry": False}}, 404),
        later({}),
    ],
    ids=["no JSON", "final", "later, but not when"],
)
async def test_any_other_error_is_one(answer: Response) -> None:
    async with (
        serving(app(lambda _: answer), "127.0.0.1", 0) as port,
        User("ada", lambda: [f"http://127.0.0.1:{port}"]) as user,
    ):
        with pytest.raises(AnswerError):
            await user.experiment("x")


async def test_patience_has_an_end() -> None:
    async with User("ada", list, patience_s=0.1) as user:
        with pytest.raises(TimeoutError, match="no server is known"):
            await user.experiment("x")
