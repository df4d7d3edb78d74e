"""The `coterie` command against a server in this process, with a root of its own for each test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture
def start_command(coterie_hosts: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `coterie ARGUMENTS` as a process of its own; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "coterie", *arguments],
            env={**os.environ, "COTERIE_HOSTS": coterie_hosts},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """What the process says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status, and what it complained of."""
    _, said = process.communicate(timeout=20)
    return process.returncode, said
