"""What is at the two ports of a server, over real connections."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from coterie.console.site import Site, pages
from coterie.runtime.doors import Inside
from tests.admin.served import Served


def _site(*, metrics_only: bool = False, address: str = "127.0.0.1", **more: object) -> Site:
    served = Served()
    config = replace(served.config, admin_address=address, **more)  # type: ignore[arg-type]
    return pages(Inside(config, served.status, lambda: None, lambda: 1, metrics_only))


async def _get(site: Site, path: str, method: str = "GET") -> bytes:
    """The first line of the answer."""
    server = await asyncio.get_running_loop().create_server(site.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    server.close()
    await site.close()
    return line.strip()


async def test_the_port_of_the_pages_has_all() -> None:
    assert await _get(_site(), "/metrics") == b"HTTP/1.1 200 OK"
    assert await _get(_site(), "/commands/ruok") == b"HTTP/1.1 200 OK"
    assert await _get(_site(), "/ready") == b"HTTP/1.1 200 OK"


async def test_the_port_for_metrics_has_nothing_else() -> None:
    assert await _get(_site(metrics_only=True), "/metrics") == b"HTTP/1.1 200 OK"
    assert await _get(_site(metrics_only=True), "/commands/ruok") == b"HTTP/1.1 404 Not Found"


async def test_who_may_change_something() -> None:
    reset = "/commands/stat_reset"
    assert b"200" in await _get(_site(), reset)
    assert b"403" in await _get(_site(admin_read_only_given=True), reset)
    assert b"403" in await _get(_site(address="0.0.0.0"), reset)
    assert b"200" in await _get(_site(address="0.0.0.0", admin_read_only_given=False), reset)
