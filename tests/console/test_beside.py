"""A console beside an ensemble: what it shows, and that it ends."""

from __future__ import annotations

from functools import partial

from coterie.console.beside import beside
from coterie.console.site import client_of


async def test_its_site_closes(hosts: str) -> None:
    site = beside(hosts, partial(client_of, hosts), "127.0.0.1", read_only=True)
    assert site.protocol() is not site.protocol()
    await site.close()
