"""Facts of this process: the names that operators know, and numbers that are true."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys

import pytest

from coterie.system import process
from tests.golden.packets import HERE


def test_the_environment_has_apaches_keys_where_they_mean_the_same() -> None:
    found = process.environment()
    apache = set((HERE / "envi.txt").read_text().split())
    shared = {key for key in apache if key.split(".")[0] in ("host", "os")} | {"user.dir"}
    assert shared - found.keys() == {"os.memory.free", "os.memory.total"}
    assert all(value and "\n" not in value for value in found.values())
    assert found["user.dir"] == os.getcwd()


def test_numbers_of_this_process() -> None:
    numbers = process.numbers()
    read_fd, write_fd = os.pipe()
    try:
        assert process.numbers()["open_file_descriptor_count"] == (
            numbers["open_file_descriptor_count"] + 2
        )
    finally:
        os.close(read_fd)
        os.close(write_fd)
    assert numbers["open_file_descriptor_count"] < numbers["max_file_descriptor_count"]
    assert 10**6 < numbers["resident_memory_bytes"] < 10**11


def test_what_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> os.stat_result:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "stat", fail)
    assert process.numbers().keys() == {"max_file_descriptor_count"}


def test_an_older_linux_does_not_know_how_many_files_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stat = os.stat

    def of_no_size(path: str) -> os.stat_result:
        return os.stat_result((*stat(path)[:6], 0, *stat(path)[7:10]))

    monkeypatch.setattr(os, "stat", of_no_size)
    # The listing itself is one of them.
    listed = len(os.listdir("/proc/self/fd"))
    assert process.numbers()["open_file_descriptor_count"] == listed


def test_as_many_files_as_it_ever_may_open() -> None:
    """In a process of its own, which begins with fewer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = """
import resource
from coterie.system import process
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
process.allow_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.split() == [b"%d" % most] * 2


def test_whom_this_process_runs_as_has_a_name_or_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process.user_name() == pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 2)
    assert process.user_name() == str(2**31 - 2)
