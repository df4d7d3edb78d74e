"""`python -m benchmarks.crowd`: ten thousand idle sessions, their watches, and who never reads.

One server of each kind on this machine. A process of its own holds the sessions: non-blocking
sockets, one epoll loop, pings at a third of the time-out. Rules:
- memory is VmRSS of the server, two seconds after what was asked for was answered;
- each session has as many watches as the others: one on a znode that all of them watch, the rest
  over a tree of services, by getData, getChildren and exists (of what is not there);
- the storm is one setData of the znode that all watch: it is over when each has its event;
- meanwhile one more client reads a small znode at a fixed pace, whether it was answered or not,
  and counts from the moment at which each read was due: who waits long does not ask less often;
- two more clients never read: one asks for large znodes, one for events with long paths.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from benchmarks import protocol
from benchmarks.generator import quantile_ms
from benchmarks.protocol import PATIENCE_S, Session
from benchmarks.servers import PROJECT, SERVERS, STOP_S_MAX, Server
from coterie.system import process

SESSIONS: Final = 10_000
WATCHES: Final = 100_000
MEMORY_AIM: Final = 300 * 2**20
"""The most that a server may take with `SESSIONS` and `WATCHES`."""
STORM_AIM_S: Final = 2.0

ROOT: Final = b"/crowd"
SHARED: Final = ROOT + b"/settings"
"""What all of them watch."""
BYSTANDER: Final = ROOT + b"/bystander"
LARGE: Final = ROOT + b"/large"
LOUD: Final = ROOT + b"/loud"

_DATA: Final = b"v" * 100

EXISTS: Final = 3
GET_CHILDREN: Final = 8
ADD_WATCH: Final = 106

_SERVICES: Final = 100
_MEMBERS: Final = 20
_PACE_S: Final = 0.002
_QUIET_S: Final = 2.0
_STORM_S_MAX: Final = 120.0
_HANDSHAKES: Final = 40
"""Under way at a time: Apache's server lets 50 connections wait to be accepted."""
_ASKING: Final = 100
"""Clients that ask for their watches between two looks at what has come."""
_READ: Final = protocol.request(1, protocol.GET_DATA, protocol.get_data_body(BYSTANDER))
_ANSWER_BYTES: Final = len(protocol.get_data_reply(1, _DATA))
_PING: Final = protocol.request(-2, 11)
_EVENT_XID: Final = -1
_PING_XID: Final = -2
_NO_NODE: Final = -101
_HEADER: Final = struct.Struct(">iiqi")
"""Length, xid, zxid and error of a reply."""
_LARGE_BYTES: Final = 900_000
_LARGE_READS: Final = 500
_LONG_NAME: Final = b"n" * 60_000
_LONG_EVENTS: Final = 600


class CrowdError(Exception):
    """The server did not do for a crowd what it does for one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the crowd is."""

    port: int
    sessions: int = SESSIONS
    each: int = WATCHES // SESSIONS
    """Watches of one session, the shared one among them."""


@dataclass(slots=True)
class Pace:
    """What one other client waited for its reads, in ms; the time after which all had theirs."""

    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(slots=True)
class Deaf:
    """What became of a client that never reads."""

    memory: int
    """Of the server, at the most, beyond what it had before."""
    cut_off: bool
    others: Pace


@dataclass(slots=True)
class Found:
    """All that was seen at one server; memory in bytes."""

    empty: int = 0
    with_sessions: int = 0
    with_watches: int = 0
    after_storm: int = 0
    opened_s: float = 0.0
    watched_s: float = 0.0
    events: int = 0
    written_s: float = 0.0
    """From before the write is sent until it was answered."""
    told_s: float = 0.0
    """From the answer to the last event; not below 0."""
    over_s: float = 0.0
    """From before the write is sent until both were there."""
    before: Pace | None = None
    meanwhile: Pace | None = None
    deaf: dict[str, Deaf] = field(default_factory=dict)


def watched(number: int, each: int) -> Iterator[tuple[int, bytes]]:
    """The reads by which one session sets its watches: opcodes and paths, none of them twice."""
    yield protocol.GET_DATA, SHARED
    for turn in range(each - 1):
        nth = number + 7 * turn
        service = ROOT + b"/services/service-%03d" % (nth % _SERVICES)
        member = nth // _SERVICES % _MEMBERS
        if turn % 3 == 0:
            yield GET_CHILDREN, service
        elif turn % 3 == 1:
            yield protocol.GET_DATA, service + b"/member-%010d" % member
        else:
            yield EXISTS, service + b"/lock-%06d-%03d" % (number, turn)


def plant(session: Session) -> None:
    """Create the tree that is watched."""
    for path in (ROOT, ROOT + b"/services", SHARED, BYSTANDER, LOUD):
        session.ensure(path, _DATA)
    session.ensure(LARGE, b"v" * _LARGE_BYTES)
    for number in range(_SERVICES):
        service = ROOT + b"/services/service-%03d" % number
        bodies = [protocol.create_body(service, b"")]
        for member in range(_MEMBERS):
            path = service + b"/member-%010d" % member
            bodies.append(protocol.create_body(path, b"v" * 200))
        session.call(protocol.MULTI, protocol.multi_body(protocol.CREATE, bodies))


class Client:
    """One session of the crowd."""

    __slots__ = ("is_open", "number", "rest", "socket", "waits")

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.socket = connection
        self.rest = b""
        """The beginning of a frame."""
        self.is_open = False
        self.waits = 0
        """Answers that have not come."""


class Crowd:
    """Many sessions over one epoll loop; does a thing for each line of its standard input, and
    says so on its standard output:

        opened  all sessions are there
        watched all watches are set (asked for by a line)
        told    each session has had an event (whenever that is), with the moment of the last
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._opening = 0
        self._waiting = 0
        self._events = 0
        self._timeout_s = protocol.SESSION_TIMEOUT_MS / 1000
        self._due: deque[tuple[float, Client]] = deque()
        """When each session has to be heard of next, the earliest first."""

    def run(self) -> None:
        begun = time.monotonic()
        for number in range(self._plan.sessions):
            self._open(number)
            while self._opening >= _HANDSHAKES:
                self._turn(PATIENCE_S)
        while self._opening:
            self._turn(PATIENCE_S)
        _say("opened", time.monotonic() - begun)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        while not self._asked(1.0):
            pass
        begun = time.monotonic()
        for client in list(self._clients.values()):
            self._watch(client)
            if client.number % _ASKING == 0:
                self._turn(0.0)
        while self._waiting:
            self._turn(PATIENCE_S)
        _say("watched", time.monotonic() - begun)
        while not self._asked(1.0):
            pass

    def _asked(self, wait_s: float) -> bool:
        """Whether a line, or the end, has come on standard input."""
        before = self._events
        asked = self._turn(wait_s)
        if before < self._plan.sessions <= self._events:
            _say("told", time.monotonic())
        return asked

    def _open(self, number: int) -> None:
        connection = socket.create_connection(("127.0.0.1", self._plan.port), PATIENCE_S)
        connection.setblocking(False)
        client = Client(number, connection)
        self._clients[connection.fileno()] = client
        self._poll.register(connection, select.EPOLLIN)
        connection.send(protocol.connect_request())
        self._opening += 1

    def _watch(self, client: Client) -> None:
        asked = [
            protocol.request(xid, op, protocol.buffer(path) + b"\1")
            for xid, (op, path) in enumerate(watched(client.number, self._plan.each), 1)
        ]
        client.waits += len(asked)
        self._waiting += len(asked)
        client.socket.sendall(b"".join(asked))

    def _turn(self, wait_s: float) -> bool:
        """Take what has come, and ping whose time it is."""
        asked = False
        found = self._poll.poll(min(wait_s, 1.0))
        for descriptor, _ in found:
            client = self._clients.get(descriptor)
            if client is None:
                sys.stdin.readline()
                asked = True
            else:
                self._take(client)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, client = self._due.popleft()
            client.socket.send(_PING)
            self._due.append((now + self._timeout_s / 3, client))
        return asked

    def _take(self, client: Client) -> None:
        data = client.socket.recv(1 << 16)
        if not data:
            raise CrowdError(f"session {client.number} was cut off")
        data = client.rest + data
        at = 0
        while len(data) - at >= 4:
            (length,) = struct.unpack_from(">i", data, at)
            if len(data) - at < 4 + length:
                break
            self._frame(client, data, at)
            at += 4 + length
        client.rest = data[at:]

    def _frame(self, client: Client, data: bytes, at: int) -> None:
        if not client.is_open:
            _, _, timeout_ms, session_id = struct.unpack_from(">iiiq", data, at)
            if not session_id:
                raise CrowdError(f"session {client.number} was refused")
            self._timeout_s = timeout_ms / 1000
            self._due.append((time.monotonic() + self._timeout_s / 3, client))
            client.is_open = True
            self._opening -= 1
            return
        _, xid, _, error = _HEADER.unpack_from(data, at)
        if xid == _EVENT_XID:
            self._events += 1
        elif xid != _PING_XID:
            if error not in (0, _NO_NODE):
                raise CrowdError(f"session {client.number}: error {error}")
            client.waits -= 1
            self._waiting -= 1


def _say(what: str, figure: float) -> None:
    print(json.dumps([what, figure]), flush=True)


class Gathered:
    """The process that holds the crowd, within a `with` block."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crowd", "--hold", json.dumps(asdict(plan))],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        """Its sessions are left to the server, as those of a process that dies."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def hears(self, what: str, patience_s: float = _STORM_S_MAX) -> float:
        """Wait until it says this; the figure that it says with it."""
        assert self._process.stdout is not None
        # One line at a time is said and awaited, so that nothing is left in the buffer.
        if not select.select([self._process.stdout], [], [], patience_s)[0]:
            raise CrowdError(f"not {what} in {patience_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise CrowdError(f"the crowd has gone before it was {what}")
        said, figure = json.loads(line)
        assert said == what, f"{said} came before {what}"
        return float(figure)


class Bystander(threading.Thread):
    """One more client, within a `with` block. It reads at a fixed pace, and waits for no answer
    before it asks again."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.waited: list[tuple[float, float]] = []
        """When each read was due, and how long after that its answer was there."""
        self.failure: Exception | None = None
        self._session = Session(port)
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopping.set()
        self.join(2 * PATIENCE_S)
        self._session.socket.close()

    def run(self) -> None:
        try:
            self._read_on()
        except (OSError, protocol.ProtocolError) as error:
            self.failure = error

    def _read_on(self) -> None:
        due = time.monotonic()
        asked: deque[float] = deque()
        """When those reads were due whose answers have not come."""
        unread = 0
        while not self._stopping.is_set():
            now = time.monotonic()
            if due <= now:
                self._session.socket.sendall(_READ)
                asked.append(due)
                due += _PACE_S
                continue
            if select.select([self._session.socket], [], [], due - now)[0]:
                unread += len(self._session.socket.recv(1 << 16))
                now = time.monotonic()
                for _ in range(unread // _ANSWER_BYTES):
                    sent = asked.popleft()
                    self.waited.append((sent, now - sent))
                unread %= _ANSWER_BYTES

    def pace(self, since: float, until: float) -> Pace:
        """Of the reads that were due in this time; they are waited for."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.waited or self.waited[-1][0] < until:
            if self.failure is not None or time.monotonic() > give_up_at:
                raise CrowdError(f"another client is not served any more: {self.failure}")
            time.sleep(_PACE_S)
        return pace([waited for due, waited in self.waited if since <= due <= until])


def pace(waited: Sequence[float]) -> Pace:
    ordered = sorted(waited)
    p50_ms, p99_ms, max_ms = (quantile_ms(ordered, share) for share in (0.5, 0.99, 1.0))
    if p50_ms is None or p99_ms is None or max_ms is None:
        raise CrowdError("another client was not served")
    return Pace(p50_ms, p99_ms, max_ms)


def measure(server: Server, sessions: int, watches: int) -> Found:
    """All of it at a server that runs and is empty."""
    found = Found()
    plan = Plan(server.port, sessions, watches // sessions)
    with Session(server.port) as writer:
        plant(writer)
        found.empty = _settled(server)
        with Gathered(plan) as crowd:
            found.opened_s = crowd.hears("opened")
            found.with_sessions = _settled(server)
            writer.get(BYSTANDER)
            crowd.go_on()
            found.watched_s = crowd.hears("watched")
            found.with_watches = _settled(server)
            with Bystander(server.port) as bystander:
                since = time.monotonic()
                time.sleep(_QUIET_S)
                found.before = bystander.pace(since, time.monotonic())
                _storm(found, writer, crowd, bystander)
                found.events = sessions
                found.after_storm = _settled(server)
                for name, deafen in (("answers", _ask_for_much), ("events", _hear_much)):
                    found.deaf[name] = _deaf(server, writer, bystander, deafen)
    return found


def _settled(server: Server) -> int:
    time.sleep(_QUIET_S)
    return server.resident_bytes()


def _storm(found: Found, writer: Session, crowd: Gathered, bystander: Bystander) -> None:
    begun = time.monotonic()
    writer.set(SHARED, b"w" * 100)
    answered = time.monotonic()
    told = crowd.hears("told")
    found.written_s = answered - begun
    found.told_s = max(0.0, told - answered)
    found.over_s = max(told, answered) - begun
    found.meanwhile = bystander.pace(begun, max(told, answered))


Deafen = Callable[[Session, Session], None]


def _deaf(server: Server, writer: Session, bystander: Bystander, deafen: Deafen) -> Deaf:
    """Let a client ask for more than it reads."""
    before = server.resident_bytes()
    since = time.monotonic()
    with Session(server.port) as client, _looking(server) as seen:
        connected = connections(server.port)
        deafen(client, writer)
        time.sleep(_QUIET_S)
        cut_off = connections(server.port) < connected
    others = bystander.pace(since, time.monotonic())
    return Deaf(max([before, *seen]) - before, cut_off, others)


def connections(port: int) -> int:
    """How many the server has, this one among them, as `srvr` tells it."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as asking:
        asking.sendall(b"srvr")
        while more := asking.recv(1 << 12):
            said += more
    (line,) = (line for line in said.decode().splitlines() if line.startswith("Connections:"))
    return int(line.split()[1])


@contextmanager
def _looking(server: Server) -> Iterator[list[int]]:
    """The server's memory, looked at now and then meanwhile."""
    seen: list[int] = []
    stopping = threading.Event()

    def look() -> None:
        while not stopping.wait(0.02):
            seen.append(server.resident_bytes())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stopping.set()
        thread.join()


def _ask_for_much(client: Session, writer: Session) -> None:
    asked = protocol.get_data_body(LARGE)
    client.socket.settimeout(_QUIET_S)
    with suppress(OSError):
        client.socket.sendall(protocol.request(1, protocol.GET_DATA, asked) * _LARGE_READS)


def _hear_much(client: Session, writer: Session) -> None:
    """A recursive watch, and changes of a znode whose path is long."""
    client.call(ADD_WATCH, protocol.buffer(LOUD) + struct.pack(">i", 1))
    path = LOUD + b"/" + _LONG_NAME
    writer.ensure(path)
    for _ in range(_LONG_EVENTS):
        writer.set(path, b"")


def cells(found: Found) -> list[tuple[str, str]]:
    """What was seen at one server, row by row: what it is, and the figure."""
    rows = [
        ("memory, empty (MiB)", _mib(found.empty)),
        ("with the sessions", _mib(found.with_sessions)),
        ("with the watches", _mib(found.with_watches)),
        ("after the storm", _mib(found.after_storm)),
        ("sessions opened in (s)", f"{found.opened_s:.1f}"),
        ("watches set in (s)", f"{found.watched_s:.1f}"),
        ("events of the storm", str(found.events)),
        ("the write is answered after (ms)", f"{1000 * found.written_s:.0f}"),
        ("from then to the last event (ms)", f"{1000 * found.told_s:.0f}"),
        ("all of it (ms)", f"{1000 * found.over_s:.0f}"),
        ("another's read, before: p50, p99, max (ms)", _pace(found.before)),
        ("meanwhile", _pace(found.meanwhile)),
    ]
    for name, deaf in found.deaf.items():
        rows += [
            (f"who reads no {name}: memory (MiB)", _mib(deaf.memory)),
            ("its connection", "cut off" if deaf.cut_off else "kept"),
            ("another's read meanwhile", _pace(deaf.others)),
        ]
    return rows


def table(found: dict[str, Found]) -> list[str]:
    """What was seen, a column for each server."""
    columns = [cells(each) for each in found.values()]
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    for row in zip(*columns, strict=True):
        figures = " | ".join(cell for _, cell in row)
        lines += [f"| {row[0][0]} | {figures} |"]
    return lines


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f}"


def _pace(pace: Pace | None) -> str:
    return f"{pace.p50_ms:.2f}, {pace.p99_ms:.1f}, {pace.max_ms:.1f}" if pace is not None else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--watches", type=int, default=WATCHES)
    names = [kind.name for kind in SERVERS]
    parser.add_argument("--server", choices=[*names, "both"], default="both")
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    options = parser.parse_args()
    process.allow_files()
    if options.hold is not None:
        Crowd(Plan(**json.loads(options.hold))).run()
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    found: dict[str, Found] = {}
    for kind in SERVERS:
        if options.server not in (kind.name, "both"):
            continue
        if missing := kind.missing():
            print(missing, file=sys.stderr)
            continue
        with (
            tempfile.TemporaryDirectory(prefix="coterie-crowd-", dir="/var/tmp") as folder,
            kind(Path(folder) / kind.name) as server,
        ):
            found[kind.title] = measure(server, options.sessions, options.watches)
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
