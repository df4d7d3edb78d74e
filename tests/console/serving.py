"""The znodes of an ensemble over HTTP, as an application that a test asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.clients import Clients
from coterie.console.site import client_of
from coterie.console.znodes import Znodes
from tests.console.asking import Answer, ask


class Asker:
    """Asks, as a program that may change something."""

    def __init__(self, clients: Clients, access: Access) -> None:
        self.clients = clients
        self.app = make_app(Znodes(clients, access).routes(), access)

    async def __call__(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> Answer:
        return await ask(self.app, method, target, body, x_requested_by="test", **headers)


@asynccontextmanager
async def serving(hosts: str, *, read_only: bool = False) -> AsyncIterator[Asker]:
    clients = Clients(partial(client_of, hosts))
    try:
        yield Asker(clients, Access("127.0.0.1", read_only=read_only))
    finally:
        await clients.close()
