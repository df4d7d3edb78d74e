"""A file of lines begins anew in time, and a disk that fails makes no line twice or half."""

from __future__ import annotations

from random import Random

import pytest

from coterie.storage.lines import Lines, newest_first
from coterie.testing.files import Disk, FakeFiles


@pytest.fixture
def files() -> FakeFiles:
    files = Disk("one", Random(1)).mount()
    files.make_directory("d")
    return files


def _text(files: FakeFiles, name: str) -> bytes:
    return files.read(f"d/{name}", 0, 1000)


def test_lines_follow_each_other_over_a_restart(files: FakeFiles) -> None:
    for line in (b"a\n", b"b\n"):
        lines = Lines(files, "d/log", 100, 2)
        lines.append(line)
        lines.close()
    assert _text(files, "log") == b"a\nb\n"


def test_a_line_that_a_crash_cut_off_is_ended(files: FakeFiles) -> None:
    files.open("d/log").write(0, b"a\nhal")
    Lines(files, "d/log", 100, 2).append(b"b\n")
    assert _text(files, "log") == b"a\nhal\nb\n"


def test_a_file_that_is_full_is_kept_and_the_oldest_goes(files: FakeFiles) -> None:
    lines = Lines(files, "d/log", 4, 2)
    for line in (b"1\n", b"2\n", b"3\n", b"4\n", b"5\n", b"6\n", b"7\n"):
        lines.append(line)
    assert files.names("d") == ["log", "log.1", "log.2"]
    assert [_text(files, name) for name in files.names("d")] == [b"7\n", b"5\n6\n", b"3\n4\n"]


def test_what_is_larger_than_a_file_has_one_for_itself(files: FakeFiles) -> None:
    lines = Lines(files, "d/log", 4, 2)
    lines.append(b"longer\n")
    lines.append(b"1\n")
    assert [_text(files, name) for name in files.names("d")] == [b"1\n", b"longer\n"]


def test_without_a_bound_a_file_goes_on(files: FakeFiles) -> None:
    lines = Lines(files, "d/log", 0, 2)
    for _ in range(100):
        lines.append(b"1\n")
    assert files.names("d") == ["log"]


def test_a_gap_in_the_row_takes_what_comes_before_it(files: FakeFiles) -> None:
    for name in ("log.1", "log.3"):
        files.open(f"d/{name}").write(0, name.encode())
    lines = Lines(files, "d/log", 2, 3)
    lines.append(b"a\n")
    lines.append(b"b\n")
    assert [_text(files, name) for name in ("log", "log.1", "log.2", "log.3")] == [
        b"b\n",
        b"a\n",
        b"log.1",
        b"log.3",
    ]


def test_what_the_disk_did_not_take_can_be_given_again(files: FakeFiles) -> None:
    disk = files.begin()
    lines = Lines(files, "d/log", 4, 2)
    lines.append(b"1\n")
    disk.capacity = disk.used + 1
    for _ in range(2):
        with pytest.raises(OSError, match="space"):
            lines.append(b"2\n")
    disk.capacity = None
    lines.append(b"2\n")
    assert _text(files, "log") == b"1\n2\n"


def _newest_first(files: FakeFiles, bytes_max: int = 2**20) -> list[bytes]:
    return list(newest_first(files, "d/log", 2, bytes_max))


def test_lines_are_read_from_the_last_one_back_over_all_files(files: FakeFiles) -> None:
    lines = Lines(files, "d/log", 4, 2)
    for line in (b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"):
        lines.append(line)
    assert _newest_first(files) == [b"5", b"4", b"3", b"2", b"1"]


def test_no_more_is_read_than_was_said_and_half_a_line_is_none(files: FakeFiles) -> None:
    files.open("d/log").write(0, b"first\nsecond\nhal")
    assert _newest_first(files) == [b"second", b"first"]
    assert _newest_first(files, 11) == [b"second"], "the end of `first` is no line"
    assert _newest_first(files, 0) == []


@pytest.mark.parametrize("length", [10, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 200_000])
def test_lines_that_are_longer_than_what_is_read_at_once(files: FakeFiles, length: int) -> None:
    written = [b"a" * length, b"b", b"c" * length, b"", b"d"]
    files.open("d/log").write(0, b"\n".join(written) + b"\n")
    assert _newest_first(files) == written[::-1]


def test_a_file_that_begins_anew_ends_the_reading(files: FakeFiles) -> None:
    lines = Lines(files, "d/log", 4, 2)
    lines.append(b"1\n2\n")
    reading = newest_first(files, "d/log", 2, 100)
    assert next(reading) == b"2"
    lines.append(b"3\n")
    assert list(reading) == [b"1"], "not what is `log.1` by now once more"
    assert list(newest_first(files, "d/none", 2, 100)) == []
