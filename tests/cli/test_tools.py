"""The operators' tools: each has help with an example, and needs nothing before it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from coterie.cli import tools
from tests.cli.kept import complaint, says


def _commands() -> Iterator[tuple[str, ...]]:
    for name in ("at", "doctor", "export", "import", "init", "purge"):
        yield (name,)
    for group in (tools.log, tools.snapshot):
        assert group.name is not None
        for name in group.commands:
            yield group.name, name


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
def test_help_has_an_example_and_json(words: tuple[str, ...]) -> None:
    said = says(*words, "--help")
    assert f"coterie {' '.join(words)}" in said.partition("Examples:")[2]
    assert "--json" in said


def test_numbers() -> None:
    context = click.Context(tools.log)
    assert tools.ZXID.convert("0x1f", None, context) == 31
    assert tools.ZXID.convert("31", None, context) == 31
    assert "is no number" in complaint("log", "show", ".", "--from", "many")


def test_help_imports_neither_storage_nor_a_client() -> None:
    code = "import sys, coterie.cli.tools; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in run.stdout.split() if name.startswith("coterie.")}
    assert ours == {"coterie.cli", "coterie.cli.tools", "coterie.cli.options"}
