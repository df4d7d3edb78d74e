"""A console beside an ensemble, Coterie's or Apache's, which knows it as any client does.

Rules:
- who the members are is read from /zookeeper/config, now and then; where that cannot be read, they
  are the servers that were named;
- what a server alone knows of itself (sessions, disk) is not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from coterie.client.hosts import ConnectString
from coterie.console.access import Access, Identity
from coterie.console.clients import Clients
from coterie.console.members import Members, Place, places
from coterie.console.site import Site
from coterie.console.views import Views
from coterie.console.znodes import Znodes
from coterie.errors import ZooKeeperError

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.client.client import Client

_AGAIN_S: Final = 30.0
_PATIENCE_S: Final = 3.0
_IDLE_S: Final = 30.0


class Finder:
    """Finds out who the members are."""

    def __init__(self, named: ConnectString, clients: Clients) -> None:
        self._named = [Place(None, "member", (host.name, host.port)) for host in named.hosts]
        self._port = named.hosts[0].port
        self._clients = clients
        self._found: list[Place] | None = None
        self._looked_s = float("-inf")

    async def find(self) -> list[Place]:
        """The members, as they were at most half a minute ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s > _AGAIN_S:
            self._looked_s = now_s
            self._found = await self._look() or self._found
        return self._named if self._found is None else self._found

    async def _look(self) -> list[Place] | None:
        try:
            async with asyncio.timeout(_PATIENCE_S), self._clients.of(None) as client:
                found = places(await client.config(), self._port)
        except (ZooKeeperError, TimeoutError):
            return None
        unknown = [each for each in found if each.address is None]
        return None if unknown and len(self._named) >= len(found) else found


def beside(
    hosts: str,
    make: Callable[[Identity | None], Client],
    address: str,
    *,
    read_only: bool,
    tls: SSLContext | None = None,
) -> Site:
    """The console of the ensemble at `hosts`, for a port at `address`."""
    access = Access(address, read_only=read_only)
    clients = Clients(make)
    finder = Finder(ConnectString.parse(hosts.removeprefix("tls://")), clients)
    views = Views(Members(finder.find, tls), access, lambda: hosts, None)
    routes = [*Znodes(clients, access).routes(), *views.routes()]
    return Site([*routes], access, _IDLE_S, clients)
