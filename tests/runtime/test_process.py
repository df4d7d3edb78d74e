"""A server as its operator sees it: starting, stopping, refusing to start."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from coterie.testing.ports import free_port
from tests.runtime.client import Client, word
from tests.runtime.server import Server

_PROJECT = Path(__file__).parent.parent.parent
_DEFAULT_PORT = 2181
_READY_S_MAX = 2.0


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


def test_it_has_room_for_as_many_connections_as_the_system_lets_it_have(tmp_path: Path) -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(allowed, 1_000), most))
    try:
        with Server(tmp_path) as server:
            numbers = word(server.port, b"mntr")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    assert b"zk_max_file_descriptor_count\t%d\n" % most in numbers


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


def test_a_read_only_disk_is_one_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    try:
        said = _refused("--port", str(free_port()), "--data", str(disk / "data"))
        assert "Read-only file system" in said
        assert str(disk) in said
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_an_address_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    # Set aside for documents: no machine has it.
    said = _refused("--host", "192.0.2.1", "--port", "2181", "--data", str(tmp_path / "data"))
    assert "192.0.2.1:2181" in said


def test_damage_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with Client(server.port) as client:
            for number in range(10):
                assert client.create(b"/%d" % number, b"x" * 1000)[2] == 0
        server.stop()
        (log,) = tmp_path.rglob("log.*")
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 1
        log.write_bytes(data)
        assert str(log) in _refused(str(server.file))


def test_a_bad_value_and_an_unknown_key_are_named(tmp_path: Path) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text(f"dataDir={tmp_path / 'data'}\nclientPort=70000\n")
    assert "clientPort" in _refused(str(file))
    file.write_text(f"dataDir={tmp_path / 'data'}\nclientPort=2181\ntickTme=2000\n")
    assert "tickTme" in _refused(str(file))
    assert "missing.cfg" in _refused(str(tmp_path / "missing.cfg"))


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


def _seconds_to_serve(folder: Path) -> float:
    started_s = time.monotonic()
    # Whatever is newer, nothing is to be installed here.
    command = ["make", "run", "--old-file=.venv/ready-run"]
    # A make that runs these tests would have this one say which folder it enters.
    own = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    process = subprocess.Popen(command, cwd=folder, env=own, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Coterie serves at 127.0.0.1:{_DEFAULT_PORT}\n"
        assert word(_DEFAULT_PORT, b"srvr").startswith(b"Zookeeper version:")
        return time.monotonic() - started_s
    finally:
        process.terminate()
        process.wait(timeout=20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
def test_make_run_serves_at_once(tmp_path: Path) -> None:
    """In a folder that shares all but the data with the project's."""
    if not (_PROJECT / ".venv" / "ready-run").exists():
        pytest.skip("make setup has not been run")
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", _DEFAULT_PORT)) == 0:
            pytest.skip("somebody serves at the default port")
    for name in ("Makefile", "pyproject.toml", "requirements", ".venv"):
        (tmp_path / name).symlink_to(_PROJECT / name)
    # A machine that is busy otherwise may be slow once, or twice.
    assert min(_seconds_to_serve(tmp_path) for _ in range(3)) < _READY_S_MAX
    assert (tmp_path / "data" / "version-2").is_dir()


def test_what_systemd_hears(tmp_path: Path) -> None:
    """As a unit of Type=notify with WatchdogSec: sd_notify(3)."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(name)
        ear.settimeout(20)
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "300000"}
        with Server(tmp_path, environment) as server:
            assert ear.recv(4096) == b"STATUS=recovering the data"
            assert ear.recv(4096) == b"READY=1\nSTATUS=serving, standalone"
            for _ in range(3):
                assert ear.recv(4096) == b"WATCHDOG=1\nSTATUS=serving, standalone"
            assert server.stop(signal.SIGTERM) == 0
            while (last := ear.recv(4096)).startswith(b"WATCHDOG=1"):
                pass
            assert last == b"STOPPING=1\nSTATUS=stopping"


def test_a_member_is_ready_before_there_is_a_quorum(tmp_path: Path) -> None:
    """The first of three would be given up by systemd otherwise; it says what it waits for."""
    name = str(tmp_path / "notify")
    others: dict[str, Any] = {
        f"server__{number}": f"127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "myid").write_text("1\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(name)
        ear.settimeout(20)
        server = Server(tmp_path, {"NOTIFY_SOCKET": name}, initLimit=10, syncLimit=5, **others)
        with server:
            assert ear.recv(4096) == b"STATUS=recovering the data"
            said = ear.recv(4096).decode()
    assert said == "READY=1\nSTATUS=there is no quorum: this server is looking"
