"""Runs a `Session` over the network: the client's only loop.

Every turn reads the clock, ticks, hands over what has come, and carries out what is wanted. What
is asked for first in a turn of the event loop leaves at once, the rest of that turn's requests in
one piece at its end: a lone request waits for nothing, a thousand cost few calls of the system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Final, cast

from coterie.client.calls import Call
from coterie.client.hosts import Host
from coterie.client.session import Session, taken
from coterie.errors import AuthFailedError, ForkedError, ZooKeeperError
from coterie.system import process
from coterie.system.tls import words as tls_words
from coterie.system.transport import Network
from coterie.values import EventType, SessionState

if TYPE_CHECKING:
    from random import Random
    from ssl import SSLContext

_SEEK_S: Final = 2.0
_ASK_S: Final = 1.0


class Connection:
    """What drives one session; made and used within one event loop."""

    def __init__(
        self,
        session: Session,
        hosts: tuple[Host, ...],
        network: Network,
        tls: SSLContext | None,
        dice: Random,
        on_state: Callable[[SessionState], None],
    ) -> None:
        self.session = session
        self._hosts = hosts
        self._network = network
        self._tls = tls
        self._dice = dice
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        self._forks = process.forks()
        self._wire: _Wire | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._seeking: asyncio.Task[None] | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = float("inf")
        self.turn()

    def now_ms(self) -> float:
        return self._loop.time() * 1000.0

    def submit(self, call: Call) -> None:
        self.begin()
        self.session.submit(call)
        self.soon()

    def begin(self) -> None:
        """Open a turn. Raises `ForkedError` in a child that has inherited this client."""
        if process.forks() != self._forks:
            raise ForkedError(ForkedError.__doc__)
        self.session.tick(self._loop.time() * 1000.0)

    def soon(self) -> None:
        """Carry out what is wanted, now or when all that is ready to run has run."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_of_turn)
            self._carry_out()

    def _end_of_turn(self) -> None:
        self._scheduled = False
        self._carry_out()
        self._look_ahead()

    def turn(self) -> None:
        """A turn in which nothing has happened but time."""
        self.begin()
        self._carry_out()
        self._look_ahead()

    def _carry_out(self) -> None:
        if not self.session.wants:
            return
        wishes = self.session.take()
        if wishes.hang_up:
            self._hang_up()
        if wishes.dial is not None:
            self._dialling = self._loop.create_task(self._dial(wishes.dial))
        if wishes.output and self._wire is not None:
            self._wire.write(b"".join(wishes.output))
        if wishes.step is not None:
            # A daemon, for who leaves does not wait for a KDC that does not answer.
            Thread(
                target=self._take, args=(wishes.step,), name="coterie-sasl", daemon=True
            ).start()
        for state in wishes.states:
            self._follow(state)
            self._told(self._on_state, state)
        for watcher, event, path in wishes.events:
            self._told(watcher, event, path)
        if wishes.states or wishes.hang_up or wishes.dial is not None:
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Have the time told when it is due; that it was told too early does no harm."""
        due_ms = self.session.next_due_ms()
        if due_ms < self._timer_ms:
            self._set_timer(due_ms)

    def _told(
        self, callback: Callable[..., None], *facts: SessionState | EventType | bytes
    ) -> None:
        """What a callback does wrong is its own business, and the event loop's."""
        try:
            callback(*facts)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": f"{callback!r} failed", "exception": error}
            )

    def _set_timer(self, due_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = due_ms
        self._timer = self._loop.call_at(due_ms / 1000.0, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer, self._timer_ms = None, float("inf")
        self.turn()

    def _hang_up(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    def release(self) -> None:
        """Nothing is left running."""
        self._hang_up()
        self._follow(SessionState.CLOSED)
        if self._timer is not None:
            self._timer.cancel()

    # Dialling

    async def _dial(self, host: Host) -> None:
        """Try each address that the host has now; the session's clock bounds how long."""
        try:
            addresses = await self._network.resolve(host.name, host.port)
            self._dice.shuffle(addresses)
            reason = "it has no address"
            for address in addresses:
                try:
                    await self._network.dial(address, lambda: _Wire(self), self._tls, host.name)
                    return
                except OSError as error:
                    reason = _words(error)
        except OSError as error:
            reason = _words(error)
        self._dialling = None
        self.lost(reason)

    def opened(self, wire: _Wire) -> None:
        if self._dialling is None:
            wire.abort()  # It came too late.
            return
        self._wire, self._dialling = wire, None
        self.begin()
        self.session.opened()
        self._carry_out()

    def received(self, wire: _Wire, data: bytes) -> None:
        if wire is self._wire:
            self.begin()
            self.session.receive(data)
            self._carry_out()

    def lost(self, reason: str) -> None:
        self.begin()
        self.session.lost(reason)
        self._carry_out()
        self._look_ahead()

    def closed(self, wire: _Wire, error: Exception | None) -> None:
        if wire is self._wire:
            self._wire = None
            self.lost(self._ended() if error is None else _words(error))

    def _ended(self) -> str:
        """With TLS 1.3 a certificate is refused when the handshake is over, and not everywhere
        is it said why."""
        said = "it closed the connection"
        if self._tls is not None and not self.session.state.connected:
            return f"{said} after the handshake of TLS: does it want another certificate, or any?"
        return said

    # SASL that may last

    def _take(self, step: Callable[[], bytes]) -> None:
        """In a thread: take a step, and say what became of it, if anybody is still there."""
        outcome: bytes | ZooKeeperError
        try:
            outcome = taken(step)
        except Exception as error:
            outcome = AuthFailedError(operation=f"sasl ({error!r})")
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._thought, step, outcome)

    def _thought(self, step: Callable[[], bytes], outcome: bytes | ZooKeeperError) -> None:
        self.begin()
        self.session.thought(step, outcome)
        self._carry_out()
        self._look_ahead()

    # Out of read-only mode

    def _follow(self, state: SessionState) -> None:
        """While a server without a quorum serves this client, look for one that has it."""
        if self._seeking is not None:
            self._seeking.cancel()
            self._seeking = None
        if state == SessionState.CONNECTED_READ_ONLY:
            self._seeking = self._loop.create_task(self._seek())

    async def _seek(self) -> None:
        while True:
            for host in self._hosts:
                if host != self.session.server and await self._has_quorum(host):
                    self._seeking = None
                    self.begin()
                    self.session.go_to(host)
                    self._carry_out()
                    return
            await asyncio.sleep(_SEEK_S * (0.5 + self._dice.random()))

    async def _has_quorum(self, host: Host) -> bool:
        """Ask `isro`, the four-letter word that is always allowed."""
        asker = _Asker(self._loop)
        try:
            async with asyncio.timeout(_ASK_S):
                addresses = await self._network.resolve(host.name, host.port)
                await self._network.dial(addresses[0], lambda: asker, self._tls, host.name)
                return await asker.answer == b"rw"
        except (OSError, TimeoutError):
            return False
        finally:
            asker.hang_up()


def _words(error: Exception) -> str:
    """One line that says what went wrong."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return tls_words(error) or strerror or str(error) or type(error).__name__


class _Wire(asyncio.Protocol):
    """One connection to a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._connection.opened(self)

    def data_received(self, data: bytes) -> None:
        self._connection.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.closed(self, exc)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Asker(asyncio.Protocol):
    """Asks a server whether it is read-only, and hangs up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[bytes] = loop.create_future()
        self._got = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"isro")

    def data_received(self, data: bytes) -> None:
        self._got += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(self._got)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()
