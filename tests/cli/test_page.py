"""The pages about the command line: their console blocks show what the commands say.

A block runs in a folder that has a data directory of Apache's in `data`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from coterie.cli.main import cli
from tests.golden.packets import HERE

_DOCS = Path(__file__).parent.parent.parent / "docs"
_PAGES = {name: (_DOCS / name).read_text(encoding="utf-8") for name in ("cli.md", "tools.md")}
_BLOCK = re.compile(r"^```console run\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
@pytest.mark.parametrize("page", _PAGES)
def test_the_console_blocks_show_what_the_commands_say(
    page: str, environment: dict[str, str], tmp_path: Path
) -> None:
    examples = [example for block in _BLOCK.findall(_PAGES[page]) for example in _examples(block)]
    assert len(examples) > 20
    data = tmp_path / "data" / "version-2"
    data.mkdir(parents=True)
    for name in ("log.1", "snapshot.93"):
        shutil.copy(HERE / name, data)
    for typed, shown in examples:
        run = subprocess.run(
            ["sh", "-c", typed],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.stdout.rstrip("\n") == shown, typed
    clean_up = ["coterie", "rm", "-rf", "--yes", "--auth", "digest:me:secret", "/config"]
    subprocess.run(clean_up, env=environment, check=True)


def test_every_command_is_on_a_page() -> None:
    context = click.Context(cli)
    text = "".join(path.read_text(encoding="utf-8") for path in _DOCS.rglob("*.md"))
    for name in set(cli.list_commands(context)) - {"serve", "ensemble", "simulate"}:
        assert re.search(rf"\b{name}\b", text), name
