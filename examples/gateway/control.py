"""The launcher's port: what runs, and to kill, stop, start, upgrade or add a process.

    GET  /processes           POST /kill/NAME            POST /stop/NAME       POST /start/NAME
    POST /upgrade/NAME        {"version": "2.0.0"}
    POST /add                 {"kind": "manager", "flavor": "local", "version": "3.0.0"}

It is for this machine alone, and for programs: what a browser sends on behalf of some page (it
says so by `Origin`) is refused.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from examples.gateway.supervisor import Child, Supervisor

Add = Callable[[str, str, str], Child]
"""Adds a process of a kind, a flavor and a version."""


def control(supervisor: Supervisor, add: Add) -> Starlette:
    """The app."""

    async def processes(request: Request) -> Any:
        return [child.as_json() for child in supervisor.children.values()]

    async def kill(request: Request) -> Any:
        return {"killed": supervisor.kill(request.path_params["name"])}

    async def stop(request: Request) -> Any:
        name = request.path_params["name"]
        await supervisor.stop(name)
        return supervisor[name].as_json()

    async def start(request: Request) -> Any:
        name = request.path_params["name"]
        await supervisor.start(name, str((await _body(request)).get("version", "")))
        return supervisor[name].as_json()

    async def upgrade(request: Request) -> Any:
        name = request.path_params["name"]
        await supervisor.upgrade(name, str((await _body(request))["version"]))
        return supervisor[name].as_json()

    async def one_more(request: Request) -> Any:
        body = await _body(request)
        kind, flavor = str(body["kind"]), str(body.get("flavor", ""))
        return add(kind, flavor, str(body.get("version", ""))).as_json()

    return Starlette(
        routes=[
            Route("/processes", _answer(processes)),
            Route("/kill/{name}", _answer(kill), methods=["POST"]),
            Route("/stop/{name}", _answer(stop), methods=["POST"]),
            Route("/start/{name}", _answer(start), methods=["POST"]),
            Route("/upgrade/{name}", _answer(upgrade), methods=["POST"]),
            Route("/add", _answer(one_more), methods=["POST"]),
        ]
    )


async def _body(request: Request) -> dict[str, Any]:
    body = await request.body()
    return dict(json.loads(body)) if body else {}


def _answer(
    endpoint: Callable[[Request], Awaitable[Any]],
) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def answer(request: Request) -> JSONResponse:
        if "origin" in request.headers:
            return _problem(403, "not_for_pages", "no page may ask this")
        try:
            return JSONResponse(await endpoint(request))
        except LookupError as error:
            return _problem(404, "unknown", str(error))
        except (ValueError, TypeError) as error:
            return _problem(409, "invalid", str(error))

    return answer


def _problem(status: int, code: str, message: str) -> JSONResponse:
    error = {"code": code, "message": message, "retry": False}
    return JSONResponse({"error": error}, status)
