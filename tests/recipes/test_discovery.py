"""Services."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

import coterie
from coterie.recipes.discovery import Discovery, Instance
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.patience import eventually, expire


async def test_who_registers_is_found(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Discovery(zk, "/s") as services:
        assert not services.names()
        assert not services.find("align")
        offer = Discovery(other, "/s").register(
            "align/v", "2.14.1", host="10.0.0.7", port=80, flavor="gpu", metadata={"load": 1}
        )
        async with offer as registration:
            await services.look()
            assert services.names() == ["align/v"]
            (found,) = services.find("align/v")
            assert found == registration.instance
            assert found.address == "10.0.0.7:80"
            await registration.update(load=2, zone="a")
            await services.look()
            assert services.choose("align/v").metadata == {"load": 2, "zone": "a"}
            assert registration.present
        await services.look()
        assert services.names() == []


async def _offer(zk: Any, versions: list[str], flavors: str = "") -> None:
    for number, version in enumerate(versions):
        flavor = flavors[number] if flavors else ""
        await (
            Discovery(zk, "/s")
            .register(
                "a", version, host=f"h{number}", port=number + 1, flavor=flavor, id=str(number)
            )
            .enter()
        )


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ("", ["3.0", "2.10.1", "2.10", "2.9", "3.0rc1"]),
        (">=2.10", ["3.0", "2.10.1", "2.10"]),
        (">=2.9,<3", ["2.10.1", "2.10", "2.9"]),
        ("~=2.10.0", ["2.10.1", "2.10"]),
        ("==2.*", ["2.10.1", "2.10", "2.9"]),
        (">=3.0rc1", ["3.0", "3.0rc1"]),
        (">4", []),
    ],
)
async def test_ranges_of_versions(connect: Connect, versions: str, found: list[str]) -> None:
    async with connect() as zk:
        await _offer(zk, ["2.9", "3.0", "2.10.1", "3.0rc1", "2.10"])
        async with Discovery(zk, "/s") as services:
            got = [one.version for one in services.find("a", versions)]
            assert sorted(got) == sorted(found)
            # The newest is the first, as versions go.
            if "3.0" in found:
                assert got[0] == "3.0"
            assert got.index("2.10.1") < got.index("2.10") if "2.10" in got else True


async def test_flavors(connect: Connect) -> None:
    async with connect() as zk:
        await _offer(zk, ["1", "1", "2"], "gcg")
        async with Discovery(zk, "/s") as services:
            assert [one.id for one in services.find("a", flavor="g")] == ["2", "0"]
            assert services.choose("a", flavor="c").id == "1"


async def test_nobody_is_an_error(connect: Connect) -> None:
    async with connect() as zk, Discovery(zk, "/s") as services:
        with pytest.raises(LookupError, match="nobody offers a >=2 gpu at /s"):
            services.choose("a", ">=2", flavor="gpu")


async def test_ways_to_choose(connect: Connect) -> None:
    async with connect() as zk, Discovery(zk, "/s", dice=Random(1)) as services:
        await _offer(zk, ["1", "1", "1"])
        await services.look()
        in_turn = [services.choose("a", by=services.next_one).id for _ in range(6)]
        assert in_turn == ["0", "1", "2"] * 2
        assert {services.choose("a").id for _ in range(50)} == {"0", "1", "2"}


def _with_load(load: object) -> Instance:
    return Instance("a", "1", "h", 1, metadata={} if load is None else {"load": load})


def test_the_least_of_a_number(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        services = Discovery(zk, "/s", dice=Random(1))
        least = services.least("load")
        assert least([_with_load(3), _with_load(1.5), _with_load(2)]).metadata["load"] == 1.5
        assert least([_with_load("no"), _with_load(True), _with_load(9)]).metadata["load"] == 9
        tied = [_with_load(0), _with_load(0)]
        assert {id(least(tied)) for _ in range(50)} == set(map(id, tied))
        assert least([_with_load(None)]).metadata == {}


async def test_answers_outlive_the_ensemble_pinot_6068(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        await _offer(other, ["1"])
        async with Discovery(zk, "/s") as services:
            assert services.fresh
            await asyncio.to_thread(coterie_server.stop)
            await eventually(lambda: not services.fresh)
            assert services.choose("a").version == "1"
            assert services.stale_s >= 0
            await asyncio.to_thread(coterie_server.start)
            await services.look()
            assert services.stale_s == 0
            assert services.choose("a").version == "1"


async def test_a_new_session_registers_again_helix_3064(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other, Discovery(zk, "/s") as found:
        offer = Discovery(other, "/s").register("a", "1", host="h", port=1)
        async with offer as registration:
            await registration.update(load=5)
            await expire(coterie_server, other)
            await eventually(lambda: registration.present)
            await found.look()
            assert found.choose("a").metadata == {"load": 5}


@pytest.mark.parametrize(
    "bad", [b"", b"{", b'{"version": "x y", "host": "h", "port": 1}', b'{"version": "1"}']
)
async def test_one_bad_entry_hides_no_other(connect: Connect, bad: bytes) -> None:
    async with connect() as zk:
        await _offer(zk, ["1"])
        await zk.create("/s/a/bad", bad)
        await zk.create("/s/bad/bad", bad, parents=True)
        async with Discovery(zk, "/s") as services:
            assert [one.id for one in services.find("a")] == ["0"]
            assert services.names() == ["a"]
            assert [why.partition(":")[0] for why in services.unreadable] == [
                "/s/a/bad",
                "/s/bad/bad",
            ]


async def test_what_cannot_be_registered(connect: Connect) -> None:
    async with connect() as zk:
        services = Discovery(zk, "/s")
        with pytest.raises(ValueError, match="new"):
            services.register("a", "new", host="h", port=1)
        with pytest.raises(ValueError, match="metadata"):
            services.register("a", "1", host="h", port=1, metadata={"x": object()})
        with pytest.raises(ValueError, match="port"):
            services.register("a", "1", host="h", port=0)


def test_an_address_of_ipv6() -> None:
    assert Instance("a", "1", "::1", 80).address == "[::1]:80"


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, Discovery(zk, "/s") as services:
        changes = iter(services.changes())
        with services.register("a", "1", host="h", port=1) as registration:
            assert list(next(changes)) == ["a"]
            zk.run(registration.update(load=1))
            zk.run(services.look())
            assert services.choose("a").metadata == {"load": 1}
