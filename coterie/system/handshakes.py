"""A listening socket for TLS, or for both TLS and the clear: handshakes, and what becomes of them.

A protocol is given a connection when its handshake is done, as a plain listener gives it one at
once. Rules:
- a handshake that takes too long is ended, only so many are under way at a time, and no address
  has more than half of the places: who begins many and ends none keeps nobody else out;
- who finds no place waits for one; of those who wait only so many are kept, and the last to come
  from the address with most goes first;
- for both, the first byte tells: a record of TLS begins with 22, and nothing of ZooKeeper's does;
  who says nothing within the time is one in the clear, whose limits are the protocol's;
- who is refused is one line in the log, and the same line about the same address is not repeated
  for a while: a scanner must not fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from coterie.system.certificates import Certificates
from coterie.system.tls import refusal

log = logging.getLogger("coterie.server")

_HANDSHAKE_RECORD: Final = 22
_UNDER_WAY_MAX: Final = 500
_OF_ADDRESS_MAX: Final = _UNDER_WAY_MAX // 2
_HELD_MAX: Final = 750
"""Under way, or waiting for a place: each is a descriptor."""
_NO_DESCRIPTORS_S: Final = 1.0
_QUIET_S: Final = 10.0
_REMEMBERED_MAX: Final = 1000
_CLOSE_S_MAX: Final = 5.0
_LOOK_S: Final = 10.0


class Secure(NamedTuple):
    """How a port does handshakes."""

    certificates: Certificates
    seconds_max: float
    both: bool = False
    """Whether who comes without TLS is let in as well."""


class _Greeting:
    """One connection that has not done its handshake yet."""

    __slots__ = ("connection", "handed_over", "ip", "port", "task")

    def __init__(self, connection: socket.socket, ip: str, port: int) -> None:
        self.connection = connection
        self.ip = ip
        self.port = port
        self.handed_over = False
        """A transport has the socket, and closes it."""
        self.task: asyncio.Task[None] | None = None


class _Address:
    """What is kept of one address while somebody of it is here."""

    __slots__ = ("greetings", "places")

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(_OF_ADDRESS_MAX)
        self.greetings: dict[_Greeting, None] = {}
        """In the order in which they came."""


class SecureListener:
    """Accepts connections on a bound socket, from `open` to `close`."""

    def __init__(
        self,
        listener: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        secure: Secure,
    ) -> None:
        self.refused = 0
        self._listener = listener
        self._factory = factory
        self._certificates, self._seconds_max, self._both = secure
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(_UNDER_WAY_MAX)
        self._accepting: asyncio.Task[None] | None = None
        self._addresses: dict[str, _Address] = {}
        self._held = 0
        self._told: dict[tuple[str, str], float] = {}
        self._looking: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """How many connections have not done their handshake yet."""
        return self._held

    def open(self) -> None:
        self._accepting = self._loop.create_task(self._accept())
        self._look()

    def _look(self) -> None:
        """A file that is no good is told soon, not when somebody needs it."""
        self._certificates.context()
        self._looking = self._loop.call_later(_LOOK_S, self._look)

    def close(self) -> None:
        """Accept nobody any more; handshakes that are under way come to nothing."""
        if self._looking is not None:
            self._looking.cancel()
        if self._accepting is not None:
            self._accepting.cancel()
        for address in list(self._addresses.values()):
            for greeting in list(address.greetings):
                self._end(greeting)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            try:
                connection, peer = await self._loop.sock_accept(self._listener)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # As a rule there are no descriptors left: some will be closed.
                log.error("cannot accept a connection: %s", error.strerror or error)
                self._end_one()
                await asyncio.sleep(_NO_DESCRIPTORS_S)
                continue
            if self._held >= _HELD_MAX:
                self._end_one()
            self._take(_Greeting(connection, peer[0].removeprefix("::ffff:"), peer[1]))

    def _take(self, greeting: _Greeting) -> None:
        address = self._addresses.setdefault(greeting.ip, _Address())
        address.greetings[greeting] = None
        self._held += 1
        greeting.task = self._loop.create_task(self._greet(greeting, address.places))
        greeting.task.add_done_callback(lambda _: self._done(greeting))

    def _end_one(self) -> None:
        """There are too many: the newest of the address that has most has to go."""
        if self._addresses:
            most = max(self._addresses.values(), key=lambda each: len(each.greetings))
            self.refused += 1
            self._end(next(reversed(most.greetings)))

    def _end(self, greeting: _Greeting) -> None:
        assert greeting.task is not None
        greeting.task.cancel()
        self._forget(greeting)

    def _forget(self, greeting: _Greeting) -> None:
        """Its handshake is over, one way or another."""
        address = self._addresses.get(greeting.ip)
        if address is None or greeting not in address.greetings:
            return
        del address.greetings[greeting]
        if not address.greetings:
            del self._addresses[greeting.ip]
        self._held -= 1

    def _done(self, greeting: _Greeting) -> None:
        self._forget(greeting)
        # Also of one that was ended before it began.
        if not greeting.handed_over:
            greeting.connection.close()

    async def _greet(self, greeting: _Greeting, places: asyncio.Semaphore) -> None:
        """Make a connection of what was accepted, or end it."""
        connection = greeting.connection
        try:
            async with places, self._places:
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                secure = not self._both or await self._speaks_tls(connection)
                greeting.handed_over = True
                await self._hand_over(connection, secure)
        except (OSError, ValueError, EOFError) as error:
            self._refuse(greeting.ip, greeting.port, error)

    async def _hand_over(self, connection: socket.socket, secure: bool) -> None:
        if not secure:
            await self._loop.connect_accepted_socket(self._factory, connection)
            return
        await self._loop.connect_accepted_socket(
            self._factory,
            connection,
            ssl=self._certificates.context(),
            ssl_handshake_timeout=self._seconds_max,
            ssl_shutdown_timeout=_CLOSE_S_MAX,
        )

    async def _speaks_tls(self, connection: socket.socket) -> bool:
        """Look at the first byte and leave it where it is."""
        readable = self._loop.create_future()
        self._loop.add_reader(connection, _settle, readable)
        try:
            async with asyncio.timeout(self._seconds_max):
                await readable
        except TimeoutError:
            return False
        finally:
            self._loop.remove_reader(connection)
        first = connection.recv(1, socket.MSG_PEEK)
        return bool(first) and first[0] == _HANDSHAKE_RECORD

    def _refuse(self, ip: str, port: int, error: Exception) -> None:
        self.refused += 1
        why = refusal(error)
        if "taking longer" in str(error):
            why = f"its handshake was not done after {self._seconds_max:g} s"
        now_s = self._loop.time()
        if now_s - self._told.get((ip, why), -_QUIET_S) < _QUIET_S:
            return
        if len(self._told) >= _REMEMBERED_MAX:
            self._told.clear()
        self._told[ip, why] = now_s
        log.warning("no TLS with %s:%d: %s", ip, port, why)


def _settle(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
