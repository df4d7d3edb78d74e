"""Servers within a process: what they leave alone there, and what can be done to them."""

from __future__ import annotations

import gc
import logging
import socket
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from coterie.config import embedded_default
from coterie.runtime.process import StartError
from coterie.testing.cluster import until
from coterie.testing.embedded import Life
from coterie.testing.ports import free_port
from tests.runtime.client import Client, word


def _life(folder: Path, lines: deque[str] | None = None, port: int = 0) -> Life:
    free = free_port()
    config = embedded_default(str(folder / "data"), port=port or free)
    return Life(config, "server", deque() if lines is None else lines)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = _life(tmp_path)
    made.begin()
    made.await_ready()
    yield made
    made.end()


def _port(life: Life) -> int:
    return life.process.port


def test_the_collector_is_left_alone(tmp_path: Path) -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    life = _life(tmp_path)
    life.begin()
    life.await_ready()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
    life.end()


def test_no_thread_and_no_port_is_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for kill in (False, True):
        life = _life(tmp_path)
        life.begin()
        life.await_ready()
        with Client(_port(life)):
            life.end(kill=kill)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", _port(life)), timeout=5).close()
    assert set(threading.enumerate()) == before


def test_what_keeps_it_from_starting_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        life = _life(tmp_path, port=taken.getsockname()[1])
        life.begin()
        with pytest.raises(StartError, match=str(taken.getsockname()[1])):
            life.await_ready()


def test_a_paused_server_answers_when_it_goes_on(life: Life) -> None:
    with Client(_port(life)) as client:
        life.pause()
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.get(b"/zookeeper")
        with pytest.raises(RuntimeError, match="paused"):
            life.call(lambda process: process.mode)
        life.resume()
        client.sock.settimeout(10)
        assert client.receive()[2] == 0


def test_a_paused_server_that_is_killed_answers_no_more(tmp_path: Path) -> None:
    life = _life(tmp_path)
    life.begin()
    life.await_ready()
    with Client(_port(life)) as client:
        life.pause()
        client.send(11)
        life.end(kill=True)
        with pytest.raises(ConnectionError):
            client.receive()


def test_clients_are_refused_and_let_in_again(life: Life) -> None:
    life.process.refuses = True
    with pytest.raises(ConnectionError):
        Client(_port(life))
    life.process.refuses = False
    assert word(_port(life), b"ruok") == b"imok"


def test_one_session_is_disconnected_and_comes_back(life: Life) -> None:
    with Client(_port(life)) as one, Client(_port(life)) as other:
        assert life.call(lambda process: process.disconnect(one.session_id))
        assert other.get(b"/zookeeper") == b""
        with pytest.raises(ConnectionError):
            one.get(b"/zookeeper")
        again = Client(_port(life), session_id=one.session_id, password=one.password)
        with again:
            assert again.session_id == one.session_id
    assert not life.call(lambda process: process.disconnect(-1))


def test_a_session_expires_at_once_though_its_client_speaks(life: Life) -> None:
    with Client(_port(life), timeout_ms=40_000) as client:
        assert client.create(b"/mine", flags=1)[2] == 0
        life.call(lambda process: process.expire(client.session_id))
        until(lambda: client.session_id not in life.call(lambda p: p.sessions))
        with Client(_port(life)) as other:
            assert other.get(b"/mine") is None
        again = Client(_port(life), session_id=client.session_id, password=client.password)
        with again:
            assert again.session_id == 0


def test_each_has_its_own_lines(tmp_path: Path) -> None:
    kept: list[deque[str]] = [deque(), deque()]
    lives = [_life(tmp_path / str(n), lines) for n, lines in enumerate(kept)]
    for life in lives:
        life.begin()
        life.await_ready()
    with socket.create_connection(("127.0.0.1", _port(lives[0])), timeout=5) as sock:
        sock.sendall(b"\xff" * 16)
        assert sock.recv(1) == b""
    until(lambda: len(kept[0]) == 1)
    assert "no packet" in kept[0][0]
    assert not kept[1]
    for life in lives:
        life.end()


def test_others_hear_of_the_log_what_they_had_heard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("coterie.server")
    level, filters = log.level, list(log.filters)
    life = _life(tmp_path)
    life.begin()
    life.await_ready()
    log.info("not asked for")
    log.warning("always told")
    with caplog.at_level(logging.INFO):
        log.info("asked for")
    life.end()
    assert caplog.messages == ["always told", "asked for"]
    assert (log.level, log.filters) == (level, filters)
