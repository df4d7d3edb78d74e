"""kill -9 at random moments under load: what was acknowledged is there after every restart."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.runtime.client import Client
from tests.runtime.server import Server

_WRITERS = 4
_WINDOW = 16


class Writer(threading.Thread):
    """Creates numbered znodes, `_WINDOW` at a time, and remembers the last acknowledged."""

    def __init__(self, port: int, number: int, first: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.number = number
        self.next = first
        self.acknowledged = first - 1
        self.wrong: str | None = None

    def run(self) -> None:
        try:
            with Client(self.port) as client:
                pending: list[tuple[int, int]] = []
                while True:
                    while len(pending) < _WINDOW:
                        path = b"/w%d/n%08d" % (self.number, self.next)
                        body = requests.CreateRequest(path, b"%d" % self.next, OPEN_ACL, 0)
                        pending.append((client.send(Op.CREATE, body), self.next))
                        self.next += 1
                    xid, count = pending.pop(0)
                    reply = client.receive()
                    if reply[0] != xid or reply[2] != 0:
                        self.wrong = f"asked for {xid} ({count}), got {reply}"
                        return
                    self.acknowledged = count
        except OSError:
            return


def _survivors(client: Client, number: int) -> set[int]:
    _, _, error, body = client.call(
        Op.GET_CHILDREN, requests.PathWatchRequest(b"/w%d" % number, False)
    )
    assert error == 0
    names = requests.ChildrenResponse.decode(body).children
    return {int(name[1:]) for name in names}


def _rounds(directory: Path, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    server = Server(directory, snapCount=2000)
    firsts = [0] * _WRITERS
    with server:
        with Client(server.port) as client:
            for number in range(_WRITERS):
                assert client.create(b"/w%d" % number)[2] == 0
        for _ in range(rounds):
            writers = [Writer(server.port, i, firsts[i]) for i in range(_WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(dice.uniform(0.005, 0.25))
            server.kill()
            for writer in writers:
                writer.join(timeout=20)
                assert not writer.is_alive()
                assert writer.wrong is None, writer.wrong
            server.start()
            with Client(server.port) as client:
                for writer in writers:
                    there = _survivors(client, writer.number)
                    # What was sent in order is there in order: no hole before the last.
                    assert there == set(range(len(there)))
                    assert len(there) > writer.acknowledged, "an acknowledged write is lost"
                    last = len(there) - 1
                    if last >= 0:
                        path = b"/w%d/n%08d" % (writer.number, last)
                        assert client.get(path) == b"%d" % last
                    firsts[writer.number] = len(there)


def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    _rounds(tmp_path, 10, seed=1)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    _rounds(tmp_path, 200, seed=2)
