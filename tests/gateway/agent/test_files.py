"""Local files that are whole at every moment, on a disk that loses its power at any call."""

from __future__ import annotations

from random import Random

import pytest

from coterie.gateway.agent.files import LocalFile, Version, digest, read, reloaded, replace_file
from coterie.testing.files import Disk, HaltedError

_OLD, _NEW = b"old " * 400, b"new " * 700


def _version(data: bytes, zxid: int) -> Version:
    return Version(digest(data), zxid, "/a", 0, members=("a", "b"), reload="pending")


def _put(file: LocalFile, data: bytes, zxid: int) -> None:
    file.prepare(data)
    file.put(_version(data, zxid))


def test_a_file_and_what_is_known_of_it() -> None:
    file = LocalFile(Disk("host", Random(1)).mount(), "etc/x/api.json")
    assert file.read() == (None, None)
    _put(file, _OLD, 1)
    assert file.read() == (_OLD, _version(_OLD, 1))
    done = reloaded(_version(_OLD, 1))
    assert done.reload == "done"
    file.tell(done)
    assert file.read() == (_OLD, done)


def test_a_shorter_one_leaves_nothing_of_the_longer() -> None:
    file = LocalFile(Disk("host", Random(1)).mount(), "etc/api.json")
    _put(file, _NEW, 1)
    _put(file, b"short", 2)
    assert file.read()[0] == b"short"
    file.prepare(b"never put")
    _put(file, b"s", 3)
    assert file.read()[0] == b"s"


@pytest.mark.parametrize("kills", [True, False])
def test_who_reads_has_the_old_or_the_new_whenever_the_machine_ends(kills: bool) -> None:
    seen: set[bytes] = set()
    for fuse in range(40):
        for seed in range(5):
            disk = Disk("host", Random(seed))
            _put(LocalFile(disk.mount(), "etc/api.json"), _OLD, 1)
            disk.fuse, disk.fuse_kills = fuse, kills
            ended = False
            try:
                _put(LocalFile(disk.mount(), "etc/api.json"), _NEW, 2)
                ended = True
            except HaltedError:
                pass
            disk.crash()
            data, version = LocalFile(disk.mount(), "etc/api.json").read()
            assert data in (_OLD, _NEW)
            # What is known of a file is of this file, or nothing.
            assert version in (None, _version(data, 1 if data == _OLD else 2))
            if ended:
                assert data == _NEW
            seen.add(data)
    assert seen == {_OLD, _NEW}


def test_what_others_have_changed_has_no_version() -> None:
    files = Disk("host", Random(1)).mount()
    file = LocalFile(files, "etc/api.json")
    _put(file, _OLD, 1)
    replace_file(files, "etc/api.json", b"by hand")
    assert file.read() == (b"by hand", None)
    for bad in (b"", b"{", b"[]", b'{"sha256": 1}'):
        _put(file, _OLD, 1)
        replace_file(files, "etc/api.json.version", bad)
        assert file.read() == (_OLD, None)


def test_a_full_disk_leaves_the_old_file() -> None:
    disk = Disk("host", Random(1))
    file = LocalFile(disk.mount(), "etc/api.json")
    _put(file, _OLD, 1)
    disk.capacity = disk.used + 10
    with pytest.raises(OSError, match="No space"):
        file.prepare(_NEW)
    assert file.read() == (_OLD, _version(_OLD, 1))
    disk.capacity = None
    _put(file, _NEW, 2)
    assert file.read()[0] == _NEW


def test_what_is_not_there_is_none() -> None:
    files = Disk("host", Random(1)).mount()
    assert read(files, "etc/nothing") is None
