"""An overlay shows what was changed, and leaves the disk as it was."""

from __future__ import annotations

from random import Random

import pytest

from coterie.storage.overlay import Overlay
from coterie.testing.files import FakeFiles
from tests.storage.author import DIRECTORY, disk

_PATH = f"{DIRECTORY}/log.1"


def _disk() -> FakeFiles:
    _, files = disk()
    files.open(_PATH).write(0, b"0123456789")
    return files


def test_what_is_written_is_read_and_the_disk_is_as_before() -> None:
    files = _disk()
    over = Overlay(files)
    file = over.open(_PATH)
    file.write(8, b"abcd")
    file.sync()
    assert over.read(_PATH, 0, 100) == b"01234567abcd"
    assert over.size(_PATH) == 12
    file.truncate(4)
    file.write(6, b"x")
    assert over.read(_PATH, 2, 100) == b"23\0\0x"
    assert files.read(_PATH, 0, 100) == b"0123456789"


def test_names_come_move_and_go() -> None:
    files = _disk()
    over = Overlay(files)
    over.make_directory("data/aside")
    over.rename(_PATH, "data/aside/log.1")
    over.open(f"{DIRECTORY}/new").write(0, b"n")
    assert over.names(DIRECTORY) == ["new"]
    assert over.names("data") == ["aside", "version-2"]
    assert over.read("data/aside/log.1", 3, 2) == b"34"
    with pytest.raises(FileNotFoundError) as raised:
        over.size(_PATH)
    assert raised.value.filename == _PATH
    over.delete(f"{DIRECTORY}/new")
    assert over.names(DIRECTORY) == []
    assert files.names(DIRECTORY) == ["log.1"]


def test_it_says_how_far_it_has_read() -> None:
    files = _disk()
    files.open(_PATH).write(0, bytes(10_000))
    told: list[tuple[str, int, int]] = []
    Overlay(files, lambda *what: told.append(what)).read(_PATH, 1000, 5000)
    assert told == [(_PATH, 6000, 10_000)]


@pytest.mark.parametrize("seed", range(30))
def test_any_changes_show_as_they_do_on_a_disk(seed: int) -> None:
    dice = Random(seed)
    files, other = _disk(), _disk()
    over = Overlay(files)
    for _ in range(40):
        size = dice.randrange(30)
        data = dice.randbytes(dice.randrange(1, 9))
        kind = dice.randrange(4)
        for each in (over, other):
            if kind == 0:
                each.open(_PATH).truncate(size)
            elif kind == 3 and each.size(_PATH):
                each.rename(_PATH, f"{DIRECTORY}/moved")
                each.rename(f"{DIRECTORY}/moved", _PATH)
            else:
                each.open(_PATH).write(size, data)
        assert over.read(_PATH, 0, 100) == other.read(_PATH, 0, 100)
        assert over.read(_PATH, size, 5) == other.read(_PATH, size, 5)
    assert files.read(_PATH, 0, 100) == b"0123456789"
