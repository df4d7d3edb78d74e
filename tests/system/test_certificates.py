"""Contexts that follow their files; what cannot be used leaves the old one."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from ssl import SSLContext

import pytest

from coterie.system.certificates import Certificates
from coterie.system.tls import TLSError


class _Maker:
    """Makes a context of a file, unless there is nothing in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: list[SSLContext] = []

    def __call__(self) -> SSLContext:
        if not self.path.exists():
            raise FileNotFoundError("it has just gone")
        if not self.path.read_text():
            raise TLSError(f"{self.path.name} is no good")
        self.made.append(SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return self.made[-1]


@pytest.fixture
def maker(tmp_path: Path) -> _Maker:
    path = tmp_path / "key.pem"
    path.write_text("1")
    return _Maker(path)


def test_a_context_is_made_anew_when_a_file_has_changed_only(maker: _Maker) -> None:
    certificates = Certificates((str(maker.path),), maker)
    assert certificates.context() is certificates.context() is maker.made[0]
    maker.path.write_text("22")
    assert certificates.context() is certificates.context() is maker.made[1]
    # Another file of the same length and time, as after `mv`.
    found = maker.path.stat()
    other = maker.path.with_name("other")
    other.write_text("33")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(maker.path)
    assert certificates.context() is maker.made[2]


def test_what_is_no_good_leaves_the_old_one_and_is_told_once(
    maker: _Maker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server of the plugin that still runs lets through what was let through before it came.
    monkeypatch.setattr("coterie.system.followed.log", logging.getLogger("certificates"))
    caplog.set_level(logging.INFO, "certificates")
    certificates = Certificates((str(maker.path),), maker)
    maker.path.write_text("")
    assert certificates.context() is certificates.context() is maker.made[0]
    said = "the certificates that were there before stay in use: key.pem is no good"
    assert caplog.messages == [said]
    maker.path.unlink()
    assert certificates.context() is maker.made[0]
    maker.path.write_text("22")
    assert certificates.context() is maker.made[1]
    gone = "the certificates that were there before stay in use: it has just gone"
    assert caplog.messages == [said, gone, f"the certificates were read anew: {maker.path}"]


def test_at_first_it_has_to_be_good(maker: _Maker) -> None:
    maker.path.write_text("")
    with pytest.raises(TLSError, match="no good"):
        Certificates((str(maker.path),), maker)
