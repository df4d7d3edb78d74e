"""SEAM 3: listen and connect over TCP, shaped like `asyncio.Protocol`; and the event loop.

uvloop where it can be had, asyncio's own loop where not (15 to 20 % slower un-batched).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from coterie.system.tls import server_name

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.system.handshakes import Secure

T = TypeVar("T")

_NO_LINGERING: Final = struct.pack("ii", 1, 0)


class PortTakenError(OSError):
    """The address to listen on is in use, not ours, or not to be had."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` with the fastest event loop that is installed."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def bind(host: str, port: int, backlog: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. An empty host means every address.

    Raises `PortTakenError` with one line that says what is wrong.
    """
    try:
        return _listener(host, port, backlog)
    except OSError as error:
        where = f"{host or '*'}:{port}"
        raise PortTakenError(f"cannot listen on {where}: {error.strerror or error}") from error


def _listener(host: str, port: int, backlog: int) -> socket.socket:
    # A kernel may have been started without IPv6: then every address is one of IPv4.
    is_ipv6 = ":" in host or (not host and socket.has_dualstack_ipv6())
    listener = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host else 0)
        listener.bind((host, port))
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class Listening(Protocol):
    """A socket that accepts connections."""

    def close(self) -> None:
        """Accept none any more; those that there are stay."""


async def serve(
    listener: socket.socket,
    factory: Callable[[], asyncio.Protocol],
    backlog: int,
    secure: Secure | None = None,
) -> Listening:
    """Accept connections on a bound socket, a protocol for each; with TLS if it is `secure`."""
    loop = asyncio.get_running_loop()
    if secure is None:
        return await loop.create_server(factory, sock=listener, backlog=backlog)
    from coterie.system.handshakes import SecureListener

    secured = SecureListener(listener, factory, secure)
    secured.open()
    return secured


async def dial(
    address: tuple[str, int],
    factory: Callable[[], asyncio.Protocol],
    tls: SSLContext | None = None,
) -> None:
    """Connect to a host and port. Raises `OSError` when nobody answers there.

    With `tls` the host has to prove itself, if the context says so, by the name in the address.
    """
    loop = asyncio.get_running_loop()
    try:
        name = server_name(address[0]) if tls is not None else None
        await loop.create_connection(factory, *address, ssl=tls, server_hostname=name)
    except OSError:
        raise  # a certificate that is refused is a ValueError as well
    except (ValueError, OverflowError) as error:
        # Another member may name what is no host, or no port.
        raise _no_host(*address) from error


def reset(transport: asyncio.Transport) -> None:
    """End a connection whose other side takes nothing.

    An `abort` alone ends it for this process only: the system would go on to offer what it has
    taken, megabytes of it, for minutes.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    transport.abort()


def _no_host(host: str, port: int) -> OSError:
    return OSError(f"{host[:100]!r}, port {port}, is no place on a network")


class Network(Protocol):
    """How a client reaches servers; the simulator has one of its own."""

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        """The addresses that a name has now. Raises `OSError` when it has none."""

    async def dial(
        self,
        address: tuple[str, int],
        factory: Callable[[], asyncio.Protocol],
        tls: SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        """Connect to an address. Raises `OSError` when nobody answers there.

        With `tls` the server has to prove that it is `name`.
        """


class SystemNetwork:
    """The network of this machine."""

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (ValueError, OverflowError) as error:
            raise _no_host(host, port) from error
        return list(dict.fromkeys((str(info[4][0]), port) for info in found))

    async def dial(
        self,
        address: tuple[str, int],
        factory: Callable[[], asyncio.Protocol],
        tls: SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        proven = server_name(name) if tls is not None and name is not None else None
        try:
            await loop.create_connection(factory, *address, ssl=tls, server_hostname=proven)
        except ConnectionResetError as error:
            if tls is None:
                raise
            said = "it ended the handshake of TLS: is this its port for TLS?"
            raise ConnectionResetError(said) from error
