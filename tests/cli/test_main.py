"""The `coterie` command: what it passes on, what it refuses, and what it does not import."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from coterie import __version__
from coterie.cli.main import cli

Call = tuple[str | None, str, str | None, int | None]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What `coterie.cli.serve.serve` was called with; it then says that it ended with status 3."""
    seen: list[Call] = []

    def serve(file: str | None, data: str, host: str | None, port: int | None) -> int:
        seen.append((file, data, host, port))
        return 3

    module = ModuleType("coterie.cli.serve")
    module.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "coterie.cli.serve", module)
    monkeypatch.setattr("coterie.cli.serve", module, raising=False)
    return seen


def coterie(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="coterie")


def test_serve_without_arguments_leaves_address_and_port_open(calls: list[Call]) -> None:
    assert coterie("serve").exit_code == 3
    assert calls == [(None, "./data", None, None)]


def test_serve_passes_its_options_on(calls: list[Call]) -> None:
    coterie("serve", "--data", "/var/lib/zk", "--host", "0.0.0.0", "--port", "0")
    coterie("serve", "zoo.cfg", "--port", "2182")
    assert calls == [(None, "/var/lib/zk", "0.0.0.0", 0), ("zoo.cfg", "./data", None, 2182)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["zoo.cfg", "--data", "elsewhere"], "dataDir in it names the data"),
        (["--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--port", "http"], "'http' is not a valid integer"),
        (["zoo.cfg", "zoo2.cfg"], "unexpected extra argument (zoo2.cfg)"),
        (["--prot", "1"], "--port"),
    ],
)
def test_serve_refuses_with_status_2(
    calls: list[Call], arguments: list[str], complaint: str
) -> None:
    result = coterie("serve", *arguments)
    assert result.exit_code == 2
    assert complaint in result.output
    assert not calls


def test_version() -> None:
    assert coterie("--version").output == f"coterie, version {__version__}\n"


def test_help_names_the_commands() -> None:
    assert "serve" in coterie("--help").output
    assert "FILE is a zoo.cfg" in coterie("serve", "--help").output


def _commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with their words, but the groups that have others below them."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _commands(found, (*path, name))


@pytest.mark.parametrize("words", [words for words, _ in _commands()], ids=" ".join)
def test_every_command_has_help_with_an_example_and_a_test(words: tuple[str, ...]) -> None:
    text = coterie(*words, "--help").output
    assert re.search(rf"^    .*\bcoterie {' '.join(words)}\b", text, re.MULTILINE), text
    quoted = '",\\s*"'.join(words)
    run = re.compile(f'[([*]"{quoted}"|coterie {" ".join(words)}|invoke\\(cli, .*"{quoted}"')
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    if words[0] == "ensemble":  # its own file leaves the first word out
        run = re.compile(f'coterie\\("{words[-1]}"')
    assert any(run.search(text) for text in tests)


def test_the_examples_of_the_help_are_ones_that_can_be_typed() -> None:
    seen = 0
    for words, command in _commands():
        text = (command.help or "").replace("\\\n", " ")
        for line in re.findall(r"^ +coterie (.*)", text, re.MULTILINE):
            typed = shlex.split(re.split(r" \| | && ", line)[0], comments=True)
            if typed[: len(words)] != list(words) or {"<", ">"} & set(typed):
                continue
            try:
                command.make_context(words[-1], typed[len(words) :])
            except click.BadParameter as error:
                if not re.search("does not exist|No such file", error.message):
                    raise AssertionError(line) from error
            seen += 1
    assert seen > 60


def test_simulate_shows_how_a_seed_ends() -> None:
    result = coterie("simulate", "17", "--members", "1", "--quiet")
    assert result.exit_code == 0, result.output
    assert "17" in result.output
    assert coterie("simulate").exit_code == 2


def test_help_imports_neither_the_event_loop_nor_the_server() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['coterie', 'serve', '--help']\n"
        "try:\n"
        "    runpy.run_module('coterie', run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    print(ended.code)\n"
        "print(*sorted(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, status, modules = run.stdout.splitlines()
    loaded = modules.split()
    assert status == "0"
    assert not {"asyncio", "uvloop", "ssl", "rich"} & set(loaded)
    ours = {name for name in loaded if name.startswith("coterie.")}
    assert ours == {"coterie.__main__", "coterie.cli", "coterie.cli.main"} & ours
