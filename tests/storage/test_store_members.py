"""What a member asks of its data directory: epochs, a history cut off or replaced, log reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from coterie.config import Config
from coterie.core.effects import Epochs
from coterie.core.tree import Tree
from coterie.ensemble import Ensemble
from coterie.storage.errors import StorageError, StorageFailedError
from coterie.storage.store import Store
from coterie.system.files import Files, OSFiles
from coterie.testing.files import Disk, FakeFiles, HaltedError
from coterie.wire.entries import decode
from coterie.wire.numbered import Txn
from tests.storage.author import DIRECTORY, Author, contents, same

_ENSEMBLE = Ensemble.parse("server.1=a:1:2\nserver.2=b:1:2")
_CONFIG = Config(
    data_dir="data",
    prealloc_bytes=0,
    log_bytes_max=400,
    ensemble=_ENSEMBLE,
    server_id=1,
)
_SECOND = 2 << 32


def _disk() -> tuple[Disk, FakeFiles]:
    made = Disk("machine", Random(1))
    return made, made.mount()


def _open(files: Files, config: Config = _CONFIG) -> tuple[Store, Tree]:
    store = Store(files, config, Random(1))
    return store, store.recover()


def _txns(count: int = 12, epochs: int = 2) -> list[Txn]:
    """Some txns of each epoch, of which the first is 1."""
    author = Author()
    txns: list[Txn] = []
    for epoch in range(1, epochs + 1):
        author.tree.zxid = epoch << 32
        txns += author.some(count)
    return txns


def _tree(txns: list[Txn], zxid: int) -> Tree:
    """What a tree is after `zxid`."""
    tree = Tree()
    for txn in txns:
        if txn.zxid <= zxid:
            tree.apply(decode(txn.encoded))
    tree.zxid = zxid
    return tree


def _snapshot(store: Store, tree: Tree, meanwhile: Callable[[], None] = lambda: None) -> None:
    writer = store.begin_snapshot(tree)
    meanwhile()
    while not writer.step(100):
        pass
    writer.finish()


def _fill(files: Files, txns: list[Txn], snapshots: tuple[int, ...] = ()) -> None:
    """A directory to which `txns` were logged, with a snapshot behind each of some of them."""
    store, _ = _open(files)
    store.save_epochs(Epochs(9, 9))
    for number, txn in enumerate(txns):
        store.append_and_sync([txn])
        if number in snapshots:
            _snapshot(store, _tree(txns, txn.zxid))
    store.close()


def _left(files: FakeFiles, kind: str) -> list[str]:
    return [name for name in files.names(DIRECTORY) if name.startswith(kind)]


def _at_every_step(
    fill: Callable[[FakeFiles], None],
    act: Callable[[Store], object],
    check: Callable[[Tree, Store], None],
) -> int:
    """Let the power fail, or the process be killed, at every call that `act` makes; then `check`
    what a second start finds, and a third one after the power failed. How many steps there are."""
    for fuse in range(300):
        dice = Random(fuse)
        made, files = _disk()
        fill(files)
        store, _ = _open(files)
        made.fuse, made.fuse_kills = fuse, bool(fuse % 2)
        try:
            act(store)
        except HaltedError:
            if made.fuse_kills:
                made.kill()
            else:
                made.crash(dice)
            store, tree = _open(made.mount())
            check(tree, store)
            made.crash(dice)
            _, again = _open(made.mount())
            same(again, tree)
            continue
        made.crash(dice)
        store, tree = _open(made.mount())
        check(tree, store)
        return fuse
    raise AssertionError("it never came to an end")


# Epochs


def test_epochs_are_kept() -> None:
    made, files = _disk()
    store, _ = _open(files)
    assert store.epochs == Epochs(0, 0)
    store.save_epochs(Epochs(3, 2))
    assert store.epochs == Epochs(3, 2)
    made.crash(Random(1))
    assert _open(made.mount())[0].epochs == Epochs(3, 2)


def test_epochs_that_the_disk_does_not_take() -> None:
    made, files = _disk()
    store, _ = _open(files)
    made.sync_fails = True
    with pytest.raises(StorageFailedError, match="the epochs cannot be written: data/"):
        store.save_epochs(Epochs(3, 2))
    assert store.epochs == Epochs(0, 0)
    made.sync_fails = False
    store.save_epochs(Epochs(3, 2))
    made.crash(Random(1))
    assert _open(made.mount())[0].epochs == Epochs(3, 2)


def test_epochs_that_do_not_belong_to_the_log_are_an_error() -> None:
    _, files = _disk()
    _fill(files, _txns())
    files.open(f"{DIRECTORY}/acceptedEpoch").write(0, b"1")
    with pytest.raises(StorageError, match="acceptedEpoch says 1, but currentEpoch is of epoch 9"):
        _open(files)


def test_a_server_alone_has_no_epochs() -> None:
    _, files = _disk()
    store, _ = _open(files, replace(_CONFIG, ensemble=None))
    assert (_left(files, "accepted"), _left(files, "current")) == ([], [])
    assert store.epochs == Epochs(0, 0)


def test_the_last_txn_that_is_durable() -> None:
    made, files = _disk()
    txns = _txns()
    store, _ = _open(files)
    assert store.logged_zxid == 0
    store.save_epochs(Epochs(1, 1))
    store.append_and_sync(txns[:5])
    assert store.logged_zxid == txns[4].zxid
    made.sync_fails = True
    with pytest.raises(StorageFailedError):
        store.append_and_sync(txns[5:6])
    assert store.logged_zxid == txns[4].zxid
    made.sync_fails = False
    store.retry()
    assert store.logged_zxid == txns[5].zxid
    made.crash(Random(1))
    assert _open(made.mount())[0].logged_zxid == txns[5].zxid


# A history that is cut off


@pytest.mark.parametrize("number", range(24))
def test_cutting_off_behind_any_txn(number: int) -> None:
    made, files = _disk()
    txns = _txns()
    _fill(files, txns, snapshots=(5, 14, 20))
    store, _ = _open(files)
    zxid = txns[number].zxid
    same(store.truncate_after(zxid), _tree(txns, zxid))
    assert store.logged_zxid == zxid
    assert "intent" not in files.names(DIRECTORY)
    other = Author(zxid, _tree(txns, zxid))
    other.tree.zxid = 3 << 32
    store.append_and_sync(other.some(3))
    made.crash(Random(number))
    store, tree = _open(made.mount())
    same(tree, other.tree)
    assert store.notes == []


def test_cutting_off_where_an_epoch_begins() -> None:
    """A leader that has no txn of its epoch yet calls its last one by the epoch's number."""
    made, files = _disk()
    txns = _txns()
    _fill(files, txns)
    store, _ = _open(files)
    same(store.truncate_after(_SECOND), _tree(txns, _SECOND))
    made.crash(Random(1))
    assert _open(made.mount())[1].zxid == txns[11].zxid


@pytest.mark.parametrize("number", [0, 5, 8, 14, 23])
def test_a_crash_while_cutting_off_leaves_it_undone_or_done(number: int) -> None:
    txns = _txns()
    zxid = txns[number].zxid
    seen = set()

    def check(tree: Tree, store: Store) -> None:
        same(tree, _tree(txns, tree.zxid))
        assert store.logged_zxid == tree.zxid
        seen.add(tree.zxid)

    steps = _at_every_step(
        lambda files: _fill(files, txns, snapshots=(5, 14, 20)),
        lambda store: store.truncate_after(zxid),
        check,
    )
    assert steps > 10
    assert seen == {zxid, txns[-1].zxid}


@pytest.mark.parametrize(
    ("zxid", "reason"),
    [
        (_SECOND - 2**32, "has no snapshot of txn 0x100000000 or before"),
        ((1 << 32) + 3, "has no snapshot of txn 0x100000003 or before"),
        ((1 << 32) + 13, "does not hold txn 0x10000000d"),
        (_SECOND + 13, "does not hold txn 0x20000000d"),
        (3 << 32, "does not hold txn 0x300000000"),
    ],
)
def test_cutting_off_where_the_state_is_not_known(zxid: int, reason: str) -> None:
    _, files = _disk()
    txns = _txns()
    _fill(files, txns, snapshots=(5,))
    files.delete(f"{DIRECTORY}/snapshot.0")
    store, _ = _open(files)
    before = files.names(DIRECTORY)
    with pytest.raises(StorageError, match=reason):
        store.truncate_after(zxid)
    assert files.names(DIRECTORY) == before
    other = Author(0, _tree(txns, txns[-1].zxid))
    store.append_and_sync(other.some(1))
    store.close()
    same(_open(files)[1], other.tree)


def test_a_snapshot_at_that_txn_needs_no_log() -> None:
    made, files = _disk()
    txns = _txns()
    _fill(files, txns, snapshots=(11,))
    for name in _left(files, "log.1"):
        files.delete(f"{DIRECTORY}/{name}")
    store, _ = _open(files)
    same(store.truncate_after(txns[11].zxid), _tree(txns, txns[11].zxid))
    assert _left(files, "log.") == []
    made.crash(Random(1))
    same(_open(made.mount())[1], _tree(txns, txns[11].zxid))


def test_a_snapshot_that_holds_later_txns_goes_too() -> None:
    """It was begun at the fourth txn, and the sixth came while it was written."""
    _, files = _disk()
    txns = _txns()
    _fill(files, txns[:4])
    store, tree = _open(files)

    def meanwhile() -> None:
        store.append_and_sync(txns[4:6])
        for txn in txns[4:6]:
            tree.apply(decode(txn.encoded))

    _snapshot(store, tree, meanwhile)
    assert f"snapshot.{txns[3].zxid:x}" in files.names(DIRECTORY)
    same(store.truncate_after(txns[4].zxid), _tree(txns, txns[4].zxid))
    assert _left(files, "snapshot.") == ["snapshot.0"]
    store.close()
    same(_open(files)[1], _tree(txns, txns[4].zxid))


def test_a_compressed_snapshot_beside_another_does_not_come_back() -> None:
    _, files = _disk()
    txns = _txns()
    _fill(files, txns, snapshots=(7,))
    name = f"snapshot.{txns[7].zxid:x}.gz"
    files.open(f"{DIRECTORY}/{name}").write(0, b"\x1f\x8b")
    store, _ = _open(files)
    store.truncate_after(txns[3].zxid)
    assert _left(files, "snapshot.") == ["snapshot.0"]


def test_cutting_off_on_a_disk_that_fails_can_be_tried_again() -> None:
    made, files = _disk()
    txns = _txns()
    _fill(files, txns, snapshots=(14,))
    store, _ = _open(files)
    made.sync_fails = True
    with pytest.raises(StorageFailedError, match="the log cannot be cut off: data/"):
        store.truncate_after(txns[3].zxid)
    made.sync_fails = False
    same(store.truncate_after(txns[3].zxid), _tree(txns, txns[3].zxid))
    made.crash(Random(1))
    same(_open(made.mount())[1], _tree(txns, txns[3].zxid))


# A history that is replaced


def _other(zxid: int) -> Tree:
    """The tree of a leader that this member knows nothing of."""
    author = Author()
    author.session(5)
    author.create(b"/leader", b"its own")
    author.create(b"/leader/mine")
    author.tree.zxid = zxid
    return author.tree


_INSTALLED = [3 << 32, (3 << 32) + 5, _SECOND + 3, _SECOND, (1 << 32) + 4]


@pytest.mark.parametrize("zxid", _INSTALLED)
def test_a_leaders_tree_takes_the_place_of_all(zxid: int) -> None:
    made, files = _disk()
    _fill(files, _txns(), snapshots=(3, 14, 20))
    store, _ = _open(files)
    store.install(_other(zxid))
    assert store.logged_zxid == zxid
    assert _left(files, "snapshot.") == [f"snapshot.{zxid:x}"]
    assert _left(files, "log.") == []
    author = Author(0, _other(zxid))
    store.append_and_sync(author.some(3))
    assert _left(files, "log.") == [f"log.{zxid + 1:x}"]
    made.crash(Random(1))
    store, tree = _open(made.mount())
    same(tree, author.tree)
    assert store.notes == []


def test_a_leaders_tree_may_be_ahead_of_its_zxid() -> None:
    """Apache's leader goes on while it sends: the txns that follow make the tree exact, but on
    the way their digests are of another one."""
    author = Author()
    author.tree.zxid = 1 << 32
    txns = [author.create(path) for path in (b"/a", b"/b", b"/c")]
    _, files = _disk()
    store, _ = _open(files)
    store.save_epochs(Epochs(1, 1))
    image = _tree(txns, txns[2].zxid)
    image.zxid = txns[0].zxid
    image.checks_digest = False
    store.install(image)
    store.append_and_sync(txns[1:])
    store.close()
    _, tree = _open(files)
    same(tree, author.tree)
    assert tree.digest_mismatches == 0


@pytest.mark.parametrize("zxid", _INSTALLED)
def test_a_crash_while_replacing_leaves_old_or_new(zxid: int) -> None:
    txns = _txns()
    old, new = _tree(txns, txns[-1].zxid), _other(zxid)
    mixed = _other(zxid)
    for txn in txns:
        if txn.zxid > zxid:
            mixed.apply(decode(txn.encoded))
    seen: list[int] = []

    def check(tree: Tree, store: Store) -> None:
        known = [contents(each) for each in (old, new, mixed)]
        assert contents(tree) in known
        seen.append(known.index(contents(tree)))
        assert store.logged_zxid == tree.zxid

    _at_every_step(
        lambda files: _fill(files, txns, snapshots=(3, 14, 20)),
        lambda store: store.install(new),
        check,
    )
    assert seen[0] == 0
    assert seen[-1] == 1


def test_replacing_on_a_disk_that_fails_can_be_tried_again() -> None:
    made, files = _disk()
    txns = _txns()
    _fill(files, txns)
    store, _ = _open(files)
    made.sync_fails = True
    with pytest.raises(StorageFailedError, match="cannot be written"):
        store.install(_other(_SECOND))
    made.sync_fails = False
    store.install(_other(_SECOND))
    made.crash(Random(1))
    same(_open(made.mount())[1], _other(_SECOND))


# The log, read for another member


def _since(store: Store, after: int, until: int, bytes_max: int = 10**6) -> list[int] | None:
    txns = store.log_since(after, until, bytes_max)
    return None if txns is None else [txn.zxid for txn in txns]


def test_the_log_is_read_between_any_two_txns() -> None:
    _, files = _disk()
    txns = _txns(8)
    _fill(files, txns)
    store, _ = _open(files)
    zxids = [txn.zxid for txn in txns]
    assert len(_left(files, "log.")) > 2
    for after in range(len(zxids)):
        for until in range(after, len(zxids)):
            assert _since(store, zxids[after], zxids[until]) == zxids[after + 1 : until + 1]
    found = store.log_since(zxids[2], zxids[3], 10**6)
    assert found is not None
    assert [txn.encoded for txn in found] == [txns[3].encoded]


def test_the_log_is_read_from_its_beginning_and_from_that_of_an_epoch() -> None:
    _, files = _disk()
    txns = _txns(4)
    _fill(files, txns)
    store, _ = _open(files)
    zxids = [txn.zxid for txn in txns]
    assert _since(store, 0, zxids[2]) == zxids[:3]
    assert _since(store, 1 << 32, zxids[2]) == zxids[:3]
    assert _since(store, _SECOND, zxids[6]) == zxids[4:7]
    assert _since(store, zxids[1], _SECOND) == zxids[2:4]
    assert _since(store, zxids[1], 3 << 32) == zxids[2:]
    assert _since(store, _SECOND, _SECOND) == []


def test_where_the_log_does_not_tell() -> None:
    _, files = _disk()
    txns = _txns(8)
    _fill(files, txns, snapshots=(5,))
    store, _ = _open(files)
    zxids = [txn.zxid for txn in txns]
    assert _since(store, zxids[7] + 1, zxids[9]) is None
    assert _since(store, zxids[7] + 1, _SECOND) is None
    assert _since(store, zxids[2], zxids[-1] + 1) is None
    encoded = sum(len(txn.encoded) for txn in txns[3:6])
    assert _since(store, zxids[2], zxids[5], encoded) == zxids[3:6]
    assert _since(store, zxids[2], zxids[5], encoded - 1) is None
    store.purge(1)
    assert _since(store, 0, zxids[-1]) is None
    assert _since(store, 1 << 32, zxids[-1]) is None
    assert _since(store, zxids[2], zxids[-1]) is None
    assert _since(store, zxids[9], zxids[-1]) == zxids[10:]
    files.delete(f"{DIRECTORY}/{_left(files, 'log.')[-2]}")
    assert _since(store, zxids[9], zxids[-1]) is None


def test_txns_that_are_missing_between_two_epochs() -> None:
    """Apache's server keeps its old log when it gets the whole tree of a leader."""
    _, files = _disk()
    txns = _txns(4)
    _fill(files, txns[:3])
    store, _ = _open(files)
    _snapshot(store, _tree(txns, txns[3].zxid))
    store.append_and_sync(txns[4:])
    assert _since(store, txns[1].zxid, txns[2].zxid) == [txns[2].zxid]
    assert _since(store, txns[1].zxid, txns[5].zxid) is None


def test_the_log_is_read_while_it_is_appended_to() -> None:
    """Beyond the txn that is asked for, anything may stand there at that moment."""
    _, files = _disk()
    txns = _txns(4, epochs=1)
    config = replace(_CONFIG, prealloc_bytes=4096, log_bytes_max=0)
    store, _ = _open(files, config)
    store.append_and_sync(txns[:3])
    [path] = [f"{DIRECTORY}/{name}" for name in _left(files, "log.")]
    end = len(files.read(path, 0, 10**6).rstrip(b"\0"))
    for half in (b"\0" * 7 + b"\1", b"\0\0\0\0\xff\xff\xff\xff\0\0\0\x40half of a record"):
        files.open(path).write(end, half)
        assert _since(store, txns[0].zxid, txns[2].zxid) == [txns[1].zxid, txns[2].zxid]
        assert _since(store, txns[0].zxid, txns[3].zxid) is None


def test_how_much_of_the_log_is_worth_sending() -> None:
    _, files = _disk()
    _fill(files, _txns(), snapshots=(3,))
    newest = _left(files, "snapshot.")[-1]
    size = files.size(f"{DIRECTORY}/{newest}")
    for factor, worth in ((0.5, size // 2), (1.0, size), (-1.0, 0), (0.0, 2**27)):
        store, _ = _open(files, replace(_CONFIG, snapshot_size_factor=factor))
        assert store.log_bytes_worth_sending() == worth
        store.close()


def test_real_files(tmp_path: Path) -> None:
    config = replace(_CONFIG, data_dir=str(tmp_path / "data"), prealloc_bytes=4096)
    config = replace(config, data_log_dir_given=str(tmp_path / "log"))
    txns = _txns()
    store, _ = _open(OSFiles(), config)
    store.save_epochs(Epochs(4, 4))
    store.append_and_sync(txns[:10])
    _snapshot(store, _tree(txns, txns[9].zxid))
    store.append_and_sync(txns[10:])
    same(store.truncate_after(txns[6].zxid), _tree(txns, txns[6].zxid))
    store.close()
    store, tree = _open(OSFiles(), config)
    same(tree, _tree(txns, txns[6].zxid))
    store.install(_other(3 << 32))
    store.close()
    store, tree = _open(OSFiles(), config)
    same(tree, _other(3 << 32))
    assert store.epochs == Epochs(4, 4)
    store.close()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "acceptedEpoch",
        "currentEpoch",
        "snapshot.300000000",
    ]
