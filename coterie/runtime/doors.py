"""The HTTP ports of a server: bound when it starts, opened when somebody knocks.

Rules:
- what answers over HTTP is large, so it is loaded when the first connection waits, in another
  thread: clients are served meanwhile. A server that nobody asks pays for a socket;
- a port that nobody asked for by number is a convenience: if another has it, one line says so and
  the server goes on. One that was asked for must be had, as the client port;
- who has not done a handshake where there has to be one has not come in: no page hears of it;
- this knows nothing of HTTP. Whoever starts the server hands in what makes the pages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from coterie.admin.commands import Status
from coterie.config import Config
from coterie.system import transport

if TYPE_CHECKING:
    from socket import socket

    from coterie.core.connection import Connection
    from coterie.runtime.tls import ItselfTLS
    from coterie.system.handshakes import Secure

log = logging.getLogger("coterie.server")

PORT: Final = 8080
_BACKLOG: Final = 64


@dataclass(frozen=True, slots=True)
class Inside:
    """What pages may ask of the server that they belong to."""

    config: Config
    status: Callable[[], Status]
    unready: Callable[[], str | None]
    """Why the server is not ready to serve, or None if it is."""
    client_port: Callable[[], int]
    metrics_only: bool
    tls: ItselfTLS | None = None
    """How the pages connect to a server that takes clients by TLS alone."""
    shed: Callable[[Sequence[Connection]], None] | None = None
    """Closes connections of clients, whose sessions live on."""


class Pages(Protocol):
    """What answers at a door."""

    def protocol(self) -> asyncio.Protocol:
        """For one connection."""

    async def close(self) -> None:
        """End all connections, and what they needed."""


class _Listening(Protocol):
    def close(self) -> None: ...


MakePages = Callable[[Inside], Pages]


class Bound(NamedTuple):
    """A listening socket."""

    listener: socket
    metrics_only: bool
    secure: Secure | None
    """How handshakes are done there, if at all."""


def bind(
    config: Config, of_pages: Secure | None = None, of_metrics: Secure | None = None
) -> list[Bound]:
    """The listening sockets. Raises `PortTakenError`."""
    found: list[Bound] = []
    if config.admin_enabled:
        port = PORT if config.admin_port_given is None else config.admin_port_given
        try:
            listener = transport.bind(config.admin_address, port, _BACKLOG)
            found.append(Bound(listener, False, of_pages))
        except transport.PortTakenError as error:
            if config.admin_port_given is not None:
                raise
            log.info("no pages over HTTP: %s; admin.serverPort names another port", error)
    try:
        for port, secure in _metrics_ports(config, of_metrics):
            listener = transport.bind(config.metrics_address, port, _BACKLOG)
            found.append(Bound(listener, True, secure))
    except transport.PortTakenError:
        for each in found:
            each.listener.close()
        raise
    return found


def _metrics_ports(config: Config, secure: Secure | None) -> list[tuple[int, Secure | None]]:
    """The ports for metrics alone: without TLS, by TLS, or one that is both."""
    if not config.exports_metrics:
        return []
    ports: list[tuple[int, Secure | None]] = []
    both = secure is not None and secure.both
    if config.metrics_port is not None and not both:
        ports.append((config.metrics_port, None))
    if config.metrics_tls_port is not None and secure is not None:
        ports.append((config.metrics_tls_port, secure))
    return ports


class Door:
    """One HTTP port, with TLS if it is `secure`. `open` it within a running event loop."""

    def __init__(
        self,
        listener: socket,
        make: Callable[[], Pages],
        secure: Secure | None = None,
        *,
        metrics_only: bool = False,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self.metrics_only = metrics_only
        self._secure = secure
        self._listener = listener
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages: Pages | None = None
        self._server: _Listening | None = None
        self._opening: asyncio.Task[None] | None = None

    def open(self) -> None:
        """From now on whoever knocks is let in."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._knocked)

    def _knocked(self) -> None:
        assert self._loop is not None
        self._loop.remove_reader(self._listener)
        self._opening = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        assert self._loop is not None
        try:
            pages = self._pages = await self._loop.run_in_executor(None, self._make)
        except Exception:
            log.exception("no pages over HTTP at port %d", self.port)
            self._listener.close()
            return
        self._server = await transport.serve(
            self._listener, pages.protocol, _BACKLOG, self._secure
        )

    def shut(self) -> None:
        """Let nobody in any more."""
        if self._server is not None:
            self._server.close()
            return
        if self._opening is not None:
            self._opening.cancel()
        elif self._loop is not None:
            self._loop.remove_reader(self._listener)
        self._listener.close()

    async def close(self) -> None:
        """`shut`, and end every connection."""
        self.shut()
        if self._pages is not None:
            await self._pages.close()
