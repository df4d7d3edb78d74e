"""A server as its operator sees it: starting, stopping, refusing to start, a disk that is full."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.errors import ServerFailureError
from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.runtime.client import Client, word
from tests.runtime.server import Server, free_port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_and_finds_everything_again(tmp_path: Path, number: int) -> None:
    with Server(tmp_path) as server:
        with Client(server.port) as client:
            assert client.create(b"/kept", b"here")[2] == 0
        assert server.stop(number) == 0
        server.start()
        with Client(server.port) as client:
            assert client.get(b"/kept") == b"here"


def test_a_session_outlives_the_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Client(server.port) as client:
        assert client.create(b"/mine", b"", flags=1)[2] == 0
        server.kill()
        server.start()
        again = Client(server.port, session_id=client.session_id, password=client.password)
        with again:
            assert again.session_id == client.session_id
            assert again.get(b"/mine") == b""


def _refused(*arguments: str) -> str:
    """What a server says that will not start; it must be one line and status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "coterie", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in _refused("--port", port, "--data", str(tmp_path / "data"))


def test_a_locked_data_directory_is_one_line(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        data = str(server.directory / "data")
        assert data in _refused("--port", str(free_port()), "--data", data)


def test_an_unwritable_data_directory_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    data = str(blocked / "data")
    assert str(blocked) in _refused("--port", str(free_port()), "--data", data)


def test_a_bad_value_and_an_unknown_key_are_named(tmp_path: Path) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text(f"dataDir={tmp_path / 'data'}\nclientPort=70000\n")
    assert "clientPort" in _refused(str(file))
    file.write_text(f"dataDir={tmp_path / 'data'}\nclientPort=2181\ntickTme=2000\n")
    assert "tickTme" in _refused(str(file))
    assert "missing.cfg" in _refused(str(tmp_path / "missing.cfg"))


def test_a_full_disk_stops_writes_not_reads_and_not_for_ever(tmp_path: Path) -> None:
    with Server(tmp_path, preAllocSize=0) as server:
        assert server.process is not None
        pid = server.process.pid
        with Client(server.port) as client, Client(server.port) as other:
            assert client.create(b"/before", b"x" * 1000)[2] == 0
            size = max(path.stat().st_size for path in tmp_path.rglob("log.*"))
            unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 100, unlimited[1]))
            body = requests.CreateRequest(b"/during", b"y" * 1000, OPEN_ACL, 0)
            stuck = client.send(Op.CREATE, body)
            _until(lambda: b"no write is acknowledged" in server.log.read_bytes())
            assert other.get(b"/before") == b"x" * 1000
            assert other.create(b"/refused")[2] == ServerFailureError.code
            assert word(server.port, b"ruok") == b"imok"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            xid, _, error, _ = client.receive()
            assert (xid, error) == (stuck, 0)
            assert other.create(b"/after")[2] == 0
        server.kill()
        server.start()
        with Client(server.port) as client:
            assert client.get(b"/during") == b"y" * 1000
            assert client.get(b"/refused") is None
            assert client.get(b"/after") == b""


def _until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_port_zero_is_any_port_and_is_told(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "coterie", "serve", "--port", "0", "--data", str(tmp_path / "d")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        port = int(first.rsplit(":", 1)[1])
        assert word(port, b"ruok") == b"imok"
    finally:
        process.terminate()
        process.wait(timeout=20)
        assert process.stdout is not None
        process.stdout.close()
