"""Messages to systemd, as sd_notify(3) and sd_watchdog_enabled(3) describe them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from coterie.system.notify import ALIVE, READY, Supervisor, status


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd's, and its name."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(5)
        yield sock, name


def test_a_message_is_one_datagram(ear: tuple[socket.socket, str]) -> None:
    sock, name = ear
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    supervisor.tell(READY, status("it leads"))
    supervisor.tell(ALIVE)
    assert sock.recv(4096) == b"READY=1\nSTATUS=it leads"
    assert sock.recv(4096) == b"WATCHDOG=1"


def test_an_address_may_be_abstract() -> None:
    name = f"coterie-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(5)
        Supervisor({"NOTIFY_SOCKET": "@" + name}).tell(READY)
        assert sock.recv(4096) == b"READY=1"


def test_a_status_is_one_line() -> None:
    """A newline in it would be another field."""
    assert status("a disk\nMAINPID=1") == "STATUS=a disk MAINPID=1"


@pytest.mark.parametrize("name", ["", "gone"])
def test_nobody_need_be_there(name: str, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / name)} if name else {}
    Supervisor(environment).tell(READY)


def test_nobody_is_waited_for(ear: tuple[socket.socket, str]) -> None:
    """systemd that does not read must not stop a server."""
    _, name = ear
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    for _ in range(2000):
        supervisor.tell("x" * 1000)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_when_the_watchdog_is_wanted(asked: dict[str, str], seconds: float | None) -> None:
    assert Supervisor({"NOTIFY_SOCKET": "/run/notify", **asked}).watchdog_s == seconds
    assert Supervisor(asked).watchdog_s is None
