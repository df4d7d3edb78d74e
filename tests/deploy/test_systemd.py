"""The systemd unit: what it says agrees with what the server does, and systemd can read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from coterie.cli.main import cli

_UNIT = Path(__file__).parent.parent.parent / "deploy/systemd/coterie.service"
_TEXT = _UNIT.read_text(encoding="utf-8")
_SAID = dict(
    line.split("=", 1) for line in _TEXT.splitlines() if "=" in line and not line.startswith("#")
)


def test_it_waits_for_the_word_of_the_server() -> None:
    assert _SAID["Type"] == "notify"
    assert "AF_UNIX" in _SAID["RestrictAddressFamilies"].split(), "the socket of systemd"
    assert int(_SAID["WatchdogSec"].removesuffix("s")) >= 10


def test_what_an_operator_has_to_change_is_not_tried_again() -> None:
    """`coterie serve` ends with 2 for a bad file, a taken port, a locked directory."""
    assert _SAID["RestartPreventExitStatus"] == "2"


@pytest.mark.parametrize("command", re.findall(r"/opt/coterie/bin/coterie (\w+)", _TEXT))
def test_its_commands_are_there(command: str) -> None:
    assert command in cli.list_commands(cli.context_class(cli))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
def test_systemd_reads_it(tmp_path: Path) -> None:
    unit = tmp_path / _UNIT.name
    unit.write_text(_TEXT.replace("/opt/coterie/bin/coterie", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
