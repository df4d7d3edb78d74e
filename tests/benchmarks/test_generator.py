"""The load generator against a canned responder, over real sockets on loopback."""

from __future__ import annotations

import io
import json
import select
import socket
import threading
import time
from dataclasses import asdict

import pytest

from benchmarks import generator, loads, protocol
from benchmarks.generator import Generator, Job, LoadError, quantile_ms
from benchmarks.loads import LOADS
from tests.benchmarks.conftest import Responder


@pytest.mark.parametrize("name", LOADS)
@pytest.mark.parametrize(("connections", "outstanding"), [(1, 1), (3, 20)])
def test_counts_what_was_answered(
    responder: Responder, name: str, connections: int, outstanding: int
) -> None:
    with responder(LOADS[name], connections) as canned:
        load = Generator(canned.port, connections, outstanding)
        load.begin(LOADS[name], [1000] * connections)
        assert load.finish() == 1000 * connections
        assert len(load.latencies) == (1000 if outstanding == 1 else 0)
        load.close()


def test_a_timed_load_has_a_latency_for_every_reply(responder: Responder) -> None:
    with responder(LOADS["writes"], 3) as canned:
        load = Generator(canned.port, 3, 20, timed=True)
        load.begin(LOADS["writes"], [1000] * 3)
        assert load.finish() == 3000
        assert len(load.latencies) == 3000
        assert 0.0 < min(load.latencies) <= max(load.latencies) < 30.0
        load.close()


def test_a_wait_is_from_the_batch_that_a_reply_belongs_to() -> None:
    near, far = socket.socketpair()
    with near, far, select.epoll() as poll:
        lane = generator.Lane(near, poll)
    lane.batches.append((1.0, 5))
    waited: list[float] = []
    for count, now in ((3, 2.0), (2, 3.0), (4, 4.0)):
        lane.waits(count, now, waited)
    assert waited == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0]
    assert list(lane.batches) == [(3.0, 1), (4.0, 4)]


def test_connections_are_dealt_to_all_members(responder: Responder) -> None:
    with responder(LOADS["reads"], 2) as one, responder(LOADS["reads"], 1) as other:
        load = Generator(one.port, 3, 1, [other.port])
        load.close()


def test_what_does_not_fit_the_socket_is_sent_later() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far, select.epoll() as poll:
        lane = generator.Lane(near, poll)
        poll.register(near, select.EPOLLIN)
        source = LOADS["writes"].source(0, 1)
        lane.load(source, loads.Counter(LOADS["writes"].replies), 10_000)
        assert [lane.send(200) for _ in range(20)] == [200] * 20
        assert lane.unsent
        expected = b"".join(bytes(LOADS["writes"].source(0, 1).take(240)) for _ in range(17))
        received = bytearray()
        length = (
            LOADS["writes"].requests.ends[4000 % 240] + 16 * LOADS["writes"].requests.ends[240]
        )
        while len(received) < length:
            received += far.recv(generator.CHUNK_BYTES)
            lane.flush()
        assert bytes(received) == expected[:length]
        assert not lane.unsent


def test_stop_ends_the_measuring_but_not_the_draining(responder: Responder) -> None:
    with responder(LOADS["reads"], 2) as canned:
        load = Generator(canned.port, 2, 20)
        load.begin(LOADS["reads"], [10**9] * 2)
        threading.Timer(0.01, load.stop).start()
        assert load.pump(time.monotonic() + 30) > 0
        assert load.drain() <= 40
        load.close()


def test_main_reads_a_job_and_prints_an_outcome(
    responder: Responder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("gc.disable", lambda: None)
    with responder(LOADS["creates-1k"], 2) as canned:
        job = Job(canned.port, "creates-1k", 2, 1, seconds=0.05, clean=False)
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asdict(job))))
        assert generator.main() == 0
    outcome = generator.Outcome(**json.loads(capsys.readouterr().out))
    assert outcome.operations > 0
    assert outcome.seconds >= 0.05
    assert outcome.p50_ms is not None
    assert outcome.p99_ms is not None
    assert outcome.p50_ms <= outcome.p99_ms


def test_a_server_that_hangs_up_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with listener.accept()[0] as connection:
                connection.recv(len(protocol.connect_request()))
                connection.sendall(protocol.connect_reply())
                connection.recv(1)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        load = Generator(listener.getsockname()[1], 1, 1)
        load.begin(LOADS["reads"], [1])
        with pytest.raises((LoadError, ConnectionResetError)):
            load.finish()
        thread.join()
        load.hang_up()


def test_quantiles_are_by_nearest_rank() -> None:
    assert quantile_ms([], 0.5) is None
    assert quantile_ms([0.001], 0.99) == 1.0
    assert quantile_ms([each / 1000 for each in range(100)], 0.99) == 99.0
