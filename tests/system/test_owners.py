"""Processes that have files of a directory open are found; what root makes is given away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coterie.system import owners

_HOLD = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows that")
def test_who_has_a_file_open() -> None:
    here = Path(__file__).parent
    assert owners.users(str(here)) == []
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert owners.users(str(here)) == [process.pid]
        assert owners.users(f"{here}/elsewhere") == []
        process.communicate(b"")


def test_one_s_own_files_do_not_count(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert owners.users(str(tmp_path)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_whom_the_directory_belongs(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").touch()
    (tmp_path / "like").touch()
    os.chown(tmp_path / "like", 4242, 4243)
    owners.give(str(tmp_path / "new"), str(tmp_path / "like"))
    for path in (tmp_path / "new", tmp_path / "new" / "file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (4242, 4243)


def test_who_may_read_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch()
    for mode, found in ((0o600, False), (0o640, False), (0o604, True), (0o644, True)):
        file.chmod(mode)
        assert owners.is_for_all(str(file)) is found
