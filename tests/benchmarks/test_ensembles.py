"""Three scripted servers as an ensemble: what they are told, who leads, and that all end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import ensembles
from benchmarks.ensembles import Ensemble
from benchmarks.servers import Server, StartError
from coterie.config import parse

# Answers `srvr`, and any first packet by a session; the highest number leads.
SPEAKS = """
import socket, sys
from pathlib import Path
from benchmarks import protocol
keys = dict(line.split("=", 1) for line in Path(sys.argv[1]).read_text().splitlines())
leads = (Path(keys["dataDir"]) / "myid").read_text() == "3\\n"
with socket.create_server(("127.0.0.1", int(keys["clientPort"]))) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            if connection.recv(100) == b"srvr":
                connection.sendall(b"Mode: leader\\n" if leads else b"Mode: follower\\n")
                continue
            connection.sendall(protocol.connect_reply())
            connection.recv(100)
            connection.sendall(protocol.reply(1))
"""


class Script(Server):
    """A member that is a few lines of Python."""

    name = "script"
    title = "The script"

    def command(self, config: Path) -> list[str]:
        return [sys.executable, "-c", SPEAKS, str(config)]


def test_members_are_told_of_each_other(tmp_path: Path) -> None:
    ensemble = Ensemble(Script, tmp_path)
    shared = set()
    for number, member in enumerate(ensemble.members, 1):
        assert (member.data / "myid").read_text() == f"{number}\n"
        text = (member.directory / "zoo.cfg").read_text()
        parse(text)
        shared.add(tuple(line for line in text.splitlines() if line.startswith("server.")))
    (lines,) = shared
    assert [line.split("=")[0] for line in lines] == ["server.1", "server.2", "server.3"]
    ports = [int(port) for line in lines for port in line.split(":")[1:]]
    assert len({*ports, *ensemble.ports}) == 9


def test_the_leader_is_found_and_found_out_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ensemble(Script, tmp_path) as ensemble:
        leader = ensemble.leader()
        assert leader is ensemble.members[2]
        leader.kill()
        monkeypatch.setattr(ensembles, "START_S_MAX", 0.0)
        with pytest.raises(StartError, match="no member of The script leads"):
            ensemble.leader()
    ensemble.discard()
    assert not any(tmp_path.iterdir())
