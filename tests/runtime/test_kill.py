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
from tests.runtime.client import Client, word
from tests.runtime.server import Server

_WRITERS = 4
_WINDOW = 16
_SET_EVERY = 8


class Writer(threading.Thread):
    """Creates numbered znodes below one of its own, `_WINDOW` at a time, and now and then puts
    the number into that; it remembers the last of each that was acknowledged."""

    def __init__(self, port: int, root: bytes) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.root = root
        self.created = -1
        self.set = -1
        self.wrong: str | None = None

    def run(self) -> None:
        try:
            with Client(self.port) as client:
                self._write(client)
        except OSError:
            return

    def _write(self, client: Client) -> None:
        pending: list[tuple[int, int, int]] = []
        number = 0
        while True:
            while len(pending) < _WINDOW:
                data = b"%d" % number
                create = requests.CreateRequest(self.root + b"/%08d" % number, data, OPEN_ACL, 0)
                pending.append((client.send(Op.CREATE, create), Op.CREATE, number))
                if number % _SET_EVERY == 0:
                    change = requests.SetDataRequest(self.root, data, -1)
                    pending.append((client.send(Op.SET_DATA, change), Op.SET_DATA, number))
                number += 1
            xid, op, done = pending.pop(0)
            reply = client.receive()
            if reply[0] != xid or reply[2] != 0:
                self.wrong = f"asked for {xid} ({op}, {done}), got {reply}"
                return
            if op == Op.CREATE:
                self.created = done
            else:
                self.set = done


def _check(client: Client, writer: Writer) -> int:
    """How many of a writer's znodes there are: at least what was acknowledged, without a hole,
    since what was sent in order was to be done in order."""
    there = sorted(int(name) for name in client.children(writer.root))
    assert there == list(range(len(there)))
    assert len(there) > writer.created, "an acknowledged create is lost"
    assert int(client.get(writer.root) or -1) >= writer.set, "an acknowledged change is lost"
    if there:
        assert client.get(writer.root + b"/%08d" % there[-1]) == b"%d" % there[-1]
    return len(there)


def _rounds(directory: Path, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    kept: dict[bytes, int] = {}
    acknowledged = 0
    with Server(directory, snapCount=2000) as server:
        for number in range(rounds):
            writers = [Writer(server.port, b"/%d-%d" % (number, i)) for i in range(_WRITERS)]
            with Client(server.port) as client:
                for writer in writers:
                    assert client.create(writer.root)[2] == 0
            for writer in writers:
                writer.start()
            time.sleep(dice.uniform(0.005, 0.25))
            server.kill()
            for writer in writers:
                writer.join(timeout=20)
                assert not writer.is_alive()
                assert writer.wrong is None, writer.wrong
                acknowledged += writer.created + 1
            server.start()
            with Client(server.port) as client:
                kept.update({writer.root: _check(client, writer) for writer in writers})
            assert b"zk_digest_mismatches_count\t0\n" in word(server.port, b"mntr")
        with Client(server.port) as client:
            for root, count in kept.items():
                assert len(client.children(root)) == count
    assert acknowledged > rounds, "hardly anything was written"


def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    _rounds(tmp_path, 10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_two_hundred_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    _rounds(tmp_path, 50, seed)
