"""A real server stands still for longer than its sessions may be silent: who spoke loses none.

SIGSTOP is what a debugger, a full disk of swap, a virtual machine that is moved or a starved
container does to a process. Clients of three kinds go on meanwhile, each as it does.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from coterie.client.blocking import connect_blocking
from coterie.values import CreateMode
from coterie.wire.framing import LENGTH
from coterie.wire.requests import PING_XID, Op
from tests.compat import raw
from tests.interop.ensembles import Ensemble
from tests.runtime.client import Client
from tests.runtime.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_TIMEOUT_S = 4.0
_STILL_S = 6.0
_OURS_S = 9.0
"""Our client counts its session as over when nobody answered for a time-out, though the server
would not have ended it. So it has one that is longer, of which the standstill takes most."""
_EPHEMERAL = CreateMode.EPHEMERAL.value
_PING = LENGTH.pack(8) + struct.pack(">ii", PING_XID, Op.PING)


@contextmanager
def _pinging(sock: socket.socket) -> Iterator[None]:
    """Pings go out, whether anybody reads them or answers."""
    over = threading.Event()

    def ping() -> None:
        while not over.wait(_TIMEOUT_S / 3):
            sock.sendall(_PING)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _kazoo(where: str) -> Iterator[KazooClient]:
    client = KazooClient(
        where,
        timeout=_TIMEOUT_S,
        connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 0.5},
    )
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


def test_who_spoke_keeps_its_session_and_who_was_silent_does_not(tmp_path: Path) -> None:
    timeout_ms = int(_TIMEOUT_S * 1000)
    with Server(tmp_path) as server:
        where = f"127.0.0.1:{server.port}"
        with (
            _kazoo(where) as kazoo,
            connect_blocking(where, session_timeout_s=_OURS_S) as ours,
            Client(server.port, timeout_ms) as steady,
            Client(server.port, timeout_ms) as silent,
            _pinging(steady.sock),
        ):
            kazoo.create("/kazoo", ephemeral=True)
            ours.create("/ours", ephemeral=True)
            steady.create(b"/steady", flags=_EPHEMERAL)
            silent.create(b"/silent", flags=_EPHEMERAL)
            sessions = kazoo.client_id, ours.session_id
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(_STILL_S)
            os.kill(server.pid, signal.SIGCONT)
            # Longer than what the silent one may still be silent, and a tick.
            time.sleep(_TIMEOUT_S + 1.5)
            with Client(server.port) as other:
                assert sorted(other.children(b"/")) == [b"kazoo", b"ours", b"steady", b"zookeeper"]
            assert (kazoo.client_id, ours.session_id) == sessions
            assert server.said("ms late: all sessions get as much longer")
            assert server.log.read_text().count(" expired after ") == 1


def test_a_leader_that_stood_still_expires_no_client_of_a_follower(tmp_path: Path) -> None:
    """Nobody told the leader of its followers' clients meanwhile: it had asked nobody."""
    timeout_ms, still_s = 2000, 4.0
    with Ensemble(tmp_path, ("coterie",) * 3, {"syncLimit": 20}).start() as three:
        leader = three.leader()
        follower = three.others(leader)[0]
        with (
            three.client(follower, timeout_ms) as speaks,
            three.client(follower, timeout_ms) as silent,
        ):

            def ping_for(seconds: float) -> None:
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    speaks.ping()
                    time.sleep(timeout_ms / 5000)

            speaks.ok(raw.CREATE, raw.create("/speaks", b"", raw.EPHEMERAL))
            silent.ok(raw.CREATE, raw.create("/silent", b"", raw.EPHEMERAL))
            three.pause(leader)
            ping_for(still_s)
            three.resume(leader)
            ping_for(timeout_ms / 1000 + 1.5)
            assert three.leader() == leader
            speaks.ok(raw.SYNC, raw.string("/"))
            found = [
                speaks.call(raw.EXISTS, raw.path_watch(path)).error
                for path in ("/speaks", "/silent")
            ]
            assert found == [0, -101]
