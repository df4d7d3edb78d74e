"""`coterie doctor`: it says what is wrong, loses nothing in silence, and then a server starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import coterie
from coterie.storage.snapshot import UNFINISHED
from coterie.system.files import OSFiles
from coterie.testing.cluster import Server
from tests.cli.kept import Kept, complaint, objects, says
from tests.runtime.server import Server as ServerProcess
from tests.runtime.server import until


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "data")


def _folder(kept: Kept) -> Path:
    (found,) = kept.top.glob("taken-away-*")
    return found


def _serves(kept: Kept, mzxid: int) -> None:
    """A real server starts here, and has what there was up to a txn."""
    with Server(kept.top) as server, coterie.connect_blocking(server.hosts) as zk:
        assert zk.get("/n").stat.mzxid == mzxid
        zk.create("/after", b"")
    says("doctor", kept.top)


def test_a_directory_that_is_well_is_left_as_it_is(kept: Kept) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        stats = {path: path.stat() for path in kept.top.rglob("*")}
        return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}

    before = files()
    said = says("doctor", kept.top)
    assert "A server starts here, at txn 0x1e with 5 znodes." in said
    says("doctor", "--repair", kept.top)
    assert files() == before


def test_a_loss_is_told_and_has_to_be_accepted(kept: Kept) -> None:
    offset = kept.record_at("log.15", 4)
    kept.flip("log.15", offset + 50)
    before = (kept.files / "log.15").read_bytes()
    said = says("doctor", kept.top, status=1)
    assert said.count(f"log.15 is damaged at byte {offset}") == 1
    assert "A server does not start here." in said
    assert "Lost: what came after 0x18, up to 0x1e as far as is known:" in said
    assert f"bytes {offset} to {kept.record_at('log.15', 5)} of" in said
    assert "  - 0x1a  " in said
    assert f"coterie doctor --repair --accept-loss {kept.top}" in said
    assert "--accept-loss" in complaint("doctor", "--repair", kept.top)
    assert (kept.files / "log.15").read_bytes() == before
    said = says("doctor", "--repair", "--accept-loss", kept.top)
    assert "A server starts here, at txn 0x18" in said
    folder = _folder(kept)
    assert (folder / "log.15").read_bytes() == before
    report = json.loads((folder / "report.json").read_text())
    assert [txn["zxid"] for txn in report["lost"]["txns"]] == [f"{z:#x}" for z in range(26, 31)]
    _serves(kept, 24)


def test_what_costs_nothing_is_done_without_a_word_more(kept: Kept) -> None:
    for name in ("snapshot.0", "snapshot.a", "snapshot.14"):
        kept.flip(name, 60)
    kept.flip("log.15", 2)
    said = says("doctor", "--repair", kept.top)
    assert "No txn would be lost." in said
    assert {path.name for path in _folder(kept).iterdir()} == {
        "report.json",
        "log.15",
        "snapshot.0",
        "snapshot.a",
        "snapshot.14",
    }
    _serves(kept, 30)


def test_a_loss_that_waits_for_the_next_start_has_to_be_accepted_as_well(kept: Kept) -> None:
    """A log without a txn hides the damage that is before it from one start."""
    kept.flip("log.15", kept.record_at("log.15", 8) + 30)
    (kept.files / "log.1d").write_bytes(b"")
    before = (kept.files / "log.15").read_bytes()
    (found,) = objects("doctor", kept.top, status=1)
    assert found["starts"]
    assert "--accept-loss" in complaint("doctor", "--repair", kept.top)
    assert (kept.files / "log.15").read_bytes() == before


def test_json(kept: Kept) -> None:
    (found,) = objects("doctor", kept.top)
    assert (found["healthy"], found["starts"], found["zxid"]) == (True, True, "0x1e")
    assert (found["plan"], found["lost"], found["used_by"]) == ([], None, [])
    (kept.files / "log.b").unlink()
    (kept.files / "snapshot.14").unlink()
    (found,) = objects("doctor", kept.top, status=1)
    assert found["findings"][0]["level"] == "fatal"
    assert found["plan"][0]["step"] == "cut"
    assert (found["lost"]["after"], found["zxid_after_repair"]) == ("0xa", "0xa")
    (done,) = objects("doctor", "--repair", "--accept-loss", kept.top)
    assert done["after"]["starts"]
    assert done["folder"] == str(_folder(kept))


def test_what_cannot_be_repaired_is_left_alone(kept: Kept) -> None:
    for name in ("snapshot.0", "snapshot.a", "snapshot.14", "log.1"):
        (kept.files / name).unlink()
    said = says("doctor", "--repair", "--accept-loss", kept.top, status=1)
    assert "No repair is known" in said
    assert kept.names() == ["log.15", "log.b"]
    assert not list(kept.top.glob("taken-away-*"))


def test_a_server_in_this_process_keeps_its_directory(kept: Kept) -> None:
    with Server(kept.top):
        kept.flip("snapshot.0", 60)
        assert "is in use by a server" in complaint("doctor", "--repair", kept.top)
        says("doctor", kept.top, status=1)


@pytest.mark.slow
def test_a_server_of_another_process_keeps_its_directory(tmp_path: Path) -> None:
    """And one that was killed does not."""
    with ServerProcess(tmp_path / "server") as server:
        data = tmp_path / "server" / "data"
        until(lambda: server.said("serves at"))
        assert f"in use by process {server.pid}" in says("doctor", data)
        said = complaint("doctor", "--repair", server.file)
        assert f"is in use by process {server.pid}: stop that server first" in said
    says("doctor", "--repair", data)


def _newest(data: Path, prefix: str) -> Path:
    found = data.glob(f"version-2/{prefix}.*")
    return max(found, key=lambda path: int(path.suffix[1:], 16))


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)


def _flip_all(paths: Iterable[Path]) -> None:
    for path in paths:
        _flip(path, 90)


def _tear(path: Path) -> None:
    """Cut off within the last record; behind that are the zeros of what was reserved."""
    path.write_bytes(path.read_bytes().rstrip(b"\0")[:-3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "lost_max"),
    [
        (lambda data: _tear(_newest(data, "log")), 1),
        (lambda data: _flip(_newest(data, "log"), 3), 0),
        (lambda data: _flip(_newest(data, "log"), 300), 100),
        (lambda data: _flip(_newest(data, "snapshot"), 200), 0),
        (lambda data: _newest(data, "snapshot").write_bytes(b""), 0),
        (lambda data: _flip_all(data.glob("version-2/snapshot.*")), 0),
        (lambda data: (data / "version-2" / "log.ffff").write_bytes(b"what is no log" * 100), 0),
    ],
)
def test_a_server_that_was_killed_and_damaged_serves_again(
    damage: Callable[[Path], object], lost_max: int, tmp_path: Path
) -> None:
    """What is undamaged is there: every znode up to the last one that is not lost."""
    with ServerProcess(tmp_path / "server", snapCount=100) as server:
        with coterie.connect_blocking(f"127.0.0.1:{server.port}") as zk:
            paths = [zk.create(f"/n-{number:03}", b"x" * 100) for number in range(300)]
        server.kill()
        data = tmp_path / "server" / "data"
        damage(data)
        objects("doctor", "--repair", "--accept-loss", server.file)
        assert objects("doctor", server.file)[0]["starts"]
        server.start()
        with coterie.connect_blocking(f"127.0.0.1:{server.port}") as zk:
            names = {f"/{name}" for name in zk.children("/")} - {"/zookeeper"}
    kept = len(paths) - lost_max
    assert set(paths[:kept]) <= names <= set(paths)
    assert names == set(paths[: len(names)])


def _zoo_cfg(kept: Kept) -> Path:
    file = kept.top.parent / "zoo.cfg"
    lines = [f"dataDir={kept.top}", "clientPort=2181", "initLimit=10", "syncLimit=5"]
    lines += [f"server.{n}=127.0.0.1:{2888 + n}:{3888 + n}" for n in (1, 2, 3)]
    file.write_text("\n".join(lines))
    return file


def test_a_member_is_known_by_its_zoo_cfg(kept: Kept) -> None:
    file = _zoo_cfg(kept)
    assert "myid is missing" in says("doctor", file, status=1)
    (kept.top / "myid").write_text("4")
    assert "there is no server.4, only 1, 2, 3" in says("doctor", file, status=1)
    (kept.top / "myid").write_text("2\n")
    says("doctor", file)


def test_epochs_that_contradict_each_other(kept: Kept) -> None:
    (kept.top / "myid").write_text("2\n")
    (kept.files / "acceptedEpoch").write_text("2")
    (kept.files / "currentEpoch").write_text("5")
    said = says("doctor", kept.top, status=1)
    assert "acceptedEpoch says 2, but currentEpoch is of epoch 5" in said
    assert "Which epoch this member has promised is not known" in said
    says("doctor", "--repair", kept.top)
    assert (kept.files / "acceptedEpoch").read_text() == "5"
    assert (_folder(kept) / "acceptedEpoch").read_text() == "2"
    says("doctor", _zoo_cfg(kept))


def test_logs_apart_from_snapshots(kept: Kept, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "version-2").mkdir(parents=True)
    for path in kept.files.glob("log.*"):
        shutil.move(path, logs / "version-2" / path.name)
    (logs / "version-2" / "log.1f").write_bytes(b"no log" * 100)
    assert "log.1f is damaged" in says("doctor", kept.top, "--log-data", logs, status=1)
    says("doctor", kept.top, "--log-data", logs, "--repair", "--accept-loss")
    (folder,) = logs.glob("taken-away-*")
    assert [path.name for path in folder.iterdir()] == ["log.1f"]
    assert (_folder(kept) / "report.json").exists()


def test_a_disk_that_is_full_cuts_a_repair_short(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.flip("log.15", kept.record_at("log.15", 4) + 50)
    before = {path.name: path.read_bytes() for path in kept.files.iterdir()}

    def full(self: OSFiles, path: str) -> object:
        if "log.15" in path:
            raise OSError(28, "No space left on device", path)
        return opened(self, path)

    opened = OSFiles.open
    monkeypatch.setattr(OSFiles, "open", full)
    said = complaint("doctor", "--repair", "--accept-loss", kept.top)
    assert "the repair was cut short" in said
    assert "No space left on device" in said
    after = {path.name: path.read_bytes() for path in kept.files.iterdir()}
    assert {name: after[name] for name in after if not name.startswith(UNFINISHED)} == before
    monkeypatch.undo()
    says("doctor", "--repair", "--accept-loss", kept.top)
