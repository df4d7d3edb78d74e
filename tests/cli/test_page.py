"""The page about the command line: its console blocks show what the commands say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from coterie.cli.main import cli

_PAGE = (Path(__file__).parent.parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```console run\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """What is typed, and what is shown then."""

    typed: str
    shown: str


def _examples(block: str) -> list[Example]:
    found: list[Example] = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        count = next((n for n, one in enumerate(lines) if n and one[:2] != "> "), len(lines))
        typed = [lines[0], *(line[2:] for line in lines[1:count])]
        found.append(Example("\n".join(typed), "\n".join(lines[count:])))
    return found


@pytest.fixture
def environment(tmp_path: Path, coterie_hosts: str) -> dict[str, str]:
    """One in which `coterie` is the one of this checkout."""
    command = tmp_path / "coterie"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m coterie "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COTERIE_HOSTS": coterie_hosts}


@pytest.mark.slow
def test_the_console_blocks_show_what_the_commands_say(environment: dict[str, str]) -> None:
    examples = [example for block in _BLOCKS for example in _examples(block)]
    assert len(examples) > 20
    for typed, shown in examples:
        run = subprocess.run(
            ["sh", "-c", typed],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.stdout.rstrip("\n") == shown, typed
    clean_up = ["coterie", "rm", "-r", "--yes", "--auth", "digest:me:secret", "/config"]
    subprocess.run(clean_up, env=environment, check=True)


def test_every_command_for_znodes_is_on_the_page() -> None:
    context = click.Context(cli)
    for name in set(cli.list_commands(context)) - {"serve", "ensemble", "simulate"}:
        assert re.search(rf"\b{name}\b", _PAGE), name
