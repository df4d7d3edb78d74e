"""What all processes of the gateway have in common: each is a component that serves HTTP.

    @asynccontextmanager
    async def serve(component: Component[Settings], options: Options) -> AsyncIterator[Service]:
        yield Service(app)

    if __name__ == "__main__":
        sys.exit(main("metadata", serve, Settings))

The order: listen, join as one that is starting, make the app, serve, be found. At the end
(SIGTERM, Ctrl-C): be found no more, finish what was begun, serve no more, leave. Rules: it listens
at the loopback address unless it is told otherwise; a component that is not compatible with the
others ends with status 3 and one line, before anybody finds it; what a browser sends for a page
of another site is refused, for a manager runs commands, and whoever reaches the port may ask.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import coterie
from coterie.gateway.component import Component, Identity
from coterie.gateway.directory import IncompatibleError

S = TypeVar("S")

HOSTS: Final = "127.0.0.1:2181"
HOST: Final = "127.0.0.1"
ROOT: Final = "/gateway"
VERSION: Final = "1.0.0"
SESSION_S: Final = 4.0
INCOMPATIBLE: Final = 3
"""The exit status of a component whose version does not suit its partners."""

_BACKLOG: Final = 256
_DRAIN_S_MAX: Final = 20.0
_HEARD_S: Final = 0.3
_HEARD_S_MAX: Final = 3.0
_SHUTDOWN_S_MAX: Final = 3

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Options:
    """What a process of the gateway was started with."""

    kind: str
    name: str
    """Its id in the directory, and how people call it."""
    hosts: str = HOSTS
    host: str = HOST
    port: int = 0
    data: Path = Path("gateway-data")
    version: str = VERSION
    zone: str = ""
    flavor: str = ""
    root: str = ROOT
    control: int = 0
    """The port of the launcher, if there is one."""
    speaks: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        """The folder of the data store."""
        return self.data / "files"


async def _nothing() -> None:
    """What was begun is done."""


class Service(NamedTuple):
    """What a process serves, and how to wait until it has finished what it has begun."""

    app: ASGIApp
    drained: Callable[[], Awaitable[None]] = _nothing


Serve = Callable[[Component[Any], Options], AbstractAsyncContextManager[Service]]


def parse(
    kind: str,
    argv: list[str] | None = None,
    *,
    flavor: str = "",
    speaks: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Options:
    """The options on a command line."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.gateway.{kind}")
    parser.add_argument("--hosts", default=HOSTS, help="the ensemble (%(default)s)")
    parser.add_argument("--host", default=HOST, help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 is any that is free")
    parser.add_argument("--name", default="", help="the id in the directory")
    parser.add_argument("--data", type=Path, default=Path("gateway-data"), help="the folder")
    parser.add_argument("--version", default=VERSION, help="%(default)s")
    parser.add_argument("--zone", default="")
    parser.add_argument("--flavor", default=flavor)
    parser.add_argument("--root", default=ROOT, help="the znode of the gateway (%(default)s)")
    parser.add_argument("--control", type=int, default=0, help="the launcher's port")
    given = parser.parse_args(argv)
    name = given.name or "-".join(part for part in (kind, given.flavor, "1") if part)
    return Options(
        kind=kind,
        name=name,
        hosts=given.hosts,
        host=given.host,
        port=given.port,
        data=given.data.resolve(),
        version=given.version,
        zone=given.zone,
        flavor=given.flavor,
        root=given.root,
        control=given.control,
        speaks=dict(speaks or {}),
        metadata=dict(metadata or {}),
    )


def main(
    kind: str,
    serve: Serve,
    settings: type[Any] | None = None,
    *,
    flavor: str = "",
    speaks: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    argv: list[str] | None = None,
) -> int:
    """Run a component until it is told to end; the exit status."""
    options = parse(kind, argv, flavor=flavor, speaks=speaks, metadata=metadata)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s {options.name} %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        coterie.run(run(options, serve, settings))
    except IncompatibleError as error:
        print(f"{options.name} {options.version}: {error}", file=sys.stderr, flush=True)
        return INCOMPATIBLE
    except (OSError, coterie.ZooKeeperError) as error:
        print(f"{options.name}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


async def run(options: Options, serve: Serve, settings: type[Any] | None = None) -> None:
    """Run a component until SIGTERM or Ctrl-C. Raises `IncompatibleError`, `OSError`."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    with _listening(options.host, options.port) as listener:
        port = int(listener.getsockname()[1])
        async with coterie.connect(options.hosts, session_timeout_s=SESSION_S) as zk:
            served = asyncio.Event()
            running = asyncio.ensure_future(
                _run(zk, options, port, listener, serve, settings, ending, served)
            )
            told = asyncio.ensure_future(ending.wait())
            await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if not served.is_set():
                # Nobody knows it yet: there is nothing to be finished.
                running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def _run(
    zk: coterie.Client,
    options: Options,
    port: int,
    listener: socket.socket,
    serve: Serve,
    settings: type[Any] | None,
    ending: asyncio.Event,
    served: asyncio.Event,
) -> None:
    identity = Identity(
        kind=options.kind,
        version=options.version,
        host=options.host,
        port=port,
        flavor=options.flavor,
        zone=options.zone,
        metadata={"pid": os.getpid(), **options.metadata},
        speaks=dict(options.speaks),
        id=options.name,
    )
    joining: Component[Any]
    if settings is None:
        joining = Component(zk, identity, root=options.root, serve=False)
    else:
        joining = Component(zk, identity, settings, root=options.root, serve=False)
    async with (
        joining as component,
        serve(component, options) as service,
        _serving(NotForPages(service.app, options.host), listener),
    ):
        await component.serve()
        served.set()
        log.info("version %s serves at %s:%s", options.version, options.host, port)
        await _told_to_end(component, service, ending)


async def _told_to_end(component: Component[Any], service: Service, ending: asyncio.Event) -> None:
    """Wait until it is to end, by a signal or through the tree, and let it finish."""
    asked = asyncio.ensure_future(component.wait_asked_to_drain())
    told = asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait({asked, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        told.cancel()
        await asyncio.gather(asked, told, return_exceptions=True)
    log.info("drains")
    with suppress(TimeoutError):
        async with asyncio.timeout(_HEARD_S_MAX):
            await component.drain()
    # What others have sent before they heard of it arrives.
    await asyncio.sleep(_HEARD_S)
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S_MAX):
            await service.drained()


# HTTP


class NotForPages:
    """An app that answers nobody who asks for the page of another site.

    Browsers name the page (`Origin`) with whatever might change something. One whose site has a
    name that leads here would be of the same site: so the name has to be ours, or an address.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = {"localhost", host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_ours(Headers(scope=scope)):
            error = {"code": "other_site", "message": "no other site may ask this", "retry": False}
            await JSONResponse({"error": error}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_ours(self, headers: Headers) -> bool:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            origin = urlsplit(headers.get("origin", f"http://{host}")).netloc
            if name not in self._names:
                ipaddress.ip_address(name)
        except ValueError:
            return False
        return origin == host


class Server(uvicorn.Server):
    """Uvicorn, of which a whole process is not the business: signals are not for it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[int]:
    """Serve an app for the time of a block; the port. Raises `OSError`."""
    with _listening(host, port) as listener:
        async with _serving(app, listener):
            yield int(listener.getsockname()[1])


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        yield listener


@asynccontextmanager
async def _serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_SHUTDOWN_S_MAX,
        ws="none",
    )
    server = Server(config)
    begin: Coroutine[Any, Any, None] = server.serve(sockets=[listener])
    task = asyncio.ensure_future(begin)
    listening = asyncio.ensure_future(server.listening.wait())
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            # Another may have begun to listen there since it was bound.
            task.result()
            raise OSError("the server has ended before it listened")
        yield
    finally:
        listening.cancel()
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
