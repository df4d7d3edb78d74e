"""What answers at one HTTP port: connections, an application, and what that needs.

`pages` is for a server's own port. The port for metrics alone has nothing else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route

from coterie.console.access import Access, is_loopback
from coterie.console.app import make_app
from coterie.console.connections import Connections
from coterie.console.operations import Operations

if TYPE_CHECKING:
    from coterie.config import Config
    from coterie.runtime.doors import Inside


class Site:
    """One port's pages."""

    def __init__(self, routes: list[BaseRoute], access: Access, idle_s: float) -> None:
        self._connections = Connections(make_app(routes, access), idle_s)

    def protocol(self) -> asyncio.Protocol:
        """For one connection."""
        return self._connections.protocol()

    async def close(self) -> None:
        """End all connections, and what they needed."""
        await self._connections.close()


def pages(inside: Inside) -> Site:
    """The pages of a server about itself and its znodes."""
    config = inside.config
    if inside.metrics_only:
        access = Access(config.metrics_address, read_only=True)
        routes: list[BaseRoute] = [Route("/metrics", Operations(inside, access).metrics)]
    else:
        access = Access(config.admin_address, read_only=_read_only(config))
        routes = [*Operations(inside, access).routes()]
    return Site(routes, access, config.admin_idle_timeout_ms / 1000)


def _read_only(config: Config) -> bool:
    given = config.admin_read_only_given
    return not is_loopback(config.admin_address) if given is None else given
