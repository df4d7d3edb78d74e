"""The `coterie` command against a server in this process, with a root of its own for each test."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from coterie.cli.main import cli


class Command:
    """Runs `coterie ARGUMENTS` in this process."""

    def __init__(self, hosts: str) -> None:
        self.hosts = hosts

    def run(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        name, *rest = arguments
        env = {"COTERIE_HOSTS": self.hosts, "COTERIE_AUTH": None}
        return CliRunner(env=env).invoke(cli, [name, *rest], input=stdin, prog_name="coterie")

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """What it says; it has to end well."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def json(self, *arguments: str, stdin: str | bytes | None = None) -> list[Any]:
        """The objects that it says."""
        lines = self(*arguments, "--json", stdin=stdin).splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def coterie(coterie_hosts: str) -> Command:
    """The command, at a server of this process."""
    return Command(coterie_hosts)
