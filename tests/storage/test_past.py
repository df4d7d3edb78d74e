"""The tree at any zxid is the one that a server had then, or it is not told."""

from __future__ import annotations

from random import Random

import pytest

from coterie.config import Config
from coterie.core.tree import Tree
from coterie.storage import past, snapshot
from coterie.storage.errors import LogGapError, NoSnapshotError, StorageError
from coterie.storage.inspection import Place, fuzzy_until
from coterie.storage.past import NotReachedError, Span
from coterie.storage.store import Store
from coterie.system.files import OSFiles
from coterie.testing.files import FakeFiles
from coterie.wire.numbered import Txn
from tests.golden.packets import HERE
from tests.storage.author import DIRECTORY, Author, contents, disk

_PLACE = Place("data", "data")
_CONFIG = Config(data_dir="data", snap_count=20, prealloc_bytes=0)


def _served(seed: int) -> tuple[FakeFiles, list[Txn], list[int]]:
    """A directory, all its txns, and where its snapshots, which are fuzzy, begin and end."""
    _, files = disk()
    store = Store(files, _CONFIG, Random(1))
    author = Author(0, store.recover())
    dice = Random(seed)
    written: list[Txn] = []
    spans: list[int] = []
    for _ in range(3):
        writer = None
        for step in range(10):
            more = [author.any(dice) for _ in range(2)]
            store.append_and_sync(more)
            written += more
            if step == 5:
                writer = store.begin_snapshot(author.tree)
                writer.step(1)
        assert writer is not None
        while not writer.step(1):
            pass
        writer.finish()
        spans.append(writer.zxid)
    store.close()
    return files, written, spans


@pytest.mark.parametrize("seed", range(5))
def test_it_is_as_it_was_after_each_txn(seed: int) -> None:
    files, written, _ = _served(seed)
    expected = Tree()
    for txn in written:
        expected.apply(txn)
        found = past.at(files, _PLACE, txn.zxid)
        assert contents(found) == contents(expected), hex(txn.zxid)
        assert (found.zxid, found.digest) == (txn.zxid, expected.digest)
        assert found.sessions == expected.sessions
    assert contents(past.at(files, _PLACE)) == contents(expected)
    assert past.reach(files, _PLACE) == [Span(0, written[-1].zxid)]


def test_a_torn_tail_is_no_hindrance() -> None:
    files, written, _ = _served(1)
    names = files.names(DIRECTORY)
    last = max((n for n in names if n.startswith("log.")), key=lambda n: int(n[4:], 16))
    path = f"{DIRECTORY}/{last}"
    files.open(path).write(files.size(path), b"\0\0\0\0\x12\x34")
    assert past.at(files, _PLACE).zxid == written[-1].zxid


def test_what_the_log_does_not_reach_is_said_with_what_it_does() -> None:
    files, written, spans = _served(2)
    for name in files.names(DIRECTORY):
        if name in ("snapshot.0", "log.1"):
            files.delete(f"{DIRECTORY}/{name}")
    with pytest.raises(NotReachedError, match="what can be told is"):
        past.at(files, _PLACE, 3)
    with pytest.raises(NotReachedError, match="does not hold txn"):
        past.at(files, _PLACE, written[-1].zxid + 1)
    first = past.reach(files, _PLACE)[0].first
    assert first >= spans[0]
    assert past.at(files, _PLACE, first).zxid == first


def test_a_fuzzy_snapshot_is_not_taken_for_what_was_before_its_end() -> None:
    files, _, spans = _served(3)
    until = fuzzy_until(snapshot.read(files, f"{DIRECTORY}/{snapshot.name(spans[0])}"))
    assert until > spans[0]
    for name in files.names(DIRECTORY):
        if name == "snapshot.0":
            files.delete(f"{DIRECTORY}/{name}")
    with pytest.raises(NotReachedError):
        past.at(files, _PLACE, until - 1)
    assert past.at(files, _PLACE, until).zxid == until


def test_without_a_snapshot_or_a_log_it_is_an_error() -> None:
    files, _, _ = _served(4)
    with pytest.raises(NoSnapshotError):
        past.at(files, Place("none", "none"))
    logs = [name for name in files.names(DIRECTORY) if name.startswith("log.")]
    for name in sorted(logs, key=lambda name: int(name[4:], 16))[:-1]:
        files.delete(f"{DIRECTORY}/{name}")
    for name in files.names(DIRECTORY):
        if name.startswith("snapshot.") and name != "snapshot.0":
            files.delete(f"{DIRECTORY}/{name}")
    with pytest.raises(LogGapError):
        past.at(files, _PLACE)
    with pytest.raises(StorageError):
        past.at(files, _PLACE, 5)


def test_the_last_txn_before_a_time() -> None:
    files, written, _ = _served(5)
    assert past.before(files, _PLACE, written[9].time_ms) == written[9].zxid
    assert past.before(files, _PLACE, written[-1].time_ms + 10**9) == written[-1].zxid
    assert past.before(files, _PLACE, 0) is None


def test_apaches_directory() -> None:
    """Its snapshot.93 and log.1 lie in one directory, as in version-2."""

    class Golden(OSFiles):
        def names(self, directory: str) -> list[str]:
            return ["log.1", "snapshot.93"]

        def read(self, path: str, offset: int, count: int) -> bytes:
            return super().read(f"{HERE}/{path.rpartition('/')[2]}", offset, count)

        def size(self, path: str) -> int:
            return super().size(f"{HERE}/{path.rpartition('/')[2]}")

    files = Golden()
    assert past.at(files, _PLACE).zxid == 0x93
    assert past.at(files, _PLACE, 0x93).nodes[b"/m"].data == b"127"
    with pytest.raises(NotReachedError):
        past.at(files, _PLACE, 0x50)
