"""Ten thousand sessions come back to a real server at once, and none of them is lost.

They lose their connections all at one moment: first because the network does, then because the
server is killed with -9 and started again. Each asks for its session by id and password as soon as
it can; who is turned away or reset asks again. One process holds all of them, by one epoll.
"""

from __future__ import annotations

import errno
import resource
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from coterie.wire.framing import LENGTH
from coterie.wire.requests import PING_XID, ConnectRequest, ConnectResponse, Op, RequestHeader
from tests.runtime.client import word
from tests.runtime.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SESSIONS: Final = 10_000
_TICK_MS: Final = 1500
_TIMEOUT_MS: Final = 30_000
_BACK_S_MAX: Final = 60.0
_AGAIN_S: Final = 0.2
_WELCOME_BYTES: Final = 4 + 37
_PONG_BYTES: Final = 4 + 16
_SPARE: Final = 200
_PING: Final = LENGTH.pack(8) + RequestHeader(PING_XID, Op.PING).encode()


def _descriptors() -> int:
    """As many as this system gives; a server and its clients have a limit each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else 1 << 20


class Crowd:
    """Sessions with a connection each, or none."""

    def __init__(self, port: int, size: int) -> None:
        self.sessions: list[tuple[int, bytes]] = [(0, bytes(16))] * size
        self.refused = 0
        """How often one had to ask again."""
        self._port = port
        self._socks: dict[int, tuple[socket.socket, int]] = {}
        """By descriptor: the connection, and whose it is."""
        self._poll = select.epoll()

    def leave(self) -> None:
        """All connections break, and nobody says why."""
        for sock, _ in self._socks.values():
            sock.close()
        self._socks.clear()

    def come(self, at_once: int) -> None:
        """All connect and ask for their sessions, so many at a time; each has its own then."""
        waiting = deque(range(len(self.sessions)))
        later: deque[tuple[float, int]] = deque()
        asking: dict[int, bytes] = {}
        deadline = time.monotonic() + _BACK_S_MAX
        while waiting or later or asking:
            now = time.monotonic()
            assert now < deadline, f"{len(waiting) + len(later) + len(asking)} are not back"
            while later and later[0][0] <= now:
                waiting.append(later.popleft()[1])
            while waiting and len(asking) < at_once:
                asking[self._dial(waiting.popleft())] = b""
            for fd, event in self._poll.poll(_AGAIN_S, 1000):
                sock, who = self._socks[fd]
                try:
                    if asking[fd] or event & select.EPOLLIN:
                        asking[fd] += self._heard(sock)
                    elif event & select.EPOLLOUT:
                        self._ask(sock, who)
                        self._poll.modify(fd, select.EPOLLIN)
                    else:
                        raise ConnectionResetError
                except OSError:
                    self._drop(fd)
                    del asking[fd]
                    self.refused += 1
                    later.append((now + _AGAIN_S, who))
                    continue
                if len(asking[fd]) == _WELCOME_BYTES:
                    self._welcomed(who, asking.pop(fd))
                    self._poll.unregister(fd)

    def _dial(self, who: int) -> int:
        sock = socket.socket()
        sock.setblocking(False)
        error = sock.connect_ex(("127.0.0.1", self._port))
        assert error in (0, errno.EINPROGRESS), errno.errorcode[error]
        self._socks[sock.fileno()] = sock, who
        self._poll.register(sock, select.EPOLLOUT)
        return sock.fileno()

    def _ask(self, sock: socket.socket, who: int) -> None:
        session_id, password = self.sessions[who]
        body = ConnectRequest(0, 0, _TIMEOUT_MS, session_id, password).encode() + b"\0"
        sock.send(LENGTH.pack(len(body)) + body)

    def _heard(self, sock: socket.socket) -> bytes:
        data = sock.recv(_WELCOME_BYTES)
        if not data:
            raise ConnectionResetError
        return data

    def _drop(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._socks.pop(fd)[0].close()

    def _welcomed(self, who: int, frame: bytes) -> None:
        answer = ConnectResponse.decode(frame[4:])
        session_id, _ = self.sessions[who]
        assert answer.timeout_ms == _TIMEOUT_MS, f"the session of {who} is over"
        assert session_id in (0, answer.session_id)
        self.sessions[who] = answer.session_id, answer.password or b""

    def ping(self) -> None:
        """Each is served over the connection that it has."""
        for sock, _ in self._socks.values():
            sock.setblocking(True)
            sock.settimeout(20)
            sock.sendall(_PING)
        for sock, _ in self._socks.values():
            assert len(sock.recv(_PONG_BYTES)) == _PONG_BYTES


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, tickTime=_TICK_MS) as running:
        yield running


def _numbers(port: int) -> dict[str, str]:
    lines = word(port, b"mntr").decode().splitlines()
    return dict(line.split("\t", 1) for line in lines if "\t" in line)


def test_ten_thousand_sessions_come_back_at_once(server: Server) -> None:
    size = min(SESSIONS, _descriptors() - _SPARE)
    crowd = Crowd(server.port, size)
    took: list[float] = []

    def come(at_once: int) -> None:
        began = time.monotonic()
        crowd.come(at_once)
        took.append(time.monotonic() - began)
        crowd.ping()
        assert int(_numbers(server.port)["zk_num_alive_connections"]) >= size

    come(500)
    known = list(crowd.sessions)
    assert len(set(known)) == size
    crowd.leave()
    come(size)
    server.kill()
    crowd.leave()
    server.start()
    come(size)
    assert crowd.sessions == known
    assert not server.said("expired after")
    crowd.leave()
    shown = ", ".join(f"{seconds:.1f} s" for seconds in took)
    print(f"{size} sessions made, back, back after kill -9: {shown}; {crowd.refused} asked again")
