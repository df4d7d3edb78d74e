"""The log: what is acknowledged is there after any crash, and nothing else pretends to be."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from coterie.storage import segment, txnlog
from coterie.storage.errors import (
    DamagedLogError,
    LogGapError,
    StorageFailedError,
)
from coterie.storage.segment import HEADER, RECORD_END
from coterie.storage.txnlog import TxnLog, needed, padded, segments
from coterie.system.files import Files, OSFiles
from coterie.testing.files import Disk, FakeFiles, HaltedError
from coterie.wire.entries import decode
from coterie.wire.numbered import Txn
from tests.golden.packets import HERE
from tests.storage.author import DIRECTORY, Author, disk, remount

_KIB = 1024
_BLOCK = 64 * _KIB * _KIB


def _log(files: Files, directory: str = DIRECTORY, **settings: int) -> TxnLog:
    """A log that has been scanned and mended."""
    made = TxnLog(files, directory, **settings)  # type: ignore[arg-type]
    for _ in made.scan(0):
        pass
    made.mend()
    return made


def _zxids(files: Files, after: int = 0) -> list[int]:
    return [txn.zxid for txn in TxnLog(files, DIRECTORY).scan(after)]


def _write(log: TxnLog, *batches: list[Txn]) -> None:
    for batch in batches:
        log.append(batch)
        assert log.sync() == batch[-1].zxid


def _sync(log: TxnLog, files: FakeFiles, descriptor: int | None) -> int:
    """As a thread does it, or with a descriptor as the kernel does."""
    if descriptor is None:
        return log.sync()
    failure: OSError | None = None
    try:
        files.sync(descriptor)
    except OSError as error:
        failure = error
    return log.synced(failure)


def _names(files: Files) -> list[str]:
    return files.names(DIRECTORY)


def test_apaches_txns_are_logged_as_the_same_bytes() -> None:
    golden = TxnLog(OSFiles(), str(HERE))
    txns = list(golden.scan(0))
    _, files = disk()
    log = _log(files)
    _write(log, txns[:1], txns[1:50], txns[50:])
    log.close()
    assert _names(files) == ["log.1"]
    ours = files.read(f"{DIRECTORY}/log.1", 0, 10**6)
    assert ours == (HERE / "log.1").read_bytes()[:-64]


def test_nothing_is_appended_before_the_end_was_looked_at() -> None:
    _, files = disk()
    with pytest.raises(AssertionError):
        TxnLog(files, DIRECTORY).append(Author().some(1))


@pytest.mark.parametrize(
    ("end", "size", "block", "padded_size"),
    [
        (16, 0, _BLOCK, 67_108_864),
        (100, 16, _BLOCK, 67_108_864),
        (67_104_767, 67_108_864, _BLOCK, 67_108_864),
        (67_104_768, 67_108_864, _BLOCK, 2 * 67_108_864),
        (100, 10_000, 4096, 10_000),
        (5000, 4096, 4096, 8192),
        (100, 16, 0, 16),
    ],
)
def test_how_far_ahead_a_file_is_made_longer(
    end: int, size: int, block: int, padded_size: int
) -> None:
    assert padded(end, size, block) == padded_size


def test_blocks_are_reserved_while_writing_and_given_back_afterwards() -> None:
    _, files = disk()
    log = _log(files, prealloc_bytes=64 * _KIB)
    author = Author()
    _write(log, author.some(3))
    path = f"{DIRECTORY}/log.1"
    assert files.size(path) == 64 * _KIB
    data = files.read(path, 0, 10**6)
    log.close()
    assert files.read(path, 0, 10**6) == data.rstrip(b"\0")
    assert data.rstrip(b"\0").endswith(RECORD_END)


def test_a_disk_without_room_for_a_block_still_takes_what_fits() -> None:
    made, files = disk()
    made.capacity = 20_000
    log = _log(files, prealloc_bytes=64 * _KIB)
    _write(log, Author().some(5))
    assert files.size(f"{DIRECTORY}/log.1") < 1000
    assert _zxids(remount(made)) == [1, 2, 3, 4, 5]


def test_after_a_start_a_new_file_is_begun() -> None:
    """As ZooKeeper does; both are read."""
    made, files = disk()
    author = Author()
    _write(_log(files), author.some(3))
    files = remount(made)
    _write(_log(files), author.some(2))
    assert _names(files) == ["log.1", "log.4"]
    assert _zxids(files) == [1, 2, 3, 4, 5]
    assert _zxids(files, 3) == [4, 5]
    assert _zxids(files, 1) == [2, 3, 4, 5]


def test_rolling_begins_a_new_file_with_the_next_batch() -> None:
    _, files = disk()
    author = Author()
    log = _log(files)
    _write(log, author.some(2))
    log.roll()
    assert _names(files) == ["log.1"]
    _write(log, author.some(1), author.some(1))
    assert _names(files) == ["log.1", "log.3"]
    assert _zxids(files) == [1, 2, 3, 4]


def test_a_roll_waits_until_what_was_appended_is_durable() -> None:
    made, files = disk()
    author = Author()
    log = _log(files)
    log.append(author.some(1))
    log.roll()
    log.append(author.some(1))
    assert log.sync() == 2
    _write(log, author.some(1))
    assert _names(files) == ["log.1", "log.3"]
    made.crash()
    assert _zxids(made.mount()) == [1, 2, 3]


def test_a_file_over_its_limit_is_followed_by_another() -> None:
    _, files = disk()
    author = Author()
    log = _log(files, bytes_max=300)
    for _ in range(6):
        _write(log, author.some(1, 100))
    assert _names(files) == ["log.1", "log.3", "log.5"]
    assert log.txns_appended == 6
    log.close()
    records = sum(files.size(path) for path in segments(files, DIRECTORY).values())
    assert log.bytes_appended == records


def test_which_files_may_hold_what_comes_after() -> None:
    assert needed([1, 5, 9], 0) == [1, 5, 9]
    assert needed([1, 5, 9], 3) == [1, 5, 9]
    assert needed([1, 5, 9], 4) == [5, 9]
    assert needed([1, 5, 9], 5) == [5, 9]
    assert needed([1, 5, 9], 100) == [9]
    assert needed([5, 9], 2) == [5, 9]
    assert needed([], 2) == []


def _three_files(files: Files) -> Author:
    author = Author()
    log = _log(files)
    for _ in range(3):
        _write(log, author.some(2))
        log.roll()
    log.close()
    return author


def test_a_missing_file_is_a_gap_that_is_named() -> None:
    _, files = disk()
    _three_files(files)
    files.delete(f"{DIRECTORY}/log.3")
    with pytest.raises(LogGapError) as raised:
        _zxids(files)
    error = raised.value
    assert (error.path, error.last_zxid, error.next_zxid) == (f"{DIRECTORY}/log.5", 2, 5)


def test_a_log_that_begins_after_the_snapshot_is_a_gap() -> None:
    _, files = disk()
    _three_files(files)
    files.delete(f"{DIRECTORY}/log.1")
    assert _zxids(files, 2) == [3, 4, 5, 6]
    with pytest.raises(LogGapError):
        _zxids(files, 1)


def test_a_new_epoch_is_no_gap() -> None:
    _, files = disk()
    author = Author()
    log = _log(files)
    _write(log, author.some(2))
    author.tree.zxid = 7 << 32
    _write(log, author.some(2))
    log.close()
    assert _zxids(files) == [1, 2, (7 << 32) + 1, (7 << 32) + 2]
    author.tree.zxid = (8 << 32) + 1
    _write(_log(files), author.some(1))
    with pytest.raises(LogGapError):
        _zxids(files)


def test_what_apache_logs_twice_under_one_zxid_comes_once() -> None:
    """A multi that it cannot make sense of is logged as an error under the zxid before."""
    _, files = disk()
    author = Author()
    txns = author.some(3)
    doubled = [txns[0], txns[1], Txn(9, 9, 2, 9, -1, decode(txns[1].encoded).body), txns[2]]
    file = files.open(f"{DIRECTORY}/log.1")
    records = [b"".join(segment.record(txn.encoded)) for txn in doubled]
    file.write(0, HEADER + b"".join(records))
    found = list(TxnLog(files, DIRECTORY).scan(0))
    assert [txn.zxid for txn in found] == [1, 2, 3]
    assert found[1].session_id == 1, "the first one counts"


@pytest.mark.parametrize("zeros", [0, 1000])
def test_a_tear_anywhere_is_mended_and_the_log_goes_on(zeros: int) -> None:
    whole, ends = _one_file(3)
    for cut in range(len(whole)):
        made, files = disk()
        files.open(f"{DIRECTORY}/log.1").write(0, whole[:cut] + bytes(zeros))
        log = TxnLog(files, DIRECTORY)
        have = [txn.zxid for txn in log.scan(0)]
        assert have == list(range(1, sum(end <= cut for end in ends)))
        note = log.mend()
        # The second half of the header is zeros as well.
        end = ends[len(have)] if cut + min(zeros, 8) >= len(HEADER) else 0
        assert (note is not None) == bool(whole[end:cut].strip(b"\0"))
        _write(log, Author(len(have)).some(2))
        again = remount(made)
        assert _zxids(again) == list(range(1, len(have) + 3))
        assert TxnLog(again, DIRECTORY).mend() is None


def _one_file(count: int) -> tuple[bytes, list[int]]:
    """A log file of some txns, and the offset behind its header and behind each of them."""
    ends = [len(HEADER)]
    data = HEADER
    for txn in Author().some(count, 10):
        data += b"".join(segment.record(txn.encoded))
        ends.append(len(data))
    return data, ends


def test_mending_says_what_was_cut_off() -> None:
    whole, ends = _one_file(2)
    _, files = disk()
    files.open(f"{DIRECTORY}/log.1").write(0, whole[:-3])
    log = TxnLog(files, DIRECTORY)
    assert [txn.zxid for txn in log.scan(0)] == [1]
    note = log.mend()
    assert note == (
        f"{DIRECTORY}/log.1: cut off what a crash had left unfinished behind byte {ends[1]} "
        "(cut short); the last txn is 0x1"
    )


@pytest.mark.parametrize("data", [b"", HEADER, HEADER + bytes(5000), bytes(5000)])
def test_a_last_file_without_a_txn_makes_way(data: bytes) -> None:
    """An empty one is what a crash right after the creation leaves; Apache deletes it too."""
    made, files = disk()
    author = Author()
    _write(_log(files), author.some(2))
    files.open(f"{DIRECTORY}/log.3").write(0, data)
    log = TxnLog(files, DIRECTORY)
    assert [txn.zxid for txn in log.scan(0)] == [1, 2]
    assert log.mend() is None
    assert _names(files) == ["log.1"]
    _write(log, author.some(1))
    assert _names(files) == ["log.1", "log.3"]
    assert _zxids(remount(made)) == [1, 2, 3]


def test_an_empty_file_in_the_middle_hides_no_gap() -> None:
    _, files = disk()
    _three_files(files)
    files.open(f"{DIRECTORY}/log.3").truncate(0)
    with pytest.raises(LogGapError):
        _zxids(files)
    files.delete(f"{DIRECTORY}/log.5")
    assert _zxids(files) == [1, 2]


def test_damage_before_the_last_file_is_found() -> None:
    _, files = disk()
    _three_files(files)
    files.open(f"{DIRECTORY}/log.3").write(60, b"?")
    with pytest.raises(DamagedLogError) as raised:
        _zxids(files)
    assert (raised.value.path, raised.value.zxid) == (f"{DIRECTORY}/log.3", 2)


def test_a_name_is_durable_with_the_first_sync() -> None:
    for seed in range(20):
        made, files = disk()
        log = _log(files)
        _write(log, Author().some(1))
        made.crash(Random(seed))
        assert _zxids(made.mount()) == [1]


def test_without_force_sync_nothing_is_synced() -> None:
    made, files = disk()
    log = _log(files, force_sync=False)
    _write(log, Author().some(2))
    assert made.syncs == 0
    assert _zxids(remount(made)) == [1, 2]


def test_one_sync_a_batch() -> None:
    made, files = disk()
    author = Author()
    log = _log(files)
    _write(log, author.some(100))
    before = made.syncs
    _write(log, author.some(100))
    assert made.syncs == before + 1


@pytest.mark.interpreted
def test_a_huge_batch_is_synced_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a tear never reaches back further than `segment` looks for one."""
    monkeypatch.setattr(segment, "UNSYNCED_BYTES_MAX", 2000)
    monkeypatch.setattr(txnlog, "UNSYNCED_BYTES_MAX", 2000)
    made, files = disk()
    log = _log(files)
    batch = Author().some(40, 300)
    log.append(batch)
    for seed in range(10):
        copy = made.durable(f"{DIRECTORY}/log.1")
        shown = files.size(f"{DIRECTORY}/log.1")
        assert shown - len(copy) <= 2000, seed
    assert made.syncs >= 6
    assert log.sync() == 40
    assert _zxids(remount(made)) == list(range(1, 41))


# Failures


@pytest.mark.parametrize("by_kernel", [False, True])
def test_a_failed_sync_keeps_the_batch_and_retry_writes_all_of_it_again(by_kernel: bool) -> None:
    """After a failed fsync the pages count as clean: one that is not written again is lost."""
    for seed in range(50):
        made, files = disk()
        made.dice = Random(seed)
        author = Author()
        log = _log(files)
        _write(log, author.some(2))
        descriptor = log.descriptor if by_kernel else None
        made.sync_fails = True
        log.append(author.some(3, 700))
        with pytest.raises(StorageFailedError, match=r"the log cannot be written: .*log\.1: "):
            _sync(log, files, descriptor)
        assert log.descriptor is None
        with pytest.raises(StorageFailedError):
            log.append(author.some(2))
        with pytest.raises(StorageFailedError):
            log.sync()
        with pytest.raises(StorageFailedError):
            log.retry()
        made.sync_fails = False
        assert log.retry() == 7
        _write(log, author.some(1))
        made.crash(Random(seed))
        assert _zxids(made.mount()) == list(range(1, 9))


def test_a_sync_that_failed_at_the_first_batch_of_a_file() -> None:
    made, files = disk()
    author = Author()
    log = _log(files)
    made.sync_fails = True
    log.append(author.some(2))
    with pytest.raises(StorageFailedError):
        log.sync()
    made.sync_fails = False
    assert log.retry() == 2
    made.crash(Random(3))
    assert _zxids(made.mount()) == [1, 2]


def _fill(log: TxnLog, author: Author) -> None:
    for _ in range(200):
        log.append(author.some(1, 300))
        log.sync()


@pytest.mark.parametrize("prealloc_bytes", [0, 4096])
def test_a_full_disk_refuses_and_takes_it_up_again(prealloc_bytes: int) -> None:
    for room in range(0, 1500, 37):
        made, files = disk()
        author = Author()
        log = _log(files, prealloc_bytes=prealloc_bytes)
        _write(log, author.some(2))
        made.capacity = made.used + room
        with pytest.raises(StorageFailedError, match="No space left"):
            _fill(log, author)
        last_zxid = author.tree.zxid
        with pytest.raises(StorageFailedError):
            log.retry()
        made.capacity = None
        assert log.retry() == last_zxid
        made.crash(Random(room))
        assert _zxids(made.mount()) == list(range(1, last_zxid + 1))


def test_a_disk_that_is_full_at_the_first_file() -> None:
    made, files = disk()
    made.capacity = 10
    log = _log(files)
    with pytest.raises(StorageFailedError):
        log.append(Author().some(1))
    made.capacity = None
    assert log.retry() == 1
    made.crash(Random(1))
    assert _zxids(made.mount()) == [1]


def test_after_a_failure_a_crash_leaves_all_that_was_acknowledged() -> None:
    for seed in range(100):
        dice = Random(seed)
        made, files = disk()
        made.dice = dice
        author = Author()
        log = _log(files)
        _write(log, author.some(3))
        made.sync_fails = True
        log.append(author.some(4, dice.randrange(1000)))
        with pytest.raises(StorageFailedError):
            log.sync()
        made.sync_fails = dice.random() < 0.5
        made.fuse = dice.randrange(4)
        acknowledged = 3
        with suppress(StorageFailedError, HaltedError):
            acknowledged = log.retry()
        made.crash(dice)
        found = _zxids(made.mount())
        assert found == list(range(1, len(found) + 1)), f"seed {seed}"
        assert len(found) >= acknowledged, f"seed {seed}"


def test_who_syncs_the_descriptor_says_so() -> None:
    made, files = disk()
    author = Author()
    log = _log(files, bytes_max=2000)
    log.append(author.some(1))
    assert log.descriptor is None, "the name of the file is not durable yet"
    log.sync()
    for _ in range(2):
        descriptor = log.descriptor
        assert descriptor is not None
        log.append(author.some(2, 300))
        before = log.synced_zxid
        files.sync(descriptor)
        assert log.synced_zxid == before
        assert log.synced(None) == before + 2
    log.append(author.some(2, 300))
    assert _sync(log, files, log.descriptor) == 7
    assert log.descriptor is None, "a new file is due"
    made.crash(Random(1))
    assert _zxids(made.mount()) == list(range(1, 8))


def test_without_force_sync_there_is_nothing_to_be_synced() -> None:
    _, files = disk()
    log = _log(files, force_sync=False)
    _write(log, Author().some(2))
    assert log.descriptor is None


def _write_until_the_power_fails(disk: Disk, author: Author, dice: Random) -> int:
    """The last zxid that was acknowledged."""
    acknowledged = 0
    try:
        files = disk.mount()
        log = TxnLog(files, DIRECTORY, prealloc_bytes=dice.choice((0, 2048)), bytes_max=3000)
        for txn in log.scan(0):
            acknowledged = txn.zxid
        log.mend()
        author.tree.zxid = acknowledged
        for _ in range(100):
            descriptor = log.descriptor if dice.random() < 0.5 else None
            log.append(author.some(dice.randrange(1, 5), dice.randrange(1200)))
            acknowledged = _sync(log, files, descriptor)
            if dice.random() < 0.1:
                log.roll()
    except HaltedError:
        return acknowledged
    raise AssertionError("the power never failed")


@pytest.mark.parametrize("seed", range(40))
def test_whatever_call_the_power_fails_in_what_was_acknowledged_is_there(seed: int) -> None:
    dice = Random(seed)
    made, _ = disk()
    author = Author()
    author.some(1)
    made.kill()
    for _ in range(8):
        made.fuse = dice.randrange(3, 60)
        acknowledged = _write_until_the_power_fails(made, author, dice)
        made.crash(dice)
        found = _zxids(made.mount())
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= acknowledged
        made.kill()


def test_real_files(tmp_path: Path) -> None:
    """The whole way once on the disk of this machine, with Apache's block."""
    directory = str(tmp_path)
    author = Author()
    log = _log(OSFiles(), directory, prealloc_bytes=64 * _KIB)
    _write(log, author.some(10, 500))
    torn = author.some(1)
    path = tmp_path / "log.1"
    with path.open("r+b") as file:
        end = len(path.read_bytes().rstrip(b"\0"))
        file.seek(end)
        file.write(b"".join(segment.record(torn[0].encoded))[:20])
    again = TxnLog(OSFiles(), directory)
    assert [txn.zxid for txn in again.scan(0)] == list(range(1, 11))
    assert again.mend() is not None
    assert path.stat().st_size == end
    _write(again, Author(10).some(1))
    again.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.1", "log.b"]
    assert struct.unpack(">i", (tmp_path / "log.b").read_bytes()[4:8]) == (2,)
