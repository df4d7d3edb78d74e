"""Damaged directories are told apart, and after the plan a server starts with what was left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from coterie.config import Config
from coterie.core.tree import Tree
from coterie.ensemble import Ensemble
from coterie.storage import diagnosis, snapshot
from coterie.storage.diagnosis import Diagnosis, Level
from coterie.storage.errors import StorageFailedError
from coterie.storage.overlay import Overlay, OverlayFile
from coterie.storage.repair import (
    Begin,
    Cut,
    Settle,
    Split,
    Take,
    Write,
    carry_out,
    write_snapshot,
)
from coterie.storage.segment import HEADER, record
from coterie.storage.snapshot import SnapshotWriter
from coterie.storage.store import Store
from coterie.testing.files import FakeFiles
from coterie.wire.numbered import Txn
from tests.storage.author import DIRECTORY, Author, contents, disk

_CONFIG: Final = Config(data_dir="data", snap_count=20, prealloc_bytes=0)
_MEMBER: Final = replace(_CONFIG, ensemble=Ensemble.of({"server.1": "127.0.0.1:2888:3888"}))


class Served:
    """A directory with snapshots 0, a and 14 (hexadecimal), each with ten txns behind it."""

    def __init__(self) -> None:
        self.disk, self.files = disk()
        store = Store(self.files, _CONFIG, Random(1))
        self.author = Author(0, store.recover())
        self.written: list[Txn] = []
        for number in range(3):
            if number:
                writer = store.begin_snapshot(self.author.tree)
                while not writer.step(100):
                    pass
                writer.finish()
            for _ in range(10):
                more = self.author.some(1, size=40)
                store.append_and_sync(more)
                self.written += more
        store.close()
        assert self.names() == [
            "log.1",
            "log.15",
            "log.b",
            "snapshot.0",
            "snapshot.14",
            "snapshot.a",
        ]

    def names(self) -> list[str]:
        return self.files.names(DIRECTORY)

    def write(self, name: str, offset: int, data: bytes) -> None:
        self.files.open(f"{DIRECTORY}/{name}").write(offset, data)

    def replace(self, name: str, data: bytes) -> None:
        file = self.files.open(f"{DIRECTORY}/{name}")
        file.truncate(0)
        file.write(0, data)

    def delete(self, *names: str) -> None:
        for name in names:
            self.files.delete(f"{DIRECTORY}/{name}")

    def flip(self, name: str, offset: int) -> None:
        path = f"{DIRECTORY}/{name}"
        self.write(name, offset, bytes([self.files.read(path, offset, 1)[0] ^ 4]))

    def record_at(self, name: str, number: int) -> int:
        """Where a record of a log begins."""
        first = int(name[4:], 16)
        lengths = [13 + len(txn.encoded) for txn in self.written[first - 1 : first - 1 + number]]
        return len(HEADER) + sum(lengths)

    def tree_at(self, zxid: int) -> Tree:
        tree = Tree()
        for txn in self.written:
            if txn.zxid <= zxid:
                tree.apply(txn)
        return tree

    def diagnose(self, config: Config = _CONFIG, *, knows_members: bool = False) -> Diagnosis:
        return diagnosis.diagnose(self.files, config, Random(1), knows_members=knows_members)

    def repaired(
        self, found: Diagnosis, config: Config = _CONFIG
    ) -> tuple[Tree, FakeFiles | Overlay]:
        """The tree with which a server starts after the plan."""
        assert found.plan is not None
        files = Overlay(self.files)
        for step in found.plan:
            carry_out(files, step, "kept")
        store = Store(files, config, Random(1))
        tree = store.recover()
        store.close()
        return tree, files


def _whats(found: Diagnosis, level: Level) -> str:
    return "\n".join(finding.what for finding in found.findings if finding.level is level)


def _starts(found: Diagnosis, zxid: int = 30) -> None:
    assert found.start.error is None
    assert found.start.zxid == zxid


def _agrees(served: Served, found: Diagnosis, zxid: int) -> None:
    """The plan comes to the state after `zxid`, and names what is lost behind it."""
    tree, _ = served.repaired(found)
    assert tree.zxid == found.repaired.zxid == zxid
    assert contents(tree) == contents(served.tree_at(zxid))
    assert tree.digest_mismatches == 0


def _lost(found: Diagnosis) -> tuple[int, int, list[int]]:
    assert found.lost is not None
    return found.lost.after, found.lost.until, [txn.zxid for txn in found.lost.readable]


def test_a_directory_that_is_well() -> None:
    found = Served().diagnose()
    _starts(found)
    assert found.healthy
    assert (found.findings, found.plan, found.lost) == ([], [], None)
    assert [log.txns for log in found.logs] == [10, 10, 10]
    assert found.start.znodes == 5


def test_no_data_at_all() -> None:
    _, files = disk()
    found = diagnosis.diagnose(files, _CONFIG, Random(1), knows_members=False)
    assert "a server would begin with an empty tree" in _whats(found, Level.NOTE)
    assert files.names(DIRECTORY) == [], "it was only looked at"


def test_a_torn_tail_is_what_a_crash_leaves() -> None:
    served = Served()
    path = f"{DIRECTORY}/log.15"
    served.files.open(path).truncate(served.files.size(path) - 7)
    found = served.diagnose()
    _starts(found, 29)
    assert "a start cuts it off" in _whats(found, Level.NOTE)
    assert found.healthy
    assert found.lost is None, "nobody was told of it"


@pytest.mark.parametrize("data", [b"", bytes(3000), HEADER, HEADER + bytes(3000), HEADER[:7]])
def test_an_empty_or_zero_filled_last_log(data: bytes) -> None:
    served = Served()
    served.replace("log.1f", data)
    found = served.diagnose()
    _starts(found)
    assert "log.1f" in _whats(found, Level.NOTE)
    assert found.healthy


def test_a_log_that_was_filled_with_zeros_is_a_gap_if_more_follow() -> None:
    served = Served()
    served.delete("snapshot.14")
    served.replace("log.b", bytes(5000))
    found = served.diagnose()
    assert "after 0xa comes 0x15" in _whats(found, Level.FATAL)
    assert found.plan == [Cut(f"{DIRECTORY}/log.15", len(HEADER))]
    assert _lost(found) == (10, 30, list(range(21, 31)))
    _agrees(served, found, 10)


def test_a_missing_log_between_others_is_a_gap() -> None:
    served = Served()
    served.delete("log.b", "snapshot.14")
    found = served.diagnose()
    assert "after 0xa comes 0x15" in _whats(found, Level.FATAL)
    assert _lost(found) == (10, 30, list(range(21, 31)))
    _agrees(served, found, 10)


def test_a_flip_in_what_a_snapshot_has_costs_nothing() -> None:
    served = Served()
    served.delete("log.15", "snapshot.14")
    served.files.rename(f"{DIRECTORY}/log.b", f"{DIRECTORY}/kept")
    data = served.files.read(f"{DIRECTORY}/log.1", 0, 10**6)
    more = served.files.read(f"{DIRECTORY}/kept", len(HEADER), 10**6)
    served.replace("log.1", data + more)
    served.delete("kept")
    served.flip("log.1", served.record_at("log.1", 4) + 50)
    found = served.diagnose()
    assert "log.1 is damaged at byte" in _whats(found, Level.FATAL)
    assert found.plan is not None
    assert isinstance(found.plan[0], Split)
    assert found.lost is None
    _agrees(served, found, 20)


def test_a_flip_in_what_only_the_log_has_costs_what_follows() -> None:
    served = Served()
    served.flip("log.15", served.record_at("log.15", 4) + 50)
    found = served.diagnose()
    offset = served.record_at("log.15", 4)
    assert f"log.15 is damaged at byte {offset} (the checksum" in _whats(found, Level.FATAL)
    assert found.plan == [Cut(f"{DIRECTORY}/log.15", offset)]
    assert _lost(found) == (24, 30, [26, 27, 28, 29, 30])
    assert found.lost is not None
    end = served.record_at("log.15", 5)
    assert found.lost.unreadable == [(f"{DIRECTORY}/log.15", offset, end)]
    _agrees(served, found, 24)


def test_a_flip_in_the_last_record_costs_at_least_that() -> None:
    served = Served()
    served.flip("log.15", served.record_at("log.15", 9) + 50)
    found = served.diagnose()
    assert _lost(found) == (29, 29, [])
    assert found.lost is not None
    assert len(found.lost.unreadable) == 1
    _agrees(served, found, 29)


def test_a_flip_in_a_header_costs_nothing() -> None:
    served = Served()
    served.flip("log.15", 2)
    found = served.diagnose()
    assert "no header of a log file" in _whats(found, Level.FATAL)
    assert found.lost is None
    _agrees(served, found, 30)


def test_a_flip_in_a_log_that_is_not_needed_any_more() -> None:
    served = Served()
    served.flip("log.1", 100)
    found = served.diagnose()
    _starts(found)
    assert "log.1 is damaged" in _whats(found, Level.DAMAGE)
    assert (found.plan, found.lost) == ([], None)


def test_a_damaged_snapshot_with_an_older_one() -> None:
    served = Served()
    served.flip("snapshot.14", 90)
    found = served.diagnose()
    _starts(found)
    assert "snapshot.14 is damaged" in _whats(found, Level.DAMAGE)
    assert found.plan == [Take(f"{DIRECTORY}/snapshot.14")]
    assert found.lost is None
    _agrees(served, found, 30)


@pytest.mark.parametrize("size", [0, 3, 200])
def test_a_snapshot_that_was_never_written_to_its_end(size: int) -> None:
    """Apache's server writes under the final name: a full disk leaves that."""
    served = Served()
    data = served.files.read(f"{DIRECTORY}/snapshot.14", 0, size)
    served.replace("snapshot.1e", data)
    found = served.diagnose()
    _starts(found)
    assert "snapshot.1e is damaged" in _whats(found, Level.DAMAGE)
    assert found.lost is None


def test_what_a_full_disk_left_of_our_own_snapshot() -> None:
    served = Served()
    served.replace("unfinished.snapshot.1e.nodes", b"some")
    found = served.diagnose()
    _starts(found)
    assert "unfinished.snapshot.1e.nodes: what a crash left" in _whats(found, Level.NOTE)
    assert found.healthy


def _write(writer: SnapshotWriter) -> None:
    while not writer.step(2):
        pass
    writer.finish()


@pytest.mark.parametrize("room", [0, 100, 500, 900])
def test_a_full_disk_in_the_middle_of_a_snapshot_that_a_crash_ends(room: int) -> None:
    served = Served()
    store = Store(served.files, _CONFIG, Random(1))
    tree = store.recover()
    served.disk.capacity = served.disk.used + room
    writer = store.begin_snapshot(tree)
    with pytest.raises(StorageFailedError):
        _write(writer)
    served.disk.crash(Random(room))
    served.disk.capacity = None
    served.files = served.disk.mount()
    found = served.diagnose()
    _starts(found)
    assert found.healthy
    assert (found.plan, found.lost) == ([], None)


def test_all_snapshots_damaged_and_all_of_the_log() -> None:
    served = Served()
    for name in ("snapshot.0", "snapshot.a", "snapshot.14"):
        served.flip(name, 60)
    found = served.diagnose()
    assert "no snapshot can be read" in _whats(found, Level.FATAL)
    assert found.plan is not None
    assert Begin(DIRECTORY) in found.plan
    assert found.lost is None
    _agrees(served, found, 30)


def test_no_snapshot_and_not_all_of_the_log_is_left_to_a_backup() -> None:
    served = Served()
    served.delete("snapshot.0", "snapshot.a", "snapshot.14", "log.1")
    found = served.diagnose()
    assert "has logs but" in _whats(found, Level.FATAL)
    assert (found.plan, found.lost) == (None, None)


def test_a_snapshot_of_the_future_without_a_log_starts() -> None:
    served = Served()
    served.delete("log.1", "log.b", "log.15")
    found = served.diagnose()
    _starts(found, 20)
    assert found.healthy
    assert "if dataDir and dataLogDir are apart" in _whats(found, Level.NOTE)


def test_a_damaged_snapshot_that_was_the_only_one_to_have_what_it_had() -> None:
    served = Served()
    served.delete("log.b", "log.15")
    served.flip("snapshot.14", 90)
    found = served.diagnose()
    assert "was only there" in _whats(found, Level.FATAL)
    assert _lost(found) == (10, 20, [])
    _agrees(served, found, 10)


def _fuzzy() -> Served:
    """With a snapshot 1e that holds txns up to 23."""
    served = Served()
    store = Store(served.files, _CONFIG, Random(1))
    store.recover()
    writer = store.begin_snapshot(served.author.tree)
    more = served.author.some(5)
    store.append_and_sync(more)
    served.written += more
    while not writer.step(100):
        pass
    writer.finish()
    store.close()
    return served


def test_a_log_that_ends_within_a_fuzzy_snapshot_goes_back_to_an_older_one() -> None:
    served = _fuzzy()
    served.flip("log.1f", served.record_at("log.1f", 2) + 30)
    found = served.diagnose()
    assert _lost(found) == (32, 35, [34, 35])
    assert found.plan is not None
    assert Take(f"{DIRECTORY}/snapshot.1e") in found.plan
    _agrees(served, found, 32)


def test_a_member_goes_back_too_if_its_log_is_cut() -> None:
    served = _fuzzy()
    served.files.open("data/myid").write(0, b"1\n")
    served.flip("log.1f", served.record_at("log.1f", 2) + 30)
    found = served.diagnose(_MEMBER)
    assert found.plan is not None
    assert Take(f"{DIRECTORY}/snapshot.1e") in found.plan
    tree, _ = served.repaired(found, _MEMBER)
    assert contents(tree) == contents(served.tree_at(32))


def test_a_fuzzy_snapshot_without_its_log_is_taken_as_it_is_where_there_is_no_other() -> None:
    served = _fuzzy()
    served.delete("log.1f", "snapshot.0", "snapshot.a", "snapshot.14", "log.1", "log.b")
    found = served.diagnose()
    assert "the newest snapshot holds" in _whats(found, Level.FATAL)
    assert found.uncertain == [Settle(f"{DIRECTORY}/snapshot.1e", 35)]
    tree, _ = served.repaired(found)
    assert tree.zxid == 35


def test_a_txn_of_a_newer_server() -> None:
    served = Served()
    entry = bytearray(served.written[-1].encoded)
    entry[28:32] = (999).to_bytes(4, "big")
    entry[12:20] = (31).to_bytes(8, "big")
    path = f"{DIRECTORY}/log.15"
    served.write("log.15", served.files.size(path), b"".join(record(bytes(entry))))
    found = served.diagnose()
    assert "0x1f is of a kind that this version does not know" in _whats(found, Level.FATAL)
    assert _lost(found) == (30, 31, [])
    _agrees(served, found, 30)


def test_a_damaged_intent_is_moved_away() -> None:
    served = Served()
    served.replace("intent", b"delete everything")
    found = served.diagnose()
    assert "intent is damaged" in _whats(found, Level.FATAL)
    assert found.plan == [Take(f"{DIRECTORY}/intent")]
    _agrees(served, found, 30)


def test_a_change_that_was_interrupted_is_finished_by_a_start() -> None:
    served = Served()
    served.replace("intent", b"delete log.15\n")
    found = served.diagnose()
    _starts(found, 20)
    assert "a start finishes it" in _whats(found, Level.NOTE)


@pytest.mark.parametrize(
    ("accepted", "current", "says", "after"),
    [
        (None, b"2", "acceptedEpoch is missing", (b"2", b"2")),
        (b"2", b"3", "says 2, but", (b"3", b"3")),
        (b"", b"2", "has no epoch in it", (b"2", b"2")),
        (b"\0\0", b"2", "has no epoch in it", (b"2", b"2")),
        (b"4", b"junk", "has no epoch in it", (b"4", b"0")),
    ],
)
def test_epochs_that_are_missing_or_contradict_each_other(
    accepted: bytes | None, current: bytes, says: str, after: tuple[bytes, bytes]
) -> None:
    served = Served()
    served.files.open("data/myid").write(0, b"1\n")
    for name, data in (("acceptedEpoch", accepted), ("currentEpoch", current)):
        if data is not None:
            served.replace(name, data)
    found = served.diagnose(_MEMBER)
    assert says in _whats(found, Level.FATAL)
    assert found.plan == [
        Write(f"{DIRECTORY}/{name}", data)
        for name, data in zip(("acceptedEpoch", "currentEpoch"), after, strict=True)
    ]
    tree, _ = served.repaired(found, _MEMBER)
    assert tree.zxid == 30


@pytest.mark.parametrize(
    ("text", "says", "level"),
    [
        (None, "myid is missing", Level.FATAL),
        (b"7", "there is no server.7, only 1", Level.FATAL),
        (b"one", "'one' is not a server's number", Level.FATAL),
        (b"1\n", "", Level.FATAL),
    ],
)
def test_which_member_it_is(text: bytes | None, says: str, level: Level) -> None:
    served = Served()
    if text is not None:
        served.files.open("data/myid").write(0, text)
    found = served.diagnose(_MEMBER, knows_members=True)
    assert says in _whats(found, level)
    assert (not says) == found.healthy


def test_files_of_others_are_named_and_left() -> None:
    served = Served()
    served.replace("notes.txt", b"mine")
    found = served.diagnose()
    assert "notes.txt is no file of a server" in _whats(found, Level.NOTE)
    assert found.plan == []


def test_what_is_no_log_by_its_name_only_is_not_deleted_at_a_start() -> None:
    served = Served()
    served.replace("log.1f", b"2024-01-01 INFO something else\n" * 50)
    found = served.diagnose()
    assert "log.1f is damaged at byte 0" in _whats(found, Level.FATAL)
    assert found.plan == [Cut(f"{DIRECTORY}/log.1f", 0)]
    _, files = served.repaired(found)
    assert files.names("data/kept") == ["log.1f"]
    assert _lost(found) == (30, 30, [])
    assert found.lost is not None
    assert found.lost.unreadable == [(f"{DIRECTORY}/log.1f", 0, 1550)]


class _InterruptedError(Exception):
    """The process is killed."""


class _Fuse(Overlay):
    """Files of a process that is killed before it changes a name for the so-many-th time."""

    def __init__(self, files: FakeFiles, calls: int) -> None:
        super().__init__(files)
        self._calls = calls

    def _burn(self) -> None:
        self._calls -= 1
        if self._calls < 0:
            raise _InterruptedError

    def open(self, path: str) -> OverlayFile:
        self._burn()
        return super().open(path)

    def rename(self, path: str, to: str) -> None:
        self._burn()
        super().rename(path, to)


def _flip_what_a_snapshot_has(served: Served) -> None:
    served.flip("log.15", served.record_at("log.15", 0) + 50)
    write_snapshot(served.files, DIRECTORY, served.tree_at(21))


@pytest.mark.parametrize(
    "damage",
    [
        _flip_what_a_snapshot_has,
        lambda served: served.flip("log.15", 2),
        lambda served: served.flip("log.15", served.record_at("log.15", 4) + 50),
        lambda served: served.delete("snapshot.a", "snapshot.14", "log.b"),
        lambda served: [served.flip(f"snapshot.{name}", 60) for name in ("0", "a", "14")],
    ],
)
def test_a_repair_that_is_interrupted_is_begun_again(damage: Callable[[Served], object]) -> None:
    """Wherever that is, a start finds nothing less than the plan promises, or refuses."""
    served = Served()
    damage(served)
    found = served.diagnose()
    assert found.plan
    whole = contents(served.tree_at(found.repaired.zxid))
    for calls in range(100):
        files = _Fuse(served.files, calls)
        try:
            for step in found.plan:
                carry_out(files, step, "kept")
        except _InterruptedError:
            pass
        else:
            assert calls > 0
            return
        again = diagnosis.diagnose(Overlay(files), _CONFIG, Random(1), knows_members=False)
        if again.start.error is None:
            assert again.start.zxid >= found.repaired.zxid
        assert again.plan is not None
        after = Overlay(files)
        for step in again.plan:
            carry_out(after, step, "kept")
        assert contents(Store(after, _CONFIG, Random(1)).recover()) == whole
    raise AssertionError("it has no end")


def _any_damage(served: Served, dice: Random) -> None:
    name = dice.choice(served.names())
    path = f"{DIRECTORY}/{name}"
    size = served.files.size(path)
    ways: list[Callable[[], None]] = [
        lambda: served.flip(name, dice.randrange(size)),
        lambda: served.files.open(path).truncate(dice.randrange(size)),
        lambda: served.write(name, dice.randrange(size), bytes(dice.randrange(1, 600))),
        lambda: served.delete(name),
        lambda: served.replace(name, b""),
        lambda: served.write(name, size, dice.randbytes(dice.randrange(1, 600))),
    ]
    if size:
        dice.choice(ways)()


@pytest.mark.parametrize("seed", range(60))
def test_any_damage_is_refused_or_started_as_the_doctor_says(seed: int) -> None:
    """What is not lost by its word is there; what is lost is a suffix of the history."""
    dice = Random(seed)
    served = Served() if seed % 2 else _fuzzy()
    for _ in range(dice.randrange(1, 4)):
        _any_damage(served, dice)
    found = served.diagnose()
    store = Store(Overlay(served.files), _CONFIG, Random(1))
    if found.start.error is None:
        assert store.recover().zxid == found.start.zxid
    else:
        with pytest.raises(type(found.start.error)) as raised:
            store.recover()
        assert str(raised.value) == str(found.start.error)
    if found.plan is None or found.uncertain:
        return
    tree, files = served.repaired(found)
    assert contents(tree) == contents(served.tree_at(tree.zxid))
    again = diagnosis.diagnose(files, _CONFIG, Random(1), knows_members=False)
    assert again.start.error is None
    assert again.plan == []
    if found.lost is not None:
        assert found.lost.after == tree.zxid
        known = max(txn.zxid for txn in served.written)
        assert found.lost.until <= known
    # No snapshot that can be read is of later, nor any log that could be reached from there.
    for path in snapshot.snapshots(served.files, DIRECTORY):
        assert path <= tree.zxid or found.lost is not None
