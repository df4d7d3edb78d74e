"""Snapshots: Apache's are read, ours are made alike, and none that is not whole is believed."""

from __future__ import annotations

import gzip
import struct
from random import Random
from typing import NamedTuple
from zlib import adler32

import pytest

from coterie.core.tree import Tree
from coterie.storage import snapshot
from coterie.storage.errors import DamagedSnapshotError, StorageFailedError
from coterie.storage.snapshot import SnapshotWriter
from coterie.storage.txnlog import TxnLog
from coterie.system.files import Files, OSFiles
from coterie.testing.files import FakeFiles, HaltedError
from coterie.values import ACL, OPEN_ACL, Id
from coterie.wire.cursor import Reader, read_acls
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import SetACLTxn
from tests.golden.packets import HERE
from tests.storage.author import DIRECTORY, Author, contents, disk, same

_GOLDEN = HERE / "snapshot.93"
_SEAL = b"\0\0\0\x01/"


class _Parsed(NamedTuple):
    """A snapshot as `FileSnap` lays it out, read in the plainest way."""

    sessions: dict[int, int]
    nodes: dict[bytes, tuple[object, ...]]
    digest: tuple[int, int, int] | None
    zxid: int | None


def _parse(data: bytes) -> _Parsed:
    reader = Reader(data)
    assert reader.raw(16).hex() == "5a4b534e" + "00000002" + "f" * 16
    sessions = {reader.int64(): reader.int32() for _ in range(reader.int32())}
    acls = {-1: OPEN_ACL}
    for _ in range(reader.int32()):
        acl_id = reader.int64()
        acls[acl_id] = read_acls(reader)
    nodes: dict[bytes, tuple[object, ...]] = {}
    while (path := reader.path()) != b"/":
        parent = path.rpartition(b"/")[0]
        assert path == b"" or parent in nodes, "a parent stands before its children"
        node_data, acl = reader.buffer(), acls[reader.int64()]
        nodes[path] = (node_data, acl, *struct.unpack(">qqqqiiiqq", reader.raw(60)))
    parts: list[tuple[int, ...]] = []
    for form in (None, ">qiq", ">q"):
        if reader.at_end():
            break
        if form is not None:
            parts.append(struct.unpack(form, reader.raw(struct.calcsize(form))))
        assert reader.int64() == adler32(data[: reader.pos - 8])
        assert reader.raw(5) == _SEAL
    assert reader.at_end()
    digest = parts[0] if parts else None
    assert digest is None or len(digest) == 3
    return _Parsed(sessions, nodes, digest, parts[1][0] if len(parts) > 1 else None)


def _replayed() -> Tree:
    """The tree that Apache's log gives from its first txn on."""
    tree = Tree()
    for txn in TxnLog(OSFiles(), str(HERE)).scan(0):
        tree.apply(txn)
    assert tree.digest_mismatches == 0
    return tree


def _writer(files: Files, tree: Tree, digest: bool = True) -> SnapshotWriter:
    return SnapshotWriter(files, DIRECTORY, tree, digest)


def _write(files: Files, tree: Tree, digest: bool = True) -> str:
    writer = _writer(files, tree, digest)
    while not writer.step(3):
        pass
    return writer.finish()


def _bytes(files: FakeFiles, path: str) -> bytes:
    return files.read(path, 0, 10**8)


def _put(files: FakeFiles, name: str, data: bytes) -> str:
    path = f"{DIRECTORY}/{name}"
    file = files.open(path)
    file.truncate(0)
    file.write(0, data)
    return path


def _author() -> Author:
    """A tree that has something of everything."""
    author = Author()
    author.session(7)
    author.session(-9)
    two = (ACL(31, Id("digest", "me:x")), ACL(1, Id("world", "anyone")))
    author.create(b"/a", None)
    author.create(b"/a/x", b"data", two)
    author.create(b"/a/y", b"", two, owner=7)
    author.create("/ü".encode(), bytes(300))
    author.write(Op.SET_ACL, SetACLTxn(b"/a", two[:1], 1))
    for _ in range(3):
        author.set(b"/a", b"again")
    return author


# Apache's


@pytest.mark.parametrize("name", ["snapshot.93", "snapshot.93.gz"])
def test_apaches_snapshot_is_the_tree_that_its_log_gives(name: str) -> None:
    found = snapshot.read(OSFiles(), str(HERE / name))
    assert not found.tree.checks_digest
    same(found.tree, _replayed())
    assert (found.digest_zxid, found.digest) == (0x93, found.tree.digest)


def test_ours_of_the_same_tree_says_the_same_as_apaches() -> None:
    _, files = disk()
    ours = _parse(_bytes(files, _write(files, _replayed())))
    apaches = _parse(_GOLDEN.read_bytes())
    assert ours.sessions == apaches.sessions
    assert ours.nodes == apaches.nodes
    assert ours.digest == apaches.digest
    assert (ours.zxid, apaches.zxid) == (0x93, None), "3.8 does not tell the last zxid yet"


def test_apaches_snappy_is_refused_with_a_way_out() -> None:
    with pytest.raises(DamagedSnapshotError, match=r"snapshot\.compression\.method unset or gz"):
        snapshot.read(OSFiles(), str(HERE / "snapshot.93.snappy"))


@pytest.mark.parametrize("name", ["snapshot.93", "snapshot.93.gz"])
def test_apaches_look_whole(name: str) -> None:
    assert snapshot.looks_whole(OSFiles(), str(HERE / name))


# Names


@pytest.mark.parametrize(
    ("name", "zxid"),
    [
        ("snapshot.0", 0),
        ("snapshot.93", 0x93),
        ("snapshot.100000001.gz", 0x100000001),
        ("snapshot.A.snappy", 10),
        *((name, None) for name in ("snapshot.", "snapshot.5.tmp", "snapshot.g", "log.5")),
        *((name, None) for name in ("unfinished.snapshot.5", "snapshot.5.nodes", "snapshot.5\n")),
    ],
)
def test_names(name: str, zxid: int | None) -> None:
    assert snapshot.zxid_of(name) == zxid


def test_the_newest_comes_first() -> None:
    _, files = disk()
    for name in ("snapshot.9", "snapshot.10", "snapshot.a.gz", "unfinished.snapshot.20", "log.1"):
        _put(files, name, b"")
    assert list(snapshot.snapshots(files, DIRECTORY)) == [0x10, 0xA, 9]


# Writing and reading


def test_what_is_written_comes_back() -> None:
    _, files = disk()
    author = _author()
    path = _write(files, author.tree)
    assert path == f"{DIRECTORY}/snapshot.{author.tree.zxid:x}"
    assert files.names(DIRECTORY) == [path.rpartition("/")[2]]
    found = snapshot.read(files, path)
    same(found.tree, author.tree)
    assert (found.digest_zxid, found.digest) == (author.tree.zxid, author.tree.digest)
    assert _parse(_bytes(files, path)).zxid == author.tree.zxid


@pytest.mark.parametrize("seed", range(20))
def test_any_tree_comes_back(seed: int) -> None:
    dice = Random(seed)
    author = Author()
    for _ in range(dice.randrange(60)):
        author.any(dice)
    _, files = disk()
    same(snapshot.read(files, _write(files, author.tree)).tree, author.tree)


def test_an_empty_tree_says_so_as_apache_does() -> None:
    _, files = disk()
    path = _write(files, Tree())
    parsed = _parse(_bytes(files, path))
    assert parsed.nodes.keys() == {
        *(b"", b"/zookeeper", b"/zookeeper/quota", b"/zookeeper/config")
    }
    assert (parsed.digest, parsed.zxid) == ((0, 2, 0), 0)
    found = snapshot.read(files, path)
    same(found.tree, Tree())
    assert found.digest_zxid is None


def test_without_digests_there_is_only_what_old_servers_wrote() -> None:
    _, files = disk()
    author = _author()
    path = _write(files, author.tree, digest=False)
    assert _parse(_bytes(files, path)).digest is None
    found = snapshot.read(files, path)
    same(found.tree, author.tree)
    assert found.digest_zxid is None


def test_wherever_a_chunk_ends_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even right behind the first slash of a path, which alone would be the end."""
    author = _author()
    for size in range(54, 150):
        monkeypatch.setattr(snapshot, "_READ_BYTES", size)
        monkeypatch.setattr(snapshot, "_COPY_BYTES", size)
        monkeypatch.setattr(snapshot, "_WRITE_BYTES", size)
        _, files = disk()
        path = _write(files, author.tree)
        same(snapshot.read(files, path).tree, author.tree)


def test_a_zipped_one_of_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_READ_BYTES", 100)
    _, files = disk()
    author = _author()
    data = _bytes(files, _write(files, author.tree))
    path = _put(files, f"snapshot.{author.tree.zxid:x}.gz", gzip.compress(data))
    same(snapshot.read(files, path).tree, author.tree)


def test_a_step_writes_so_many_znodes() -> None:
    _, files = disk()
    author = Author()
    for number in range(20):
        author.create(b"/%d" % number)
    writer = _writer(files, author.tree)
    steps = 1
    while not writer.step(5):
        steps += 1
    assert steps == 24 // 5 + 1
    writer.finish()


def test_a_step_ends_early_when_znodes_are_large() -> None:
    _, files = disk()
    author = Author()
    for number in range(6):
        author.create(b"/%d" % number, bytes(2**18))
    writer = _writer(files, author.tree)
    steps = 1
    while not writer.step(1000):
        steps += 1
    assert steps == 7


def test_settling_gives_the_disk_its_part_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_WRITE_BYTES", 100)
    monkeypatch.setattr(snapshot, "_SETTLE_BYTES", 250)
    made, files = disk()
    author = Author()
    for number in range(12):
        author.create(b"/%d" % number, bytes(100))
    writer = _writer(files, author.tree)
    settled = 0
    while not writer.step(1000):
        if writer.wants_settling:
            writer.settle()
            settled += 1
            assert not writer.wants_settling
    assert settled == made.syncs > 5
    same(snapshot.read(files, writer.finish()).tree, author.tree)


# Fuzzy


def _changed_meanwhile(seed: int) -> tuple[FakeFiles, str, list[Txn], Author]:
    """A snapshot that took its time, and the log of what went on meanwhile and afterwards."""
    dice = Random(seed)
    author = Author()
    for _ in range(dice.randrange(5, 40)):
        author.any(dice)
    _, files = disk()
    writer = _writer(files, author.tree)
    log: list[Txn] = []
    while not writer.step(1):
        log += [author.any(dice) for _ in range(dice.randrange(3))]
    log += [author.any(dice) for _ in range(dice.randrange(3))]
    return files, writer.finish(), log, author


@pytest.mark.parametrize("seed", range(150))
def test_the_log_over_a_fuzzy_snapshot_gives_the_tree(seed: int) -> None:
    files, path, log, author = _changed_meanwhile(seed)
    found = snapshot.read(files, path)
    assert found.digest_zxid is not None
    compared = 0
    if found.tree.zxid == found.digest_zxid:
        assert found.tree.digest == found.digest
        compared += 1
    for txn in log:
        found.tree.apply(txn)
        if txn.zxid == found.digest_zxid:
            assert found.tree.digest == found.digest
            found.tree.checks_digest = True
            compared += 1
    assert compared == 1
    same(found.tree, author.tree)
    assert found.tree.digest_mismatches == 0


def test_what_is_fuzzy_is_met_at_all() -> None:
    """Some of those snapshots hold what came after they were begun."""
    assert any(
        snapshot.read(files, path).tree.digest != snapshot.read(files, path).digest
        for files, path, _, _ in map(_changed_meanwhile, range(20))
    )


# Damage


def test_any_byte_that_changes_is_found() -> None:
    _, files = disk()
    whole = bytearray(_GOLDEN.read_bytes())
    dice = Random(1)
    for at in range(len(whole)):
        mask = 1 << dice.randrange(8)
        whole[at] ^= mask
        path = _put(files, "snapshot.93", bytes(whole))
        with pytest.raises(DamagedSnapshotError, match=r"snapshot\.93 is damaged: "):
            snapshot.read(files, path)
        whole[at] ^= mask


def test_any_cut_is_found_but_for_the_ends_of_older_forms() -> None:
    _, files = disk()
    author = _author()
    whole = _bytes(files, _write(files, author.tree))
    older = {len(whole) - 21, len(whole) - 21 - 33}
    for cut in range(len(whole)):
        path = _put(files, "snapshot.ff", whole[:cut])
        if cut in older:
            assert contents(snapshot.read(files, path).tree) == contents(author.tree)
            continue
        with pytest.raises(DamagedSnapshotError):
            snapshot.read(files, path)


def test_a_zipped_one_that_is_cut_or_changed_is_found() -> None:
    _, files = disk()
    whole = (HERE / "snapshot.93.gz").read_bytes()
    tree = snapshot.read(files, _put(files, "snapshot.93.gz", whole)).tree
    for cut in range(len(whole) - 10):
        with pytest.raises(DamagedSnapshotError):
            snapshot.read(files, _put(files, "snapshot.93.gz", whole[:cut]))
    same_in_spite = 0
    for at in range(10, len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        path = _put(files, "snapshot.93.gz", changed)
        try:
            same(snapshot.read(files, path).tree, tree)
        except DamagedSnapshotError:
            continue
        same_in_spite += 1
    assert same_in_spite < 20, "some flips repeat an earlier place that says the same"


def test_something_behind_the_end_is_found() -> None:
    _, files = disk()
    whole = _GOLDEN.read_bytes()
    for more in (b"\0", whole[-13:], bytes(21)):
        with pytest.raises(DamagedSnapshotError):
            snapshot.read(files, _put(files, "snapshot.93", whole + more))


def _sealed(*parts: bytes) -> bytes:
    """The parts of a snapshot, each with the seal that belongs behind it."""
    data = b""
    for part in parts:
        data += part
        data += struct.pack(">q", adler32(data)) + _SEAL
    return data


def _head(nodes: bytes, sessions: int = 0) -> bytes:
    return snapshot.HEADER + struct.pack(">ii", sessions, 0) + nodes + _SEAL


def _node(path: bytes, acl_id: int = -1, data: bytes = b"\xff\xff\xff\xff") -> bytes:
    stat = struct.pack(">qqqqiiiqq", 1, 1, 1, 1, 0, 0, 0, 0, 1)
    return struct.pack(">i", len(path)) + path + data + struct.pack(">q", acl_id) + stat


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([b"ZKLG" + bytes(60)], "does not begin as a snapshot"),
        ([_head(_node(b"") + _node(b"/a/b"))], "the parent of /a/b is missing"),
        ([_head(_node(b"") + _node(b"a"))], "the parent of a is missing"),
        ([_head(_node(b"", data=b"\xff\xff\xff\xfe"))], "znode 0 makes no sense"),
        ([_head(_node(b"") + _node(b"/a") + b"\x80\0\0\0")], "znode 2 makes no sense"),
    ],
)
def test_what_is_sealed_and_yet_makes_no_sense(parts: list[bytes], reason: str) -> None:
    _, files = disk()
    with pytest.raises(DamagedSnapshotError, match=reason):
        snapshot.read(files, _put(files, "snapshot.1", _sealed(*parts)))


def test_an_acl_that_apache_did_not_write_permits_nothing() -> None:
    """It came while the snapshot was being written, so the log has the txn that sets it."""
    _, files = disk()
    path = _put(files, "snapshot.1", _sealed(_head(_node(b"") + _node(b"/a", acl_id=5))))
    tree = snapshot.read(files, path).tree
    assert tree.nodes[b"/a"].acl == (ACL(0, Id("world", "anyone")),)


@pytest.mark.parametrize(
    ("part", "digest_zxid"),
    [
        (struct.pack(">qiq", 5, 2, 77), 5),
        (struct.pack(">qiq", 6, 2, 77), 6),
        # Of before the snapshot was begun, and of never: nothing to compare.
        (struct.pack(">qiq", 4, 2, 77), None),
        (struct.pack(">qiq", 0, 2, 0), None),
        # Version 1 was a text.
        (struct.pack(">qi", 5, 1) + b"\0\0\0\x02ab", None),
    ],
)
def test_digests_that_can_be_compared(part: bytes, digest_zxid: int | None) -> None:
    _, files = disk()
    path = _put(files, "snapshot.5", _sealed(_head(_node(b"")), part))
    found = snapshot.read(files, path)
    assert found.digest_zxid == digest_zxid
    assert found.digest == (None if digest_zxid is None else 77)
    assert found.tree.zxid == 5


def test_the_digest_alone_may_be_missing_its_seal_may_not() -> None:
    _, files = disk()
    data = _sealed(_head(_node(b""))) + struct.pack(">qiq", 5, 2, 77)
    with pytest.raises(DamagedSnapshotError):
        snapshot.read(files, _put(files, "snapshot.5", data))


def test_what_looks_whole_by_its_last_bytes() -> None:
    _, files = disk()
    whole = _GOLDEN.read_bytes()
    assert snapshot.looks_whole(files, _put(files, "snapshot.1", whole))
    assert not snapshot.looks_whole(files, _put(files, "snapshot.2", whole[:-1]))
    assert not snapshot.looks_whole(files, _put(files, "snapshot.3", b""))
    assert not snapshot.looks_whole(files, _put(files, "snapshot.4.gz", b"\x1f"))


# Failures


def test_a_disk_that_fails_leaves_nothing_behind_after_abort() -> None:
    author = Author()
    for number in range(30):
        author.create(b"/%d" % number, bytes(1000))
    for room in range(0, 100_000, 7001):
        made, files = disk()
        made.capacity = room
        writer = _writer(files, author.tree)
        try:
            while not writer.step(4):
                pass
            writer.finish()
        except StorageFailedError:
            writer.abort()
            assert files.names(DIRECTORY) == []
            assert made.used == 0
            continue
        assert room > 60_000
        assert len(files.names(DIRECTORY)) == 1


def test_a_sync_that_fails_makes_no_snapshot() -> None:
    made, files = disk()
    writer = _writer(files, _author().tree)
    while not writer.step(4):
        pass
    made.sync_fails = True
    with pytest.raises(StorageFailedError):
        writer.settle()
    with pytest.raises(StorageFailedError, match=f"snapshot {writer.zxid:x} cannot be written"):
        writer.finish()
    writer.abort()
    assert files.names(DIRECTORY) == []


def test_aborting_at_any_time_leaves_nothing() -> None:
    for steps in range(6):
        _, files = disk()
        writer = _writer(files, _author().tree)
        for _ in range(steps):
            writer.step(2)
        writer.abort()
        assert files.names(DIRECTORY) == []


def test_whatever_call_the_power_fails_in_what_has_the_name_is_whole() -> None:
    author = _author()
    finished = 0
    for fuse in range(1, 60):
        for seed in range(4):
            made, files = disk()
            made.fuse = fuse
            try:
                path = _write(files, author.tree)
            except HaltedError:
                path = ""
            finished += bool(path)
            made.crash(Random(seed))
            files = made.mount()
            found = snapshot.snapshots(files, DIRECTORY)
            assert not path or found
            for each in found.values():
                same(snapshot.read(files, each).tree, author.tree)
    assert 0 < finished < 59 * 4


def test_leftovers_of_an_unfinished_one_are_written_over() -> None:
    _, files = disk()
    author = _author()
    zxid = f"{author.tree.zxid:x}"
    for name in (f"unfinished.snapshot.{zxid}", f"unfinished.snapshot.{zxid}.nodes"):
        _put(files, name, b"left over" * 1000)
    same(snapshot.read(files, _write(files, author.tree)).tree, author.tree)
