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
from coterie.system.tls import client_context
from tests.runtime.certificates import Authority


def _says(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["console", *arguments], prog_name="coterie")
    return done.exit_code, done.output


def test_help_has_an_example() -> None:
    status, said = _says("--help")
    assert status == 0
    assert "coterie console zk1.example.org:2181" in said
    assert "--https-cert console.pem" in said


def test_hosts_that_are_none() -> None:
    status, said = _says("a:b:c")
    assert (status, said.count("\n")) == (2, 1)


def test_files_that_are_none(tmp_path: Path) -> None:
    status, said = _says("localhost", "--tls-ca", str(tmp_path / "none.pem"))
    assert status == 2
    assert "none.pem" in said


def test_a_certificate_of_the_pages_that_is_none_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing of the kind")
    authority = Authority(tmp_path / "tls")
    one, other = (str(authority.issue(name)) for name in ("one", "other"))
    for options, named in (
        (["--https-cert", str(tmp_path / "none.pem")], "none.pem"),
        (["--https-cert", str(bad)], "bad.pem"),
        (["--https-cert", str(authority.trust)], "ca.pem"),
        (["--https-cert", one, "--https-key", other], "is not the key of the certificate in"),
        (["--https-key", one], "--https-cert"),
    ):
        status, said = _says("127.0.0.1:1", "--port", "0", *options)
        assert (status, said.count("\n")) == (2, 1), said
        assert named in said


def test_pages_by_tls_with_a_certificate_that_is_read_anew(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue("console")
    trusting = client_context(authority.files())
    command = [sys.executable, "-m", "coterie", "console", "127.0.0.1:1", "--port", "0"]
    command += ["--https-cert", str(certificate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def shown(port: int) -> bytes | None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
            trusting.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
        ):
            return secured.getpeercert(binary_form=True)

    try:
        assert process.stdout is not None
        match = re.search(r"https://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert match
        with urllib.request.urlopen(match[0], timeout=20, context=trusting) as answer:
            assert b"<title>" in answer.read()
        with pytest.raises(OSError, match=r"closed|reset"):
            urllib.request.urlopen(f"http{match[0].removeprefix('https')}", timeout=20)
        before = shown(int(match[1]))
        authority.issue("console")
        assert shown(int(match[1])) != before
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


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
