"""/znodes/PATH and /transactions: znodes as HTTP resources.

Rules:
- what is asked goes through a client of the asker's identity (`clients.py`), to the letter:
  nothing is cached, and no write is repeated;
- the version of a znode is its ETag. A change that bears `If-Match` happens only to that version;
- an ephemeral znode would be of the console's session, not of the asker's: none is made here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coterie.client.client import Client
from coterie.console import problems, shapes
from coterie.console.access import Access, identity
from coterie.console.app import read_body
from coterie.console.clients import Clients
from coterie.console.events import Events
from coterie.console.problems import Problem
from coterie.errors import NoAuthError, NoNodeError
from coterie.values import CreateMode, Stat

if TYPE_CHECKING:
    from starlette.requests import Request

    from coterie.client.transaction import Transaction

_SEARCH_S: Final = 5.0
_SEARCHED_MAX: Final = 100_000
_FOUND_MAX: Final = 200
_PAGE_MAX: Final = 500
_SANDBOX: Final = {"content-security-policy": "default-src 'none'; sandbox"}
_MODES: Final = {
    "persistent": CreateMode.PERSISTENT,
    "sequential": CreateMode.PERSISTENT_SEQUENTIAL,
    "container": CreateMode.CONTAINER,
    "ttl": CreateMode.PERSISTENT_TTL,
    "ttl-sequential": CreateMode.PERSISTENT_SEQUENTIAL_TTL,
}


class Znodes:
    """The znodes that a port shows."""

    def __init__(self, clients: Clients, access: Access) -> None:
        self._clients = clients
        self._access = access
        self._events = Events(clients)

    @property
    def listeners(self) -> int:
        """How many streams of events are open."""
        return self._events.open

    def routes(self) -> list[Route]:
        methods = ["GET", "PUT", "POST", "DELETE"]
        return [
            Route("/znodes", self.znode, methods=methods),
            Route("/znodes/{path:path}", self.znode, methods=methods),
            Route("/transactions", self.transaction, methods=["POST"]),
        ]

    async def znode(self, request: Request) -> Response:
        asker = identity(request.headers)
        path = "/" + request.path_params.get("path", "").rstrip("/")
        asked = request.query_params
        if request.method in ("GET", "HEAD") and "watch" in asked:
            if asked["watch"] not in ("", "recursive"):
                raise Problem(400, "watch is of the znode, or recursive")
            recursive = asked["watch"] == "recursive"
            return await self._events.stream(asker, path, recursive=recursive)
        body = b""
        if request.method not in ("GET", "HEAD"):
            self._access.check_write()
            body = await read_body(request)
        try:
            async with self._clients.of(asker) as client:
                if request.method in ("GET", "HEAD"):
                    return await _read(client, path, request)
                return await _CHANGES[request.method](client, path, request, body)
        except NoAuthError as error:
            return _refused(error, request)

    async def transaction(self, request: Request) -> Response:
        asker = identity(request.headers)
        self._access.check_write()
        given = shapes.read_json(await read_body(request))
        if not isinstance(given, dict) or not isinstance(given.get("operations"), list):
            raise Problem(400, "a transaction is an object that has a list of operations")
        async with self._clients.of(asker) as client:
            change = client.transaction()
            for operation in given["operations"]:
                _add(change, operation)
            try:
                results = await change.commit()
            except NoAuthError as error:
                return _refused(error, request)
        return JSONResponse(
            {
                "results": [
                    {"stat": shapes.stat_json(result)}
                    if isinstance(result, Stat)
                    else {"path": result}
                    if isinstance(result, str)
                    else {}
                    for result in results
                ]
            }
        )


def _refused(error: NoAuthError, request: Request) -> Response:
    """Whoever has said nothing of who it is may say it; a page asks for that itself."""
    response = problems.answer(error)
    if "authorization" not in request.headers:
        response = problems.answer(error, {"status": 401})
        response.status_code = 401
        if "x-requested-by" not in request.headers:
            response.headers["www-authenticate"] = 'Basic realm="ZooKeeper", charset="UTF-8"'
    return response


def _tagged(stat: Stat) -> dict[str, str]:
    return {"etag": f'"{stat.version}"'}


async def _read(client: Client, path: str, request: Request) -> Response:
    asked = request.query_params
    newest = "linearizable" in asked
    if "search" in asked:
        return await _search(client, path, asked["search"])
    if "children" in asked:
        return await _children(client, path, asked.get("after", ""), asked["children"] == "stats")
    if "acl" in asked:
        acl, stat = await client.get_acl(path)
        told = {"path": path, "acl": shapes.acl_json(acl), "stat": shapes.stat_json(stat)}
        return JSONResponse(told, headers={"etag": f'"{stat.aversion}"'})
    if "stat" in asked:
        found = await client.exists(path, linearizable=newest)
        if found is None:
            raise NoNodeError(path, "exists")
        told = {"path": path, "stat": shapes.stat_json(found)}
        return JSONResponse(told, headers=_tagged(found))
    data, stat = await client.get(path, linearizable=newest)
    if "json" in asked:
        told = {"path": path, **shapes.data_json(data), "stat": shapes.stat_json(stat)}
        return JSONResponse(told, headers=_tagged(stat))
    headers = {**_tagged(stat), **_SANDBOX}
    return Response(data, headers=headers, media_type="application/octet-stream")


async def _children(client: Client, path: str, after: str, stats: bool) -> Response:
    """The names of the children; with their stats, so many at a time beyond `after`."""
    names, stat = await client.children_with_stat(path)
    told: dict[str, Any] = {"path": path, "stat": shapes.stat_json(stat)}
    if not stats:
        return JSONResponse({**told, "children": names}, headers=_tagged(stat))
    page = [name for name in names if name > after][:_PAGE_MAX]
    base = path.rstrip("/")
    found = await asyncio.gather(*(_stat(client, f"{base}/{name}") for name in page))
    told["children"] = [
        {"name": name, **each} for name, each in zip(page, found, strict=True) if each is not None
    ]
    told["more"] = bool(page) and page[-1] != names[-1]
    return JSONResponse(told, headers=_tagged(stat))


async def _stat(client: Client, path: str) -> dict[str, Any] | None:
    """The stat of a child, null if this is not for the asker; None where it has gone."""
    try:
        stat = await client.exists(path)
    except NoAuthError:
        return {"stat": None}
    return None if stat is None else {"stat": shapes.stat_json(stat)}


async def _search(client: Client, path: str, text: str) -> Response:
    """The znodes below whose names have a text in them, as far as time allows."""
    if not text:
        raise Problem(400, "search for something")
    found: list[str] = []
    waiting = [path]
    searched = 0
    complete = False
    wanted = text.lower()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SEARCH_S):
            while waiting and len(found) < _FOUND_MAX and searched < _SEARCHED_MAX:
                batch, waiting = waiting[:100], waiting[100:]
                results = await asyncio.gather(*(_names(client, each) for each in batch))
                for above, names in zip(batch, results, strict=True):
                    searched += len(names)
                    below = [f"{above.rstrip('/')}/{name}" for name in names]
                    waiting += below
                    found += [
                        place
                        for place, name in zip(below, names, strict=True)
                        if wanted in name.lower()
                    ]
            complete = not waiting and len(found) <= _FOUND_MAX
    told = {"path": path, "found": sorted(found[:_FOUND_MAX]), "complete": complete}
    return JSONResponse({**told, "searched": searched})


async def _names(client: Client, path: str) -> list[str]:
    try:
        return await client.children(path)
    except (NoNodeError, NoAuthError):
        return []


async def _put(client: Client, path: str, request: Request, body: bytes) -> Response:
    version = shapes.read_version(request.headers.get("if-match"))
    if "acl" in request.query_params:
        acl = shapes.read_acl(shapes.read_json(body))
        stat = await client.set_acl(path, acl, version)
        tag = f'"{stat.aversion}"'
    else:
        stat = await client.set(path, body, version)
        tag = f'"{stat.version}"'
    return JSONResponse({"path": path, "stat": shapes.stat_json(stat)}, headers={"etag": tag})


async def _post(client: Client, path: str, request: Request, body: bytes) -> Response:
    asked = request.query_params
    mode = _mode(asked.get("mode", "persistent"))
    ttl = asked.get("ttl_ms")
    if mode.ttl and not (ttl and ttl.isascii() and ttl.isdecimal() and len(ttl) < 18):
        raise Problem(400, "a TTL is some milliseconds: ttl_ms=60000")
    created = await client.create_with_stat(
        path,
        body,
        sequential=mode.sequential,
        container=mode == CreateMode.CONTAINER,
        ttl_ms=int(ttl) if mode.ttl and ttl else None,
        acl=shapes.read_acl(asked.get("acl")),
        parents="parents" in asked,
    )
    told = {"path": created.path, "stat": shapes.stat_json(created.stat)}
    headers = {"location": "/znodes" + quote(created.path), **_tagged(created.stat)}
    return JSONResponse(told, 201, headers=headers)


async def _delete(client: Client, path: str, request: Request, body: bytes) -> Response:
    given = request.headers.get("if-match")
    if "recursive" in request.query_params:
        if given is not None:
            raise Problem(400, "a subtree has no version: leave If-Match out")
        if await client.exists(path) is None:
            raise NoNodeError(path, "delete_tree")
        await client.delete_tree(path)
    else:
        await client.delete(path, shapes.read_version(given))
    return Response(status_code=204)


_CHANGES: Final = {"PUT": _put, "POST": _post, "DELETE": _delete}


def _mode(name: object) -> CreateMode:
    if name in ("ephemeral", "ephemeral-sequential"):
        raise Problem(400, "an ephemeral znode needs a session of its own, which HTTP has not")
    if not isinstance(name, str) or name not in _MODES:
        raise Problem(400, f"a mode is one of {', '.join(_MODES)}")
    return _MODES[name]


def _add(change: Transaction, given: object) -> None:
    """One operation of a transaction."""
    if not isinstance(given, dict) or not isinstance(given.get("path"), str):
        raise Problem(400, "an operation is an object that has op and path")
    path, version = given["path"], given.get("version", -1)
    if not isinstance(version, int) or isinstance(version, bool) or not -1 <= version < 2**31:
        raise Problem(400, "a version is a number")
    match given.get("op"):
        case "check":
            change.check(path, version)
        case "set":
            change.set(path, shapes.read_data(given), version)
        case "delete":
            change.delete(path, version)
        case "create":
            ttl_ms = given.get("ttl_ms", 0)
            if not isinstance(ttl_ms, int) or ttl_ms < 0:
                raise Problem(400, "ttl_ms is a number")
            mode, acl = _mode(given.get("mode", "persistent")), shapes.read_acl(given.get("acl"))
            change.create(path, shapes.read_data(given), mode, acl=acl, ttl_ms=ttl_ms)
        case _:
            raise Problem(400, "op is create, set, delete or check")
