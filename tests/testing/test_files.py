"""What a fake disk does that a real one does seldom: lose, tear, rot, fail, be full, halt."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from coterie.testing.files import SECTOR_BYTES, Disk, FakeFile, HaltedError

OLD = b"o" * 3 * SECTOR_BYTES
NEW = b"n" * 3 * SECTOR_BYTES


def outcomes(write: Callable[[Disk, FakeFile], None], seeds: int = 200) -> set[bytes]:
    """What a power failure may leave of a file that was durable as OLD and then written."""
    found = set()
    for seed in range(seeds):
        disk = Disk("s1", Random(seed))
        files = disk.mount()
        file = files.open("a")
        file.write(0, OLD)
        file.sync()
        files.sync_directory("")
        write(disk, file)
        disk.crash()
        found.add(disk.mount().read("a", 0, 10**6))
    return found


def test_what_was_synced_is_there_and_what_was_not_may_be() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.write(len(OLD), b"behind")

    found = outcomes(write)
    assert {OLD, OLD + b"behind"} < found
    assert all(data.startswith(OLD) for data in found)


def test_a_sync_keeps_everything() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.write(0, NEW)
        file.sync()

    assert outcomes(write) == {NEW}


def test_a_file_is_synced_by_its_descriptor() -> None:
    for seed in range(50):
        disk = Disk("s1", Random(seed))
        files = disk.mount()
        other, file = files.open("b"), files.open("a")
        file.write(0, NEW)
        other.write(0, NEW)
        files.sync(file.descriptor)
        files.sync_directory("")
        disk.crash()
        assert disk.mount().read("a", 0, 10**6) == NEW


def test_a_write_is_torn_between_sectors_and_any_may_be_missing() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.write(0, NEW)

    sectors = {
        tuple(data[i : i + SECTOR_BYTES] for i in range(0, len(OLD), SECTOR_BYTES))
        for data in outcomes(write)
    }
    old, new = OLD[:SECTOR_BYTES], NEW[:SECTOR_BYTES]
    assert {(old, old, new), (new, old, new), (new, new, old)} < sectors


def test_an_append_leaves_a_hole_where_its_first_sector_is_missing() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.write(len(OLD), NEW)

    hole = OLD + bytes(SECTOR_BYTES) + NEW[: 2 * SECTOR_BYTES]
    assert hole in outcomes(write)


def test_a_sector_that_missed_a_write_does_not_get_a_later_one() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.write(0, b"1")
        file.write(1, b"2")

    assert {data[:2] for data in outcomes(write)} == {b"oo", b"1o", b"12"}


def test_a_size_that_was_not_synced_may_be_the_old_one() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.truncate(10)

    assert {len(data) for data in outcomes(write)} == {10, len(OLD)}


def test_after_a_failed_sync_the_pages_are_shown_and_never_written_again() -> None:
    def write(disk: Disk, file: FakeFile) -> None:
        file.write(0, NEW)
        disk.sync_fails = True
        with pytest.raises(OSError, match="Input/output error") as raised:
            file.sync()
        assert raised.value.filename == "a"
        disk.sync_fails = False
        file.sync()
        assert disk.mount().read("a", 0, 10**6) == NEW

    found = outcomes(write)
    assert OLD in found
    assert len(found) > 4


def test_a_process_that_is_killed_leaves_what_it_wrote() -> None:
    disk = Disk("s1", Random(1))
    files = disk.mount()
    files.open("a").write(0, b"x")
    lock = files.lock("")
    disk.kill()
    lock.release()
    again = disk.mount()
    assert again.read("a", 0, 9) == b"x"
    again.lock("")
    with pytest.raises(HaltedError):
        files.read("a", 0, 9)


def names_after(change: Callable[[Disk], None], seeds: int = 100) -> set[tuple[str, ...]]:
    found = set()
    for seed in range(seeds):
        disk = Disk("s1", Random(seed))
        files = disk.mount()
        files.open("a").close()
        files.sync_directory("")
        change(disk)
        disk.crash()
        found.add(tuple(disk.mount().names("")))
    return found


def test_a_name_is_durable_after_its_directory_was_synced() -> None:
    def make(disk: Disk) -> None:
        file = disk.mount().open("b")
        file.write(0, b"x")
        file.sync()

    assert names_after(make) == {("a",), ("a", "b")}

    def make_durable(disk: Disk) -> None:
        make(disk)
        disk.mount().sync_directory("")

    assert names_after(make_durable) == {("a", "b")}


def test_a_rename_happens_whole_or_not_at_all() -> None:
    assert names_after(lambda disk: disk.mount().rename("a", "b")) == {("a",), ("b",)}


def test_changes_of_names_may_be_kept_in_any_order() -> None:
    def change(disk: Disk) -> None:
        files = disk.mount()
        files.open("b")
        files.delete("a")

    assert names_after(change) == {("a",), ("a", "b"), ("b",), ()}


def test_a_disk_that_is_full_takes_the_beginning_and_what_needs_no_room() -> None:
    disk = Disk("s1", Random(1))
    files = disk.mount()
    file = files.open("a")
    file.write(0, b"12345")
    disk.capacity = 8
    with pytest.raises(OSError, match="No space left on device"):
        file.write(5, b"67890")
    assert files.read("a", 0, 99) == b"12345678"
    assert disk.used == 8
    file.write(0, b"abcde")
    assert not file.reserve(9)
    files.delete("a")
    assert disk.used == 0


def test_a_flipped_bit_is_one_bit_and_can_be_restored() -> None:
    disk = Disk("s1", Random(1))
    files = disk.mount()
    file = files.open("a")
    file.write(0, b"AAA")
    file.sync()
    files.sync_directory("")
    flip = disk.flip("a", 9)
    assert files.read("a", 0, 9) == b"ACA"
    flip.restore()
    assert files.read("a", 0, 9) == b"AAA"
    flip.restore()
    assert disk.durable("a") == b"AAA"


def test_what_was_written_over_is_not_restored() -> None:
    disk = Disk("s1", Random(1))
    file = disk.mount().open("a")
    file.write(0, b"AAA")
    file.sync()
    disk.mount().sync_directory("")
    flip = disk.flip("a", 9)
    again = disk.mount().open("a")
    again.write(1, b"B")
    again.sync()
    flip.restore()
    assert disk.durable("a") == b"ABA"


@pytest.mark.parametrize("kills", [False, True])
def test_a_fuse_halts_the_machine_before_the_call_that_it_names(kills: bool) -> None:
    disk = Disk("s1", Random(1))
    files = disk.mount()
    disk.fuse, disk.fuse_kills = 2, kills
    file = files.open("a")
    file.write(0, b"x")
    with pytest.raises(HaltedError) as raised:
        file.sync()
    assert (raised.value.machine, raised.value.powerless) == ("s1", not kills)
    file.close()
    with pytest.raises(HaltedError):
        files.names("")
    disk.kill()
    assert disk.fuse is None
    assert disk.mount().read("a", 0, 9) == b"x"


def test_only_durable_files_are_listed_for_rot() -> None:
    disk = Disk("s1", Random(1))
    files = disk.mount()
    files.make_directory("d")
    files.open("d/a")
    assert disk.paths() == []
    files.sync_directory("d")
    assert disk.paths() == ["d/a"]
