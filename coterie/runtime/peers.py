"""The ports for other members: election and quorum links, dialled and accepted.

It moves bytes between transports and the machine's links, and knows nothing of what they mean.
Why there is no TLS with another member is said once, until that changes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from coterie.core.link import ELECTION, QUORUM, Endpoint, Link
from coterie.system import transport as transports
from coterie.system.tls import words

if TYPE_CHECKING:
    from coterie.core.member import Member
    from coterie.runtime.driver import Driver
    from coterie.runtime.tls import MemberTLS

log = logging.getLogger("coterie.server")

_CLOSE_S_MAX: Final = 2.0
_UNREAD_BYTES_MAX: Final = 256 * 2**20
"""What may wait for a member that does not read; then it has to be brought up to date anew."""


class PeerPorts:
    """All links of one member."""

    def __init__(self, driver: Driver, member: Member) -> None:
        self.driver = driver
        self.member = member
        self.protocols: dict[Link, LinkProtocol] = {}
        self._dial_s_max = member.config.connection_timeout_ms / 1000
        self._dials: set[asyncio.Task[None]] = set()
        self.tls: MemberTLS | None = None
        """How members speak TLS with each other, if they do."""
        self._troubles: dict[Endpoint, str] = {}

    def election(self) -> asyncio.Protocol:
        """A protocol for a member that has connected to the election port."""
        return cast(asyncio.Protocol, LinkProtocol(self, Link(ELECTION)))

    def quorum(self) -> asyncio.Protocol:
        """A protocol for a member that has connected to the quorum port."""
        return cast(asyncio.Protocol, LinkProtocol(self, Link(QUORUM)))

    @property
    def busy(self) -> bool:
        """Whether there are links, or attempts to make some."""
        return bool(self.protocols or self._dials)

    def dial(self, link: Link) -> None:
        """Connect a link; the machine is told whether that could be done."""
        task = self.driver.loop.create_task(self._dial(link))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, link: Link) -> None:
        for address in link.addresses:
            if await self._connect(link, address):
                return
        self.driver.begin()
        self.member.lost(link)

    async def _connect(self, link: Link, address: Endpoint) -> bool:
        def protocol() -> asyncio.Protocol:
            return cast(asyncio.Protocol, LinkProtocol(self, link))

        tls = None if self.tls is None else self.tls.dialling()
        try:
            async with asyncio.timeout(self._dial_s_max):
                await transports.dial(address, protocol, tls)
        except (OSError, TimeoutError) as error:
            self.trouble(link.peer, address, words(error))
            return False
        return True

    def trouble(self, peer: int, address: Endpoint, why: str | None) -> None:
        """TLS with a member did not come about, if there is a reason."""
        if why is not None and self._troubles.get(address) != why:
            self._troubles[address] = why
            log.warning("no TLS with server %d at %s:%d: %s", peer, *address, why)

    def send(self, link: Link) -> None:
        protocol = self.protocols.get(link)
        if protocol is not None:
            protocol.send()

    def close(self, link: Link) -> None:
        protocol = self.protocols.get(link)
        if protocol is not None:
            protocol.close()

    def close_all(self) -> None:
        for task in self._dials:
            task.cancel()
        for protocol in list(self.protocols.values()):
            protocol.close()

    def abort_all(self) -> None:
        for task in self._dials:
            task.cancel()
        for protocol in list(self.protocols.values()):
            protocol.abort()


class LinkProtocol:
    """One link: an `asyncio.Protocol` by its methods."""

    __slots__ = ("_full", "_link", "_ports", "_transport")

    def __init__(self, ports: PeerPorts, link: Link) -> None:
        self._ports = ports
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        ports, link = self._ports, self._link
        if ports.tls is not None and not link.dialled:
            refusal = ports.tls.refusal(transport)
            if refusal is not None:
                peer = transport.get_extra_info("peername")
                log.warning("no TLS with %s:%d: %s", peer[0], peer[1], refusal)
                link.closing = True
                self._transport.abort()
                return
        ports.protocols[link] = self
        ports.driver.begin()
        if link.dialled:
            if link.closing:
                self.close()
            else:
                ports.member.opened(link)
        else:
            ports.member.accepted(link)

    def data_received(self, data: bytes) -> None:
        driver = self._ports.driver
        driver.begin()
        driver.chunks += 1
        if not self._link.closing:
            self._ports.member.heard(self._link, data)

    def send(self) -> None:
        """Write what waits; while more is to come, ask for it when this has gone."""
        link, transport = self._link, self._transport
        if not link.out or transport is None or transport.is_closing():
            link.out.clear()
            return
        data = link.out[0] if len(link.out) == 1 else b"".join(link.out)
        link.out.clear()
        if self._full and transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            log.warning("cutting off server %d: it does not read what it is sent", link.peer)
            transport.abort()
            return
        try:
            transport.write(data)
        except Exception:  # uvloop raises what it likes on a connection that was just reset
            transport.abort()
            return
        if link.streaming and not self._full:
            self._ports.driver.loop.call_soon(self._drained)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._link.streaming:
            self._drained()

    def _drained(self) -> None:
        if not self._full and not self._link.gone:
            self._ports.driver.begin()
            self._ports.member.drained_link(self._link)

    def close(self) -> None:
        """Close once everything is sent, or when it has not been taken for a while."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.send()
            transport.close()
            self._ports.driver.loop.call_later(_CLOSE_S_MAX, self.abort)

    def abort(self) -> None:
        """Reset the connection; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        """The other end will send no more; close."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._ports.protocols.pop(self._link, None) is None:
            return
        if error is not None and self._link.dialled:
            # Who is dialled may refuse this member's certificate after the handshake only.
            self._ports.trouble(self._link.peer, self._link.addresses[0], words(error))
        self._ports.driver.begin()
        self._ports.member.lost(self._link)
