"""The ports for other members: election and quorum links, dialled and accepted.

It moves bytes between transports and the machine's links, and knows nothing of what they mean.
Rules: where members prove themselves by SASL, within TLS if there is that, what they say is kept
from the machine until they have; there are only so many who have not, for so long. Why there is no
TLS or no SASL with another member is said once, until that changes: until who was dialled has
answered, for it may refuse this member's certificate after the handshake only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, cast

from coterie.core.introduction import Introduction
from coterie.core.link import ELECTION, QUORUM, Endpoint, Link
from coterie.core.remarks import STRANGERS_MS, Remarks
from coterie.system import transport as transports
from coterie.system.tls import words

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.core.member import Member
    from coterie.runtime.driver import Driver
    from coterie.runtime.sasl import MemberSasl
    from coterie.runtime.tls import MemberTLS

    Reach = Callable[
        [Link, Endpoint, Callable[[], asyncio.Protocol], SSLContext | None], Awaitable[None]
    ]

log = logging.getLogger("coterie.server")

_CLOSE_S_MAX: Final = 2.0
_UNREAD_BYTES_MAX: Final = 256 * 2**20
"""What may wait for a member that does not read; then it has to be brought up to date anew."""
_INTRODUCTION_S_MAX: Final = 10.0
_SILENCE_S_MAX: Final = 1.0
"""After this who need not prove anything and says nothing is let in."""
_STRANGERS_MAX: Final = 64


async def reach(
    link: Link, address: Endpoint, protocol: Callable[[], asyncio.Protocol], tls: SSLContext | None
) -> None:
    """Connect a link to one of its addresses. Raises `OSError` when nobody answers there."""
    await transports.dial(address, protocol, tls)


class PeerPorts:
    """All links of one member."""

    def __init__(self, driver: Driver, member: Member) -> None:
        self.driver = driver
        self.member = member
        self.protocols: dict[Link, LinkProtocol] = {}
        self._dial_s_max = member.config.connection_timeout_ms / 1000
        self._dials: set[asyncio.Task[None]] = set()
        self.reach: Reach = reach
        """How a link is connected; a test may have something in between."""
        self.tls: MemberTLS | None = None
        """How members speak TLS with each other, if they do."""
        self.sasl: MemberSasl | None = None
        """How members prove themselves to each other by SASL, if they do."""
        self.strangers: dict[LinkProtocol, None] = {}
        """Who has dialled and not proved anything yet, in order of time."""
        self._remarks = Remarks(every_ms=STRANGERS_MS)
        self.troubles: dict[Endpoint, str] = {}
        """Why there is nothing with whom is dialled there, as it was said."""

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
            return cast(asyncio.Protocol, LinkProtocol(self, link, address))

        tls = None if self.tls is None else self.tls.dialling()
        try:
            async with asyncio.timeout(self._dial_s_max):
                await self.reach(link, address, protocol, tls)
        except (OSError, TimeoutError) as error:
            self.trouble(link.peer, address, words(error))
            return False
        return True

    def trouble(self, peer: int, address: Endpoint, why: str | None, what: str = "TLS") -> None:
        """TLS or SASL with a member did not come about, if there is a reason."""
        if why is not None and self.troubles.get(address) != why:
            self.troubles[address] = why
            log.warning("no %s with server %d at %s:%d: %s", what, peer, *address, why)

    def complain(self, transport: asyncio.BaseTransport, why: str, what: str = "SASL") -> None:
        """Somebody who has dialled did not prove anything."""
        # Who has left meanwhile has no name any more.
        host, port, *_ = transport.get_extra_info("peername") or ("somebody", 0)
        host = host.removeprefix("::ffff:")
        text = f"no {what} with {host}:{port}: {why}"
        line = self._remarks.line(f"{host} {why}", text, self.driver.loop.time() * 1000)
        if line is not None:
            log.warning(line)

    def receive(self, protocol: LinkProtocol) -> None:
        """Somebody has dialled who may have something to prove."""
        if len(self.strangers) >= _STRANGERS_MAX:
            next(iter(self.strangers)).abort()
        self.strangers[protocol] = None

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
        for stranger in list(self.strangers):
            stranger.abort()
        for protocol in list(self.protocols.values()):
            protocol.close()

    def abort_all(self) -> None:
        for task in self._dials:
            task.cancel()
        for protocol in [*self.strangers, *self.protocols.values()]:
            protocol.abort()


class LinkProtocol:
    """One link: an `asyncio.Protocol` by its methods."""

    __slots__ = (
        "_address",
        "_closing",
        "_full",
        "_introduction",
        "_link",
        "_ports",
        "_timers",
        "_transport",
    )

    def __init__(self, ports: PeerPorts, link: Link, address: Endpoint | None = None) -> None:
        self._ports = ports
        self._link = link
        self._address = address
        """Where it was dialled, if it was."""
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._introduction: Introduction | None = None
        """What has to be done before the machine hears from the other end."""
        self._closing = False
        """To be closed once that is done."""
        self._timers: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        ports, link = self._ports, self._link
        if ports.tls is not None and not link.dialled:
            refusal = ports.tls.refusal(transport)
            if refusal is not None:
                ports.complain(transport, refusal, "TLS")
                link.closing = True
                self._transport.abort()
                return
        if link.dialled:
            ports.protocols[link] = self
        if ports.sasl is not None:
            self._introduction = ports.sasl.introduction(link)
        if self._introduction is None or link.closing:
            self._introduction = None
            self._begin()
        else:
            self._introduce(self._introduction)

    def _begin(self) -> None:
        """Tell the machine that there is a connection."""
        ports, link = self._ports, self._link
        ports.protocols[link] = self
        ports.driver.begin()
        if not link.dialled:
            ports.member.accepted(link)
        elif link.closing:
            self.close()
        else:
            ports.member.opened(link)

    def _introduce(self, introduction: Introduction) -> None:
        call_later = self._ports.driver.loop.call_later
        self._timers = [call_later(_INTRODUCTION_S_MAX, self._late)]
        if not self._link.dialled:
            self._ports.receive(self)
            self._timers.append(call_later(_SILENCE_S_MAX, self._silent))
        elif self._link.kind == ELECTION:
            self._begin()  # its initial message goes ahead of all
        else:
            self._go_on(introduction)

    def _go_on(self, introduction: Introduction) -> None:
        """Say what is to be said now, and see whether this is the end of it."""
        if introduction.out:
            self._write(b"".join(introduction.out))
            introduction.out.clear()
        if introduction.failure is not None:
            self._complain(introduction.failure)
        if introduction.done:
            self._introduced(introduction.rest)
        elif introduction.failure is not None and self._transport is not None:
            self._transport.close()
            self._ports.driver.loop.call_later(_CLOSE_S_MAX, self.abort)

    def _introduced(self, rest: bytes) -> None:
        ports, link = self._ports, self._link
        self._over()
        self._well()
        if not (link.dialled and link.kind == ELECTION):
            self._begin()
        if rest and not link.closing:
            ports.driver.begin()
            ports.member.heard(link, rest)
        self.send()
        if self._closing:
            self.close()

    def _over(self) -> None:
        self._introduction = None
        self._ports.strangers.pop(self, None)
        for timer in self._timers:
            timer.cancel()

    def _well(self) -> None:
        """Who was dialled takes this member: it is told again when there is trouble again."""
        if self._address is not None:
            self._ports.troubles.pop(self._address, None)

    def _late(self) -> None:
        self._complain(f"it was not done after {_INTRODUCTION_S_MAX:g} s")
        self.abort()

    def _silent(self) -> None:
        introduction = self._introduction
        if introduction is not None and introduction.failure is None and not self._link.dialled:
            introduction.silent()
            self._go_on(introduction)

    def _complain(self, why: str) -> None:
        if self._address is not None:
            self._ports.trouble(self._link.peer, self._address, why, "SASL")
        elif self._transport is not None:
            self._ports.complain(self._transport, why)

    def data_received(self, data: bytes) -> None:
        introduction = self._introduction
        if introduction is not None:
            if introduction.failure is None:
                introduction.heard(data)
                self._go_on(introduction)
            return
        if self._ports.troubles:
            self._well()
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
        introduction = self._introduction
        if introduction is not None:
            if introduction.out:
                # The initial message; what is behind it waits.
                introduction.out.insert(0, link.out.pop(0))
                self._go_on(introduction)
            return
        data = link.out[0] if len(link.out) == 1 else b"".join(link.out)
        link.out.clear()
        if self._full and transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            log.warning("cutting off server %d: it does not read what it is sent", link.peer)
            transport.abort()
            return
        self._write(data)
        if link.streaming and not self._full:
            self._ports.driver.loop.call_soon(self._drained)

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            self._transport.write(data)
        except Exception:  # uvloop raises what it likes on a connection that was just reset
            self._transport.abort()

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
            introduction = self._introduction
            if introduction is not None and self._link.kind == ELECTION and not introduction.out:
                # It has said who it is: the other end dials back once that is proved.
                self._closing = True
                return
            transport.close()
            self._ports.driver.loop.call_later(_CLOSE_S_MAX, self.abort)

    def abort(self) -> None:
        """Reset the connection; what was not sent is lost."""
        self._over()
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        """The other end will send no more; close."""
        if self._introduction is None:
            self._well()  # who dials back itself says nothing, and ends the connection in order
        self._silent()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        ports, link = self._ports, self._link
        introduction = self._introduction
        if introduction is not None:
            if link.dialled and introduction.failure is None and not link.closing:
                self._complain("it ended the connection before it had proved itself")
            self._over()
        self._transport = None
        if ports.protocols.pop(link, None) is None:
            return
        if error is not None and self._address is not None:
            # Who is dialled may refuse this member's certificate after the handshake only.
            ports.trouble(link.peer, self._address, words(error))
        ports.driver.begin()
        ports.member.lost(link)
