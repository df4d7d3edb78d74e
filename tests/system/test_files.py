"""The contract of the file calls: the same cases for the operating system's files and the fake."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from coterie.system.files import Files, OSFiles
from coterie.testing.files import Disk


@pytest.fixture(params=["real", "fake"])
def files(request: pytest.FixtureRequest) -> Files:
    if request.param == "real":
        return OSFiles()
    return Disk("s1", Random(1)).mount()


@pytest.fixture
def top(files: Files, tmp_path: Path) -> str:
    top = f"{tmp_path}/data"
    files.make_directory(top)
    return top


def test_what_is_written_is_read_at_its_place(files: Files, top: str) -> None:
    file = files.open(f"{top}/a")
    file.write(0, b"hello")
    file.write(3, b"p!")
    assert file.path == f"{top}/a"
    assert files.read(f"{top}/a", 0, 100) == b"help!"
    assert files.read(f"{top}/a", 1, 3) == b"elp"
    assert files.size(f"{top}/a") == 5
    file.close()
    file.close()


def test_behind_the_end_there_is_nothing_and_a_gap_is_zeros(files: Files, top: str) -> None:
    file = files.open(f"{top}/a")
    file.write(4, b"x")
    file.close()
    assert files.read(f"{top}/a", 0, 100) == b"\0\0\0\0x"
    assert files.read(f"{top}/a", 5, 100) == b""
    assert files.read(f"{top}/a", 99, 1) == b""


def test_opening_again_keeps_what_is_there(files: Files, top: str) -> None:
    for data, offset in ((b"abc", 0), (b"d", 3)):
        file = files.open(f"{top}/a")
        file.write(offset, data)
        file.sync()
        file.close()
    assert files.read(f"{top}/a", 0, 9) == b"abcd"


def test_truncate_cuts_and_lengthens_with_zeros(files: Files, top: str) -> None:
    file = files.open(f"{top}/a")
    file.write(0, b"abcdef")
    file.truncate(2)
    file.truncate(4)
    file.close()
    assert files.read(f"{top}/a", 0, 9) == b"ab\0\0"


def test_reserving_lengthens_and_never_shortens(files: Files, top: str) -> None:
    file = files.open(f"{top}/a")
    file.write(0, b"abc")
    assert file.reserve(2)
    assert files.size(f"{top}/a") == 3
    assert file.reserve(5000)
    assert files.size(f"{top}/a") == 5000
    file.close()
    assert files.read(f"{top}/a", 0, 5000).rstrip(b"\0") == b"abc"


def test_names_are_sorted_and_include_directories(files: Files, top: str) -> None:
    for name in ("b", "a", "c"):
        files.open(f"{top}/{name}").close()
    files.make_directory(f"{top}/bb")
    assert files.names(top) == ["a", "b", "bb", "c"]
    assert files.names(f"{top}/nowhere") == []


def test_a_rename_takes_the_place_of_what_was_there(files: Files, top: str) -> None:
    for name in ("new", "old"):
        file = files.open(f"{top}/{name}")
        file.write(0, name.encode())
        file.close()
    files.rename(f"{top}/new", f"{top}/old")
    files.sync_directory(top)
    assert files.names(top) == ["old"]
    assert files.read(f"{top}/old", 0, 9) == b"new"


def test_deleting_what_is_not_there_is_no_error(files: Files, top: str) -> None:
    files.open(f"{top}/a").close()
    files.delete(f"{top}/a")
    files.delete(f"{top}/a")
    assert files.names(top) == []


def test_a_deleted_file_that_is_open_can_still_be_written(files: Files, top: str) -> None:
    file = files.open(f"{top}/a")
    files.delete(f"{top}/a")
    file.write(0, b"x")
    file.sync()
    file.close()
    assert files.names(top) == []


def test_making_a_directory_makes_those_above_and_may_be_repeated(files: Files, top: str) -> None:
    files.make_directory(f"{top}/a/b/c")
    files.make_directory(f"{top}/a/b/c")
    assert files.names(f"{top}/a/b") == ["c"]


@pytest.mark.parametrize("call", ["read", "size", "rename"])
def test_a_missing_file_is_an_error_that_names_it(files: Files, top: str, call: str) -> None:
    path = f"{top}/missing"
    arguments = {"read": (path, 0, 1), "size": (path,), "rename": (path, f"{top}/b")}[call]
    with pytest.raises(FileNotFoundError) as raised:
        getattr(files, call)(*arguments)
    assert raised.value.filename == path


def test_a_missing_directory_is_an_error_that_names_it(files: Files, top: str) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        files.open(f"{top}/no/file")
    assert raised.value.filename == f"{top}/no/file"
    with pytest.raises(FileNotFoundError) as raised:
        files.sync_directory(f"{top}/no")
    assert raised.value.filename == f"{top}/no"


def test_a_closed_file_is_not_written(files: Files, top: str) -> None:
    file = files.open(f"{top}/a")
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(0, b"x")
    assert files.size(f"{top}/a") == 0


def test_a_directory_is_held_by_one_at_a_time(files: Files, top: str) -> None:
    lock = files.lock(top)
    with pytest.raises(BlockingIOError) as raised:
        files.lock(top)
    assert raised.value.filename == top
    lock.release()
    lock.release()
    files.lock(top).release()
    with pytest.raises(FileNotFoundError):
        files.lock(f"{top}/no")
