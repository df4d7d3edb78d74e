"""The client's loop: what leaves when, fork, and the way out of read-only mode."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

import coterie
from coterie.errors import ForkedError
from coterie.system import process
from coterie.system.transport import SystemNetwork
from coterie.testing.cluster import Cluster, Server
from coterie.values import SessionState
from tests.conftest import Connect, until


async def test_requests_of_one_turn_leave_in_few_pieces(connect: Connect) -> None:
    async with connect() as zk:
        pieces: list[int] = []
        wire = zk._running._wire
        assert wire is not None
        write = wire.write

        def counted(data: bytes) -> None:
            pieces.append(len(data))
            write(data)

        wire.write = counted  # type: ignore[method-assign]
        await asyncio.gather(*[zk.exists("/a") for _ in range(500)])
        assert len(pieces) == 2


async def test_a_name_is_looked_up_on_every_try_kazoo_794_zookeeper_2184() -> None:
    """The servers move to another address, and the name with them."""

    class Moving(SystemNetwork):
        def __init__(self) -> None:
            self.port = 0
            self.asked = 0

        async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
            assert (host, port) == ("zoo.example", 2181)
            self.asked += 1
            return [("127.0.0.1", self.port)]

    network = Moving()
    with Server() as first, Server() as second:
        network.port = first.port
        async with coterie.connect("zoo.example", network=network) as zk:
            assert zk.session_id in first.sessions
            network.port = second.port
            await asyncio.to_thread(first.stop)
            await until(lambda: bool(second.sessions))
            assert await zk.exists("/a") is None
            assert network.asked >= 2


async def test_an_address_that_does_not_answer_is_no_end_zookeeper_1259() -> None:
    class Some(SystemNetwork):
        async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
            if host == "unknown":
                raise OSError("no such name")
            return [("127.0.0.1", 1), ("127.0.0.1", port)]

    with Server() as server:
        hosts = f"unknown:1,known:{server.port}"
        for _ in range(5):
            async with asyncio.timeout(2), coterie.connect(hosts, network=Some()) as zk:
                assert await zk.exists("/a") is None


async def test_a_forked_child_is_told_kazoo_554(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as zk:
        with monkeypatch.context() as patched:
            patched.setattr(process._Forks, "count", process.forks() + 1)
            with pytest.raises(ForkedError, match="forked"):
                await zk.get("/")
        assert (await zk.get("/")).data == b""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a fork beside threads warns there")
def test_a_fork_is_noticed() -> None:
    before = process.forks()
    child = os.fork()
    if not child:
        os._exit(process.forks() - before)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert process.forks() == before


async def test_out_of_read_only_mode_as_soon_as_there_is_a_quorum() -> None:
    with Cluster(3, read_only_enabled=True) as cluster:
        alone = cluster.followers()[0]
        cluster.partition(alone, cluster.others(alone))
        hosts = alone.hosts
        everyone = ",".join(cluster.addresses)
        async with coterie.connect(hosts, read_only=True, session_timeout_s=5.0) as zk:
            assert zk.state == SessionState.CONNECTED_READ_ONLY
            with pytest.raises(coterie.NotReadOnlyError):
                await zk.create("/a")
            assert await zk.exists("/a") is None
        async with coterie.connect(everyone, read_only=True, session_timeout_s=5.0) as zk:
            await until(lambda: zk.state == SessionState.CONNECTED)
            await zk.create("/a")
