"""`python -m examples.gateway.metadata`: a metadata server; all copies read, the leader writes.

    POST /job {"job_id": "..."}        -> {"result": {...}}                any copy
    POST /create {"id": "...", ...}    -> {"result": {...}}                the leader
    GET  /status                       -> {"leads": true, "leader": "metadata-1", ...}

The operations are those of `store.py`. Rules:
- a copy that does not lead refuses a write with 421 and says who does (`x-leader`); with 503 when
  nobody does;
- the token of the leadership goes with the write into its transaction: a leader that was deposed
  and does not know it is refused there (503);
- SQLite never blocks the event loop: one thread writes, one reads.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from coterie.gateway.component import Component
from coterie.gateway.fencing import StaleTokenError
from coterie.gateway.standby import Standby
from examples.gateway.applications.catalogue import APPLICATIONS
from examples.gateway.process import Options, Service, main
from examples.gateway.store import READS, WRITES, RefusalError, StaleClaimError, Store

KIND: Final = "metadata"
FILE: Final = "experiments.sqlite"
OWNER: Final = "gateway"
"""Whose the applications are that come along: no user who signs in has a right to them."""

_BODY_BYTES_MAX: Final = 4 << 20

log = logging.getLogger("gateway.metadata")


class Desk:
    """A `Store` in a thread of its own, between `async with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._store: Store | None = None

    async def __aenter__(self) -> Self:
        self._store = await self._run(lambda: Store(self._path))
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._store is not None:
            await self._run(self._store.close)
        self._thread.shutdown(wait=False)

    async def read(self, operation: str, arguments: dict[str, Any]) -> Any:
        assert self._store is not None
        store = self._store
        return await self._run(lambda: store.read(operation, arguments))

    async def write(self, token: int, operation: str, arguments: dict[str, Any]) -> Any:
        """Goes on to its end when its caller is cancelled."""
        assert self._store is not None
        store = self._store
        return await self._run(lambda: store.write(token, operation, arguments))

    async def _run(self, job: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


class MetadataServer:
    """What one copy answers."""

    def __init__(self, name: str, standby: Standby, reader: Desk, writer: Desk) -> None:
        self._name = name
        self._standby = standby
        self._reader = reader
        self._writer = writer

    def app(self) -> Starlette:
        routes = [
            Route("/status", self.status),
            Route("/{operation}", self.operate, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def status(self, request: Request) -> JSONResponse:
        leader = self._standby.leader
        return JSONResponse(
            {
                "name": self._name,
                "leads": self._standby.leading is not None,
                "leader": None if leader is None else leader.identifier.decode(),
                "token": self._standby.token,
            }
        )

    async def operate(self, request: Request) -> JSONResponse:
        operation = request.path_params["operation"]
        try:
            return JSONResponse({"result": await self._operate(operation, request)})
        except StaleClaimError as stale:
            tokens = {"token": stale.token, "newest": stale.newest}
            return _problem(stale.status, stale.code, str(stale), **tokens)
        except RefusalError as refusal:
            return _problem(refusal.status, refusal.code, str(refusal))
        except StaleTokenError as stale_leader:
            log.warning("deposed, and heard of it from the store: %s", stale_leader)
            return _problem(503, "deposed", "another copy leads now")
        except sqlite3.Error as error:
            log.exception("%s failed", operation)
            return _problem(503, "database", str(error))
        except _NotLeadingError as not_leading:
            if not not_leading.leader:
                return _problem(503, "no_leader", "nobody leads at the moment")
            answer = _problem(421, "not_leader", f"{not_leading.leader} leads")
            answer.headers["x-leader"] = not_leading.leader
            return answer

    async def _operate(self, operation: str, request: Request) -> Any:
        is_read = operation in READS
        if not is_read and operation not in WRITES:
            raise RefusalError(404, "unknown_operation", f"there is no operation {operation}")
        body = await request.body()
        if len(body) > _BODY_BYTES_MAX:
            raise RefusalError(413, "too_large", f"more than {_BODY_BYTES_MAX} bytes")
        arguments = _arguments((READS if is_read else WRITES)[operation], body)
        if is_read:
            return await self._reader.read(operation, arguments)
        token = self._standby.token
        if token is None:
            leader = self._standby.leader
            name = "" if leader is None else leader.identifier.decode()
            raise _NotLeadingError("" if name == self._name else name)
        return await self._writer.write(token, operation, arguments)


class _NotLeadingError(Exception):
    def __init__(self, leader: str) -> None:
        super().__init__(leader)
        self.leader = leader


def _arguments(function: Callable[..., Any], body: bytes) -> dict[str, Any]:
    try:
        arguments = json.loads(body or b"{}")
        inspect.signature(function).bind(None, **arguments)
    except (ValueError, TypeError) as error:
        raise RefusalError(400, "invalid", str(error)) from None
    return dict(arguments)


def _problem(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, **more}}, status)


async def _follow(component: Component[Any], standby: Standby, writer: Desk) -> None:
    """Tell in the directory whether this copy leads, for people and programs that look there."""
    async for leading, _ in standby.changes():
        await component.report(leads=leading is not None)
        if leading is not None:
            log.info("leads, with the token %#x", leading.token)
            await _register(leading.token, writer)


async def _register(token: int, writer: Desk) -> None:
    """See to it that the applications that come along are there."""
    for application in APPLICATIONS:
        arguments = {"application": application.as_json(), "user": OWNER}
        try:
            await writer.write(token, "register", arguments)
        except (RefusalError, StaleTokenError, sqlite3.Error) as error:
            log.warning("%s is not registered: %s", application.name, error)


@asynccontextmanager
async def serve(component: Component[Any], options: Options) -> AsyncIterator[Service]:
    """A metadata server, between two moments."""
    options.data.mkdir(parents=True, exist_ok=True)
    path = options.data / FILE
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Desk(path))
        reader = await stack.enter_async_context(Desk(path))
        leaders = f"{options.root}/leaders/{KIND}"
        standby = Standby(component.zk, leaders, identifier=options.name.encode())
        await stack.enter_async_context(standby)
        telling = asyncio.ensure_future(_follow(component, standby, writer))
        stack.callback(telling.cancel)

        async def resign() -> None:
            await standby.resign()

        yield Service(MetadataServer(options.name, standby, reader, writer).app(), resign)


if __name__ == "__main__":
    sys.exit(main(KIND, serve))
