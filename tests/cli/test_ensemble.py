"""`coterie ensemble`: the layout, what status makes of answers, and whom stop may signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kazoo.client import KazooClient

from coterie.cli import ensemble
from coterie.cli.ensemble import Answer, CommandError, Server, read_answer
from coterie.cli.main import cli
from coterie.config import parse, with_server_id
from coterie.ensemble import Role
from coterie.testing.ports import free_port

# A server that says what it is and does nothing else; server 1 leads.
SERVER = """
import socket, sys
from coterie.config import parse
config, _ = parse(open(sys.argv[2]).read())
number = int(open(config.data_dir + "/myid").read())
with socket.create_server(("127.0.0.1", config.client_port)) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4)
            mode = "leader" if number == 1 else "follower"
            connection.sendall(f"Zxid: 0x10000000{number}\\nMode: {mode}\\n".encode())
"""
SLEEPER = "import time; print('awake', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER


def coterie(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["ensemble", *arguments], prog_name="coterie")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory whose servers are killed at the end, whatever they are."""
    directory = tmp_path / "zoo"
    yield directory
    for server in directory.glob("server-*"):
        pid = Server(0, server.resolve(), 0).pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def lay_out(place: Path, servers: int = 3, observers: int = 0) -> list[Server]:
    """An ensemble on ports that nobody has at the moment."""
    count = servers + observers
    for _ in range(50):
        with suppress(CommandError):
            port = ensemble.free_ports(count, min(free_port(), 59_000))
            ensemble.lay_out(place, servers, observers, port)
            return ensemble.find(place)[0]
    raise AssertionError("no free ports")


def serve_with(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have this run in the place of every server."""
    monkeypatch.setattr(
        ensemble, "command", lambda file: [sys.executable, "-c", code, "serve", file]
    )


# The directory


def test_every_server_finds_its_place_in_what_is_laid_out(place: Path) -> None:
    ensemble.lay_out(place, 3, 1, 2181)
    for number in (1, 2, 3, 4):
        directory = place / f"server-{number}"
        text = (directory / "zoo.cfg").read_text()
        config, said = parse(text)
        config, more = with_server_id(config, (directory / "data" / "myid").read_text())
        assert said + more == []
        assert config.server_id == number
        assert config.data_dir == str(directory / "data")
        assert config.data_log_dir == str(directory / "log")
        assert (config.client_port_address, config.client_port) == ("127.0.0.1", 2180 + number)
        assert config.seat.quorum == (("127.0.0.1", 2887 + number),)
        assert config.seat.election == (("127.0.0.1", 3887 + number),)
        assert config.admin_port_given == 8080 + number
        assert config.seat.role is (Role.OBSERVER if number == 4 else Role.PARTICIPANT)
        assert config.four_letter_words >= {"*"}


def test_one_server_is_an_ensemble_as_well(place: Path) -> None:
    ensemble.lay_out(place, 1, 1, 2181)
    _, found = ensemble.find(place)
    assert (found.voters, found.observers) == (frozenset({1}), frozenset({2}))


def test_a_path_with_a_backslash(tmp_path: Path) -> None:
    place = tmp_path / "a\\b=c: d"
    ensemble.lay_out(place, 1, 0, 2181)
    config, _ = parse((place / "server-1" / "zoo.cfg").read_text())
    assert config.data_dir == str(place / "server-1" / "data")


def test_what_is_laid_out_is_found(place: Path) -> None:
    ensemble.lay_out(place, 11, 0, 2181)
    servers, found = ensemble.find(place)
    assert [(server.id, server.port) for server in servers] == [
        (number, 2180 + number) for number in range(1, 12)
    ]
    assert found.voters == frozenset(range(1, 12))


def test_what_is_no_ensemble(place: Path) -> None:
    with pytest.raises(CommandError, match="there is no server-1"):
        ensemble.find(place)
    ensemble.lay_out(place, 3, 0, 2181)
    (place / "server-2" / "data" / "myid").unlink()
    with pytest.raises(CommandError, match=r"server-2: .*myid"):
        ensemble.find(place)
    (place / "server-2" / "data" / "myid").write_text("1")
    with pytest.raises(CommandError, match="is not whole"):
        ensemble.find(place)


def test_ports_that_are_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} is in use"):
            ensemble.free_ports(3, port)
        if port > 59_000:
            return
        with pytest.raises(CommandError, match=f"port {port} is in use"):
            ensemble.free_ports(3, port - 707)
    assert ensemble.free_ports(1, port) == port


def test_the_next_ports_are_tried_only_if_none_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ensemble, "_is_free", lambda port: port not in (2183, 2899))
    assert ensemble.free_ports(3, None) == 2201
    assert ensemble.free_ports(2, None) == 2181
    monkeypatch.setattr(ensemble, "_is_free", lambda port: False)
    with pytest.raises(CommandError, match="no 3 consecutive free ports"):
        ensemble.free_ports(3, None)


# Answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (None, Answer("no answer", "")),
        ("", Answer("not serving", "")),
        ("This ZooKeeper instance is not currently serving requests\n", Answer("not serving", "")),
        ("Sent: 1\nZxid: 0x10000000a\nMode: observer\n", Answer("observer", "0x10000000a")),
    ],
)
def test_what_srvr_says(text: str | None, answer: Answer) -> None:
    assert read_answer(text) == answer


def test_nobody_answers() -> None:
    assert ensemble.ask(free_port()) is None


@pytest.mark.parametrize(
    ("modes", "quorum"),
    [
        ("leader follower follower observer", True),
        ("leader follower down down", True),
        ("leader down down observer", False),
        ("follower follower down observer", False),
        ("no_answer follower leader down", True),
    ],
)
def test_status_knows_what_a_quorum_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, modes: str, quorum: bool
) -> None:
    servers = lay_out(place, 3, 1)
    known = dict(zip([server.port for server in servers], modes.split(), strict=True))

    def ask(port: int) -> str | None:
        return None if known[port] == "no_answer" else f"Mode: {known[port]}\nZxid: 0x5\n"

    monkeypatch.setattr(ensemble, "ask", ask)
    monkeypatch.setattr(
        Server, "pid", lambda self: None if known[self.port] == "down" else 4000 + self.id
    )
    shown = coterie("status", str(place), "--json")
    assert shown.exit_code == (0 if quorum else 1)
    told = json.loads(shown.output)
    assert told["quorum"] is quorum
    assert told["connect"].split(",")[3] == f"127.0.0.1:{servers[3].port}"
    assert [row["mode"].replace(" ", "_") for row in told["servers"]] == modes.split()
    assert told["servers"][3]["role"] == "observer"
    table = coterie("status", str(place))
    assert table.exit_code == shown.exit_code
    lines = table.output.splitlines()
    assert lines[0].split() == ["server", "mode", "pid", "zxid", "client"]
    assert lines[5] == f"quorum     {'yes' if quorum else 'no'}"


def test_status_of_what_is_not_running(place: Path) -> None:
    servers = lay_out(place)
    shown = coterie("status", str(place))
    assert shown.exit_code == 1
    assert shown.output.splitlines()[1].split() == [
        *("1", "down", "-", "-"),
        f"127.0.0.1:{servers[0].port}",
    ]


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_directory_without_an_ensemble(place: Path, command: str) -> None:
    done = coterie(command, str(place))
    assert done.exit_code == 2
    assert "there is no server-1" in done.output


# Starting


def test_what_was_started_is_shown_goes_on_and_is_stopped(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = lay_out(place)
    serve_with(monkeypatch, SERVER)
    done = coterie("start", str(place))
    assert done.exit_code == 0, done.output
    pids = [server.pid() for server in servers]
    assert f"server 1   leader, at 127.0.0.1:{servers[0].port}, process {pids[0]}" in done.output
    assert f"connect    {ensemble.connect_string(servers)}" in done.output
    assert [os.getsid(pid) for pid in pids if pid is not None] == pids
    assert pids[1] is not None
    os.kill(pids[1], signal.SIGKILL)
    os.waitpid(pids[1], 0)
    assert [
        row["mode"]
        for row in json.loads(coterie("status", str(place), "--json").output)["servers"]
    ] == ["leader", "down", "follower"]
    assert coterie("start", str(place)).exit_code == 0
    again = [server.pid() for server in servers]
    assert (again[0], again[2]) == (pids[0], pids[2])
    assert again[1] not in (None, pids[1])
    stopped = coterie("stop", str(place))
    assert stopped.output == "server 1   stopped\nserver 2   stopped\nserver 3   stopped\n"
    assert [server.pid_file.exists() for server in servers] == [False] * 3


def test_a_server_that_ends_at_once_says_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = lay_out(place)
    servers[0].log.write_text("of an earlier life\n")
    dies = "import sys; number = sys.argv[2].split('server-')[1][0]\n"
    serve_with(monkeypatch, f"{dies}if number == '2': sys.exit('no room')\n{SERVER}")
    done = coterie("start", str(place))
    assert done.exit_code == 1
    assert "server 2 ended with status 1; it said:\n  no room\n" in done.output
    assert "earlier life" not in done.output
    assert [server.pid() for server in servers] == [None] * 3


def test_servers_that_never_serve(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = lay_out(place, 1)
    serve_with(monkeypatch, SLEEPER)
    done = coterie("start", str(place), "--timeout", "0.1")
    assert done.exit_code == 1
    assert "it takes too long: server 1 is no answer" in done.output
    assert servers[0].pid() is None


@pytest.mark.parametrize("arguments", [["--servers", "5"], ["--observers", "1"], ["--port", "2"]])
def test_an_ensemble_that_is_there_is_not_changed(place: Path, arguments: list[str]) -> None:
    lay_out(place)
    done = coterie("start", str(place), *arguments)
    assert done.exit_code == 2
    assert "there is an ensemble already, of 3 servers and 0 observers" in done.output


def test_a_named_port_that_is_taken(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = min(taken.getsockname()[1], 63_000)
        if port != taken.getsockname()[1]:
            pytest.skip("the port is too high")
        done = coterie("start", str(place), "--port", str(port))
    assert done.exit_code == 2
    assert f"port {port} is in use" in done.output
    assert not place.exists()


# Stopping


def run(server: Server, code: str, file: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code, "serve", file], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"awake\n"
    process.stdout.close()
    server.pid_file.write_text(f"{process.pid}\n")
    return process


@pytest.mark.parametrize("written", ["", "x", "0", "-1", "1", "99999999", str(os.getpid())])
def test_a_number_that_is_not_of_our_server_is_left_alone(place: Path, written: str) -> None:
    server = lay_out(place, 1)[0]
    server.pid_file.write_text(written)
    assert server.pid() is None
    assert coterie("stop", str(place)).output == "server 1   was not running\n"
    assert not server.pid_file.exists()


def test_a_server_of_another_directory_is_left_alone(place: Path) -> None:
    server = lay_out(place, 1)[0]
    process = run(server, SLEEPER, str(place / "other" / "zoo.cfg"))
    try:
        assert coterie("stop", str(place)).output == "server 1   was not running\n"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_who_does_not_listen_is_killed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = lay_out(place, 1)[0]
    process = run(server, DEAF, str(server.file))
    assert server.pid() == process.pid
    assert ensemble.stop(str(place), stop_s_max=0.2) == 0
    assert capsys.readouterr().out == "server 1   killed: it had not ended after 0.2 s\n"
    assert process.wait() == -signal.SIGKILL


# All of it


@pytest.mark.slow
def test_an_ensemble_outlives_its_leader(place: Path) -> None:
    servers = lay_out(place, 3, 1)
    done = coterie("start", str(place))
    assert done.exit_code == 0, done.output
    client = KazooClient(ensemble.connect_string(servers), timeout=10)
    try:
        client.start(timeout=20)
        client.create("/before", b"1")
        told = json.loads(coterie("status", str(place), "--json").output)
        modes = {row["id"]: row["mode"] for row in told["servers"]}
        assert sorted(modes.values()) == ["follower", "follower", "leader", "observer"]
        leader = next(row for row in told["servers"] if row["mode"] == "leader")
        os.kill(leader["pid"], signal.SIGKILL)
        os.waitpid(leader["pid"], 0)
        client.retry(client.create, "/between", b"2")
        assert coterie("start", str(place)).exit_code == 0
        assert coterie("status", str(place)).exit_code == 0
        client.retry(client.sync, "/")
        assert client.retry(client.get, "/before")[0] == b"1"
        assert client.retry(client.get, "/between")[0] == b"2"
    finally:
        client.stop()
        client.close()
    assert coterie("stop", str(place)).exit_code == 0
    assert coterie("start", str(place)).exit_code == 0
    client = KazooClient(f"127.0.0.1:{servers[0].port}", timeout=10)
    try:
        client.start(timeout=20)
        assert client.get("/between")[0] == b"2"
    finally:
        client.stop()
        client.close()
    assert coterie("stop", str(place)).exit_code == 0
