"""Random clients that speak the wire protocol and get in each other's way on few paths.

Each value that is written is written once, so that whoever reads it can say where it came from.
A client has many requests outstanding, comes back with its session after a lost connection, sets
its watches again and begins anew when its session is over. What it is told goes to its
`ClientView`. Rules: everything it sends is remembered under its session and xid before it is sent;
what it does comes from one generator of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from coterie.testing.checkers import ClientView
from coterie.testing.history import Multi, Violation
from coterie.testing.host import CLIENT_PORT
from coterie.values import OPEN_ACL, CreateMode
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.framing import LENGTH, Framing, frames
from coterie.wire.jute import Record
from coterie.wire.requests import NOTIFICATION_XID, PING_XID, SET_WATCHES_XID, Op, RequestHeader

if TYPE_CHECKING:
    from coterie.testing.simulator import Simulation
    from coterie.testing.transport import End

PATHS: Final = (b"/a", b"/b", b"/a/x", b"/a/y", b"/b/x", b"/b/x/1", b"/c")
_PARENTS: Final = (b"/a", b"/b", b"/a/x", b"/")
_FRAME_BYTES_MAX: Final = 2**20
_CREATES_MAX: Final = 60


class Requests:
    """Draws what a client asks for next."""

    def __init__(self, dice: Random, name: str, value_bytes: int, ttl_ms: int) -> None:
        self._dice = dice
        self._name = name.encode()
        self._value_bytes = value_bytes
        self._ttl_ms = ttl_ms
        self._values = 0
        self._sequential = 0
        kinds: list[tuple[Callable[[], tuple[int, Record]], int]] = [
            (self._create, dice.randrange(1, 8)),
            (self._create_other, dice.randrange(3)),
            (self._set, dice.randrange(1, 8)),
            (self._delete, dice.randrange(1, 5)),
            (self._multi, dice.randrange(3)),
            (self._set_acl, dice.randrange(2)),
            (self._get, dice.randrange(1, 8)),
            (self._exists, dice.randrange(4)),
            (self._children, dice.randrange(4)),
            (self._sync, dice.randrange(2)),
            (self._add_watch, dice.randrange(2)),
        ]
        self._kinds = [kind for kind, weight in kinds for _ in range(weight)]

    def draw(self) -> tuple[int, Record]:
        """The opcode and the body of a request."""
        return self._choose(self._kinds)()

    def _choose(
        self, choices: list[Callable[[], tuple[int, Record]]]
    ) -> Callable[..., tuple[int, Record]]:
        return choices[int(self._dice.random() * len(choices))]

    def _path(self) -> bytes:
        return PATHS[int(self._dice.random() * len(PATHS))]

    def _watch(self) -> bool:
        return self._dice.random() < 0.3

    def _value(self) -> bytes | None:
        """A value that nobody else writes, without zeros: some sizes span sectors."""
        self._values += 1
        value = b"%s-%d;" % (self._name, self._values)
        return value.ljust(int(self._dice.random() * self._value_bytes), b"%c" % value[-2])

    def _version(self) -> int:
        return -1 if self._dice.random() < 0.6 else int(self._dice.random() * 4)

    def _create(self) -> tuple[int, Record]:
        draw = self._dice.random()
        op = Op.CREATE if draw < 0.3 else Op.CREATE2
        mode = CreateMode.EPHEMERAL if 0.2 < draw < 0.5 else CreateMode.PERSISTENT
        path = self._path()
        if draw > 0.85 and self._sequential < _CREATES_MAX:
            self._sequential += 1
            mode = (
                CreateMode.EPHEMERAL_SEQUENTIAL
                if draw > 0.93
                else CreateMode.PERSISTENT_SEQUENTIAL
            )
            path = _PARENTS[int(self._dice.random() * len(_PARENTS))].rstrip(b"/") + b"/s-"
        return op, requests.CreateRequest(path, self._value(), OPEN_ACL, mode)

    def _create_other(self) -> tuple[int, Record]:
        path = self._path()
        if self._dice.random() < 0.5:
            return Op.CREATE_CONTAINER, requests.CreateRequest(
                path, self._value(), OPEN_ACL, CreateMode.CONTAINER
            )
        return Op.CREATE_TTL, requests.CreateTTLRequest(
            path, self._value(), OPEN_ACL, CreateMode.PERSISTENT_TTL, self._ttl_ms
        )

    def _set(self) -> tuple[int, Record]:
        return Op.SET_DATA, requests.SetDataRequest(self._path(), self._value(), self._version())

    def _delete(self) -> tuple[int, Record]:
        return Op.DELETE, requests.DeleteRequest(self._path(), self._version())

    def _set_acl(self) -> tuple[int, Record]:
        return Op.SET_ACL, requests.SetACLRequest(self._path(), OPEN_ACL, self._version())

    def _check(self) -> tuple[int, Record]:
        return Op.CHECK, requests.CheckVersionRequest(self._path(), self._version())

    def _multi(self) -> tuple[int, Record]:
        kinds = [self._create, self._set, self._delete, self._check]
        count = 1 + int(self._dice.random() * 3)
        return Op.MULTI, Multi([self._choose(kinds)() for _ in range(count)])

    def _get(self) -> tuple[int, Record]:
        return Op.GET_DATA, requests.PathWatchRequest(self._path(), self._watch())

    def _exists(self) -> tuple[int, Record]:
        return Op.EXISTS, requests.PathWatchRequest(self._path(), self._watch())

    def _children(self) -> tuple[int, Record]:
        return Op.GET_CHILDREN2, requests.PathWatchRequest(self._path(), self._watch())

    def _sync(self) -> tuple[int, Record]:
        return Op.SYNC, requests.PathRequest(self._path())

    def _add_watch(self) -> tuple[int, Record]:
        return Op.ADD_WATCH, requests.WatchesRequest(
            self._path(), 0 if self._dice.random() < 0.5 else 1
        )


class Client:
    """One client: its session, its connection, and what it waits for."""

    def __init__(self, name: str, simulation: Simulation, dice: Random) -> None:
        plan = simulation.plan
        self.name = name
        self.view = ClientView(name, simulation.history)
        self.budget = 0
        """How many more requests it will make of its own accord."""
        self.answered = 0
        self.session_id = 0
        self._simulation = simulation
        self._dice = dice
        self._plan = plan
        self._timeout_ms = plan.tick_ms * plan.timeout_ticks
        self._requests = Requests(dice, name, plan.value_bytes, plan.tick_ms * 5)
        self._password = bytes(16)
        self._end: End | None = None
        self._greeted = False
        self._closing = self._hung_up = False
        self._xid = 0
        self._framing = Framing(_FRAME_BYTES_MAX)
        self._outstanding: deque[tuple[int, int, Record | None, float]] = deque()
        self._floors: deque[int] = deque()
        """For each request the last write that anybody was told of before it was made."""
        self._asks_read_only = simulation.dice(f"read-only {name}").random() < 0.5
        """It can do with reads where there is no leader."""
        self._is_stranded = False
        self._heard_ms = 0.0
        self._sent_ms = 0.0
        self._mute_until_ms = 0.0
        self._wake()

    @property
    def idle(self) -> bool:
        """It has its session, and every request of its was answered."""
        return self._greeted and not self._outstanding and not self.budget

    def mute(self, timeouts: float) -> None:
        """Say nothing for so many time-outs."""
        self._simulation.note("mute", self.name, timeouts)
        self._mute_until_ms = self._simulation.time.now_ms + timeouts * self._timeout_ms

    def unmute(self) -> None:
        self._mute_until_ms = 0.0

    def _wake(self) -> None:
        """Do something, and come back later."""
        now_ms = self._simulation.time.now_ms
        if now_ms >= self._mute_until_ms:
            self._act(now_ms)
        # Who can do nothing need not wake as often as who works, but all must ping in time.
        mean_ms = self._plan.think_ms
        if not self._greeted or len(self._outstanding) >= self._plan.window:
            mean_ms *= 5
        if not self.budget:
            mean_ms = self._timeout_ms
        delay_ms = min(self._dice.expovariate(1 / mean_ms), self._timeout_ms / 6)
        self._simulation.time.after(delay_ms, self._wake)

    def _act(self, now_ms: float) -> None:
        if self._end is None:
            self._connect()
        elif now_ms - self._heard_ms > self._timeout_ms * 2 / 3 + 4 * self._plan.delay_ms:
            # It may be sent to another server by a client that finds more than one.
            self._simulation.note("gives up", self.name)
            self._end.abort()
        elif self._greeted and not self._closing:
            if self.budget:
                self._ask(now_ms)
            elif now_ms - self._sent_ms > self._timeout_ms / 3:
                self._send(PING_XID, Op.PING, None)

    def _connect(self) -> None:
        server = self._dice.choice(self._simulation.hosts)
        self._heard_ms = self._simulation.time.now_ms
        self._end = self._simulation.network.connect(self.name, (server.name, CLIENT_PORT), self)

    def _ask(self, now_ms: float) -> None:
        room = self._plan.window - len(self._outstanding)
        burst = 1 if self._dice.random() < 0.7 else 1 + int(self._dice.random() * 8)
        for _ in range(min(room, burst, self.budget)):
            self.budget -= 1
            self._xid += 1
            if self._dice.random() < 0.01:
                self._closing = True
                self._send(self._xid, Op.CLOSE_SESSION, requests.Empty())
                return
            self._send(self._xid, *self._requests.draw())
        if room <= 0 and now_ms - self._sent_ms > self._timeout_ms / 3:
            self._send(PING_XID, Op.PING, None)

    def ask_for(self, op: int, request: Record) -> None:
        """Make one certain request."""
        self._xid += 1
        self._send(self._xid, op, request)

    def _send(self, xid: int, op: int, request: Record | None) -> None:
        now_ms = self._simulation.time.now_ms
        self._simulation.note("asks", self.name, xid, op, request)
        if request is not None:
            self._simulation.asked[self.session_id, xid] = (op, request)
        self._outstanding.append((xid, op, request, now_ms))
        self._floors.append(self._simulation.told_zxid)
        self._sent_ms = now_ms
        body = RequestHeader(xid, op).encode()
        if request is not None:
            body += request.encode()
        assert self._end is not None
        self._end.send(LENGTH.pack(len(body)) + body)

    def opened(self) -> None:
        """Say who one is."""
        now_ms = self._simulation.time.now_ms
        self._framing = Framing(_FRAME_BYTES_MAX)
        self._heard_ms = self._sent_ms = now_ms
        body = requests.ConnectRequest(
            0, self.view.zxid, self._timeout_ms, self.session_id, self._password
        ).encode()
        body += b"\1" if self._asks_read_only else b"\0"
        self._simulation.note("connects", self.name, self.session_id, self.view.zxid)
        assert self._end is not None
        self._end.send(LENGTH.pack(len(body)) + body)

    def received(self, data: bytes) -> None:
        self._heard_ms = self._simulation.time.now_ms
        for frame in frames(self._framing, data):
            if self._hung_up:
                return
            if self._is_stranded:
                assert self._end is not None
                self._end.abort()
                return
            if self._greeted:
                self._reply(frame)
            else:
                self._greeting(frame)

    def _greeting(self, frame: bytes) -> None:
        response = requests.ConnectResponse.decode(frame)
        self._simulation.note("is greeted", self.name, response.session_id, response.timeout_ms)
        if response.timeout_ms > 0 and frame[-1]:
            self._read_stranded()
            return
        if response.timeout_ms <= 0:
            self._simulation.told_expired(self.session_id)
            self._hang_up()
            return
        if self.session_id and response.session_id != self.session_id:
            raise Violation(f"{self.name} was given another session than its own")
        if response.session_id not in self._simulation.history.born:
            raise Violation(f"{self.name} was given a session that nothing made")
        again = bool(self.session_id)
        self.session_id = response.session_id
        self._password = response.password or b""
        self._greeted = True
        self._simulation.leases.answered(self.session_id, self._sent_ms)
        self.view.connected()
        if again:
            self._simulation.mark("a session was taken up again")
            watches = self.view.watches_to_set()
            self._send(SET_WATCHES_XID, Op.SET_WATCHES2, watches)

    def _read_stranded(self) -> None:
        """This server has no leader: read something, which may be old, and go elsewhere. The
        session that it made up is not kept."""
        self._simulation.mark("a client was served by a member without a leader")
        self._is_stranded = True
        body = RequestHeader(1, Op.GET_DATA).encode()
        body += requests.PathWatchRequest(PATHS[0], False).encode()
        assert self._end is not None
        self._end.send(LENGTH.pack(len(body)) + body)

    def _hang_up(self) -> None:
        """The session is over: the next connection asks for a new one."""
        self.session_id = 0
        self._password = bytes(16)
        self.view.new_session()
        assert self._end is not None
        self._end.abort()
        self._hung_up = True

    def _reply(self, frame: bytes) -> None:
        reader = Reader(frame)
        xid = reader.int32()
        if xid == NOTIFICATION_XID:
            zxid, _ = reader.int64(), reader.int32()
            event = requests.WatcherEvent.read(reader)
            self._simulation.note("is told", self.name, zxid, event.type, event.path)
            self._simulation.mark("a watch fired" if zxid != -1 else "a missed event was told")
            self.view.event(event.type, zxid, event.path)
            return
        if not self._outstanding or self._outstanding[0][0] != xid:
            raise Violation(f"{self.name} got a reply to {xid}, not to {self._outstanding}")
        _, op, request, sent_ms = self._outstanding.popleft()
        floor = self._floors.popleft()
        self._simulation.leases.answered(self.session_id, sent_ms)
        error = self.view.reply(self.session_id, xid, op, request, reader)
        self._simulation.note("gets", self.name, xid, self.view.zxid, error)
        if not error and op in requests.TABLE and requests.TABLE[op].writes:
            if self.view.zxid <= floor:
                raise Violation(f"{self.name}: {request!r} was done before what it came after")
            self._simulation.told_zxid = max(self._simulation.told_zxid, self.view.zxid)
        if not reader.at_end():
            raise Violation(f"{self.name}: the reply to {request!r} is too long")
        self.answered += 1
        if error == -1:
            self._simulation.mark("a write was refused while the log failed")
        if op == Op.CLOSE_SESSION and not error:
            self._simulation.mark("a session was closed")
            self._hang_up()

    def lost(self) -> None:
        self._simulation.note("lost", self.name, len(self._outstanding))
        self._end = None
        self._greeted = False
        self._closing = self._hung_up = self._is_stranded = False
        self._outstanding.clear()
        self._floors.clear()
