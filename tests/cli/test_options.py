"""Options: what paths, credentials, times and data may look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from coterie.cli import options


@click.command()
@click.argument("path", type=options.PATH)
@click.option("--time", type=options.DURATION)
@options.data_options
@options.where
def _command(**given: Any) -> None:
    options.take_data(given, demanded=given["path"] == "/demands")
    click.echo(repr(given))


def run(*arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    result = CliRunner(env=env).invoke(_command, arguments, input=stdin)
    return result.output


@pytest.mark.parametrize(
    ("here", "path", "seen"),
    [
        ("/", "a", "/a"),
        ("/a/b", "../c", "/a/c"),
        ("/a/b", "/c", "/c"),
        ("/a", "../../..", "/"),
        ("/a", "./b/", "/a/b"),
    ],
)
def test_a_relative_path_is_seen_from_where_one_is(here: str, path: str, seen: str) -> None:
    assert options.join(here, path) == seen


def test_a_path_without_a_shell_is_absolute() -> None:
    assert "begin with /" in run("a")
    assert "'/a'" in run("/a/")
    assert "'path': '/'" in run("/")


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500", 500), ("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("1d", 86_400_000)],
)
def test_times(text: str, ms: int) -> None:
    assert f"'time': {ms}," in run("/", "--time", text)


@pytest.mark.parametrize("text", ["x", "1w", "", "0", "s", "nan", "inf", "1e999"])
def test_what_is_no_time(text: str) -> None:
    assert "Invalid value for '--time'" in run("/", "--time", text)


def test_credentials_may_have_colons_in_them() -> None:
    assert "(('digest', 'me:secret'), ('x', ''))" in run(
        "/", "--auth", "digest:me:secret", "--auth", "x:"
    )
    assert "scheme:credential" in run("/", "--auth", "digest")
    assert "scheme:credential" in run("/", "--auth", ":me")


def test_the_environment_says_where_and_who() -> None:
    env = {"COTERIE_HOSTS": "h:1/app", "COTERIE_AUTH": "digest:me:x"}
    said = run("/", env=env)
    assert "'hosts': 'h:1/app'" in said
    assert "('digest', 'me:x')" in said


def test_data_is_an_argument_a_file_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"\xff\0")
    assert "'data': b'caf\\xc3\\xa9'" in run("/", "café")
    assert "'data': b''" in run("/", stdin="not read")
    assert r"'data': b'\xff\x00'" in run("/", "--file", str(file))
    assert "'data': b'piped'" in run("/", "--file", "-", stdin="piped")
    assert "either DATA or --file" in run("/", "x", "--file", str(file))


def test_data_that_is_demanded_is_piped_in_if_it_is_not_given() -> None:
    assert "'data': b'piped'" in run("/demands", stdin="piped")
    assert "'data': b'x'" in run("/demands", "x", stdin="piped")
