"""`coterie init` lays out what a server needs; `coterie purge` leaves what it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.testing.cluster import Server
from tests.cli.kept import Kept, complaint, objects, says


def test_a_directory_is_laid_out(tmp_path: Path) -> None:
    top = tmp_path / "new"
    says("init", top, "--myid", "3")
    assert (top / "myid").read_text() == "3\n"
    assert (top / "version-2").is_dir()
    assert "has what a server needs" in says("init", top, "--myid", "3")
    assert "says '3': this is the directory of another" in complaint("init", top, "--myid", "4")
    assert (top / "myid").read_text() == "3\n"


def test_logs_may_be_apart(tmp_path: Path) -> None:
    says("init", tmp_path / "data", "--log-data", str(tmp_path / "logs"))
    assert (tmp_path / "logs" / "version-2").is_dir()
    with Server(tmp_path / "data") as server:
        assert server.hosts


def test_a_zoo_cfg_says_where_and_which_servers_there_are(tmp_path: Path) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text(
        f"dataDir={tmp_path}/d\ndataLogDir={tmp_path}/l\nclientPort=2181\n"
        "initLimit=10\nsyncLimit=5\n"
        "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889\n"
        "server.3=127.0.0.1:2890:3890\n"
    )
    assert "by --myid" in complaint("init", file)
    assert "there is no server.9" in complaint("init", file, "--myid", "9")
    says("init", file, "--myid", "2")
    assert (tmp_path / "d" / "myid").read_text() == "2\n"
    assert (tmp_path / "l" / "version-2").is_dir()
    says("doctor", file)


def test_purging_keeps_what_a_server_starts_from(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data")
    assert "nothing to purge: 3 snapshots" in says("purge", kept.top)
    found = objects("purge", "-n", "2", "--dry-run", kept.top)
    assert [Path(one["path"]).name for one in found] == ["snapshot.0", "log.1"]
    assert len(kept.names()) == 6
    says("purge", "-n", "2", kept.top)
    assert kept.names() == ["log.15", "log.b", "snapshot.14", "snapshot.a"]
    says("doctor", kept.top)
    assert says("at", "0xf", kept.top)


@pytest.mark.parametrize("name", ["snapshot.14", "snapshot.a"])
def test_nothing_is_purged_on_the_word_of_a_damaged_snapshot(tmp_path: Path, name: str) -> None:
    kept = Kept(tmp_path / "data")
    kept.flip(name, 60)
    keep = "1" if name == "snapshot.14" else "2"
    said = complaint("purge", "-n", keep, kept.top, status=1)
    assert f"{name} is damaged" in said
    assert len(kept.names()) == 6
