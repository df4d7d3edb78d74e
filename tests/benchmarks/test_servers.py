"""Starting, weighing and stopping a server process, with a canned responder as the server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.servers import Apache, Coterie, Server, StartError
from coterie.config import parse

SPEAKS_ONCE = """
import socket, sys
from benchmarks import protocol
port = int([line for line in open(sys.argv[1]) if line.startswith("clientPort=")][0][11:])
with socket.create_server(("127.0.0.1", port)) as listener:
    while True:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(protocol.connect_reply())
        connection.recv(100)
        connection.sendall(protocol.reply(1))
"""


class Script(Server):
    """A server that is a few lines of Python."""

    name = "script"
    title = "The script"
    source = SPEAKS_ONCE

    def command(self, config: Path) -> list[str]:
        return [sys.executable, "-c", self.source, str(config)]


class Broken(Script):
    title = "The broken one"
    source = "raise SystemExit('no, because')"


def test_both_servers_read_the_same_settings(tmp_path: Path) -> None:
    config, _ = parse(servers.zoo_cfg(tmp_path, 2222, 500))
    assert (config.client_port, config.tick_time_ms, config.snap_count) == (2222, 2000, 500)
    assert config.connections_per_ip_max == 0
    assert "snapCount" not in servers.zoo_cfg(tmp_path, 2222, None)


def test_a_server_is_started_weighed_and_stopped(tmp_path: Path) -> None:
    server = Script(tmp_path / "one")
    with server:
        assert server.resident_bytes() > 2**20
        (server.data / "version-2").mkdir()
        (server.data / "version-2" / "log.1").write_bytes(bytes(10))
        assert server.files()["version-2/log.1"] == 10
    server.discard()
    assert not server.directory.exists()


def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="The broken one ended at its start: no, because"):
        Broken(tmp_path / "two").start()


def test_coterie_is_served_from_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_PURE", "1")
    assert Coterie.missing() is None
    assert Coterie.version().endswith("(pure Python)")
    assert Coterie(tmp_path).command(Path("a.cfg"))[1:] == ["-m", "coterie", "serve", "a.cfg"]


def test_the_compiled_build_is_taken_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COTERIE_PURE", raising=False)
    monkeypatch.setattr(Coterie, "compiled", tmp_path / "coterie")
    assert not Coterie.is_compiled()
    (tmp_path / "coterie").touch()
    command = Coterie(tmp_path / "data").command(Path("a.cfg"))
    assert command == [str(tmp_path / "coterie"), "serve", "a.cfg"]
    assert Coterie.version().endswith("(compiled)")


def test_apache_is_found_where_debian_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = tmp_path / "zookeeper.jar"
    environment = tmp_path / "environment"
    environment.write_text(f'# comment\nJAVA={sys.executable}\nCLASSPATH="/etc/x:{jar}"\n')
    monkeypatch.setattr(servers, "_DEBIAN_ENVIRONMENT", environment)
    assert "apt-get install zookeeper" in (Apache.missing() or "")
    jar.touch()
    (tmp_path / "zookeeper-3.8.0.jar").touch()
    assert Apache.missing() is None
    assert Apache.version() == "3.8.0"
    command = Apache(tmp_path / "data").command(Path("a.cfg"))
    assert command[:3] == [sys.executable, "-cp", f"/etc/x:{jar}"]
    assert command[-1] == "a.cfg"
