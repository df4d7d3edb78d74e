"""What members say by four-letter words, Apache's answers among them."""

from __future__ import annotations

import asyncio

import pytest

from coterie.client.hosts import ConnectString
from coterie.console import members
from coterie.console.members import Finder, Members, Place, ask, places, read_mntr, read_srvr
from coterie.ensemble import Ensemble
from coterie.errors import ApiError

_APACHE = """Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on 2022-02-25
Latency min/avg/max: 0/1.25/87
Received: 1029
Sent: 1030
Connections: 3
Outstanding: 0
Zxid: 0x700000012
Mode: leader
Node count: 27
Proposal sizes last/min/max: 48/48/92
"""


def test_an_answer_of_apaches() -> None:
    assert read_srvr(_APACHE) == {
        "version": "3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f",
        "latency_ms": [0.0, 1.25, 87.0],
        "received": 1029,
        "sent": 1030,
        "connections": 3,
        "outstanding": 0,
        "zxid": "0x700000012",
        "mode": "leader",
        "znodes": 27,
    }


def test_who_does_not_serve_looks_for_a_leader() -> None:
    told = read_srvr("This ZooKeeper instance is not currently serving requests\n")
    assert told == {"mode": "looking"}


def test_what_mntr_adds() -> None:
    lines = ("zk_version\t3.8.0", "zk_watch_count\t7", "zk_approximate_data_size\t44")
    text = "\n".join([*lines, "zk_avg_fsynctime\tmuch"])
    assert read_mntr(text) == {"watches": 7.0, "data_bytes": 44.0}
    assert read_mntr("mntr is not executed because it is not in the whitelist.\n") == {}


def test_where_the_clients_of_members_connect() -> None:
    said = Ensemble.parse("server.1=a:1:2;2181\nserver.2=a:3:4:observer;b:2182\nserver.3=a:5:6")
    assert [(each.id, each.role, each.shown()) for each in places(said, 2181)] == [
        (1, "participant", "a:2181"),
        (2, "observer", "b:2182"),
        (3, "participant", ""),
    ]
    unsaid = Ensemble.parse("server.1=a:1:2\nserver.2=b:1:2")
    assert [each.shown() for each in places(unsaid, 2181)] == ["a:2181", "b:2181"]
    assert Place(1, "observer", ("::1", 2181)).shown() == "[::1]:2181"
    secure = Ensemble.parse("server.1=a:1:2;2181;b:2281\nserver.2=c:1:2;2181")
    assert [each.shown() for each in places(secure, 2281, secure=True)] == ["b:2281", "c:2281"]


async def test_members_are_asked_once_for_all_who_look() -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = await reader.readexactly(4)
        asked.append(word)
        writer.write(_APACHE.encode() if word == b"srvr" else b"zk_watch_count\t7\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def find() -> list[Place]:
        gone, unknown = Place(2, "participant", ("127.0.0.1", 1)), Place(3, "observer", None)
        return [Place(1, "participant", address), gone, unknown]

    every = Members(find)
    first, second = await asyncio.gather(every.told(), every.told())
    assert first is second
    assert [each["mode"] for each in first] == ["leader", "down", "unknown"]
    assert first[0]["watches"] == 7
    assert sorted(asked) == [b"mntr", b"srvr"]
    server.close()


async def test_who_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_ANSWER_S", 0.05)
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    assert await ask(server.sockets[0].getsockname(), "srvr") is None
    server.close()


async def _found(named: str, says: str | None) -> list[str]:
    async def config() -> Ensemble:
        if says is None:
            raise ApiError
        return Ensemble.parse(says)

    return [each.shown() for each in await Finder(ConnectString.parse(named), config).find()]


async def test_a_server_alone_is_who_was_named() -> None:
    assert await _found("a:1,b:2/root", None) == ["a:1", "b:2"]


async def test_members_are_whom_the_configuration_names() -> None:
    lines = "server.1=a:1:2;2181\nserver.2=b:1:2;2182"
    assert await _found("a:2181", lines) == ["a:2181", "b:2182"]


async def test_who_was_named_is_known_better_than_who_has_no_client_port() -> None:
    alike = "server.1=a:1:2\nserver.2=a:3:4"
    assert await _found("a:2181,a:2182", alike) == ["a:2181", "a:2182"]
    assert await _found("a:2181", alike) == ["", ""]
