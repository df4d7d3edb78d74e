"""What answers at one HTTP port: connections, an application, and what that needs.

`pages` is for a server's own port. The port for metrics alone has nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from coterie.client.client import Client, connect
from coterie.console.access import Access, Identity, is_loopback
from coterie.console.app import make_app
from coterie.console.backup import Backup
from coterie.console.clients import Clients, MakeClient
from coterie.console.connections import Connections
from coterie.console.members import Members, Place, places
from coterie.console.operations import Operations
from coterie.console.problems import Problem
from coterie.console.shedding import Shedding
from coterie.console.trail import Trail
from coterie.console.views import Views
from coterie.console.znodes import Znodes
from coterie.ensemble import Endpoint
from coterie.settings import NO_PORT
from coterie.system.clock import dice

if TYPE_CHECKING:
    from ssl import SSLContext

    from starlette.types import ASGIApp

    from coterie.config import Config
    from coterie.runtime.doors import Inside

_SESSION_S: Final = 10.0
_CALL_S: Final = 10.0
_NO_CERTIFICATE: Final = (
    "this server takes clients by TLS with certificates alone: "
    "admin.client.keyStore.location names one for the pages"
)


class Site:
    """One port's pages, and the clients behind them."""

    def __init__(
        self,
        routes: list[BaseRoute],
        access: Access,
        idle_s: float,
        clients: Clients | None,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
    ) -> None:
        app = make_app(routes, access)
        self._connections = Connections(app if around is None else around(app), idle_s)
        self._clients = clients

    def protocol(self) -> asyncio.Protocol:
        """For one connection."""
        return self._connections.protocol()

    async def close(self) -> None:
        """End all connections, and what they needed."""
        await self._connections.close()
        if self._clients is not None:
            await self._clients.close()


def pages(inside: Inside) -> Site:
    """The pages of a server about itself and its znodes."""
    config = inside.config
    idle_s = config.admin_idle_timeout_ms / 1000
    if inside.metrics_only:
        names = _names(inside, config.metrics_address)
        access = Access(config.metrics_address, read_only=True, names=names)
        metrics = Route("/metrics", Operations(inside, access).metrics)
        return Site([metrics], access, idle_s, None)
    names = _names(inside, config.admin_address)
    access = Access(config.admin_address, read_only=_read_only(config), names=names)

    def make(identity: Identity | None) -> Client:
        tls = inside.tls
        if tls is None:
            return client_of(_own_shown(inside), identity)
        if tls.wants_one and not tls.shows_one:
            raise Problem(503, _NO_CERTIFICATE)
        return client_of(_own_shown(inside), identity, tls=tls.own())

    async def find() -> list[Place]:
        own = _own(inside)
        if config.ensemble is None:
            return [Place(None, "standalone", own)]
        found = places(config.ensemble, own[1], secure=inside.tls is not None)
        if inside.tls is not None and inside.tls.wants_one and not inside.tls.shows_one:
            return [replace(each, address=None, why=_NO_CERTIFICATE) for each in found]
        return found

    def tls_of_others() -> SSLContext | None:
        return None if inside.tls is None else inside.tls.others()

    around: Callable[[ASGIApp], ASGIApp] | None = None
    make_client: MakeClient = make
    if config.admin_telemetry:
        from coterie.console import tracing

        around, make_client = tracing.Traced, tracing.of_traced(make)
    clients = Clients(make_client)
    views = Views(Members(find, tls_of_others), access, partial(_own_shown, inside), inside)
    backup = Backup(inside, clients)
    shedding = Shedding(inside, access, clients, dice())
    routes = [
        *Operations(inside, access, backup, shedding).routes(),
        *Znodes(clients, access).routes(),
        *views.routes(),
        *Trail(inside, access, clients).routes(),
    ]
    return Site([*routes], access, idle_s, clients, around)


def client_of(hosts: str, identity: Identity | None, *, tls: SSLContext | None = None) -> Client:
    """A client that is who asks, or nobody; one that reads where there is no quorum, too."""
    auth = [] if identity is None else [("digest", ":".join(identity))]
    make = partial(connect, session_timeout_s=_SESSION_S, call_timeout_s=_CALL_S, read_only=True)
    return make(hosts, auth=auth, tls=tls)


def _own(inside: Inside) -> Endpoint:
    """Where the server itself takes clients."""
    config = inside.config
    by_tls = config.client_port == NO_PORT
    host = config.secure_port_address if by_tls else config.client_port_address
    if host in ("", "0.0.0.0"):
        host = "127.0.0.1"
    elif host in ("::", "[::]"):
        host = "::1"
    return host, inside.client_port()


def _names(inside: Inside, address: str) -> list[str]:
    """By which names this server may be asked for over HTTP, which listens at `address`."""
    config = inside.config
    names = list(config.admin_host_names or ())
    if is_loopback(address):
        return names
    names.append(inside.status().environment.get("host.name", ""))
    if config.ensemble is not None:
        seat = config.ensemble.seats[config.server_id]
        names += [host for host, _ in (*seat.quorum, *seat.election)]
        names += [place[0] for place in (seat.client, seat.secure) if place is not None]
    return names


def _own_shown(inside: Inside) -> str:
    return Place(None, "", _own(inside)).shown()


def _read_only(config: Config) -> bool:
    given = config.admin_read_only_given
    return not is_loopback(config.admin_address) if given is None else given
