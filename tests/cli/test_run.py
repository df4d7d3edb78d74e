"""`coterie lock`, `elect` and `register` as they are typed: what is passed on, what is refused."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from coterie.cli import holders, run

_Calls = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> _Calls:
    """What `holders.run` was called with; it then says that the command ended with 9."""
    seen: _Calls = []

    def record(name: str, given: dict[str, Any]) -> int:
        seen.append((name, given))
        return 9

    monkeypatch.setattr(holders, "run", record)
    return seen


def test_what_comes_after_the_dashes_is_the_commands(calls: _Calls) -> None:
    result = CliRunner().invoke(run.lock, ["/a", "-w", "5", "--", "echo", "-n", "--", "-w"])
    assert result.exit_code == 9
    ((name, given),) = calls
    assert (name, given["path"], given["wait_s"]) == ("lock", "/a", 5.0)
    assert given["command"] == ("echo", "-n", "--", "-w")


def test_the_session_outlives_three_times_the_grace_by_default(calls: _Calls) -> None:
    for command in (run.lock, run.elect, run.register):
        port = ["--port", "1"] if command is run.register else []
        CliRunner().invoke(command, ["/a", *port, "--", "true"])
    assert [name for name, _ in calls] == ["lock", "elect", "register"]
    for _, given in calls:
        assert given["session_timeout_s"] >= 3 * given["grace_s"]
        assert given["on_lost"] == "stop"


def test_ranges_are_passed_on_by_kind(calls: _Calls) -> None:
    told = ["--speaks", "store=>=1.4,<2", "--speaks", "api===3", "--zone", "eu", "--drain", "2"]
    CliRunner().invoke(run.register, ["web", "--port", "1", *told, "--check", "--", "true"])
    ((_, given),) = calls
    assert given["speaks"] == {"store": ">=1.4,<2", "api": "==3"}
    assert (given["zone"], given["check"], given["drain_s"]) == ("eu", True, 2.0)


@pytest.mark.parametrize(
    ("command", "arguments", "complaint"),
    [
        (run.lock, "/a", "Missing argument '-- COMMAND"),
        (run.lock, "a -- true", "begin with /"),
        (run.lock, "--on-lost keep /a -- true", "'keep' is not one of"),
        (run.lock, "--grace -1 /a -- true", "-1"),
        (run.lock, "/a echo -n", "-n"),
        (run.register, "web --port 1 --meta zone -- true", "KEY=VALUE"),
        (run.register, "web --port 1 --speaks api -- true", "KIND=RANGE"),
        (run.register, "web --port 1 --speaks api=two -- true", "--speaks: api: "),
        (run.register, "web -- true", "Missing option '--port'"),
        (run.register, "web --port 1 --version new -- true", "--version: "),
        (run.register, "web --port 0 -- true", "0 is not in the range"),
    ],
)
def test_usage_errors_have_status_2(
    calls: _Calls, command: click.Command, arguments: str, complaint: str
) -> None:
    result = CliRunner().invoke(command, arguments.split())
    assert result.exit_code == 2
    assert complaint in result.output
    assert not calls


@pytest.mark.parametrize("command", run.COMMANDS, ids=lambda one: str(one.name))
def test_every_command_has_help_with_an_example(command: click.Command) -> None:
    said = CliRunner().invoke(command, ["--help"]).output
    assert "Examples:\n" in said
    assert f"coterie {command.name}" in said
