"""The client port of a real server: malformed frames, clients that do not read, limits."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from coterie.wire import requests
from coterie.wire.framing import LENGTH
from coterie.wire.requests import Op
from tests.fuzz.seeds import spoiled
from tests.fuzz.target import CONNECT
from tests.runtime.client import Client, word
from tests.runtime.server import Server, until

_MIB = 2**20
_FRAMES_MAX = 20
_SUPER: dict[str, Any] = {
    "DigestAuthenticationProvider__superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
}
"""The super user's password is "test"."""
_AS_SUPER = requests.AuthPacket(0, "digest", b"super:test")


def _attack(port: int, dice: random.Random) -> int:
    """One connection, with or without a session, and its malformed frames; how many they were."""
    count = dice.randrange(1, _FRAMES_MAX)
    data = CONNECT if dice.randrange(4) else b""
    data += b"".join(spoiled(dice) for _ in range(count))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            sock.sendall(data)
            if dice.randrange(2):
                sock.shutdown(socket.SHUT_WR)
            if data.startswith(CONNECT):
                assert len(sock.recv(4096)) >= 41, "no session"
        except (ConnectionResetError, BrokenPipeError):
            pass  # it was thrown out
        if dice.randrange(2):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return count


def _attacks(server: Server, count: int, dice: random.Random) -> None:
    """Attack in rounds; after each another client is served, and cleans up."""
    with Client(server.port) as witness:
        assert witness.call(Op.AUTH, _AS_SUPER)[2] == 0
        assert witness.create(b"/kept", b"0")[2] in (0, -110)
        while count > 0:
            for _ in range(100):
                count -= _attack(server.port, dice)
            assert witness.set(b"/kept", b"%d" % count)[2] == 0
            assert witness.get(b"/kept") == b"%d" % count
            for name in witness.children(b"/"):
                if name not in (b"kept", b"zookeeper"):
                    witness.prune(b"/" + name)
    assert word(server.port, b"ruok") == b"imok"


def test_malformed_frames_do_no_harm(tmp_path: Path) -> None:
    with Server(tmp_path, **_SUPER) as server:
        _attacks(server, 2_000, random.Random(1))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_malformed_frames_leave_nothing_behind(tmp_path: Path) -> None:
    with Server(tmp_path, **_SUPER) as server:
        _attacks(server, 10_000, random.Random(2))
        memory_bytes, descriptors = server.memory_bytes(), server.descriptors()
        _attacks(server, 90_000, random.Random(3))
        until(lambda: server.descriptors() <= descriptors)
        assert server.memory_bytes() - memory_bytes < 16 * _MIB
        assert "Traceback" not in server.log.read_text()
        until(lambda: b"Sessions with Ephemerals (0)" in word(server.port, b"dump"), 60)


@pytest.mark.parametrize("behind_a_write", [False, True])
def test_who_does_not_read_costs_no_memory_and_loses_no_reply(
    tmp_path: Path, behind_a_write: bool
) -> None:
    get = requests.PathWatchRequest(b"/large", False).encode()
    asked, data = 200, bytes(900_000)
    with Server(tmp_path) as server, Client(server.port, wait_s=30) as client:
        assert client.create(b"/large", data)[2] == 0
        memory_bytes = server.memory_bytes()
        if behind_a_write:
            # In one piece, so that all the reads wait for the write.
            change = requests.SetDataRequest(b"/zookeeper", b"", -1).encode()
            frames = [(1_000, Op.SET_DATA, change)]
            frames += [(1_001 + number, Op.GET_DATA, get) for number in range(asked)]
            payloads = [struct.pack(">ii", xid, op) + body for xid, op, body in frames]
            client.sock.sendall(b"".join(LENGTH.pack(len(each)) + each for each in payloads))
            first = 1_001
            assert client.receive()[:3:2] == (1_000, 0)
        else:
            first = client.send(Op.GET_DATA, get)
            for _ in range(asked - 1):
                client.send(Op.GET_DATA, get)
        with Client(server.port) as other:
            assert other.get(b"/large") == data
            assert server.memory_bytes() - memory_bytes < 100 * _MIB
        for number in range(asked):
            xid, _, error, body = client.receive()
            assert (xid, error) == (first + number, 0)
            assert body[4 : 4 + LENGTH.unpack_from(body)[0]] == data


def test_who_does_not_read_the_events_that_he_asked_for_is_cut_off(tmp_path: Path) -> None:
    path = b"/" + b"x" * 5_000
    change = requests.SetDataRequest(path, b"", -1).encode()
    limit: dict[str, Any] = {"connectionUnreadLimitInKb": 2048, "4lw__commands__whitelist": "mntr"}
    with (
        Server(tmp_path, **limit) as server,
        Client(server.port) as lazy,
        Client(server.port) as busy,
    ):
        assert busy.create(path)[2] == 0
        assert lazy.call(Op.ADD_WATCH, requests.WatchesRequest(path, 0))[2] == 0
        memory_bytes = server.memory_bytes()
        for _ in range(100):
            for _ in range(100):
                busy.send(Op.SET_DATA, change)
            assert all(busy.receive()[2] == 0 for _ in range(100))
            if server.said("it does not read what it asked for"):
                break
            with suppress(OSError):  # it may have happened meanwhile
                lazy.send(Op.PING)
        else:
            raise AssertionError("its events pile up for ever")
        assert server.memory_bytes() - memory_bytes < 50 * _MIB
        assert b"zk_unread_connections_cut\t1\n" in word(server.port, b"mntr")
        with pytest.raises(ConnectionResetError, match="reset by peer"):
            _read_on(lazy)
        assert busy.get(path) == b""


def _read_on(client: Client) -> None:
    while True:
        client.receive()


def test_who_comes_when_too_many_do_is_turned_away_and_comes_in_later(tmp_path: Path) -> None:
    throttle: dict[str, Any] = {
        "connection_throttle_tokens": 1,
        "connection_throttle_fill_time": 400,
    }
    with Server(tmp_path, **throttle) as server, Client(server.port) as first:
        with pytest.raises(OSError, match=r"closed|reset"):
            Client(server.port)
        assert first.get(b"/zookeeper") is not None

        def again() -> bool:
            with suppress(OSError), Client(server.port):
                return True
            return False

        until(again)
        assert server.said("too many ask for sessions")


def test_one_connection_too_many_from_one_address_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path, maxClientCnxns=2) as server:
        with Client(server.port) as one:
            with Client(server.port) as two:
                with pytest.raises(OSError, match=r"closed|reset"):
                    Client(server.port)
                assert two.get(b"/zookeeper") is not None
            assert one.get(b"/zookeeper") is not None

            def again() -> bool:
                try:
                    Client(server.port).sock.close()
                except OSError:
                    return False
                return True

            until(again)
        assert server.said("too many connections from 127.0.0.1: the limit is 2")
