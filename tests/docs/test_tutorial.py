"""The tutorial: its console blocks show what the commands say, and one server becomes three."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from coterie.cli.main import cli
from coterie.testing.ports import free_port
from tests.compat import raw
from tests.runtime.client import Client
from tests.runtime.server import Server, until

_PAGE = (Path(__file__).parent.parent.parent / "docs/tutorial.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```console run\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_console_blocks_show_what_the_commands_say(tmp_path: Path, coterie_hosts: str) -> None:
    command = tmp_path / "coterie"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m coterie "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    blocks = _BLOCK.findall(_PAGE)
    assert len(blocks) == 3
    for example in re.split(r"^\$ ", "".join(blocks), flags=re.MULTILINE)[1:]:
        typed, _, shown = example.partition("\n")
        run = subprocess.run(
            ["sh", "-c", typed],
            env={**os.environ, "PATH": path, "COTERIE_HOSTS": coterie_hosts},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.stdout == shown, typed


def test_its_commands_are_there() -> None:
    named = set(re.findall(r"(?:^\$ |`)coterie (\w+)", _PAGE, re.MULTILINE))
    assert named <= set(cli.list_commands(cli.context_class(cli)))
    assert {"serve", "ensemble", "init", "lock"} <= named


def _mode(server: Server) -> str | None:
    try:
        found = re.search(r"^Mode: (\w+)", raw.word(server.port, b"srvr"), re.MULTILINE)
    except OSError:
        return None
    return found and found[1]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_server_becomes_three_with_its_data(tmp_path: Path) -> None:
    """In the order of the page: the one with the data and one that is empty, then the last."""
    with Server(tmp_path / "1") as alone:
        with Client(alone.port) as client:
            assert client.create(b"/kept", b"here")[2] == 0
        assert alone.stop() == 0
    settings: dict[str, Any] = {
        f"server__{number}": f"127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)
    }
    settings |= {"initLimit": 20, "syncLimit": 10}
    with ExitStack() as stack:
        three: list[Server] = []
        for number in (1, 2, 3):
            server = Server(tmp_path / str(number), **settings)
            data = server.directory / "data"
            data.mkdir(exist_ok=True)
            (data / "myid").write_text(f"{number}\n")
            three.append(server)
        first, second, last = three
        for server in (first, second):
            stack.enter_context(server)
        until(lambda: (_mode(first), _mode(second)) == ("leader", "follower"), 30)
        stack.enter_context(last)
        until(lambda: _mode(last) == "follower", 30)
        for server in three:
            with Client(server.port) as client:
                assert client.get(b"/kept") == b"here"
