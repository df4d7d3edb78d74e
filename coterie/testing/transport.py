"""Fake links between machines: bytes in order and late, cut, half open, held up by a partition.

Machines and ports are names, so that clients and servers, and servers among themselves, meet in
one network. Rules, which are TCP's:
- bytes arrive in the order in which they were sent, cut into other pieces, or not at all; what
  arrives is always the beginning of what was sent;
- who closes is told at once; the other end when all that was sent before has arrived;
- a connection may be gone at one end without the other being told: it learns that when it sends
  to a machine that is up;
- a partition holds bytes up, in one direction or both; they arrive when it heals;
- where a process stands still its system goes on: what comes waits to be read, who connects waits
  to be accepted, and all is handed over at once when it goes on, as by one look at all sockets.
What this does not do: bound what is in flight, or hold back who sends faster than the other reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, Protocol

from coterie.testing.clock import Time

Address = tuple[str, int]
"""Machine and port."""

_CONNECT_TIMEOUT_MS: Final = 1000.0


class Receiver(Protocol):
    """Who uses one end of a connection."""

    def opened(self) -> None:
        """The connection that was asked for is there."""

    def received(self, data: bytes) -> None: ...

    def lost(self) -> None:
        """The connection is gone, or could not be made; the last that is told of it."""


@dataclass(slots=True)
class Weather:
    """How the network behaves."""

    delay_ms: float = 0.5
    """Of a packet, on average."""
    split: float = 0.0
    """How often what is sent is cut in two."""


class End:
    """One end of a connection."""

    __slots__ = (
        "_due_ms",
        "_network",
        "_paused",
        "_waiting",
        "gone",
        "machine",
        "number",
        "peer",
        "receiver",
    )

    def __init__(self, network: Network, machine: str, receiver: Receiver | None) -> None:
        self.machine = machine
        self.number = network.numbered()
        self.peer: End | None = None
        self.receiver = receiver
        self.gone = False
        self._network = network
        self._due_ms = 0.0
        self._paused = False
        self._waiting: deque[bytes | None] = deque()
        """What has come, or is held up, and cannot be handed over yet; None ends it."""

    def send(self, data: bytes) -> None:
        """Send bytes; where the connection is gone they go nowhere."""
        if self.gone or not data:
            return
        dice, weather = self._network.dice, self._network.weather
        if weather.split and len(data) > 1 and dice.random() < weather.split:
            cut = dice.randrange(1, len(data))
            self._launch(data[:cut])
            data = data[cut:]
        self._launch(data)

    def close(self) -> None:
        """Close once what was sent has arrived."""
        if not self.gone:
            self._launch(None)
            self._lose(tell=True)

    def abort(self) -> None:
        """Close at once; of what is in flight some may arrive."""
        if not self.gone:
            if self.peer is not None:
                self._network.reset(self.peer)
            self._lose(tell=True)

    def pause(self) -> None:
        """Hand nothing over until `resume`."""
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._network.time.after(0, self.flush)

    def _launch(self, piece: bytes | None) -> None:
        peer = self.peer
        if peer is None:
            return
        self._due_ms = max(self._due_ms, self._network.time.now_ms + self._network.delay_ms())
        self._network.time.at(self._due_ms, partial(peer._arrive, piece))

    def opens(self) -> None:
        """The network has made the connection that was asked for."""
        assert self.receiver is not None
        self._network.tell(self, self._opened)

    def _opened(self) -> None:
        if not self.gone:
            assert self.receiver is not None
            self.receiver.opened()

    def not_before(self, when_ms: float) -> None:
        """Nothing arrives at the other end before that."""
        self._due_ms = max(self._due_ms, when_ms)

    def _arrive(self, piece: bytes | None) -> None:
        peer = self.peer
        assert peer is not None
        network = self._network
        if self.gone:
            if piece is not None and self.machine not in network.down:
                network.reset(peer)
            return
        blocked = (peer.machine, self.machine) in network.blocked
        unread = self._paused or self.machine in network.frozen
        if self._waiting or blocked or unread:
            self._waiting.append(piece)
            if unread and not blocked and piece is not None and network.unread is not None:
                network.unread(self)
            return
        self._hand_over(piece)

    def _hand_over(self, piece: bytes | None) -> None:
        if piece is None:
            self._lose(tell=True)
        else:
            assert self.receiver is not None
            self.receiver.received(piece)

    def flush(self) -> None:
        """Hand over what was held up, if nothing holds it up any more."""
        network = self._network
        while (
            self._waiting
            and not self._paused
            and not self.gone
            and self.machine not in network.frozen
        ):
            assert self.peer is not None
            if (self.peer.machine, self.machine) in network.blocked:
                return
            self._hand_over(self._waiting.popleft())

    def vanish(self) -> None:
        """Be gone, and neither end is told."""
        self.gone = True
        self._waiting.clear()
        self._network.forget(self)

    def _lose(self, tell: bool) -> None:
        if self.gone:
            return
        self.vanish()
        if tell and self.receiver is not None:
            lost = partial(self._network.tell, self, self.receiver.lost)
            self._network.time.after(0, lost)

    def lose(self) -> None:
        """The connection is gone, and this end is told."""
        self._lose(tell=True)


class Network:
    """All machines and the connections between them."""

    def __init__(self, time: Time, dice: Random, weather: Weather | None = None) -> None:
        self.time = time
        self.dice = dice
        self.weather = weather or Weather()
        self.down: set[str] = set()
        """Machines without power: nobody there says that a connection is gone."""
        self.blocked: set[tuple[str, str]] = set()
        """From which machine to which nothing gets through."""
        self.frozen: dict[str, list[Callable[[], None]]] = {}
        """Machines whose processes stand still, and what they will have to be told."""
        self.unread: Callable[[End], None] | None = None
        """Who is told that something has come to an end and is not read at once."""
        self.ends: dict[End, None] = {}
        self._listeners: dict[Address, Callable[[End], Receiver]] = {}
        self._ends_made = 0

    def numbered(self) -> int:
        """A number that no other end has: the port that it is reached at."""
        self._ends_made += 1
        return self._ends_made

    def delay_ms(self) -> float:
        return self.dice.random() * 2 * self.weather.delay_ms

    def listen(self, address: Address, accept: Callable[[End], Receiver]) -> None:
        assert address not in self._listeners
        self._listeners[address] = accept

    def connect(self, machine: str, address: Address, receiver: Receiver) -> End:
        """Ask for a connection: `opened` or `lost` comes later."""
        end = End(self, machine, receiver)
        self.ends[end] = None
        self.time.after(self.delay_ms(), partial(self._attempt, end, address))
        return end

    def _attempt(self, end: End, address: Address) -> None:
        if end.gone:
            return
        there, here = address[0], end.machine
        accept = self._listeners.get(address)
        if there in self.down or {(here, there), (there, here)} & self.blocked:
            self.time.after(_CONNECT_TIMEOUT_MS, end.lose)
        elif accept is None:
            self.reset(end)
        elif there in self.frozen:
            self.frozen[there].append(partial(self._attempt, end, address))
        else:
            other = End(self, there, None)
            self.ends[other] = None
            end.peer, other.peer = other, end
            opens_ms = self.time.now_ms + self.delay_ms()
            self.time.at(opens_ms, end.opens)
            other.not_before(opens_ms)
            other.receiver = accept(other)

    def forget(self, end: End) -> None:
        self.ends.pop(end, None)

    def reset(self, end: End) -> None:
        """Tell an end, a while later, that its connection is gone."""
        self.time.after(self.delay_ms(), end.lose)

    def cut(self, end: End) -> None:
        """A connection breaks: what is in flight is lost, and both ends are told."""
        for side in (end, end.peer):
            if side is not None and not side.gone:
                side.vanish()
                if side.receiver is not None:
                    lost = partial(self.tell, side, side.receiver.lost)
                    self.time.after(self.delay_ms(), lost)

    def half_open(self, end: End) -> None:
        """A connection breaks, and only this end is told."""
        end.lose()

    def machine_stopped(self, machine: str, *, powerless: bool) -> None:
        """The processes of a machine are gone. Its system says so to the others, unless it has
        no power either."""
        self._listeners = {a: accept for a, accept in self._listeners.items() if a[0] != machine}
        self.frozen.pop(machine, None)
        if powerless:
            self.down.add(machine)
        for end in [end for end in self.ends if end.machine == machine]:
            end.vanish()
            if end.peer is not None and not powerless:
                self.reset(end.peer)

    def machine_started(self, machine: str) -> None:
        self.down.discard(machine)

    def tell(self, end: End, action: Callable[[], None]) -> None:
        """Let the process of an end know something, now or when it goes on."""
        if end.machine in self.frozen:
            self.frozen[end.machine].append(action)
        else:
            action()

    def freeze(self, machine: str) -> None:
        """The processes of a machine stand still."""
        self.frozen.setdefault(machine, [])

    def thaw(self, machine: str) -> None:
        """They go on, and look at all their sockets."""
        for action in self.frozen.pop(machine, ()):
            action()
        for end in [end for end in self.ends if end.machine == machine]:
            end.flush()

    def block(self, machine: str, other: str) -> None:
        """Let nothing through from one machine to another."""
        self.blocked.add((machine, other))

    def heal(self) -> None:
        """Let everything through again."""
        self.blocked.clear()
        for end in list(self.ends):
            self.time.after(0, end.flush)
