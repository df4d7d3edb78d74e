"""`coterie snapshot` and `coterie at`: states are shown, compared, taken and restored exactly."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import coterie
from coterie.config import Config
from coterie.storage import snapshot
from coterie.storage.store import Store
from coterie.system.files import OSFiles
from coterie.testing.cluster import Server
from tests.cli.conftest import ended, line
from tests.cli.kept import Kept, complaint, objects, says
from tests.golden.packets import HERE
from tests.storage.author import Author, contents


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "data")


def test_apaches_snapshot() -> None:
    for name in ("snapshot.93", "snapshot.93.gz"):
        (found,) = objects("snapshot", "show", HERE / name)
        assert (found["zxid"], found["znodes"], found["ephemerals"]) == ("0x93", 11, 1)
        assert (found["containers"], found["ttls"], found["sessions"]) == (1, 1, 2)
    assert "is compressed with snappy" in complaint(
        "snapshot", "show", HERE / "snapshot.93.snappy", status=1
    )
    _, *znodes = objects("snapshot", "show", HERE / "snapshot.93", "--znodes", "--path", "/a")
    assert [one["path"] for one in znodes] == ["/a", "/a/null", "/a/s-0000000002", "/a/ümlaut"]
    assert "data" not in znodes[1]
    assert [one["mode"] for one in znodes][2] == "ephemeral"
    said = says("snapshot", "show", HERE / "snapshot.93", "--data", "--path", "/m")
    assert "data            127" in said
    assert "there is no znode /x" in complaint(
        "snapshot", "show", HERE / "snapshot.93", "--path", "/x", status=1
    )


def test_usage_adds_up() -> None:
    _, *rows = objects("snapshot", "show", HERE / "snapshot.93", "--usage", "1")
    found = {row["path"]: (row["znodes"], row["bytes"]) for row in rows}
    assert found["/"] == (11, 11)
    assert found["/a"] == (4, 8)
    assert sum(count for path, (count, _) in found.items() if path != "/") == 10


def test_verify(kept: Kept) -> None:
    assert [one["state"] for one in objects("snapshot", "verify", kept.top)] == ["whole"] * 3
    kept.flip("snapshot.a", 80)
    found = objects("snapshot", "verify", kept.top, status=1)
    assert [one["state"] for one in found] == ["whole", "damaged", "whole"]
    assert "snapshot.a is damaged" in says("snapshot", "verify", kept.top, status=1)


def test_the_tree_as_it_was(kept: Kept) -> None:
    assert "n = " in says("at", "0x5", kept.top, "--data")
    assert says("at", "0", kept.top) == "/\n└─ zookeeper\n   ├─ config\n   └─ quota\n"
    assert "(3 below)" not in says("at", "last", kept.top, "--depth", "0")
    (found,) = objects("at", "0x9", kept.top, "--path", "/n", "--get")
    (later,) = objects("at", "last", kept.top, "--path", "/n", "--get")
    assert (found["stat"]["mzxid"], later["stat"]["mzxid"]) == ("0x9", "0x1e")
    assert says("at", "0x9", kept.top, "--path", "/n", "--raw") == found["data"]
    time = later["stat"]["mtime"]
    assert objects("at", time, kept.top, "--path", "/n")[0]["stat"]["mzxid"] == "0x1e"
    assert "does not hold txn 0x1f; what can be told is 0x0 to 0x1e" in complaint(
        "at", "0x1f", kept.top, status=1
    )
    assert "is no zxid" in complaint("at", "yesterday", kept.top)


def test_differences(kept: Kept) -> None:
    assert says("snapshot", "diff", kept.top, f"{kept.top}@0x1e") == ""
    said = says("snapshot", "diff", f"{kept.top}@1", f"{kept.top}@2", status=1)
    assert said.startswith("+ /n = ")
    assert len(said.splitlines()) == 1
    (found,) = objects("snapshot", "diff", kept.files / "snapshot.a", kept.top, status=1)
    assert (found["path"], found["change"]) == ("/n", "changed")
    assert found["parts"] == ["data", "mzxid", "version"]
    (gone,) = objects("snapshot", "diff", kept.top, f"{kept.top}@1", "--path", "/n", status=1)
    assert gone == {"path": "/n", "change": "removed"}
    assert says("snapshot", "diff", kept.top, f"{kept.top}@1", "--path", "/zookeeper") == ""


def test_a_state_is_taken_while_the_server_runs_and_served(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        with coterie.connect_blocking(server.hosts) as zk:
            zk.create("/a", b"one")
            first = zk.set("/a", b"two")
            zk.set("/a", b"three")
        assert "in use" in complaint("snapshot", "take", tmp_path / "data")
        says("snapshot", "take", tmp_path / "data", "--to", tmp_path / "now")
        then = f"{first.mzxid:#x}"
        says("snapshot", "take", tmp_path / "data", "--at", then, "--to", tmp_path / "then")
    for name, data in (("now", b"three"), ("then", b"two")):
        with Server(tmp_path / name) as server, coterie.connect_blocking(server.hosts) as zk:
            assert zk.get("/a").data == data
    assert "not empty" in complaint(
        "snapshot", "take", tmp_path / "data", "--to", tmp_path / "now"
    )


@pytest.mark.slow
def test_the_past_is_served_and_nothing_expires_there(
    start_command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    files = tmp_path / "data" / "version-2"
    files.mkdir(parents=True)
    for name in ("log.1", "snapshot.93"):
        shutil.copy(HERE / name, files)
    process = start_command("at", "0x93", str(tmp_path / "data"), "--serve", "0")
    said = line(process)
    assert said.startswith(f"{tmp_path}/data as it was after txn 0x93: 127.0.0.1:")
    with coterie.connect_blocking(said.rpartition(": ")[2]) as zk:
        assert zk.get("/m").data == b"127"
        assert zk.get("/a/s-0000000002").stat.ephemeral_owner
        zk.set("/m", b"changed")
    process.terminate()
    assert ended(process) == (0, "")
    assert says("at", "last", tmp_path / "data", "--path", "/m", "--raw") == "127"


def test_a_snapshot_is_taken_in_its_place(kept: Kept) -> None:
    assert "snapshot.1e: 5 znodes" in says("snapshot", "take", kept.top)
    found = snapshot.read(OSFiles(), str(kept.files / "snapshot.1e"))
    assert contents(found.tree) == contents(kept.tree)
    assert "name one by --to" in complaint("snapshot", "take", kept.top, "--at", "3")


def test_a_fuzzy_snapshot_is_restored_exactly_or_not_at_all(tmp_path: Path) -> None:
    top = tmp_path / "data"
    store = Store(OSFiles(), Config(data_dir=str(top), prealloc_bytes=0), Random(1))
    author = Author(0, store.recover())
    store.append_and_sync(author.some(3))
    writer = store.begin_snapshot(author.tree)
    store.append_and_sync(author.some(4))
    while not writer.step(100):
        pass
    path = Path(writer.finish())
    store.close()
    says("snapshot", "restore", path, tmp_path / "new")
    found = snapshot.read(OSFiles(), str(tmp_path / "new" / "version-2" / "snapshot.7"))
    assert contents(found.tree) == contents(author.tree)
    (path.parent / "log.4").unlink()
    said = complaint("snapshot", "restore", path, tmp_path / "other", status=1)
    assert "it is made exact by the log" in said
    assert "name its directory" in complaint("snapshot", "diff", f"{path}@3", top)
