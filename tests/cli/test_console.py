"""`coterie console`: a console for an ensemble, from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from coterie.cli.main import cli


def _says(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["console", *arguments], prog_name="coterie")
    return done.exit_code, done.output


def test_help_has_an_example() -> None:
    status, said = _says("--help")
    assert status == 0
    assert "coterie console zk1.example.org:2181" in said


def test_hosts_that_are_none() -> None:
    status, said = _says("a:b:c")
    assert (status, said.count("\n")) == (2, 1)


def test_files_that_are_none(tmp_path: Path) -> None:
    status, said = _says("localhost", "--tls-ca", str(tmp_path / "none.pem"))
    assert status == 2
    assert "none.pem" in said


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = _says("127.0.0.1:1", "--port", port)
    assert (status, said.count("\n")) == (2, 1)
    assert port in said


@pytest.mark.slow
def test_it_serves_what_the_ensemble_says(hosts: str) -> None:
    command = [sys.executable, "-m", "coterie", "console", hosts, "--port", "0", "--read-only"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        match = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert match
        with urllib.request.urlopen(f"{match[0]}console/state", timeout=20) as answer:
            told = json.load(answer)
        assert (told["inside"], told["read_only"]) == (False, True)
        assert told["members"][0]["mode"] in ("standalone", "leader", "follower")
        with urllib.request.urlopen(f"{match[0]}znodes/?children", timeout=20) as answer:
            assert json.load(answer)["children"] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
