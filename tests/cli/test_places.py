"""What a command is about is found by whichever name it is given."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from coterie.cli import places
from coterie.cli.places import Progress, ToolError
from tests.cli.kept import Kept, complaint


def test_a_directory_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path / "data")
    for where in (kept.top, kept.files, f"{kept.top}/"):
        assert places.find(str(where)).place.snapshots == str(kept.files)
    monkeypatch.chdir(kept.files)
    assert places.find(".").place.snapshots == "./version-2"


def test_a_member_is_told_by_its_files(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data")
    assert places.find(str(kept.top)).config.ensemble is None
    (kept.files / "currentEpoch").write_text("1")
    assert places.find(str(kept.top)).config.ensemble is not None


def test_a_zoo_cfg(tmp_path: Path) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text(f"dataDir={tmp_path}/d\ndataLogDir={tmp_path}/l\nclientPort=1\n")
    target = places.find(str(file))
    assert target.place == (f"{tmp_path}/d", f"{tmp_path}/l")
    assert target.knows_members
    with pytest.raises(ToolError, match="says where the logs are"):
        places.find(str(file), "logs")
    file.write_text("nonsense")
    with pytest.raises(ToolError, match="neither a data directory nor"):
        places.find(str(file))


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-02", 86_400_000),
        ("soon", None),
    ],
)
def test_times(text: str, time_ms: int | None) -> None:
    assert places.as_time(text) == time_ms


def test_progress_is_shown_now_and_then_and_goes() -> None:
    now_ms = 0.0
    stream = io.StringIO()
    progress = Progress(stream, lambda: now_ms)
    progress.tell("log.1", 1, 4)
    assert stream.getvalue() == ""
    now_ms = 300
    progress.tell("log.1", 2**20, 2**22)
    progress.tell("log.1", 2**21, 2**22)
    assert stream.getvalue() == "\rlog.1: 25% of 4.0 MiB"
    progress.end()
    assert stream.getvalue().endswith("\r" + " " * 21 + "\r")


def test_what_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    assert "does not exist" in complaint("doctor", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "there are no logs" in complaint("log", "show", tmp_path / "empty", status=1)
    assert "there is no snapshot" in complaint("snapshot", "show", tmp_path / "empty", status=1)
    assert "has no snapshot" in complaint("at", "last", tmp_path / "empty", status=1)
