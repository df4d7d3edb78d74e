"""The application behind an HTTP port: which rules every request meets, and how errors are told.

Rules:
- `access.py` is asked before anything else is done, and every answer bears the headers that keep
  a page from being framed, sniffed, or made to load what is not from here;
- a body is at most `BODY_BYTES_MAX` and has to be there within `_BODY_S`;
- what goes wrong is a problem document (`problems.py`), and never shows a traceback.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from coterie.console.problems import Problem, answer
from coterie.errors import ZooKeeperError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from coterie.console.access import Access

log = logging.getLogger("coterie.console")

BODY_BYTES_MAX: Final = 4 * 2**20
_BODY_S: Final = 20.0
_CSP: Final = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
_HEADERS: Final = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def make_app(routes: Sequence[BaseRoute], access: Access) -> ASGIApp:
    """Routes, with the rules around them."""
    app = Starlette(
        routes=routes,
        exception_handlers={
            Problem: _told,
            ZooKeeperError: _told,
            HTTPException: _told_by_starlette,
        },
    )
    app.router.redirect_slashes = False
    return _Guard(app, access)


async def read_body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """All of a request's body. Raises `Problem` for one that is too large or too slow."""
    too_large = Problem(413, f"a body has at most {bytes_max} bytes here", {"Connection": "close"})
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > bytes_max:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > bytes_max:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "the body did not come", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the client has gone") from None
    return b"".join(parts)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem | ZooKeeperError)
    return answer(error)


async def _told_by_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: "there is nothing at this address", 405: "this is not asked for so"}
    headers = dict(error.headers) if error.headers else None
    detail = what.get(error.status_code, str(error.detail))
    return answer(Problem(error.status_code, detail, headers))


class _Guard:
    """What every request meets first, and every answer last."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._access.check(scope["method"], Headers(scope=scope), changes=False)
            await self._app(scope, receive, guarded)
        except Problem as problem:
            await answer(problem)(scope, receive, guarded)
        except asyncio.CancelledError:
            # The port is being closed.
            if begun:
                raise
            await answer(Problem(503, "the server is stopping"))(scope, receive, guarded)
        except Exception:
            log.exception("%s %s went wrong", scope["method"], scope["path"])
            if not begun:
                told = Problem(500, "this went wrong, and the server's log says how")
                await answer(told)(scope, receive, guarded)
