"""The command: what may be asked, and what is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.measure import Bench
from benchmarks.results import Result
from benchmarks.servers import Apache
from tests.benchmarks.test_report import MACHINE


def test_an_unknown_measurement_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "reads,swims"])
    assert "swims is none of reads, writes, mix, creates, start" in capsys.readouterr().err


def test_three_members_are_measured_when_asked_for() -> None:
    alone = command._options([]).only
    assert not set(alone) & set(command.ENSEMBLES)
    assert command._options(["--all"]).only == [*alone, *command.ENSEMBLES]
    assert command._options(["--only", "failover"]).only == ["failover"]


def test_rounds_are_one_or_more(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--rounds", "0"])
    assert "--rounds" in capsys.readouterr().err


def test_without_apache_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Apache, "missing", lambda: "it is not here")
    assert command.main(["--server", "apache"]) == 2
    assert capsys.readouterr().err == "benchmarks: Apache is skipped: it is not here\n"
    assert command.main(["--publish"]) == 2
    assert "--publish needs both servers" in capsys.readouterr().err


def test_a_run_is_printed_recorded_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reads = Result("reads", "getData", "1x1", "/s", True)
    reads.add("coterie", 30.0)
    reads.add("apache", 10.0)
    monkeypatch.setattr(command, "describe_machine", lambda _: MACHINE)
    monkeypatch.setattr(Bench, "throughput", lambda *_: [reads])
    monkeypatch.setattr(Apache, "missing", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(command, "PROJECT", tmp_path)
    for name in ("HISTORY", "PAGE", "PICTURE"):
        monkeypatch.setattr(command, name, tmp_path / name)
    directory = tmp_path / "data"
    directory.mkdir()
    arguments = ["--only", "reads", "--directory", str(directory), "--record", "--publish"]
    assert command.main(arguments) == 0
    assert command.main([*arguments, "--json", str(tmp_path / "run.json")]) == 0
    assert "3.00" in capsys.readouterr().out
    history = (tmp_path / "HISTORY").read_text().splitlines()
    assert history[1] == (tmp_path / "run.json").read_text().strip()
    assert "](PICTURE)" in (tmp_path / "PAGE").read_text()
    assert (tmp_path / "PICTURE").read_text().startswith("<svg")
    assert not list(directory.iterdir())
