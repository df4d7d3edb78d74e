"""Requests of browsers, passed on to an API server that the directory knows.

Rules: a request whose connection was refused was never heard, so any is sent to another server;
one that was sent and not answered is sent again only if that is safe, which is a GET, or one with
an Idempotency-Key. When nobody answers in time the answer is JSON that says whether to try again.
What users have made (the files of an experiment) is never shown as a page of this portal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import httpx
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from coterie.recipes.discovery import Instance

BODY_BYTES_MAX: Final = 64 << 20
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.2
_SHUNNED_S: Final = 1.0
_READ_S_MAX: Final = 30.0

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "trailers", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
# The origin is this portal's, and another site's to the API server: a token is what counts there.
_SET_ANEW: Final = frozenset({"host", "content-length", "cookie", "expect", "origin"})
_SAFE: Final = frozenset({"GET", "HEAD"})


class Finder(Protocol):
    """The part of the directory that is needed."""

    def find(
        self, kind: str, versions: str = "", *, flavor: str | None = None
    ) -> list[Instance]: ...


class ApiServers:
    """The API servers, and one of them for each request."""

    def __init__(
        self,
        directory: Finder,
        http: httpx.AsyncClient,
        *,
        now_s: Callable[[], float] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._directory = directory
        self._http = http
        self._now_s = now_s or asyncio.get_running_loop().time
        self._patience_s = patience_s
        self._turn = 0
        self._shunned: dict[str, float] = {}
        """Those that did not answer, and until when others are tried first."""

    def in_turn(self) -> list[Instance]:
        """Those that serve, each first in its turn; who did not answer lately comes last."""
        found = sorted(self._directory.find("api"), key=lambda one: one.id)
        if not found:
            return []
        self._turn += 1
        start = self._turn % len(found)
        now_s = self._now_s()
        self._shunned = {id: until for id, until in self._shunned.items() if until > now_s}
        return sorted(found[start:] + found[:start], key=lambda one: one.id in self._shunned)

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
        content: bytes = b"",
    ) -> httpx.Response:
        """The answer of one of them, whose body is still to be read.

        Raises `LookupError` when nobody heard it, and `httpx.HTTPError` when somebody may have.
        """
        sent = httpx.Headers(headers)
        safe = method in _SAFE or "idempotency-key" in sent
        deadline_s = self._now_s() + self._patience_s
        unheard: Exception | None = None
        while True:
            for one in self.in_turn():
                request = self._http.build_request(
                    method, f"http://{one.address}{path}", headers=sent, content=content
                )
                request.extensions["timeout"] = {
                    "connect": 1.0, "read": _READ_S_MAX, "write": _READ_S_MAX, "pool": 5.0,
                }  # fmt: skip
                try:
                    return await self._http.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    self._shunned[one.id] = self._now_s() + _SHUNNED_S
                except httpx.TransportError as error:
                    self._shunned[one.id] = self._now_s() + _SHUNNED_S
                    if not safe:
                        raise
                    unheard = error
            if self._now_s() >= deadline_s:
                if unheard is not None:
                    raise unheard
                raise LookupError("no API server answers")
            await asyncio.sleep(_PAUSE_S)

    async def pass_on(self, request: Request) -> Response:
        """Answer a browser with what an API server answers."""
        try:
            content = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if content is None:
            return problem(413, "too-large", f"more than {BODY_BYTES_MAX >> 20} MB", retry=False)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        try:
            answer = await self.send(
                request.method, path, headers=_passed(request.headers), content=content
            )
        except LookupError:
            return problem(503, "no-api-server", "no API server answers now", retry=True)
        except httpx.TransportError:
            safe = request.method in _SAFE or "idempotency-key" in request.headers
            return problem(
                504 if safe else 502,
                "outcome-unknown",
                "an API server took the request and did not answer: it may have been done",
                retry=safe,
            )
        return _answer(request, answer)


def problem(status: int, code: str, message: str, *, retry: bool) -> JSONResponse:
    """An error as the API tells it."""
    headers = {"Retry-After": "1"} if retry else None
    error = {"code": code, "message": message, "retry": retry}
    return JSONResponse({"error": error}, status, headers)


async def _body(request: Request) -> bytes | None:
    """All of it, for it may have to be sent twice; None if it is too long."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            return None
        parts.append(part)
    return b"".join(parts)


def _passed(headers: Headers) -> list[tuple[str, str]]:
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    kept = _HOP_BY_HOP | _SET_ANEW | named
    return [(name, value) for name, value in headers.items() if name.lower() not in kept]


def _answer(request: Request, answer: httpx.Response) -> Response:
    left_out = _HOP_BY_HOP | {"set-cookie", "server", "date"}
    passed = _Passed(answer)
    for name, value in answer.headers.multi_items():
        if name.lower() not in left_out:
            passed.headers.append(name, value)
    made_by_users = "/outputs/" in request.url.path
    if made_by_users and answer.is_success:
        passed.headers["Content-Disposition"] = "attachment"
    if made_by_users or not answer.headers.get("content-type", "").startswith("text/html"):
        passed.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return passed


class _Passed(StreamingResponse):
    """An answer as it comes; its connection is given back also if nobody reads it any more."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.aiter_raw(), answer.status_code)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()
