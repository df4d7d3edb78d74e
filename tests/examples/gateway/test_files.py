"""The data store: names that are no names, and files that are whole or not there."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from examples.gateway.files import DataStore, FileNameError, TooLargeError


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "a\n", "x" * 101, "é"]
)
def test_a_name_is_one_part_of_a_path(tmp_path: Path, name: str) -> None:
    store = DataStore(tmp_path)
    with pytest.raises(FileNameError):
        store.input_path("job", name)
    with pytest.raises(FileNameError):
        store.output_path(name, 1, "result")
    with pytest.raises(FileNameError):
        store.put_input(name, "file", io.BytesIO())
    with pytest.raises(FileNameError):
        store.forget(name)
    assert not list(tmp_path.iterdir())


def test_inputs_are_found_where_they_were_put(tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    assert store.put_input("job", "first", io.BytesIO(b"one")) == 3
    assert store.put_input("job", "first", io.BytesIO(b"other")) == 5
    assert store.input_path("job", "first").read_bytes() == b"other"


def test_what_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    with pytest.raises(TooLargeError):
        store.put_input("job", "first", io.BytesIO(b"12345"), 4)
    assert store.put_input("job", "second", io.BytesIO(b"1234"), 4) == 4
    assert [path.name for path in (tmp_path / "job" / "inputs").iterdir()] == ["second"]


def test_attempts_do_not_meet(tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    made = tmp_path / "made"
    for token in (0x1_0000_0001, 0x1_0000_0002):
        made.write_text(f"by {token:x}")
        store.put_output("job", token, "result", made)
    assert store.output_path("job", 0x1_0000_0001, "result").read_text() == "by 100000001"
    assert store.output_path("job", 0x1_0000_0002, "result").read_text() == "by 100000002"


def test_a_command_cannot_point_at_what_it_may_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    link = tmp_path / "result"
    link.symlink_to(secret)
    store = DataStore(tmp_path / "files")
    with pytest.raises(OSError, match="symbolic links"):
        store.put_output("job", 1, "result", link)
    assert not store.output_path("job", 1, "result").exists()


def test_forgotten_files_are_gone(tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    store.put_input("job", "first", io.BytesIO(b"one"))
    store.put_input("other", "first", io.BytesIO(b"one"))
    store.forget("job")
    store.forget("job")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
