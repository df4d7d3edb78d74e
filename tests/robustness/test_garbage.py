"""Garbage on every open port of a real ensemble: nothing falls, nothing leaks, writes go on."""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import pytest

from coterie.testing.ports import free_ports
from tests.compat import raw
from tests.compat.servers import Server, Settings
from tests.interop.ensembles import ALL_WELL, Ensemble, until
from tests.robustness.garbage import KINDS, TLS_HELLO, attack
from tests.runtime.certificates import Authority

_MIB: Final = 2**20
_POOL_THREADS: Final = min(32, (os.cpu_count() or 1) + 4) + 4
"""What asyncio's pool, which the pages use, and that of uvloop may grow to."""
_SETTINGS: Final[Settings] = {
    "tickTime": 500,
    "initLimit": 6,
    "nio.sessionlessCnxnTimeout": 2000,
    "admin.enableServer": "true",
    "client.portUnification": "true",
    "ssl.handshakeDetectionTimeoutMillis": 1000,
    "ssl.quorum.handshakeDetectionTimeoutMillis": 1000,
}
_CUT_S_MAX: Final = 25.0
"""The longest that anybody may be silent, or slow: the election port waits for 10 s."""


class Target:
    """Three members with every port open, and somebody who writes all the while."""

    def __init__(self, directory: Path, quorum_tls: bool) -> None:
        authority = Authority(directory / "tls")
        key = str(authority.issue("member"))
        stores: dict[str, str | int] = {
            "ssl.keyStore.location": key,
            "ssl.trustStore.location": str(authority.trust),
            "ssl.clientAuth": "want",
        }
        if quorum_tls:
            stores["sslQuorum"] = stores["portUnification"] = "true"
            stores["ssl.quorum.keyStore.location"] = key
            stores["ssl.quorum.trustStore.location"] = str(authority.trust)
        self.ensemble = Ensemble(directory, ("coterie",) * 3, {**_SETTINGS, **stores})
        self.ports: dict[int, Mapping[str, int]] = {}
        for number, member in self.ensemble.members.items():
            secure, http = free_ports(2)
            member.settings.update({"secureClientPort": secure, "admin.serverPort": http})
            member.settings["secureClientPortAddress"] = member.host
            _, quorum, election = str(member.settings[f"server.{number}"]).split(":")
            ports = (member.port, secure, int(quorum), int(election), http)
            self.ports[number] = dict(zip(KINDS, ports, strict=True))
        self.written = 0
        self.trouble: BaseException | None = None
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(self.ensemble).start()
            until(lambda: self.ensemble.roles() == ALL_WELL, self.ensemble.said)
            self._writer.start()
            self._held = held.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._writer.join(20)
        self._held.close()

    def _write(self) -> None:
        try:
            with self.ensemble.client(1) as client:
                client.ok(raw.CREATE, raw.create("/kept", b""))
                while not self._over.wait(0.01):
                    client.ok(raw.SET_DATA, raw.set_data("/kept", b"x" * 100))
                    self.written += 1
        except BaseException as error:
            self.trouble = error

    def places(self) -> Iterator[tuple[str, int]]:
        """Each open port, by kind."""
        for ports in self.ports.values():
            yield from ports.items()

    def epoch(self) -> tuple[int, str]:
        """Who leads, and in which epoch."""
        leader = self.ensemble.leader()
        return leader, self.ensemble.answers(leader, b"srvr")["Zxid"][:-8]

    def throw(self, count: int, seed: int) -> None:
        """So many connections with garbage, all from this seed."""
        places = list(self.places())
        for number in range(count):
            dice = random.Random(f"{seed}:{number}")
            kind, port = places[number % len(places)]
            try:
                attack(port, kind, dice)
            except OSError as error:
                raise AssertionError(f"{kind} port, seed {seed}, connection {number}") from error

    def well(self) -> None:
        """Whether all is as it was, and nobody has noticed anything."""
        assert self.ensemble.roles() == ALL_WELL, self.ensemble.said()
        assert self.trouble is None, self.trouble
        before = self.written
        until(lambda: self.written > before + 2, self.ensemble.said)


class Held:
    """What a process holds."""

    def __init__(self, member: Server) -> None:
        assert member._process is not None
        self._place = Path(f"/proc/{member._process.pid}")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(self._place / "fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(self._place / "task"))

    @property
    def bytes(self) -> int:
        pages = int((self._place / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _attacked(target: Target, count: int, seed: int, bytes_max: int, slowly: bool) -> None:
    # What is loaded at the first connection, or made then, is no leak.
    target.throw(150, seed=seed + 1000)
    time.sleep(1.5)
    held = {number: Held(member) for number, member in target.ensemble.members.items()}
    epoch = target.epoch()
    before = {n: (h.descriptors, h.threads, h.bytes) for n, h in held.items()}
    lines = {n: len(member.lines()) for n, member in target.ensemble.members.items()}
    with ExitStack() as slow:
        lorises = [slow.enter_context(_Loris(*place)) for place in target.places() if slowly]
        target.throw(count, seed)
        target.well()
        for loris in lorises:
            loris.await_end()
    target.well()
    assert target.epoch() == epoch, target.ensemble.said()
    for number, member in target.ensemble.members.items():
        descriptors, threads, size = before[number]
        now = held[number]
        until(lambda now=now, n=descriptors: now.descriptors <= n + 3, member.said)  # type: ignore[misc]
        assert now.threads <= threads + _POOL_THREADS
        assert now.bytes - size < bytes_max, f"member {number}: {(now.bytes - size) // _MIB} MiB"
        said = member.lines()
        assert not any("Traceback" in line for line in said), "\n".join(said)
        told = said[lines[number] :]
        assert len(told) < 80, "\n".join(told)


class _Loris:
    """Some connections to a port that say a byte now and then, from a thread."""

    def __init__(self, kind: str, port: int) -> None:
        self._kind = kind
        begins = {
            "clients": b"\0\0\0\x2d",
            "secure": TLS_HELLO,
            "quorum": b"\0\0\0\x0b",
            "election": b"\xff\xff\xff\xff\xff\xff\0\0",
            "http": b"GET / HTTP/1.1\r\nX: ",
        }[kind]
        self._socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
        for number, sock in enumerate(self._socks):
            # Half of them say nothing at all.
            sock.setblocking(False)
            sock.sendall(begins if number % 2 else b"")
        self._over = threading.Event()
        self._ended: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()
        for sock in self._socks:
            sock.close()

    def _drip(self) -> None:
        while not self._over.wait(0.5) and len(self._ended) < len(self._socks):
            for number, sock in enumerate(self._socks):
                if sock in self._ended:
                    continue
                try:
                    readable, _, _ = select.select([sock], [], [], 0)
                    if readable and not sock.recv(4096):
                        self._ended.add(sock)
                    elif number % 2:
                        sock.send(b"\0")
                except OSError:
                    self._ended.add(sock)

    def await_end(self) -> None:
        left = f"slow connections stay at the {self._kind} port"
        until(lambda: len(self._ended) == len(self._socks), lambda: left, _CUT_S_MAX)


def test_a_scan_does_no_harm(tmp_path: Path) -> None:
    with Target(tmp_path, quorum_tls=True) as target:
        _attacked(target, 600, seed=1, bytes_max=32 * _MIB, slowly=False)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("quorum_tls", [False, True])
def test_garbage_and_who_is_slow_leave_nothing_behind(tmp_path: Path, quorum_tls: bool) -> None:
    with Target(tmp_path, quorum_tls) as target:
        _attacked(target, 4000, seed=2, bytes_max=32 * _MIB, slowly=True)
