"""`coterie agent` as it is typed, and as a process that gets signals."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, ended, line

_FILE = """
[agent]
page = 0
[[settings]]
znode = "/a"
file = "a"
"""
_WAIT_S_MAX = 15.0


def _write(folder: Path, text: str = _FILE) -> str:
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def _until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _WAIT_S_MAX
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _status(page: str) -> Any:
    with urllib.request.urlopen(f"{page}status.json") as answer:
        return json.load(answer)


def test_help_has_examples(coterie: Command) -> None:
    said = coterie("agent", "--help")
    assert "Examples:\n" in said
    assert "coterie agent agent.toml --status" in said
    assert 'kind = "manager"' in said


def test_once(coterie: Command, tmp_path: Path) -> None:
    file = _write(tmp_path)
    result = coterie.run("agent", file, "--once")
    assert result.exit_code == 1
    assert f"coterie agent: {tmp_path}/a: the znode is not there" in result.stderr
    coterie("create", "/a", "one")
    coterie("agent", file, "--once")
    assert _text(tmp_path / "a") == "one"


def test_check_reads_the_file_and_no_more(coterie: Command, tmp_path: Path) -> None:
    said = coterie("agent", _write(tmp_path), "--check")
    assert said == f"{tmp_path}/agent.toml: 1 subscriptions, 0 znodes with more\n"
    assert not (tmp_path / ".coterie-agent").exists()


@pytest.mark.parametrize("more", [["--once"], ["--status"], ["--check"], ["--confirm", "a"], []])
def test_what_is_wrong_with_the_file_is_one_line(
    coterie: Command, tmp_path: Path, more: list[str]
) -> None:
    file = _write(tmp_path, _FILE + "colour = 3")
    result = coterie.run("agent", file, *more)
    assert result.exit_code == 2
    assert result.stderr == (f"coterie agent: {file}: [[settings]] 1: there is no key 'colour'\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--once", "--status"], "Only one of"),
        (["--json"], "--json is for --status"),
        (["--status"], "no agent has ever worked in"),
        (["--confirm", "a"], "no agent has ever worked in"),
        (["--hosts", "a:b:c:d", "--once"], "a:b:c:d"),
        (["--tls-ca", "/nowhere/ca.pem", "--once"], "/nowhere/ca.pem"),
        (["--page", "70000"], "70000"),
    ],
)
def test_usage_errors_have_status_2(
    coterie: Command, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    result = coterie.run("agent", _write(tmp_path), *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_without_a_server_once_has_status_3(coterie: Command, tmp_path: Path) -> None:
    coterie.hosts = "127.0.0.1:1"
    result = coterie.run("agent", _write(tmp_path), "--once", "--timeout", "0.3")
    assert result.exit_code == 3
    assert "127.0.0.1:1" in result.stderr


def test_a_process_that_gets_signals(
    coterie: Command,
    start_command: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    file = _write(tmp_path)
    coterie("create", "/a", "one")
    coterie("create", "/b", "two")
    process = start_command("agent", file)
    page = line(process).removeprefix("page").strip()
    assert page.startswith("http://127.0.0.1:")
    assert line(process) == f"files in   {tmp_path}"
    assert line(process) == "stop       Ctrl-C"
    _until(lambda: _text(tmp_path / "a") == "one")
    assert _status(page)["pid"] == process.pid
    # Another one does not come in between.
    result = coterie.run("agent", file, "--once")
    assert (result.exit_code, "another agent works in" in result.stderr) == (2, True)
    # The file is read anew, or what is wrong with it is told and the agent goes on.
    _write(tmp_path, "[[settings]")
    process.send_signal(signal.SIGHUP)
    _until(lambda: bool(_status(page)["problems"]))
    _write(tmp_path, _FILE.replace('"/a"', '"/b"'))
    process.send_signal(signal.SIGHUP)
    _until(lambda: _text(tmp_path / "a") == "two")
    _until(lambda: '"/b"' in coterie("agent", file, "--status", "--json"))
    assert "good     a  (/b)" in coterie("agent", file, "--status")
    process.send_signal(signal.SIGTERM)
    status, said = ended(process)
    assert (status, "Traceback" in said) == (0, False)


@pytest.mark.slow
def test_files_outlive_servers_that_are_killed(
    coterie: Command,
    start_command: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    data = str(tmp_path / "data")
    server = start_command("serve", "--data", data, "--port", "0")
    port = line(server).rpartition(":")[2]
    coterie.hosts = f"127.0.0.1:{port}"
    coterie("create", "/a", "one")
    file = _write(tmp_path)
    process = start_command("agent", file, "--hosts", coterie.hosts)
    _until(lambda: _text(tmp_path / "a") == "one")
    for number in range(3):
        server.kill()
        server.wait()
        assert _text(tmp_path / "a")
        if number == 1:
            # The agent as well, and it starts where no server is.
            process.kill()
            process.wait()
            process = start_command("agent", file, "--hosts", coterie.hosts)
            _until(lambda: "no server at" in coterie("agent", file, "--status"))
            assert _text(tmp_path / "a") == "0"
        server = start_command("serve", "--data", data, "--port", port)
        line(server)
        coterie("set", "/a", str(number))
        _until(lambda number=number: _text(tmp_path / "a") == str(number))  # type: ignore[misc]


def test_a_file_that_is_stale_has_status_1(coterie: Command, tmp_path: Path) -> None:
    file = _write(tmp_path, _FILE + 'stale_after = "1ms"')
    coterie("create", "/a", "one")
    coterie("agent", file, "--once")
    result = coterie.run("agent", file, "--status")
    assert result.exit_code == 1
    assert f"RED: {tmp_path}/a is stale" in result.stdout


def test_a_page_that_cannot_be_shown_is_one_line(
    coterie: Command,
    start_command: Callable[..., subprocess.Popen[str]],
    coterie_hosts: str,
    tmp_path: Path,
) -> None:
    port = coterie_hosts.partition("/")[0].rpartition(":")[2]
    status, said = ended(start_command("agent", _write(tmp_path), "--page", port))
    assert status == 2
    assert said.startswith(f"coterie agent: cannot listen on 127.0.0.1:{port}: ")
    assert said.count("\n") == 1
