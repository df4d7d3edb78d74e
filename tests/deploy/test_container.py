"""The Containerfile, as far as it can be judged without building it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from coterie.cli.main import cli

_TOP = Path(__file__).parent.parent.parent
_TEXT = (_TOP / "deploy/container/Containerfile").read_text(encoding="utf-8")
_LINES = _TEXT.replace("\\\n", " ").splitlines()


def _said(word: str) -> list[str]:
    return [line.removeprefix(word).strip() for line in _LINES if line.startswith(f"{word} ")]


def _command(text: str) -> list[str]:
    found = re.search(r"\[.*\]", text)
    assert found is not None
    words: list[str] = json.loads(found[0])
    return words


def test_what_it_copies_is_there() -> None:
    sources = [
        source
        for line in _said("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert "coterie" in sources
    assert all((_TOP / source).exists() for source in sources)
    listed = (_TOP / "deploy/container/Containerfile.dockerignore").read_text("utf-8").split("\n")
    assert {line[1:] for line in listed if line.startswith("!")} == set(sources)


def test_it_serves_and_is_not_root() -> None:
    assert _command(_said("ENTRYPOINT")[0]) == ["coterie"]
    assert _said("USER") == ["10001:10001"]
    assert _command(_said("CMD")[0])[0] == "serve"


@pytest.mark.parametrize("line", [_said("CMD")[0], _said("HEALTHCHECK")[0]])
def test_its_commands_are_understood(line: str) -> None:
    """Asked for help behind all that is said: an option that is unknown is an error before."""
    words = [word for word in _command(line) if word != "coterie"]
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0, result.output
    options = [word for word in words if word.startswith("--")]
    assert all(option in result.output for option in options)
    assert options
