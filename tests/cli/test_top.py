"""`coterie top` against servers, and against nobody."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from coterie.cli.main import cli


def _top(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["top", *arguments], prog_name="coterie")
    return done.exit_code, done.output


def test_help_has_an_example() -> None:
    status, said = _top("--help")
    assert status == 0
    assert "coterie top --hosts zk1" in said


def test_once(hosts: str) -> None:
    status, said = _top("--hosts", hosts, "--once", "--every", "0.9")
    assert status == 0
    assert " serve" in said
    assert "REQ/S" in said


def test_for_programs(hosts: str) -> None:
    status, said = _top("--hosts", hosts, "--once", "--json", "--every", "0.9")
    assert status == 0
    [line] = said.splitlines()
    member = json.loads(line)["members"][0]
    assert member["mode"] in ("standalone", "leader", "follower")
    assert member["rate"] >= 0


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.console.members._PATIENCE_S", 0.1)
    status, said = _top("--hosts", "127.0.0.1:1", "--once", "--every", "0.2")
    assert status == 1
    assert "0 of 1 serve" in said
    assert "down" in said


def test_what_is_no_server() -> None:
    status, said = _top("--hosts", "a:b:c", "--once")
    assert (status, said.count("\n")) == (2, 1)
