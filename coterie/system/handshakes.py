"""A listening socket for TLS, or for both TLS and the clear: handshakes, and what becomes of them.

A protocol is given a connection when its handshake is done, as a plain listener gives it one at
once. Rules:
- a handshake that takes too long is ended, and only so many are under way at a time: who connects
  beyond that waits in the kernel;
- for both, the first byte tells: a record of TLS begins with 22, and nothing of ZooKeeper's does;
  who says nothing within the time is one in the clear, whose limits are the protocol's;
- who is refused is one line in the log, and the same line about the same address is not repeated
  for a while: a scanner must not fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Final, NamedTuple

from coterie.system.certificates import Certificates
from coterie.system.tls import refusal

log = logging.getLogger("coterie.server")

_HANDSHAKE_RECORD: Final = 22
_UNDER_WAY_MAX: Final = 500
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
        self._slots = asyncio.Semaphore(_UNDER_WAY_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[tuple[str, str], float] = {}
        self._looking: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """How many connections have not done their handshake yet."""
        return max(0, len(self._tasks) - 1)

    def open(self) -> None:
        self._spawn(self._accept())
        self._look()

    def _look(self) -> None:
        """A file that is no good is told soon, not when somebody needs it."""
        self._certificates.context()
        self._looking = self._loop.call_later(_LOOK_S, self._look)

    def close(self) -> None:
        """Accept nobody any more; handshakes that are under way come to nothing."""
        if self._looking is not None:
            self._looking.cancel()
        for task in self._tasks:
            task.cancel()
        self._listener.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                connection, peer = await self._loop.sock_accept(self._listener)
            except OSError as error:
                # As a rule there are no descriptors left: some will be closed.
                self._slots.release()
                log.error("cannot accept a connection: %s", error.strerror or error)
                await asyncio.sleep(_NO_DESCRIPTORS_S)
                continue
            except asyncio.CancelledError:
                self._slots.release()
                raise
            self._spawn(self._greet(connection, peer[0].removeprefix("::ffff:"), peer[1]))

    async def _greet(self, connection: socket.socket, ip: str, port: int) -> None:
        """Make a connection of what was accepted, or end it."""
        handed_over = False
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = not self._both or await self._speaks_tls(connection)
            handed_over = True
            await self._hand_over(connection, secure)
        except (OSError, ValueError, EOFError) as error:
            self._refuse(ip, port, error)
        finally:
            self._slots.release()
            if not handed_over:
                connection.close()

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
