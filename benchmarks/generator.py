"""The load generator: many sessions over non-blocking sockets and one epoll loop.

Run as a process of its own: a `Job` as JSON on standard input, an `Outcome` as JSON on standard
output; SIGTERM ends the measuring early and still gives the outcome. A job is a closed loop: each
connection keeps as many requests outstanding as the job says, and sends one for each reply.

Latency is measured with one request outstanding, and with more where the job asks for it: that
costs a little for each chunk of replies.

It says how much of its time it computed (`busy`): a generator near 1 is measuring itself.
"""

from __future__ import annotations

import gc
import json
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks import loads, protocol
from benchmarks.loads import BATCH, Counter, Load, Numbered, Requests
from benchmarks.protocol import PATIENCE_S

CHUNK_BYTES: Final = 1 << 16
"""Below the size from which malloc maps memory for each call, which costs 30 us a time."""
_POLL_S: Final = 0.05
_UNBOUNDED: Final = sys.maxsize


@dataclass(frozen=True, slots=True)
class Job:
    """What to do: a load of `LOADS` for a time, or (with `znodes`) filling the tree."""

    port: int
    load: str
    connections: int
    outstanding: int
    seconds: float = 0.0
    ramp_s: float = 0.0
    clean: bool = True
    """False leaves the created znodes there; a canned responder knows no other request either."""
    znodes: int = 0
    parents: int = 0
    batch: int = 1
    others: Sequence[int] = ()
    """The ports of further members: the connections are dealt to all, one after the other."""
    timed: bool = False
    """True measures latency with more than one request outstanding, too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen between the end of the ramp and the last moment of measuring."""

    operations: int
    seconds: float
    busy: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def per_second(self) -> float:
        return self.operations / self.seconds


class LoadError(Exception):
    """The server stopped answering, or answered something else than what was asked."""


class Lane:
    """One connection: where its requests come from, and what is under way."""

    __slots__ = (
        "allowance",
        "batches",
        "poll",
        "replies",
        "sent_at",
        "socket",
        "source",
        "unsent",
    )

    def __init__(self, connection: socket.socket, poll: select.epoll) -> None:
        self.socket = connection
        self.poll = poll
        self.source: Requests
        self.replies: Counter
        self.allowance = 0
        self.sent_at = 0.0
        self.batches: deque[tuple[float, int]] = deque()
        """Of a timed load: when requests were sent, and how many at once."""
        self.unsent = b""

    def load(self, source: Requests, replies: Counter, allowance: int) -> None:
        self.source = source
        self.replies = replies
        self.allowance = allowance

    def send(self, count: int) -> int:
        """Send the next `count` requests, or as many as are left; returns how many."""
        if count > self.allowance:
            count = self.allowance
        self.allowance -= count
        data = self.source.take(count)
        if self.unsent:
            self.unsent += bytes(data)
            return count
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.unsent = bytes(data[sent:])
            self.poll.modify(self.socket, select.EPOLLIN | select.EPOLLOUT)
        return count

    def waits(self, count: int, now: float, latencies: list[float]) -> None:
        """Note how long the next `count` replies took; as many requests are sent now."""
        batches = self.batches
        left = count
        while left:
            sent_at, size = batches.popleft()
            if size > left:
                batches.appendleft((sent_at, size - left))
                size = left
            latencies.extend([now - sent_at] * size)
            left -= size
        batches.append((now, count))

    def flush(self) -> None:
        """Send what the socket did not take before."""
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return
        if not self.unsent:
            self.poll.modify(self.socket, select.EPOLLIN)


class Generator:
    """The sessions of a job and the loop that keeps them supplied."""

    def __init__(
        self,
        port: int,
        connections: int,
        outstanding: int,
        others: Sequence[int] = (),
        timed: bool = False,
    ) -> None:
        self.outstanding = outstanding
        self.timed = timed and outstanding > 1
        self.latencies: list[float] = []
        self.stopping = False
        self._unanswered = 0
        self._poll = select.epoll()
        self._lanes = [
            Lane(each, self._poll) for each in open_sessions([port, *others], connections)
        ]
        self._by_descriptor = {lane.socket.fileno(): lane for lane in self._lanes}
        for lane in self._lanes:
            self._poll.register(lane.socket, select.EPOLLIN)

    def stop(self, *_signal: object) -> None:
        """End the phase that is being measured; what is outstanding is still waited for."""
        self.stopping = True

    def sources(self) -> list[Requests]:
        return [lane.source for lane in self._lanes]

    def begin(self, load: Load, allowances: list[int]) -> None:
        """Send each connection's first requests of a load; `allowances` is how many it may."""
        assert self._unanswered == 0, "the load before has to be drained"
        connections = len(self._lanes)
        for number, (lane, allowance) in enumerate(zip(self._lanes, allowances, strict=True)):
            first = load.first(number, connections)
            source = load.source(number, connections)
            lane.load(source, Counter(load.replies, first), allowance)
        for lane in self._lanes:
            lane.sent_at = time.monotonic()
            count = lane.send(self.outstanding)
            lane.batches = deque([(lane.sent_at, count)])
            self._unanswered += count

    def pump(self, until: float) -> int:
        """Answer replies with requests until then, or until all is done; counts the replies."""
        poll, lanes, clock = self._poll.poll, self._by_descriptor, time.monotonic
        note_latency = self.latencies.append if self.outstanding == 1 else None
        unanswered = self._unanswered
        done = 0
        quiet_since = now = clock()
        while unanswered and now < until and not self.stopping:
            events = poll(_POLL_S)
            for descriptor, event in events:
                lane = lanes[descriptor]
                if event & select.EPOLLOUT:
                    lane.flush()
                if not event & ~select.EPOLLOUT:
                    continue
                data = lane.socket.recv(CHUNK_BYTES)
                if not data:
                    raise LoadError("the server closed a connection")
                count = lane.replies.count(data)
                if not count:
                    continue
                done += count
                unanswered -= count
                if note_latency is not None:
                    received_at = clock()
                    note_latency(received_at - lane.sent_at)
                    lane.sent_at = received_at
                elif self.timed:
                    lane.waits(count, clock(), self.latencies)
                if lane.allowance:
                    unanswered += lane.send(count)
            now = clock()
            if events:
                quiet_since = now
            elif now - quiet_since > PATIENCE_S:
                raise LoadError(f"no reply to {unanswered} requests for {PATIENCE_S:.0f} s")
        self._unanswered = unanswered
        return done

    def drain(self) -> int:
        """Send nothing new and wait for every reply."""
        for lane in self._lanes:
            lane.allowance = 0
        return self.finish()

    def finish(self) -> int:
        """Go on until every connection has sent and heard all that it may."""
        done = 0
        while self._unanswered:
            self.stopping = False
            done += self.pump(float("inf"))
        return done

    def close(self) -> None:
        """Close the sessions, and wait until the server has."""
        for lane in self._lanes:
            lane.socket.settimeout(PATIENCE_S)
            lane.socket.sendall(protocol.request(1, protocol.CLOSE_SESSION))
            lane.socket.shutdown(socket.SHUT_WR)
        for lane in self._lanes:
            while lane.socket.recv(CHUNK_BYTES):
                pass
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connections, whatever becomes of the sessions."""
        self._poll.close()
        for lane in self._lanes:
            lane.socket.close()


def open_sessions(ports: Sequence[int], connections: int) -> list[socket.socket]:
    """Sessions by the real handshake, asked for all at once, so that they share their fsyncs."""
    opened = []
    for number in range(connections):
        place = ("127.0.0.1", ports[number % len(ports)])
        connection = socket.create_connection(place, timeout=PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(protocol.connect_request())
        opened.append(connection)
    for connection in opened:
        answer = connection.recv(protocol.CONNECT_REPLY_BYTES, socket.MSG_WAITALL)
        if len(answer) < protocol.CONNECT_REPLY_BYTES or not any(answer[12:20]):
            raise LoadError("the server refused to open a session")
        connection.setblocking(False)
    return opened


def run(job: Job) -> Outcome:
    generator = Generator(job.port, job.connections, job.outstanding, job.others, job.timed)
    signal.signal(signal.SIGTERM, generator.stop)
    outcome = _fill(generator, job) if job.znodes else _measure(generator, job)
    generator.close()
    return outcome


def _measure(generator: Generator, job: Job) -> Outcome:
    load = loads.LOADS[job.load]
    generator.begin(load, [_UNBOUNDED] * job.connections)
    generator.pump(time.monotonic() + job.ramp_s)
    generator.latencies.clear()
    started, cpu_started = time.monotonic(), time.process_time()
    operations = generator.pump(started + job.seconds)
    seconds = time.monotonic() - started
    busy = (time.process_time() - cpu_started) / seconds
    latencies = sorted(generator.latencies)
    generator.drain()
    if load.encoder is not None and job.clean:
        _delete_created(generator)
    p50_ms, p99_ms = quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99)
    return Outcome(operations, seconds, busy, p50_ms, p99_ms)


def _delete_created(generator: Generator) -> None:
    """So that every turn begins with the same tree."""
    created = [source.taken for source in generator.sources() if isinstance(source, Numbered)]
    batches = [count // BATCH for count in created]
    generator.begin(loads.deletes(BATCH, [0] * len(created)), batches)
    generator.finish()
    generator.begin(
        loads.deletes(1, [count * BATCH for count in batches]),
        [count % BATCH for count in created],
    )
    generator.finish()


def _fill(generator: Generator, job: Job) -> Outcome:
    share, rest = divmod(job.znodes, job.connections * job.batch)
    if rest:
        raise ValueError("every connection has to send as many whole batches as the others")
    load = loads.fill(job.znodes, job.parents, job.connections, job.batch)
    started, cpu_started = time.monotonic(), time.process_time()
    generator.begin(load, [share] * job.connections)
    requests = generator.finish()
    seconds = time.monotonic() - started
    busy = (time.process_time() - cpu_started) / seconds
    return Outcome(requests * job.batch, seconds, busy, None, None)


def quantile_ms(ordered: list[float], share: float) -> float | None:
    """The nearest-rank quantile of sorted seconds, in milliseconds; None of nothing."""
    if not ordered:
        return None
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    job = Job(**json.load(sys.stdin))
    gc.disable()
    try:
        outcome = run(job)
    except (OSError, LoadError, protocol.ProtocolError) as error:
        print(f"load {job.load}: {error}", file=sys.stderr)
        return 1
    json.dump(asdict(outcome), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
