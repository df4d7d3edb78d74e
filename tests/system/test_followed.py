"""What is made of files follows them; `test_certificates.py` has the rest."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from coterie.system.followed import Followed


def test_it_follows_its_files_and_what_is_no_good_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.system.followed.log", logging.getLogger("followed"))
    caplog.set_level(logging.INFO, "followed")
    path = tmp_path / "number"
    path.write_text("1")
    number = Followed("numbers", (str(path),), lambda: int(path.read_text()), (ValueError,))
    assert number.now() == 1
    path.write_text("one")
    assert [number.now(), number.now()] == [1, 1]
    path.write_text("22")
    assert [number.now(), number.now()] == [22, 22]
    broken, anew = caplog.messages
    assert broken.startswith("the numbers that were there before stay in use: invalid literal")
    assert anew == f"the numbers were read anew: {path}"


def test_who_may_read_a_file_is_looked_at_as_well(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("1")
    path.chmod(0o600)
    made: list[int] = []
    secret = Followed("secrets", (str(path),), lambda: made.append(1), ())
    path.chmod(0o644)
    secret.now()
    assert made == [1, 1]


def test_what_is_no_refusal_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Followed("numbers", (str(tmp_path),), lambda: 1 // 0, (ValueError,))
