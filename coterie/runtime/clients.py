"""The client port: frames in and out, backpressure, connection limits.

Who does not read is not read from: when a client's replies pile up, its connection is put on hold
until they are taken, and when watch events still pile up beyond a bound it is cut off. So the
memory that one client can claim is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from coterie.core.connection import HOLD_CLOSED, HOLD_OUTPUT, Connection
from coterie.core.remarks import Remarks
from coterie.system.subjects import SubjectError, subject
from coterie.system.tls import shown
from coterie.system.transport import reset

if TYPE_CHECKING:
    from coterie.runtime.driver import Driver

log = logging.getLogger("coterie.server")

_CLOSE_S_MAX: Final = 5.0


class ClientPort:
    """What the connections of one listening port have in common: the driver and the limits."""

    def __init__(
        self,
        driver: Driver,
        per_ip_max: int,
        total_max: int,
        unread_bytes_max: int = 16 * 2**20,
    ) -> None:
        self.driver = driver
        self.refused = 0
        self.unread_bytes_max = unread_bytes_max
        self._per_ip_max = per_ip_max
        self._total_max = total_max
        self._by_ip: dict[str, int] = {}
        self._remarks = Remarks(log.warning)

    def protocol(self) -> asyncio.Protocol:
        return cast(asyncio.Protocol, ClientProtocol(self))

    def admit(self, ip: str) -> bool:
        """Count a new connection, unless it is one too many; 0 means no limit."""
        here = self._by_ip.get(ip, 0)
        if 0 < self._per_ip_max <= here:
            line = f"too many connections from {ip}: the limit is {self._per_ip_max}"
            self._remarks.say("address", line, self.driver.now_ms)
        elif 0 < self._total_max <= len(self.driver.protocols):
            line = f"too many connections: the limit is {self._total_max}"
            self._remarks.say("all", line, self.driver.now_ms)
        else:
            self._by_ip[ip] = here + 1
            return True
        self.refused += 1
        return False

    def cut_off(self, connection: Connection) -> None:
        """Tell of somebody who is cut off."""
        who = f"{connection.ip}:{connection.port}"
        line = f"cutting off {who}: it does not read what it asked for"
        self._remarks.say("unread", line, self.driver.now_ms)

    def left(self, ip: str) -> None:
        self._by_ip[ip] -= 1
        if not self._by_ip[ip]:
            del self._by_ip[ip]


class ClientProtocol:
    """One client connection: moves bytes between a transport and the machine.

    An `asyncio.Protocol` by its methods. It does not inherit from it, so that mypyc can make a
    native class of it.
    """

    __slots__ = ("_connection", "_driver", "_full", "_port", "_transport")

    def __init__(self, port: ClientPort) -> None:
        self._port = port
        self._driver = port.driver
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A TCP transport, though uvloop's does not inherit from asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        ip = peer[0].removeprefix("::ffff:") if peer else ""
        certificate = shown(transport.get_extra_info("ssl_object"))
        try:
            who = subject(certificate) if certificate is not None else None
        except SubjectError as error:
            log.warning("no TLS with %s: its certificate cannot be read: %s", ip, error)
            self._transport.abort()
            return
        if not peer or not self._port.admit(ip):
            self._driver.member.server.stats.rejected += 1
            self._transport.abort()
            return
        self._driver.begin()
        connection = self._driver.member.connected(ip, peer[1], self._driver.now_ms)
        self._connection = connection
        self._driver.protocols[connection] = self
        connection.secure = transport.get_extra_info("ssl_object") is not None
        if who is not None:
            connection.ids += self._driver.member.access.certified(who)

    def data_received(self, data: bytes) -> None:
        driver = self._driver
        connection = self._connection
        if connection is None:
            return
        if not driver.turning:
            driver.begin()
        driver.chunks += 1
        driver.member.receive(connection, data, driver.now_ms)
        if connection.out:
            self.send()
        if connection.hold:
            self._pause()

    def send(self) -> None:
        """Write what waits. A connection that cannot be written to never touches the others."""
        connection, transport = self._connection, self._transport
        if connection is None or transport is None or not connection.out:
            return
        out = connection.out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        if transport.is_closing():
            return
        if self._full and transport.get_write_buffer_size() > self._port.unread_bytes_max:
            self._driver.member.server.stats.cut_off += 1
            self._port.cut_off(connection)
            reset(transport)
            return
        try:
            transport.write(data)
        except Exception:  # uvloop raises what it likes on a connection that was just reset
            transport.abort()
            return
        if connection.hold & HOLD_OUTPUT and not self._full:
            self._driver.loop.call_soon(self._drained)

    def pause_writing(self) -> None:
        self._full = True
        if self._connection is not None:
            self._connection.hold |= HOLD_OUTPUT
            self._pause()

    def resume_writing(self) -> None:
        self._full = False
        self._drained()

    def _drained(self) -> None:
        connection = self._connection
        if connection is None or self._full:
            return
        self._driver.begin()
        self._driver.member.drained(connection, self._driver.now_ms)
        if connection.out:
            self.send()
        if not connection.hold:
            self._unpause()

    def resume(self) -> None:
        """The machine will have more of this client."""
        connection = self._connection
        if connection is None or connection.hold:
            return
        self._driver.begin()
        self._driver.member.resume(connection, self._driver.now_ms)
        if connection.out:
            self.send()
        if not connection.hold:
            self._unpause()

    def close(self) -> None:
        """Close once everything is sent, or when the client has not taken it for a while."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.send()
            transport.close()
            self._driver.loop.call_later(_CLOSE_S_MAX, self.abort)

    def abort(self) -> None:
        """Reset the connection; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        """The client will send no more; close."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        self._transport = None
        if connection is None:
            return
        self._driver.begin()
        self._driver.protocols.pop(connection, None)
        self._driver.member.disconnected(connection)
        self._port.left(connection.ip)

    def _pause(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def _unpause(self) -> None:
        transport, connection = self._transport, self._connection
        assert connection is not None
        if connection.hold & HOLD_CLOSED or transport is None or transport.is_closing():
            return
        transport.resume_reading()
