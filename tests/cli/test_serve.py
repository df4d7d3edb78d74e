"""`coterie serve`: the files that belong to a zoo.cfg, and what is said of those that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coterie.cli import serve
from coterie.config import Config, ConfigError
from coterie.runtime.process import ServerProcess
from coterie.settings import NO_PORT

LINES = "".join(f"server.{id}=127.0.0.1:{2887 + id}:{3887 + id}\n" for id in (1, 2, 3))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The zoo.cfg of server 2."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "myid").write_text("2\n")
    file = tmp_path / "zoo.cfg"
    file.write_text(
        f"dataDir={tmp_path / 'data'}\nclientPort=2182\nclientPortAddress=127.0.0.1\n"
        f"initLimit=10\nsyncLimit=5\n{LINES}"
    )
    return file


def complaint(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        serve.read(str(file))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_member_is_who_its_myid_says(file: Path) -> None:
    config, said = serve.read(str(file))
    assert said == []
    assert config.server_id == 2
    assert config.seat.quorum == (("127.0.0.1", 2889),)


def test_who_runs_alone_needs_no_myid(file: Path) -> None:
    (file.parent / "data" / "myid").unlink()
    file.write_text(file.read_text().replace(LINES, ""))
    config, said = serve.read(str(file))
    assert (config.ensemble, config.server_id) == (None, 0)
    assert [each.partition(":")[0] for each in said] == ["line 4", "line 5"]


def test_notices_of_the_file_come_before_those_of_the_member(file: Path) -> None:
    file.write_text(file.read_text() + "peerType=observer\nreconfigEnabled=true\n")
    said = serve.read(str(file))[1]
    assert len(said) == 2
    assert "reconfigEnabled is not used" in said[0]
    assert said[1] == "peerType is not what server.2 says: participant it is"


@pytest.mark.parametrize(
    ("myid", "reason"),
    [
        ("4\n", "there is no server.4, only 1, 2, 3"),
        ("", "'' is not a server's number: 0 to 255"),
        ("zoo", "'zoo' is not a server's number"),
    ],
)
def test_a_myid_that_is_none_is_named(file: Path, myid: str, reason: str) -> None:
    path = file.parent / "data" / "myid"
    path.write_text(myid)
    assert complaint(file).startswith(f"{path}: {reason}")


def test_a_myid_that_is_missing_or_cannot_be_read(file: Path) -> None:
    path = file.parent / "data" / "myid"
    path.unlink()
    assert complaint(file) == (f"{path} is missing: it says which server this is, one of 1, 2, 3")
    path.write_bytes(b"\xff")
    assert complaint(file) == f"cannot read {path}: it is not UTF-8 text"


def test_two_client_ports_that_differ_are_the_files_fault(file: Path) -> None:
    file.write_text(file.read_text().replace("2889:3889", "2889:3889;2181"))
    assert complaint(file).startswith(f"{file}: server.2: clients are to connect to 0.0.0.0:2181")


def test_server_lines_in_another_file(file: Path) -> None:
    other = file.parent / "zoo.cfg.dynamic.200000000"
    text = file.read_text().replace(LINES, f"dynamicConfigFile={other}\n")
    file.write_text(text)
    assert complaint(file) == f"{file}: cannot read {other}: No such file or directory"
    other.write_text(LINES)
    config, _ = serve.read(str(file))
    assert config.ensemble is not None
    assert config.ensemble.version == 0x2_0000_0000
    other.write_text(LINES + "server.4=x")
    assert complaint(file).startswith(f"{file}: {other}: server.4: 'x' is not host:port:port")


@pytest.mark.parametrize("text", [b"dataDir=/\xff", None])
def test_a_file_that_cannot_be_read(file: Path, text: bytes | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text)
    assert complaint(file).startswith(f"cannot read {file}: ")


def test_address_and_port_of_the_command_come_last(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Config] = []
    monkeypatch.setattr(serve, "run", lambda config, ready, pages: seen.append(config))
    assert serve.serve(str(file), "./data", None, None) == 0
    assert serve.serve(str(file), "./data", "::1", 2999) == 0
    assert [(config.client_port_address, config.client_port) for config in seen] == [
        ("127.0.0.1", 2182),
        ("::1", 2999),
    ]
    assert [config.server_id for config in seen] == [2, 2]


def test_what_the_operator_has_to_change_is_one_line_and_status_2(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "data" / "myid").write_text("9")
    assert serve.serve(str(file), "./data", None, None) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith(f"coterie serve: {file.parent}")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, []),
        ({"secure_port": 2281}, ["TLS        at 0.0.0.0:2281", "zkCli.sh -server 127.0.0.1:2181"]),
        (
            {"secure_port": 2281, "secure_port_address": "10.0.0.1", "client_port_unified": True},
            ["TLS        at 10.0.0.1:2281 and 127.0.0.1:2181, as in the clear"],
        ),
        (
            {"secure_port": 2281, "client_port": NO_PORT},
            ["TLS        at 0.0.0.0:2281", "coterie ls / --hosts tls://127.0.0.1:2281"],
        ),
    ],
)
def test_who_may_use_tls_is_told_where(
    given: dict[str, Any], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(Config(data_dir="/data", client_port_address="127.0.0.1"), **given)
    port = config.secure_port if config.client_port == NO_PORT else config.client_port
    server = SimpleNamespace(config=config, port=port, secure_port=config.secure_port, doors=[])
    serve._announce(cast(ServerProcess, server), config)
    said = capsys.readouterr().out
    assert all(part in said for part in shown)
    assert ("TLS" in said) == bool(shown)


def test_a_port_for_metrics_alone_is_not_told_as_that_of_the_pages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = Config(data_dir="/data", client_port_address="127.0.0.1")
    doors = [SimpleNamespace(port=7000, metrics_only=True)]
    server = SimpleNamespace(config=config, port=2181, secure_port=None, doors=doors)
    serve._announce(cast(ServerProcess, server), config)
    assert "pages" not in capsys.readouterr().out
    doors.insert(0, SimpleNamespace(port=8080, metrics_only=False))
    serve._announce(cast(ServerProcess, server), config)
    assert "http://127.0.0.1:8080/" in capsys.readouterr().out
