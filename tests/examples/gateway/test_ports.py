"""Ports that two launchers of one machine never give to processes of theirs at the same time."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from examples.gateway.ports import HOST, Ports
from examples.gateway.supervisor import PROJECT

pytestmark = pytest.mark.gateway

_FIRST = 23_000


def test_two_launchers_have_different_ports() -> None:
    with Ports() as one, Ports() as other:
        taken = [one.take(_FIRST), other.take(_FIRST), one.take(_FIRST)]
        assert len(set(taken)) == 3
        assert not other.hold(taken[0])
    with Ports() as later:
        assert later.take(_FIRST) == taken[0]


def test_a_port_at_which_somebody_listens_is_not_taken() -> None:
    with Ports() as ports, socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert ports.take(port) != port
        # The guard of a port that is of no use is not kept.
        assert ports.hold(port)


def test_in_a_row_all_have_to_be_free() -> None:
    with Ports() as ports, socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert ports.take(port - 2, 10, 3) == port - 2 + 10


def test_whoever_holds_it_may_listen_there() -> None:
    with Ports() as ports:
        port = ports.take(_FIRST)
        with socket.create_server((HOST, port)):
            assert not Ports().hold(port)


def test_a_port_is_held_until_its_holder_is_no_more() -> None:
    program = (
        "import sys\n"
        "from examples.gateway.ports import Ports\n"
        "ports = Ports()\n"
        f"print(ports.take({_FIRST}), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        assert not Ports().hold(port)
        holder.kill()
        holder.wait()
    with Ports() as ports:
        assert ports.hold(port)
