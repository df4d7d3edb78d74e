"""The fake network as a client finds it: names, and asyncio transports over its ends.

The twin of `SystemNetwork`. Rules, which are those of asyncio's own transports:
- a protocol is called in its loop, never within a call of its own: `connection_made` first, then
  `data_received` in order, `connection_lost` once and last;
- after `close` or `abort` no data comes any more, and what is written goes nowhere; `close` sends
  what was written before;
- who closes is told None; that the other side closed or a connection broke may look like either.
What this does not do: TLS, or hold back who writes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from ssl import SSLContext
from typing import Any

from coterie.testing.transport import Address, End, Network


class Dialer:
    """What one machine has of the network."""

    def __init__(self, network: Network, machine: str, dice: Random) -> None:
        self.machine = machine
        self.names: dict[str, list[str]] = {}
        """The machines that a name means; any other name is that of a machine. Where there are
        none the name cannot be resolved."""
        self._network = network
        self._dice = dice

    async def resolve(self, host: str, port: int) -> list[Address]:
        await asyncio.sleep(0)
        machines = self.names.get(host, [host])
        if not machines:
            raise OSError(f"nobody knows the name {host}")
        return [(machine, port) for machine in machines]

    async def dial(
        self,
        address: Address,
        factory: Callable[[], asyncio.Protocol],
        tls: SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        assert tls is None, "there is no TLS on virtual time"
        line = Line(self._network, self.machine, address, factory, self._dice)
        try:
            await line.made
        finally:
            if not line.made.done() or line.made.cancelled():
                line.abort()


class Line(asyncio.Transport):
    """One connection of a client: asyncio's transport and the network's receiver."""

    def __init__(
        self,
        network: Network,
        machine: str,
        address: Address,
        factory: Callable[[], asyncio.Protocol],
        dice: Random,
    ) -> None:
        self._end: End = network.connect(machine, address, self)
        super().__init__({"peername": address, "sockname": (machine, self._end.number)})
        self._loop = asyncio.get_running_loop()
        self.made: asyncio.Future[None] = self._loop.create_future()
        self._factory = factory
        self._dice = dice
        self._protocol: asyncio.BaseProtocol | None = None
        self._inbox: deque[bytes] = deque()
        """What has come and was not handed over; an empty piece ends it."""
        self._closing = self._paused = self._lost = False

    # What the network says: it becomes known when the process runs

    def opened(self) -> None:
        self._loop.call_soon(self._open)

    def received(self, data: bytes) -> None:
        self._inbox.append(data)
        self._loop.call_soon(self._hand_over)

    def lost(self) -> None:
        self._inbox.append(b"")
        self._loop.call_soon(self._hand_over)

    def _open(self) -> None:
        if not self._closing:
            self._protocol = self._factory()
            self._protocol.connection_made(self)
        if not self.made.done():
            self.made.set_result(None)

    def _hand_over(self) -> None:
        while self._inbox and not self._lost:
            if self._paused and not self._closing:
                return
            data = self._inbox.popleft()
            if not data:
                self._lose()
            elif not self._closing and isinstance(self._protocol, asyncio.Protocol):
                self._protocol.data_received(data)

    def _lose(self) -> None:
        self._lost = True
        error: OSError | None = None
        if not self._closing and self._dice.random() < 0.5:
            error = ConnectionResetError("the connection is gone")
        self._closing = True
        if self._protocol is not None:
            self._protocol.connection_lost(error)
        elif not self.made.done():
            self.made.set_exception(ConnectionRefusedError("nobody answers"))

    # What the protocol asks for

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._closing:
            self._end.send(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._end.close()

    def abort(self) -> None:
        self._closing = True
        self._end.abort()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True
        self._end.pause()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._end.resume()
            self._loop.call_soon(self._hand_over)
