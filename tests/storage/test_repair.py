"""Each step of a repair: what is there then, and what is in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.storage import inspection, repair, snapshot
from coterie.storage.overlay import Overlay
from coterie.storage.repair import Begin, Cut, Settle, Split, Step, Take, Write
from coterie.storage.segment import HEADER, record
from coterie.system.files import OSFiles
from tests.storage.author import Author, contents


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "data" / "version-2").mkdir(parents=True)
    return tmp_path / "data" / "version-2"


def _log(top: Path, count: int = 6) -> tuple[Path, list[int]]:
    """A log, and the offset behind each of its records."""
    records = [b"".join(record(txn.encoded)) for txn in Author().some(count)]
    path = top / "log.1"
    path.write_bytes(HEADER + b"".join(records))
    ends = [len(HEADER) + sum(map(len, records[: n + 1])) for n in range(count)]
    return path, ends


def _zxids(path: Path) -> list[int]:
    return [zxid for run in inspection.runs(OSFiles(), str(path)) for zxid in run.zxids]


def _do(step: Step) -> None:
    repair.carry_out(OSFiles(), step, "kept")
    assert step.text()


def test_what_is_taken_is_in_the_folder_beside(top: Path) -> None:
    for data in (b"one", b"two"):
        (top / "log.1").write_bytes(data)
        _do(Take(str(top / "log.1")))
    kept = top.parent / "kept"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        "log.1": b"one",
        "log.1.2": b"two",
    }
    assert list(top.iterdir()) == []


def test_a_cut_keeps_the_whole(top: Path) -> None:
    path, ends = _log(top)
    before = path.read_bytes()
    _do(Cut(str(path), ends[2]))
    assert _zxids(path) == [1, 2, 3]
    assert (top.parent / "kept" / "log.1").read_bytes() == before
    _do(Cut(str(path), len(HEADER)))
    assert not path.exists(), "a log without a txn would stand in the way of the next"


def test_a_split_leaves_out_what_is_between(top: Path) -> None:
    path, ends = _log(top)
    before = path.read_bytes()
    _do(Split(str(path), ends[1], ends[2], str(top / "log.4")))
    assert (_zxids(path), _zxids(top / "log.4")) == ([1, 2], [4, 5, 6])
    assert (top.parent / "kept" / "log.1").read_bytes() == before


def test_a_split_may_replace_a_header(top: Path) -> None:
    path, _ = _log(top)
    before = path.read_bytes()
    path.write_bytes(b"\xff" + before[1:])
    _do(Split(str(path), 0, len(HEADER), str(path)))
    assert path.read_bytes() == before
    assert (top.parent / "kept" / "log.1").read_bytes()[0] == 0xFF


def test_small_files_are_replaced(top: Path) -> None:
    path = top / "acceptedEpoch"
    _do(Write(str(path), b"3"))
    _do(Write(str(path), b"4"))
    assert path.read_bytes() == b"4"
    assert (top.parent / "kept" / "acceptedEpoch").read_bytes() == b"3"


def test_snapshots_are_written(top: Path) -> None:
    _do(Begin(str(top)))
    assert snapshot.read(OSFiles(), str(top / "snapshot.0")).tree.zxid == 0
    author = Author()
    author.some(5)
    path = repair.write_snapshot(OSFiles(), str(top), author.tree)
    for zxid in (9, 9):
        _do(Settle(path, zxid))
        path = str(top / "snapshot.9")
        found = snapshot.read(OSFiles(), path)
        assert (found.tree.zxid, found.digest) == (9, None)
        assert contents(found.tree) == contents(author.tree)
    assert sorted(p.name for p in (top.parent / "kept").iterdir()) == ["snapshot.5", "snapshot.9"]


def test_a_repair_that_is_tried_happens_in_memory_alone(top: Path) -> None:
    path, ends = _log(top)
    before = path.read_bytes()
    files = Overlay(OSFiles())
    repair.carry_out(files, Split(str(path), ends[1], ends[2], str(top / "log.4")), "kept")
    assert files.names(str(top)) == ["log.1", "log.4"]
    assert files.names(str(top.parent / "kept")) == ["log.1"]
    assert [p.name for p in top.iterdir()] == ["log.1"]
    assert path.read_bytes() == before
