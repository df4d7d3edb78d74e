"""The commands for znodes as they are typed: what is refused before anybody is asked."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner

from coterie.cli import znodes
from coterie.cli.main import cli


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("get", "Missing argument 'PATH'"),
        ("get a", "paths of znodes begin with /"),
        ("get --raw --json /a", "--raw shows the data alone"),
        ("get --raw -s /a", "--raw shows the data alone"),
        ("create -e -c /a", "neither ephemeral nor sequential"),
        ("create -c -t 1s /a", "neither ephemeral nor a container"),
        ("create -t 1x /a", "is no time"),
        ("create /a x y z", "unexpected extra argument"),
        ("set -v x /a 1", "not a valid integer"),
        ("ls -R -l /a", "take `tree`"),
        ("rm", "Missing argument"),
        ("rm -r /a", "say --yes"),
        ("rm -r --yes -v 1 /a", "not of what is below"),
        ("rm -r --yes /a /", "/ stays"),
        ("rm -r --yes /zookeeper/", "/zookeeper stays"),
        ("tree -d -1", "-1 is not in the range"),
        ("multi", "there are no changes"),
        ("multi --timeout 0", "0 is not in the range"),
        ("stat --auth me /a", "scheme:credential"),
    ],
)
def test_usage_errors_have_status_2(arguments: str, complaint: str) -> None:
    result = CliRunner().invoke(cli, arguments.split())
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())


@pytest.mark.parametrize("command", znodes.COMMANDS, ids=lambda one: str(one.name))
def test_every_command_has_help_with_an_example(command: click.Command) -> None:
    assert command.name is not None
    for flag in ("--help", "-h"):
        said = CliRunner().invoke(cli, [command.name, flag]).output
        assert "Examples:\n" in said
        assert f"coterie {command.name}" in said
        assert "--json" in said


def test_rm_asks_before_it_deletes_a_subtree(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(znodes, "do", lambda *given: done.append(given))
    monkeypatch.setattr(sys, "stdin", _Terminal())
    for answer, count in ((False, 0), (True, 1)):
        monkeypatch.setattr(click, "confirm", _answers(answer))
        try:
            znodes.rm.main(["-r", "/a"], standalone_mode=False)
        except click.Abort:
            assert not answer
        assert len(done) == count


class _Terminal:
    def isatty(self) -> bool:
        return True


def _answers(answer: bool) -> object:
    def confirm(question: str, *, abort: bool, err: bool) -> bool:
        assert "/a and all that is below" in question
        if not answer:
            raise click.Abort
        return True

    return confirm
