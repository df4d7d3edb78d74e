"""A client's session, from the first server to the last: a machine without a clock or a socket.

It is told what happens to its connection and what is asked of it, and says by `take` what it wants
done. Rules:
- answers come in the order of requests, so the oldest that waits is the one that is answered;
- when the connection is gone, reads are sent again over the next; a write that was sent has an
  unknown outcome (`OutcomeUnknown`) and is never sent twice; what was not sent waits;
- every call ends by its deadline;
- the session is over when a server says so, or when no answer has come to anything that was sent
  within the last time-out: the server's clock for it began no earlier. Then it begins another;
- who the client is, its watches, then its requests: in this order over every new connection.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from coterie.client import calls
from coterie.client.calls import Call
from coterie.client.hosts import Host, Rounds
from coterie.client.watches import Watcher, Watches
from coterie.errors import (
    AuthenticationRequiredError,
    AuthFailedError,
    MarshallingError,
    NotConnectedError,
    OperationTimeoutError,
    OutcomeUnknown,
    SessionExpiredError,
    TooLargeError,
    ZooKeeperError,
)
from coterie.values import EventType, SessionState
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.framing import Framing, frames
from coterie.wire.requests import AUTH_XID, NOTIFICATION_XID, PING_XID, SET_WATCHES_XID, Op

if TYPE_CHECKING:
    from random import Random

    from coterie.client.kerberos import Kerberos, TicketExchange
    from coterie.client.sasl import Sasl

    Step = Callable[[], bytes]

_REQUEST: Final = struct.Struct(">iii").pack
_REPLY: Final = struct.Struct(">iqi").unpack_from
_XID_MAX: Final = 2**31 - 1
_NO_PASSWORD: Final = bytes(16)
_ROUNDS_REFUSED: Final = 2
_GOOD_MS: Final = 1000.0
"""A connection that lasted this long shows that its server is well."""

REQUEST_BYTES_MAX: Final = 0xFFFFF
"""What a server takes in one packet, unless its jute.maxbuffer says otherwise."""
REPLY_BYTES_MAX: Final = 64 * 2**20

# Where the connection is.
_DOWN: Final = 0
_DIALLING: Final = 1
_GREETING: Final = 2
_PROVING: Final = 3
"""The session is there; SASL goes on."""
_UP: Final = 4
_OVER: Final = 5

_FIXED_XIDS: Final = {Op.PING: PING_XID, Op.AUTH: AUTH_XID}


@dataclass(slots=True)
class Settings:
    """What a client is made with. Times are milliseconds."""

    timeout_ms: int = 10_000
    connect_ms: float = 3_000.0
    read_only: bool = False
    auth: Sequence[tuple[str, bytes]] = ()
    sasl: tuple[str, str] | Kerberos | None = None
    request_bytes_max: int = REQUEST_BYTES_MAX
    reply_bytes_max: int = REPLY_BYTES_MAX


@dataclass(slots=True)
class Wishes:
    """What a session wants done, in this order."""

    hang_up: bool = False
    """End the connection, or the attempt to make one; say nothing of it any more."""
    dial: Host | None = None
    step: Step | None = None
    """Take this step of SASL, which may last, where nothing waits for it; then tell `thought`."""
    output: list[bytes] = field(default_factory=list)
    states: list[SessionState] = field(default_factory=list)
    events: list[tuple[Watcher, EventType, bytes]] = field(default_factory=list)


class Session:
    """One client's standing with an ensemble."""

    def __init__(
        self, hosts: tuple[Host, ...], settings: Settings, dice: Random, now_ms: float
    ) -> None:
        self.settings = settings
        self.state = SessionState.CONNECTING
        self.id = 0
        self.password = _NO_PASSWORD
        self.timeout_ms = settings.timeout_ms
        self.last_zxid = 0
        self.watches = Watches()
        self.failure = "no server was tried yet"
        """Why there is no connection, in words."""
        self.server: Host | None = None
        self._dice = dice
        self._rounds = Rounds(hosts, dice)
        self._auths = [calls.auth(*each) for each in settings.auth]
        self._sasl: Sasl | TicketExchange | None = None
        self._step: Step | None = None
        """The step of SASL that is being taken."""
        self._wishes = Wishes()
        self._phase = _DOWN
        self._queue: deque[Call] = deque()
        """Not sent yet."""
        self._sent: deque[Call] = deque()
        self._xid = 0
        self._framing = Framing(settings.reply_bytes_max)
        self._now_ms = now_ms
        self._due_ms = now_ms
        """When to dial, or by when the connection has to be made."""
        self._next: Host
        self._up_ms = now_ms
        self._up_state = SessionState.CONNECTED
        self._sent_ms = now_ms
        self._heard_ms = now_ms
        self._confirmed_ms = now_ms
        """When that was sent which the last answer is to."""
        self._deadline_ms = float("inf")
        self._writable_id = False
        """The session was made by a server with a quorum."""
        self._closing = False
        self._hosts = len(hosts)
        self._refusals = 0
        """How many servers in a row hung up on a greeting."""
        self._plan_dial()

    # What is told

    def tick(self, now_ms: float) -> None:
        """The first thing in every turn."""
        self._now_ms = now_ms
        if self._phase == _OVER:
            return
        if self.id and now_ms >= self.expires_ms:
            self._session_is_over("no answer came within its time-out")
        if self._phase == _OVER:
            return
        if self._phase == _DOWN:
            if now_ms >= self._due_ms:
                self._dial()
        elif self._phase < _UP:
            if now_ms >= self._due_ms:
                self._hang_up("it did not answer in time")
        elif now_ms - self._heard_ms >= self.timeout_ms * 2 / 3:
            self._hang_up("it fell silent")
        elif now_ms - self._sent_ms >= self.timeout_ms / 3:
            # However much is heard: a server counts what it hears of its client.
            self._transmit(calls.ping())
        if now_ms >= self._deadline_ms:
            self._check_deadlines()

    def opened(self) -> None:
        """The connection that was asked for is there."""
        self._phase = _GREETING
        self._framing = Framing(self.settings.reply_bytes_max)
        session_id = self.id if self._writable_id else 0
        if not session_id and self._refusals >= _ROUNDS_REFUSED * self._hosts:
            # Servers refuse who has seen more than they have. All of them do: data was lost, and
            # to insist would be for ever.
            self.last_zxid = 0
        password = self.password if session_id else _NO_PASSWORD
        hello = requests.ConnectRequest(
            0, self.last_zxid, self.settings.timeout_ms, session_id, password
        ).encode() + (b"\1" if self.settings.read_only else b"\0")
        self._wishes.output.append(len(hello).to_bytes(4, "big") + hello)
        self._sent_ms = self._now_ms

    def lost(self, reason: str) -> None:
        """The connection is gone, or could not be made."""
        if self._phase not in (_DOWN, _OVER):
            self._gone(reason)

    def receive(self, data: bytes) -> None:
        if self._phase < _GREETING or self._phase == _OVER:
            return
        self._heard_ms = self._now_ms
        try:
            for frame in frames(self._framing, data):
                if self._phase == _GREETING:
                    self._greeted(frame)
                else:
                    self._answered(frame)
                if self._phase < _GREETING or self._phase == _OVER:
                    return
        except (MarshallingError, struct.error):
            self._hang_up("it sent what cannot be read")

    def submit(self, call: Call) -> None:
        """Send a request as soon as may be. It is settled by its deadline."""
        size = len(call.body) + 8
        if size > self.settings.request_bytes_max:
            call.fail(TooLargeError)
        elif self.state == SessionState.AUTH_FAILED:
            call.fail(AuthFailedError)
        elif self._phase == _OVER or self._closing:
            call.fail(SessionExpiredError)
        else:
            if call.op == Op.AUTH:
                # It is said again over every new connection.
                self._auths.append(call.copy())
            self._deadline_ms = min(self._deadline_ms, call.deadline_ms)
            if self._phase == _UP:
                self._transmit(call)
            else:
                self._queue.append(call)

    def close(self) -> None:
        """End the session. `state` is CLOSED once the server has heard, or cannot hear, of it."""
        if self._closing or self._phase == _OVER:
            return
        if self._phase != _UP:
            self._finish(SessionState.CLOSED, SessionExpiredError)
            return
        call = calls.close_session()
        call.settle = self._closed
        call.deadline_ms = self._now_ms + min(self.timeout_ms / 3, self.settings.connect_ms)
        self._deadline_ms = min(self._deadline_ms, call.deadline_ms)
        self._transmit(call)
        self._closing = True

    def _closed(self, result: object, error: ZooKeeperError | None) -> None:
        self._finish(SessionState.CLOSED, SessionExpiredError)

    def expects_watch(self, path: bytes) -> bool:
        """Whether a read that is to set a one-shot watch of this path is on its way."""
        return any(
            call.watch is not None and call.watch[0] == path
            for call in (*self._sent, *self._queue)
        )

    def go_to(self, host: Host) -> None:
        """Leave this server for one that has a quorum."""
        if self._phase == _UP:
            self._hang_up(f"{host} has a quorum")
            self._next, self._due_ms = host, self._now_ms

    # What is wanted

    @property
    def wants(self) -> bool:
        """Whether anything is to be done."""
        wishes = self._wishes
        return bool(
            wishes.output
            or wishes.hang_up
            or wishes.states
            or wishes.events
            or wishes.dial is not None
            or wishes.step is not None
        )

    def take(self) -> Wishes:
        """What is to be done now; asking again gives nothing."""
        wishes = self._wishes
        self._wishes = Wishes()
        return wishes

    @property
    def expires_ms(self) -> float:
        """When the session is over unless an answer comes before that."""
        return self._confirmed_ms + self.timeout_ms

    def next_due_ms(self) -> float:
        """When to tick next, if nothing happens."""
        due_ms = self._deadline_ms
        if self._phase == _OVER:
            return float("inf")
        if self._phase == _UP:
            ping_ms = self._sent_ms + self.timeout_ms / 3
            due_ms = min(due_ms, ping_ms, self._heard_ms + self.timeout_ms * 2 / 3)
        else:
            due_ms = min(due_ms, self._due_ms)
        return min(due_ms, self.expires_ms) if self.id else due_ms

    # The connection

    def _plan_dial(self) -> None:
        self._phase = _DOWN
        self._next, pause_ms = self._rounds.next()
        self._due_ms = self._now_ms + pause_ms

    def _dial(self) -> None:
        self._phase = _DIALLING
        self.server = self._next
        self._due_ms = self._now_ms + self.settings.connect_ms
        self._wishes.dial = self._next

    def _hang_up(self, reason: str) -> None:
        self._wishes.hang_up = True
        self._wishes.output.clear()
        self._gone(reason)

    def _gone(self, reason: str) -> None:
        """What was sent over this connection is not answered any more."""
        self.failure = f"{self.server}: {reason}"
        self._refusals += self._phase == _GREETING
        if self._phase >= _PROVING:
            if self._now_ms - self._up_ms >= _GOOD_MS:
                self._rounds.was_good()
            if self.state.connected:
                self._announce(SessionState.SUSPENDED)
        again: list[Call] = []
        while self._sent:
            call = self._sent.popleft()
            if call.writes:
                call.fail(OutcomeUnknown)
            elif not call.settled and call.deadline_ms != float("inf"):
                again.append(call)
        if self._closing:
            self._finish(SessionState.CLOSED, SessionExpiredError)
            return
        self._queue.extendleft(reversed(again))
        self._plan_dial()

    def _greeted(self, frame: bytes) -> None:
        """The server has said which session this is."""
        reader = Reader(frame)
        response = requests.ConnectResponse.read(reader)
        read_only = not reader.at_end() and reader.boolean()
        if response.timeout_ms <= 0 or not response.session_id:
            self._session_is_over("it does not know the session any more")
            return
        self.id = response.session_id
        self.password = response.password or _NO_PASSWORD
        self.timeout_ms = response.timeout_ms
        self._writable_id = self._writable_id or not read_only
        self._confirmed_ms = self._sent_ms
        self._up_ms = self._now_ms
        self._up_state = SessionState.CONNECTED_READ_ONLY if read_only else SessionState.CONNECTED
        self._phase = _PROVING
        self._refusals = 0
        self._sasl = self._step = None
        sasl = self.settings.sasl
        if sasl is None:
            self._proven()
        elif isinstance(sasl, tuple):
            from coterie.client.sasl import Sasl

            self._sasl = Sasl(*sasl, self._dice)
            self._think(self._sasl.first)
        else:
            assert self.server is not None
            self._sasl = sasl.exchange(self.server.name)
            self._think(self._sasl.first)

    def _think(self, step: Step) -> None:
        """What is computed is there at once; what others are asked for is waited for."""
        self._step = step
        if isinstance(self.settings.sasl, tuple):
            self.thought(step, taken(step))
        else:
            self._wishes.step = step

    def thought(self, step: Step, outcome: bytes | ZooKeeperError) -> None:
        """What became of a step of SASL; that of a connection that is gone is nothing."""
        if step is not self._step or self._sasl is None or self._phase != _PROVING:
            return
        self._step = None
        if isinstance(outcome, NotConnectedError):
            self._hang_up(outcome.operation or str(outcome))
        elif isinstance(outcome, ZooKeeperError):
            self._refused(outcome.operation or str(outcome))
        elif self._sasl.done:
            self._proven()
        else:
            self._prove(outcome)

    def _prove(self, token: bytes) -> None:
        body = len(token).to_bytes(4, "big") + token
        call = Call("sasl", Op.SASL, body, None, Reader.buffer, False)
        call.settle = self._challenged
        self._transmit(call)

    def _challenged(self, challenge: bytes | None, error: ZooKeeperError | None) -> None:
        sasl = self._sasl
        if error is not None or sasl is None:
            told = isinstance(error, AuthFailedError | AuthenticationRequiredError)
            by_password = isinstance(self.settings.sasl, tuple)
            why = "wrong user or password" if by_password else "the server refuses the ticket"
            self._refused(f"sasl ({why})" if told else str(error))
            return
        self._think(partial(sasl.answer, challenge))

    def _refused(self, reason: str) -> None:
        self.failure = f"{self.server}: {reason}"
        self._finish(SessionState.AUTH_FAILED, AuthFailedError)

    def _proven(self) -> None:
        """Say who the client is, arm its watches, and go on with what waits."""
        self._phase = _UP
        for auth in self._auths:
            self._transmit(auth.copy())
        for op, body in self.watches.arm(self.last_zxid):
            call = Call("set_watches", op, body, None, lambda reader: None, False)
            self._transmit(call, SET_WATCHES_XID)
        self._announce(self._up_state)
        self._wishes.events += [
            (watcher, EventType.NONE, path) for path, watcher in self.watches.gap()
        ]
        waiting = list(self._queue)
        self._queue.clear()
        for call in waiting:
            if not call.settled and not call.cancelled():
                self._transmit(call)

    def _transmit(self, call: Call, xid: int = 0) -> None:
        if not xid:
            xid = _FIXED_XIDS.get(call.op, 0)
        if not xid:
            xid = self._xid = self._xid % _XID_MAX + 1
        call.xid = xid
        call.sent_ms = self._sent_ms = self._now_ms
        self._sent.append(call)
        self._wishes.output.append(_REQUEST(len(call.body) + 8, xid, call.op) + call.body)

    # Answers

    def _answered(self, frame: bytes) -> None:
        xid, zxid, error = _REPLY(frame)
        if xid == NOTIFICATION_XID:
            self._notified(requests.WatcherEvent.read(Reader(frame, 16)))
            return
        if not self._sent or self._sent[0].xid != xid:
            self._hang_up(f"it answered request {xid}, which is not next")
            return
        call = self._sent.popleft()
        self._confirmed_ms = call.sent_ms
        if zxid > self.last_zxid:
            self.last_zxid = zxid
        if call.op == Op.AUTH and error:
            call.fail(AuthFailedError)
            self._refused("auth (it refuses the credential)")
            return
        armed = call.armed(error)
        if armed is not None and not call.settled and not call.cancelled():
            self.watches.once(*armed)
        try:
            call.answered(error, Reader(frame, 16))
        except (MarshallingError, struct.error):
            call.fail(MarshallingError)
            raise

    def _notified(self, event: requests.WatcherEvent) -> None:
        kind = _EVENTS.get(event.type)
        if kind is not None:
            told = self.watches.fired(kind, event.path)
            self._wishes.events += [(watcher, kind, event.path) for watcher in told]

    # The session's end

    def _session_is_over(self, reason: str) -> None:
        """Begin another. Writes that wait were meant for the one that is over."""
        if self._phase >= _GREETING:
            self._hang_up(reason)
        if self._phase == _OVER:
            return
        self.id = 0
        self.password = _NO_PASSWORD
        self._writable_id = False
        self.timeout_ms = self.settings.timeout_ms
        for call in self._queue:
            if call.writes:
                call.fail(SessionExpiredError)
        self._queue = deque(call for call in self._queue if not call.settled)
        if self.state != SessionState.CONNECTING:
            self._announce(SessionState.LOST)

    def _finish(self, state: SessionState, error: type[ZooKeeperError]) -> None:
        """There will be no other connection."""
        if self._phase == _OVER:
            return
        self._phase = _OVER
        self._wishes.hang_up = True
        self._wishes.output.clear()
        for call in (*self._sent, *self._queue):
            call.fail(OutcomeUnknown if call.writes and call.xid else error)
        self._sent.clear()
        self._queue.clear()
        self.id = 0
        self._announce(state)

    def _announce(self, state: SessionState) -> None:
        self.state = state
        self._wishes.states.append(state)

    def _check_deadlines(self) -> None:
        now_ms = self._now_ms
        for call in (*self._sent, *self._queue):
            if call.deadline_ms <= now_ms:
                call.fail(OutcomeUnknown if call.writes and call.xid else OperationTimeoutError)
        self._queue = deque(call for call in self._queue if not call.settled)
        waiting = (call.deadline_ms for call in (*self._sent, *self._queue) if not call.settled)
        self._deadline_ms = min(waiting, default=float("inf"))


def taken(step: Callable[[], bytes]) -> bytes | ZooKeeperError:
    """What becomes of a step of SASL."""
    try:
        return step()
    except ZooKeeperError as error:
        return error


_EVENTS: Final[dict[int, EventType]] = {int(event): event for event in EventType}
