"""A client's connections over the fake network, with a server that says everything back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import cast

import pytest

from coterie.system.transport import Network as Seam
from coterie.testing.clock import Time
from coterie.testing.dialer import Dialer
from coterie.testing.host import CLIENT_PORT
from coterie.testing.loop import VirtualLoop
from coterie.testing.transport import End, Network, Weather

SERVER = ("s1", CLIENT_PORT)


class Echo:
    """The server's side."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.heard: list[bytes] = []
        self.is_lost = False

    def opened(self) -> None:
        raise AssertionError

    def received(self, data: bytes) -> None:
        self.heard.append(data)
        self.end.send(data)

    def lost(self) -> None:
        self.is_lost = True


class Client(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.pieces = 0
        self.losses: list[Exception | None] = []
        self.changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert not self.transport.is_closing()
        self.heard += data
        self.pieces += 1
        self.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.losses.append(error)
        self.changed.set()

    async def until(self, over: Callable[[], bool]) -> None:
        while not over():
            self.changed.clear()
            await self.changed.wait()

    async def hears(self, data: bytes) -> None:
        await self.until(lambda: len(self.heard) >= len(data))
        assert self.heard == data

    async def loses(self) -> None:
        await self.until(lambda: bool(self.losses))


class World:
    """One server, one client machine."""

    def __init__(self, weather: Weather | None = None) -> None:
        self.time = Time()
        self.network = Network(self.time, Random(1), weather)
        self.servers: list[Echo] = []
        self.loop = VirtualLoop(self.time, patience_s=100)
        self.dialer = Dialer(self.network, "c1", Random(2))
        self.network.listen(SERVER, self._accept)

    def _accept(self, end: End) -> Echo:
        self.servers.append(Echo(end))
        return self.servers[-1]

    async def dial(self) -> Client:
        clients: list[Client] = []

        def made() -> Client:
            clients.append(Client())
            return clients[0]

        await self.dialer.dial(SERVER, made)
        (client,) = clients
        assert client.transport.get_extra_info("peername") == SERVER
        return client

    def run(self, *steps: Callable[[Client], Awaitable[None]]) -> Client:
        async def main() -> Client:
            client = await self.dial()
            for step in steps:
                await step(client)
            return client

        client = self.loop.run_until_complete(main())
        self.time.run(self.time.now_ms + 10_000)
        assert not self.loop.errors
        return client


def test_it_is_what_the_client_asks_for() -> None:
    seam: Seam = World().dialer
    assert seam is not None


@pytest.mark.parametrize("split", [0.0, 1.0])
def test_bytes_come_in_order_in_any_pieces(split: float) -> None:
    lines = [b"%d;" % number for number in range(100)]

    async def talk(client: Client) -> None:
        for line in lines[:50]:
            client.transport.write(line)
        client.transport.writelines(lines[50:])
        assert client.transport.get_write_buffer_size() == 0
        await client.hears(b"".join(lines))

    client = World(Weather(5, split)).run(talk)
    assert not client.losses
    assert (client.pieces > 51) == bool(split)


def test_what_was_written_before_a_close_arrives() -> None:
    async def close(client: Client) -> None:
        client.transport.write(b"last")
        client.transport.close()
        assert client.transport.is_closing()
        client.transport.write(b"too late")
        assert not client.losses
        await client.loses()

    world = World()
    client = world.run(close)
    assert world.servers[0].heard == [b"last"]
    assert client.losses == [None]
    assert world.servers[0].is_lost


def test_nothing_comes_after_an_abort() -> None:
    async def abort(client: Client) -> None:
        client.transport.write(b"hello")
        await asyncio.sleep(0.0005)
        client.transport.abort()
        client.transport.abort()

    client = World().run(abort)
    assert client.heard == b""
    assert client.losses == [None]


def test_nobody_answers() -> None:
    async def dials(address: tuple[str, int]) -> None:
        with pytest.raises(OSError, match="nobody answers"):
            await world.dialer.dial(address, Client)

    world = World()
    world.loop.run_until_complete(dials(("s1", 1)))
    world.network.machine_stopped("s1", powerless=True)
    world.loop.run_until_complete(dials(SERVER))
    assert not world.servers
    assert not world.network.ends


def test_a_dial_that_is_given_up_leaves_nothing() -> None:
    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.dialer.dial(SERVER, Client), 0.5)

    world = World()
    world.network.block("c1", "s1")
    world.loop.run_until_complete(gives_up())
    world.network.heal()
    world.time.run(10_000)
    assert not world.network.ends
    assert not world.loop.errors


def test_a_cut_and_a_server_that_closes_are_told_in_both_ways() -> None:
    def close(world: World) -> None:
        world.servers[0].end.close()

    def cut(world: World) -> None:
        world.network.cut(world.servers[0].end)

    losses: set[type] = set()
    for breaks in (close, cut):
        world = World()
        for _ in range(8):
            world.servers.clear()

            async def breaks_now(client: Client) -> None:
                breaks(world)  # noqa: B023
                await client.loses()

            (loss,) = world.run(breaks_now).losses
            losses.add(type(loss))
    assert losses == {type(None), ConnectionResetError}


def test_a_half_open_connection_is_found_by_writing() -> None:
    async def half_open(client: Client) -> None:
        world.network.half_open(world.servers[0].end)
        await asyncio.sleep(10)
        assert not client.losses
        client.transport.write(b"hello")
        await client.loses()

    world = World()
    assert world.run(half_open).heard == b""


def test_a_partition_holds_bytes_up_until_it_heals() -> None:
    async def parted(client: Client) -> None:
        world.network.block("s1", "c1")
        client.transport.write(b"hello")
        await asyncio.sleep(10)
        assert not client.heard
        world.network.heal()
        await client.hears(b"hello")

    world = World()
    assert not world.run(parted).losses


def test_who_reads_no_more_gets_nothing_until_he_does() -> None:
    async def pauses(client: Client) -> None:
        client.transport.pause_reading()
        assert not client.transport.is_reading()
        client.transport.write(b"hello")
        await asyncio.sleep(1)
        assert not client.heard
        client.transport.resume_reading()
        await client.hears(b"hello")
        client.transport.write(b"!")
        await asyncio.sleep(0.1)
        client.transport.pause_reading()
        client.transport.close()
        await client.loses()

    assert World(Weather(0.1)).run(pauses).losses == [None]


def test_a_frozen_process_reads_when_it_thaws() -> None:
    async def freezes(client: Client) -> None:
        client.transport.write(b"hello")
        world.time.after(0, world.loop.freeze)
        world.time.after(5000, world.servers[0].end.close)
        world.time.after(9000, world.loop.thaw)
        await client.loses()
        assert client.heard == b"hello"
        assert client.pieces == 1
        assert world.loop.time() == pytest.approx(9, abs=0.1)

    world = World()
    world.run(freezes)


def test_names_mean_machines() -> None:
    world = World()
    world.dialer.names = {"zk": ["s1", "s2"], "gone": []}
    resolve, run = world.dialer.resolve, world.loop.run_until_complete
    assert run(resolve("s3", 2181)) == [("s3", 2181)]
    assert run(resolve("zk", 2181)) == [("s1", 2181), ("s2", 2181)]
    with pytest.raises(OSError, match="gone"):
        run(resolve("gone", 2181))
