"""A data directory: recovered whole or refused by name, snapshots taken, and purged with care."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from coterie.config import Config
from coterie.core.tree import Tree
from coterie.storage import snapshot, txnlog
from coterie.storage.errors import (
    DamagedLogError,
    DirectoryLockedError,
    LogGapError,
    NoSnapshotError,
    StorageError,
    StorageFailedError,
)
from coterie.storage.store import Store
from coterie.system.files import Files, OSFiles
from coterie.testing.files import Disk, FakeFiles, HaltedError
from coterie.values import OPEN_ACL
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import CreateTxn
from tests.golden.packets import HERE
from tests.storage.author import DIRECTORY, Author, contents, same

_CONFIG = Config(data_dir="data", snap_count=20, prealloc_bytes=0)


def _disk() -> tuple[Disk, FakeFiles]:
    made = Disk("machine", Random(1))
    return made, made.mount()


def _store(files: Files, config: Config = _CONFIG) -> Store:
    return Store(files, config, Random(1))


def _recover(files: Files, config: Config = _CONFIG) -> tuple[Store, Tree]:
    made = _store(files, config)
    try:
        return made, made.recover()
    except StorageError:
        made.close()
        raise


def _snapshot(store: Store, tree: Tree) -> str:
    writer = store.begin_snapshot(tree)
    while not writer.step(100):
        pass
    return writer.finish()


def _fill(files: Files, batches: int = 5, snapshots: int = 0) -> Author:
    """A directory that was served from: some txns, then some more behind each snapshot."""
    store, tree = _recover(files)
    author = Author(0, tree)
    for number in range(snapshots + 1):
        for _ in range(batches):
            store.append_and_sync(author.some(2))
        if number < snapshots:
            _snapshot(store, author.tree)
    store.close()
    return author


def _copy(files: FakeFiles, path: Path, name: str) -> None:
    if DIRECTORY not in files.begin().directories:
        files.make_directory(DIRECTORY)
    files.open(f"{DIRECTORY}/{name}").write(0, path.read_bytes())


# Recovery


def test_a_new_directory_is_an_empty_tree_with_a_durable_snapshot() -> None:
    """ZooKeeper starts on no log without one."""
    made, files = _disk()
    store, tree = _recover(files)
    same(tree, Tree())
    assert store.notes == []
    made.crash(Random(1))
    assert made.paths() == [f"{DIRECTORY}/snapshot.0"]
    same(_recover(made.mount())[1], Tree())


@pytest.mark.parametrize("snapshots", [0, 1, 3])
def test_what_was_logged_comes_back(snapshots: int) -> None:
    made, files = _disk()
    author = _fill(files, snapshots=snapshots)
    made.crash(Random(1))
    store, tree = _recover(made.mount())
    same(tree, author.tree)
    assert tree.checks_digest
    assert tree.digest_mismatches == 0
    assert store.notes == []


def test_apaches_directory_is_recovered_and_gone_on_with() -> None:
    _, files = _disk()
    for name in ("snapshot.93", "log.1"):
        _copy(files, HERE / name, name)
    store, tree = _recover(files)
    assert tree.zxid == 0x93
    assert tree.nodes[b"/m"].data == b"127"
    assert tree.digest_mismatches == 0
    author = Author(0, tree)
    store.append_and_sync(author.some(3))
    store.close()
    assert f"log.{0x94:x}" in files.names(DIRECTORY)
    same(_recover(files)[1], author.tree)


def test_apaches_log_alone_is_recovered_if_that_is_trusted() -> None:
    _, files = _disk()
    _copy(files, HERE / "log.1", "log.1")
    with pytest.raises(NoSnapshotError, match=r"snapshot\.trust\.empty=true"):
        _recover(files)
    tree = _recover(files, replace(_CONFIG, trust_empty_snapshot=True))[1]
    same(tree, snapshot.read(OSFiles(), str(HERE / "snapshot.93")).tree)


def test_a_torn_tail_is_mended_and_noted() -> None:
    made, files = _disk()
    author = _fill(files)
    path = f"{DIRECTORY}/log.1"
    files.open(path).write(files.size(path), b"\0\0\0\0\x12\x34")
    store, tree = _recover(files)
    same(tree, author.tree)
    assert len(store.notes) == 1
    assert store.notes[0].startswith(f"{path}: cut off what a crash had left unfinished")
    store.close()
    assert _recover(made.mount())[0].notes == []


def test_damage_in_the_log_is_no_smaller_tree() -> None:
    _, files = _disk()
    _fill(files)
    files.open(f"{DIRECTORY}/log.1").write(300, b"?")
    with pytest.raises(DamagedLogError):
        _recover(files)


def test_a_damaged_snapshot_makes_room_for_an_older_one() -> None:
    _, files = _disk()
    author = _fill(files, snapshots=2)
    newest = next(iter(snapshot.snapshots(files, DIRECTORY).values()))
    files.open(newest).write(50, b"\xff")
    store, tree = _recover(files)
    same(tree, author.tree)
    assert len(store.notes) == 1
    assert store.notes[0].startswith(f"{newest} is damaged: ")
    assert store.notes[0].endswith("; an older snapshot is used")


def test_no_good_snapshot_names_all_that_is_wrong() -> None:
    _, files = _disk()
    _fill(files, snapshots=1)
    paths = list(snapshot.snapshots(files, DIRECTORY).values())
    for path in paths:
        files.open(path).write(50, b"\xff")
    with pytest.raises(NoSnapshotError) as raised:
        _recover(files)
    assert all(f"{path} is damaged" in str(raised.value) for path in paths)


def test_an_older_snapshot_without_its_log_is_a_gap() -> None:
    _, files = _disk()
    _fill(files, snapshots=1)
    newest = next(iter(snapshot.snapshots(files, DIRECTORY).values()))
    files.delete(newest)
    files.delete(f"{DIRECTORY}/log.1")
    with pytest.raises(LogGapError):
        _recover(files)


def test_a_log_that_ends_before_what_the_snapshot_holds_is_refused() -> None:
    """Or the numbers of the txns that are missing would be given to others."""
    _, files = _disk()
    store, tree = _recover(files)
    author = Author(0, tree)
    store.append_and_sync(author.some(3))
    writer = store.begin_snapshot(author.tree)
    store.append_and_sync(author.some(2))
    while not writer.step(100):
        pass
    path = writer.finish()
    store.close()
    files.delete(f"{DIRECTORY}/log.4")
    with pytest.raises(
        StorageError, match=r"ends at txn 0x3, but the newest snapshot holds .*0x5"
    ):
        _recover(files)
    files.delete(path)
    assert _recover(files)[1].zxid == 3


def test_what_a_crash_left_of_a_snapshot_is_deleted_and_not_read() -> None:
    _, files = _disk()
    author = _fill(files)
    left = [f"unfinished.snapshot.ff{more}" for more in ("", ".nodes")]
    for name in left:
        files.open(f"{DIRECTORY}/{name}").write(0, b"left")
    same(_recover(files)[1], author.tree)
    assert not set(left) & set(files.names(DIRECTORY))


def test_files_that_are_not_ours_are_left_alone() -> None:
    _, files = _disk()
    author = _fill(files)
    others = ["currentEpoch", "log.1.bak", "snapshot.5.tmp", "notes.txt"]
    for name in others:
        files.open(f"{DIRECTORY}/{name}").write(0, b"other")
    store, tree = _recover(files)
    same(tree, author.tree)
    store.purge(1)
    assert set(others) <= set(files.names(DIRECTORY))


def test_ephemerals_without_their_session_go() -> None:
    """A fuzzy snapshot may hold one whose session was closed while it was written."""
    _, files = _disk()
    store, tree = _recover(files)
    author = Author(0, tree)
    body = CreateTxn(b"/e", b"", OPEN_ACL, True, 1)
    store.append_and_sync([author.session(7), author.create(b"/mine", owner=7)])
    store.append_and_sync([author.write(Op.CREATE, body, 99)])
    store.close()
    tree = _recover(files)[1]
    assert tree.ephemerals == {7: {b"/mine"}}
    assert b"/e" not in tree.nodes
    assert tree.zxid == author.tree.zxid


def test_a_log_that_does_not_belong_to_its_snapshot_is_noted() -> None:
    _, files = _disk()
    author = _fill(files, snapshots=1)
    other = Author()
    other.create(b"/other")
    other.some(9)
    assert other.tree.zxid == min(z for z in snapshot.snapshots(files, DIRECTORY) if z)
    writer = snapshot.SnapshotWriter(files, DIRECTORY, other.tree)
    while not writer.step(100):
        pass
    path = writer.finish()
    store = _store(files)
    tree = store.recover()
    assert tree.digest_mismatches > 0, "each later txn says what the digest should be"
    assert contents(tree) != contents(author.tree)
    assert path.endswith("snapshot.a")


def test_a_digest_that_does_not_agree_after_the_replay_is_noted() -> None:
    _, files = _disk()
    store, tree = _recover(files)
    author = Author(0, tree)
    store.append_and_sync(author.some(3))
    writer = store.begin_snapshot(author.tree)
    store.append_and_sync(author.some(2))
    while not writer.step(100):
        pass
    path = writer.finish()
    store.close()
    again = _recover(files)[0]
    assert again.notes == []
    again.close()
    found = snapshot.read(files, path)
    assert (found.tree.zxid, found.digest_zxid) == (3, 5)
    # The log is replaced by one that says something else of the txns in between.
    files.delete(f"{DIRECTORY}/log.4")
    liar = Author(3, found.tree)
    log = txnlog.TxnLog(files, DIRECTORY)
    assert [txn.zxid for txn in log.scan(3)] == []
    log.mend()
    log.append([liar.set(b"/n", b"a lie"), liar.set(b"/n", b"another")])
    log.sync()
    log.close()
    made, tree = _recover(files)
    assert len(made.notes) == 1
    assert "snapshot and log do not belong together" in made.notes[0]
    assert tree.digest_mismatches >= 1


@pytest.mark.parametrize("seed", range(20))
def test_whatever_call_the_power_fails_in_what_was_acknowledged_comes_back(seed: int) -> None:
    dice = Random(seed)
    made, _ = _disk()
    acknowledged: list[Txn] = []
    for _ in range(6):
        made.fuse = dice.randrange(5, 250)
        acknowledged = _serve_until_the_power_fails(made, dice, acknowledged)
        made.crash(dice)
    tree = _recover(made.mount())[1]
    expected = Tree()
    for txn in acknowledged:
        expected.apply(txn)
    assert tree.zxid >= expected.zxid
    if tree.zxid == expected.zxid:
        assert contents(tree) == contents(expected)
    assert tree.digest_mismatches == 0


def _serve_until_the_power_fails(disk: Disk, dice: Random, known: list[Txn]) -> list[Txn]:
    """Recover, write and take snapshots; every txn that was acknowledged since the beginning."""
    acknowledged = list(known)
    try:
        store, tree = _recover(disk.mount())
        last = acknowledged[-1].zxid if acknowledged else 0
        assert tree.zxid >= last
        assert tree.digest_mismatches == 0
        # What was durable and not acknowledged may be there as well.
        logs = txnlog.TxnLog(disk.mount(), DIRECTORY)
        acknowledged += [txn for txn in logs.scan(last) if txn.zxid <= tree.zxid]
        store.close()
        store, tree = _recover(disk.mount())
        author = Author(0, tree)
        for _ in range(100):
            batch = author.some(dice.randrange(1, 4), dice.randrange(300))
            store.append_and_sync(batch)
            acknowledged += batch
            if store.wants_snapshot:
                _snapshot(store, author.tree)
    except HaltedError:
        return acknowledged
    raise AssertionError("the power never failed")


# Failures


def test_a_directory_belongs_to_one_server_at_a_time() -> None:
    _, files = _disk()
    first, _ = _recover(files)
    with pytest.raises(DirectoryLockedError, match=r"^data is in use by another server$"):
        _recover(files)
    first.close()
    _recover(files)


def test_a_real_directory_belongs_to_one_server_at_a_time(tmp_path: Path) -> None:
    config = replace(_CONFIG, data_dir=str(tmp_path / "data"))
    first, _ = _recover(OSFiles(), config)
    with pytest.raises(DirectoryLockedError):
        _recover(OSFiles(), config)
    first.close()
    second, _ = _recover(OSFiles(), config)
    second.close()


def test_a_second_try_that_was_refused_does_not_let_go_of_the_first(tmp_path: Path) -> None:
    config = replace(_CONFIG, data_dir=str(tmp_path / "data"))
    first, _ = _recover(OSFiles(), config)
    refused = _store(OSFiles(), config)
    with pytest.raises(DirectoryLockedError):
        refused.recover()
    refused.close()
    with pytest.raises(DirectoryLockedError):
        _recover(OSFiles(), config)
    first.close()


def test_a_directory_that_cannot_be_made_is_one_line_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    config = replace(_CONFIG, data_dir=str(tmp_path / "file" / "data"))
    with pytest.raises(StorageError, match=r"^the data directory cannot be used: .*/file.*: "):
        _recover(OSFiles(), config)


def test_a_disk_that_is_full_at_the_start_is_one_line() -> None:
    made, files = _disk()
    made.capacity = 10
    with pytest.raises(StorageError, match="No space left"):
        _recover(files)


def test_a_log_that_fails_is_taken_up_again() -> None:
    made, files = _disk()
    store, tree = _recover(files)
    author = Author(0, tree)
    store.append_and_sync(author.some(2))
    made.sync_fails = True
    with pytest.raises(StorageFailedError):
        store.append_and_sync(author.some(2))
    with pytest.raises(StorageFailedError):
        store.append_and_sync(author.some(2))
    made.sync_fails = False
    assert store.retry() == 6
    made.crash(Random(1))
    same(_recover(made.mount())[1], author.tree)


# Snapshots


def test_a_snapshot_is_wanted_after_so_many_txns_and_half_by_chance() -> None:
    wanted: set[int] = set()
    for seed in range(30):
        _, files = _disk()
        store = Store(files, replace(_CONFIG, snap_count=20), Random(seed))
        author = Author(0, store.recover())
        while not store.wants_snapshot:
            store.append_and_sync(author.some(1))
        wanted.add(author.tree.zxid)
        _snapshot(store, author.tree)
        assert not store.wants_snapshot
    assert min(wanted) >= 10
    assert max(wanted) <= 20
    assert len(wanted) > 5


def test_a_snapshot_is_wanted_after_so_many_bytes() -> None:
    _, files = _disk()
    store = _store(files, replace(_CONFIG, snap_count=10**6, snap_log_bytes=10_000))
    author = Author(0, store.recover())
    while not store.wants_snapshot:
        store.append_and_sync(author.some(1, 500))
    assert 5_000 < files.size(f"{DIRECTORY}/log.1") < 10_600


def test_a_log_of_one_file_begins_anew_with_the_snapshot() -> None:
    _, files = _disk()
    _fill(files, batches=1, snapshots=2)
    assert files.names(DIRECTORY) == [
        *("log.1", "log.3", "log.5", "snapshot.0", "snapshot.2", "snapshot.4")
    ]


def test_logs_may_be_in_a_directory_of_their_own() -> None:
    made, files = _disk()
    config = replace(_CONFIG, data_log_dir_given="logs")
    store, tree = _recover(files, config)
    author = Author(0, tree)
    store.append_and_sync(author.some(2))
    with pytest.raises(DirectoryLockedError):
        _recover(files, replace(_CONFIG, data_dir="other", data_log_dir_given="logs"))
    store.close()
    made.crash(Random(1))
    assert made.paths() == ["data/version-2/snapshot.0", "logs/version-2/log.1"]
    same(_recover(made.mount(), config)[1], author.tree)


def test_sizes_are_those_of_the_files() -> None:
    _, files = _disk()
    _fill(files, snapshots=1)
    store, _ = _recover(files)
    names = files.names(DIRECTORY)
    of_kind = [
        sum(files.size(f"{DIRECTORY}/{name}") for name in names if name.startswith(kind))
        for kind in ("snapshot", "log")
    ]
    assert store.sizes() == tuple(of_kind)


# Purging


def _kept(files: FakeFiles) -> list[str]:
    return files.names(DIRECTORY)


def test_a_purge_keeps_the_newest_snapshots_and_the_logs_they_need() -> None:
    made, files = _disk()
    author = _fill(files, batches=1, snapshots=5)
    store, _ = _recover(files)
    gone = store.purge(2)
    assert _kept(files) == ["log.9", "log.b", "snapshot.8", "snapshot.a"]
    assert len(gone) == 4 + 4
    assert store.purge(2) == []
    store.close()
    newest = f"{DIRECTORY}/snapshot.a"
    files.open(newest).write(50, b"\xff")
    same(_recover(made.mount())[1], author.tree)


def test_a_purge_does_not_count_what_is_not_whole() -> None:
    """Or else the only good one could be deleted in favour of it."""
    _, files = _disk()
    _fill(files, batches=1, snapshots=3)
    files.open(f"{DIRECTORY}/snapshot.6").truncate(100)
    files.open(f"{DIRECTORY}/snapshot.4").truncate(0)
    store, _ = _recover(files)
    store.purge(1)
    assert _kept(files) == [*("log.3", "log.5", "log.7", "snapshot.2", "snapshot.4", "snapshot.6")]


def test_a_purge_without_a_whole_snapshot_deletes_nothing() -> None:
    _, files = _disk()
    store, _ = _recover(files)
    files.open(f"{DIRECTORY}/snapshot.0").truncate(0)
    before = _kept(files)
    assert store.purge(1) == []
    assert _kept(files) == before


def test_a_purge_keeps_the_log_that_a_snapshot_was_begun_in() -> None:
    """A file that begins before the snapshot may go on behind it."""
    _, files = _disk()
    store, tree = _recover(files)
    author = Author(0, tree)
    store.append_and_sync(author.some(3))
    writer = store.begin_snapshot(author.tree)
    while not writer.step(100):
        pass
    writer.finish()
    store.close()
    # As after a crash before the log had rolled: the next file does not begin with the snapshot.
    log = txnlog.TxnLog(files, DIRECTORY)
    assert len(list(log.scan(0))) == 3
    store, _ = _recover(files)
    store.purge(1)
    assert _kept(files) == ["log.1", "snapshot.3"]


def test_real_files(tmp_path: Path) -> None:
    """The whole way once on the disk of this machine, from Apache's files on."""
    config = replace(_CONFIG, data_dir=str(tmp_path), prealloc_bytes=65536)
    version = tmp_path / "version-2"
    version.mkdir()
    shutil.copy(HERE / "log.1", version)
    shutil.copy(HERE / "snapshot.93.gz", version)
    store, tree = _recover(OSFiles(), config)
    author = Author(0, tree)
    store.append_and_sync(author.some(5))
    _snapshot(store, author.tree)
    store.append_and_sync(author.some(5))
    store.close()
    store, tree = _recover(OSFiles(), config)
    same(tree, author.tree)
    assert store.notes == []
    store.purge(1)
    store.close()
    assert sorted(path.name for path in version.iterdir()) == ["log.99", "snapshot.98"]
