"""Files are judged as a start judges them, and read as far as they can be."""

from __future__ import annotations

from random import Random

import pytest

from coterie.config import Config
from coterie.storage import inspection, snapshot
from coterie.storage.inspection import Place, State
from coterie.storage.segment import HEADER, record
from coterie.storage.store import Store
from coterie.system.files import OSFiles
from coterie.testing.files import FakeFiles
from coterie.wire.entries import decode
from coterie.wire.numbered import HEADER as TXN_HEADER
from tests.golden.packets import HERE
from tests.storage.author import DIRECTORY, Author, disk

_PLACE = Place("data", "data")
_PATH = f"{DIRECTORY}/log.1"


def _log(data: bytes) -> FakeFiles:
    _, files = disk()
    files.open(_PATH).write(0, data)
    return files


def _records(count: int) -> list[bytes]:
    return [b"".join(record(txn.encoded)) for txn in Author().some(count, size=40)]


def test_apaches_files() -> None:
    log = inspection.examine_log(OSFiles(), str(HERE / "log.1"))
    assert (log.state, log.first and log.first.zxid, log.last and log.last.zxid) == (
        State.WHOLE,
        1,
        0x93,
    )
    assert log.txns == 0x93
    snap = inspection.examine_snapshot(OSFiles(), str(HERE / "snapshot.93"))
    assert (snap.state, snap.zxid) == (State.WHOLE, 0x93)
    assert inspection.examine_snapshot(OSFiles(), str(HERE / "snapshot.93.gz")).found


@pytest.mark.parametrize(
    ("data", "state", "reason"),
    [
        (b"", State.EMPTY, "holds no txn"),
        (bytes(5000), State.EMPTY, "holds no txn"),
        (HEADER + bytes(5000), State.EMPTY, "holds no txn"),
        (HEADER + b"".join(_records(3)) + bytes(5000), State.WHOLE, ""),
        (HEADER + b"".join(_records(3))[:-5], State.TORN, "cut short"),
        (HEADER + b"?" + b"".join(_records(3))[1:], State.DAMAGED, "damaged at byte 16"),
        (b"ZKLX" + HEADER[4:] + b"".join(_records(3)), State.DAMAGED, "no header"),
        (b"no log at all" * 100, State.DAMAGED, "no header"),
    ],
)
def test_what_a_log_is(data: bytes, state: State, reason: str) -> None:
    log = inspection.examine_log(_log(data), _PATH)
    assert log.state is state
    assert reason in log.reason


def test_a_txn_of_an_unknown_kind_does_not_hide_the_others() -> None:
    unknown = TXN_HEADER.pack(1, 1, 4, 0, 999)
    data = HEADER + b"".join(_records(3)) + b"".join(record(unknown))
    log = inspection.examine_log(_log(data), _PATH)
    assert (log.state, log.txns) == (State.UNKNOWN, 3)
    assert "0x4 is of a kind" in log.reason


def test_a_tear_that_was_gone_on_from_is_of_no_account() -> None:
    data = HEADER + b"".join(_records(3))[:-5]
    assert inspection.examine_log(_log(data), _PATH, next_zxid=3).state is State.WHOLE


def test_good_records_behind_a_damage() -> None:
    records = _records(9)
    start = len(HEADER) + sum(map(len, records[:4]))
    data = bytearray(HEADER + b"".join(records))
    data[start + 30] ^= 1
    files = _log(bytes(data))
    found = list(inspection.runs(files, _PATH))
    assert [run.zxids for run in found] == [[1, 2, 3, 4], [6, 7, 8, 9]]
    assert (found[0].end, found[1].start) == (start, start + len(records[4]))
    assert found[1].end == len(data)
    gap = inspection.Gap(start, start + len(records[4]), "the checksum does not match")
    assert list(inspection.entries(files, _PATH))[4:] == [gap._replace(end=len(data))]
    assert list(inspection.entries(files, _PATH, behind_damage=True))[4] == gap
    assert len(list(inspection.entries(files, _PATH, behind_damage=True))) == 9


def test_a_record_may_be_trusted_whose_checksum_does_not_match() -> None:
    records = _records(6)
    data = bytearray(HEADER + b"".join(records))
    data[len(HEADER) + len(records[0]) + 60] ^= 1
    data[-1] ^= 1
    files = _log(bytes(data))
    found = list(inspection.entries(files, _PATH, trusting=True))
    zxids = [decode(one[1]).zxid for one in found if not isinstance(one, inspection.Gap)]
    assert zxids == [1, 2, 3, 4, 5]
    start = len(HEADER) + sum(map(len, records[:5]))
    assert found[-1] == inspection.Gap(start, len(data), "no end of the record")


def test_snapshots_that_cannot_be_read() -> None:
    _, files = disk()
    store = Store(files, Config(data_dir="data"), Random(1))
    author = Author(0, store.recover())
    author.some(3)
    writer = store.begin_snapshot(author.tree)
    while not writer.step(10):
        pass
    path = writer.finish()
    files.open(f"{DIRECTORY}/snapshot.9").truncate(0)
    files.open(path).write(60, b"\xff")
    states = [(snap.zxid, snap.state) for snap in inspection.snapshots(files, _PLACE)]
    assert states == [(9, State.EMPTY), (3, State.DAMAGED), (0, State.WHOLE)]


def test_the_newest_txn_of_which_a_snapshot_may_hold_something() -> None:
    found = snapshot.read(OSFiles(), str(HERE / "snapshot.93"))
    assert inspection.fuzzy_until(found) == 0x93
    bare = found._replace(digest_zxid=None, digest=None)
    bare.tree.zxid = 1
    assert inspection.fuzzy_until(bare) == 0x93, "what a znode was last set by"


def test_files_of_others() -> None:
    _, files = disk()
    for name in ("log.1", "snapshot.2.gz", "currentEpoch", "log.1.bak", "unfinished.snapshot.3"):
        files.open(f"{DIRECTORY}/{name}")
    assert inspection.strangers(files, _PLACE) == [f"{DIRECTORY}/log.1.bak"]
    apart = Place("data", "logs")
    files.make_directory("logs/version-2")
    files.open("logs/version-2/snapshot.1")
    assert inspection.strangers(files, apart) == [
        f"{DIRECTORY}/log.1",
        f"{DIRECTORY}/log.1.bak",
        "logs/version-2/snapshot.1",
    ]
