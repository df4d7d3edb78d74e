"""The portal's HTTP application: pages, the live page's data, and the way to the API.

Rules: a page is a file that says nothing about anybody; what it shows its scripts fetch and put
in as text. Every answer forbids scripts and styles from elsewhere. Only a browser on this machine
that asks for this host is answered, and a kill needs a header that no other site's page can send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from examples.gateway.portal.live import Live
from examples.gateway.portal.proxy import ApiServers, problem

KILL_HEADER: Final = "x-coterie-kill"
_STATIC: Final = Path(__file__).parent / "static"
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PAGES: Final = {
    "/": "live.html",
    "/applications": "applications.html",
    "/applications/{name}": "submit.html",
    "/experiments": "experiments.html",
    "/experiments/{id}": "experiment.html",
}
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Guarded:
    """The application for browsers of this machine only, with the headers of `_HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Request(scope).headers.get("host", "")
        if _host_name(host) in _LOCAL:
            await self._app(scope, receive, sending)
        else:
            refused = problem(421, "wrong-host", "this portal is 127.0.0.1's only", retry=False)
            await refused(scope, receive, sending)


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def application(
    live: Live, servers: ApiServers, http: httpx.AsyncClient, control: str | None = None
) -> Starlette:
    """The ASGI application. `control` is the address of the launcher, who can kill processes."""

    async def pass_on(request: Request) -> Response:
        return await servers.pass_on(request)

    async def state(request: Request) -> Response:
        return JSONResponse(live.state())

    async def events(request: Request) -> Response:
        return StreamingResponse(
            _events(live), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def kill(request: Request) -> Response:
        if refused := _not_from_our_page(request):
            return refused
        if control is None:
            return problem(404, "no-launcher", "nobody here can kill processes", retry=False)
        name = request.path_params["name"]
        try:
            answer = await http.post(f"http://{control}/kill/{quote(name, safe='')}")
            told = answer.json()
        except (httpx.HTTPError, ValueError):
            return problem(503, "no-launcher", "the launcher does not answer", retry=True)
        if answer.is_success:
            live.killed(name)
        return JSONResponse(told, answer.status_code)

    return Starlette(
        routes=[
            *(Route(path, _page(file)) for path, file in _PAGES.items()),
            Route("/live/state", state),
            Route("/live/events", events),
            Route("/live/kill/{name}", kill, methods=["POST"]),
            Route("/api/{rest:path}", pass_on, methods=_METHODS),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[Middleware(Guarded)],
        exception_handlers={404: _no_such_page},
    )


def _page(file: str) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        return FileResponse(_STATIC / file)

    return page


def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return FileResponse(_STATIC / "missing.html", error.status_code)


async def _events(live: Live) -> AsyncIterator[str]:
    # How long a browser waits before it connects again.
    yield "retry: 1000\n\n"
    async for text in live.changes():
        yield f"data: {text}\n\n"


def _not_from_our_page(request: Request) -> Response | None:
    """The refusal, if the request may come from another site's page."""
    origin = request.headers.get("origin")
    ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if ours and KILL_HEADER in request.headers:
        return None
    return problem(403, "not-this-page", f"it needs the header {KILL_HEADER}", retry=False)
