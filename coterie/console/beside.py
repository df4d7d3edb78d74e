"""A console beside an ensemble, Coterie's or Apache's, which knows it as any client does.

What a server alone knows of itself (its sessions, its disk) is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from coterie.client.hosts import ConnectString
from coterie.console.access import Access, Identity
from coterie.console.clients import Clients
from coterie.console.members import Finder, Members
from coterie.console.site import Site
from coterie.console.trail import Trail
from coterie.console.views import Views
from coterie.console.znodes import Znodes
from coterie.ensemble import Ensemble

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.client.client import Client

_IDLE_S: Final = 30.0


def beside(
    hosts: str,
    make: Callable[[Identity | None], Client],
    address: str,
    *,
    read_only: bool,
    names: Sequence[str] = (),
    tls: SSLContext | None = None,
) -> Site:
    """The console of the ensemble at `hosts`, for a port at `address`."""
    access = Access(address, read_only=read_only, names=names)
    clients = Clients(make)

    async def config() -> Ensemble:
        async with clients.of(None) as client:
            return await client.config()

    finder = Finder(ConnectString.parse(hosts.removeprefix("tls://")), config)
    views = Views(Members(finder.find, tls), access, lambda: hosts, None)
    routes = [
        *Znodes(clients, access).routes(),
        *views.routes(),
        *Trail(None, access, clients).routes(),
    ]
    return Site([*routes], access, _IDLE_S, clients)
