"""Finding components."""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import Any

import pytest

import coterie
from coterie.gateway.directory import Directory, IncompatibleError, available, load_of
from coterie.recipes.discovery import Discovery, Instance
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.patience import eventually


async def _offer(zk: Any, id: str, version: str = "1", **metadata: Any) -> None:
    offer = Discovery(zk, "/g/services").register(
        "worker", version, host="h", port=1, id=id, metadata=metadata
    )
    await offer.enter()


def _one(id: str = "a", **metadata: Any) -> Instance:
    return Instance("worker", "1", "h", 1, metadata=metadata, id=id)


def _ids(found: list[Instance]) -> list[str]:
    return [one.id for one in found]


@pytest.mark.parametrize(
    ("metadata", "is_available"),
    [
        ({}, True),
        ({"state": "serving", "healthy": True}, True),
        ({"state": "starting"}, False),
        ({"state": "draining"}, False),
        ({"healthy": False}, False),
        ({"healthy": "false"}, False),
        ({"healthy": "true"}, True),
    ],
)
def test_who_is_available(metadata: dict[str, Any], is_available: bool) -> None:
    assert available(_one(**metadata)) is is_available


async def test_found_is_who_is_available_and_all_are_listed(connect: Connect) -> None:
    async with connect() as zk:
        await _offer(zk, "a", "1.9")
        await _offer(zk, "b", "1.10", state="serving")
        await _offer(zk, "c", state="draining")
        await _offer(zk, "d", healthy=False)
        async with Directory(zk, "/g") as directory:
            assert _ids(directory.find("worker")) == ["b", "a"]
            assert _ids(directory.find("worker", ">=1.10")) == ["b"]
            assert sorted(_ids(directory.everyone("worker"))) == ["a", "b", "c", "d"]
            assert directory.everyone() == directory.everyone("worker")
            assert directory.everyone("api") == []


async def test_found_is_who_fits_in_both_directions(connect: Connect) -> None:
    async with connect() as zk:
        for number in (1, 2, 3):
            await _offer(zk, f"w{number}", f"{number}.0")
        await _offer(zk, "old", "2.5", speaks={"api": "<2"})
        async with Directory(zk, "/g") as asker:
            assert _ids(asker.find("worker")) == ["w3", "old", "w2", "w1"]
        async with Directory(zk, "/g", speaks={"worker": ">=2,<3"}) as asker:
            assert _ids(asker.find("worker")) == ["old", "w2"]
        async with Directory(zk, "/g", kind="api", version="2") as asker:
            assert _ids(asker.find("worker")) == ["w3", "w2", "w1"]


async def test_who_states_nonsense_is_found_by_nobody_and_hides_nobody(connect: Connect) -> None:
    async with connect() as zk:
        await _offer(zk, "a")
        await _offer(zk, "b", speaks={"api": "two"})
        await zk.create("/g/services/worker/c", b"{")
        async with Directory(zk, "/g") as directory:
            assert _ids(directory.find("worker")) == ["a"]
            assert sorted(why.partition(":")[0] for why in directory.unreadable) == [
                "/g/services/worker/b",
                "/g/services/worker/c",
            ]


def test_ranges_are_checked_at_once(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, pytest.raises(ValueError, match="worker"):
        Directory(zk, speaks={"worker": "two"})


async def test_nobody_and_nobody_who_fits_are_two_errors(connect: Connect) -> None:
    async with connect() as zk:
        await _offer(zk, "c", state="draining")
        async with Directory(zk, "/g", speaks={"worker": ">=2"}) as directory:
            with pytest.raises(LookupError, match="nobody offers worker gpu at /g/services") as no:
                directory.choose("worker", flavor="gpu")
            assert not isinstance(no.value, IncompatibleError)
            with pytest.raises(LookupError, match="nobody offers worker"):
                directory.choose("worker")
            await _offer(zk, "a", "1.7", speaks={"x": 2})
            await directory.look()
            with pytest.raises(IncompatibleError, match="/g/services/worker/a: speaks"):
                directory.choose("worker")
            await _offer(zk, "b", "1.8")
            await directory.look()
            with pytest.raises(IncompatibleError, match=r"worker >=2, and worker b .* is 1\.8"):
                directory.choose("worker")
        async with Directory(zk, "/g") as directory:
            with pytest.raises(IncompatibleError, match=r"worker >=3, and worker b .* is 1\.8"):
                directory.choose("worker", ">=3")


async def test_an_error_does_not_grow_with_the_gateway(connect: Connect) -> None:
    async with connect() as zk:
        await asyncio.gather(*(_offer(zk, str(number)) for number in range(9)))
        async with Directory(zk, "/g", speaks={"worker": ">=2"}) as directory:
            with pytest.raises(IncompatibleError, match="and 4 more") as caught:
                directory.choose("worker")
            assert {reason.version for reason in caught.value.mismatches} == {"1"}


@pytest.mark.parametrize(
    ("told", "load"),
    [
        (3, 3.0),
        (0.5, 0.5),
        ("7", 7.0),
        ("much", math.inf),
        ("nan", math.inf),
        (True, math.inf),
        (None, math.inf),
        (10**400, math.inf),
    ],
)
def test_loads(told: Any, load: float) -> None:
    assert load_of(_one(load=told)) == load


@pytest.fixture
def directory(hosts: str) -> Any:
    with coterie.connect_blocking(hosts) as zk:
        yield Directory(zk, "/g", zone="eu", dice=Random(1))


def test_the_least_loaded(directory: Directory) -> None:
    found = [_one("a", load=2), _one("b", load=1), _one("c", load=1), _one("d")]
    assert {directory.least_loaded(found).id for _ in range(50)} == {"b", "c"}
    assert directory.least_loaded([_one("d")]).id == "d"


def test_the_lighter_of_two_is_never_the_heaviest(directory: Directory) -> None:
    found = [_one(id, load=load) for load, id in enumerate("abcd")]
    chosen = [directory.lighter_of_two(found).id for _ in range(400)]
    # Of the six pairs, a is the lighter of three, b of two, c of one, d of none.
    assert [round(chosen.count(id) / 400, 1) for id in "abcd"] == [0.5, 0.3, 0.2, 0.0]
    assert directory.lighter_of_two(found[:1]).id == "a"


def test_the_nearest(directory: Directory) -> None:
    far, near = _one("far", zone="us", load=0), _one("near", zone="eu", load=9)
    assert directory.nearest([far, near]) is near
    assert directory.nearest([far]) is far
    directory.zone = ""
    assert directory.nearest([far, near]) is far


def test_by_hash_only_the_keys_of_who_goes_move(directory: Directory) -> None:
    found = [_one(f"w{number}") for number in range(5)]
    keys = [f"experiment {number}" for number in range(500)]
    before = {key: directory.by_hash(key)(found).id for key in keys}
    shares = [list(before.values()).count(f"w{number}") for number in range(5)]
    assert min(shares) > 60
    left = [one for one in reversed(found) if one.id != "w2"]
    moved = [key for key in keys if directory.by_hash(key)(left).id != before[key]]
    assert moved == [key for key in keys if before[key] == "w2"]


async def test_waiting_for_who_starts_later(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Directory(other, "/g") as directory:
        waiting = asyncio.create_task(directory.wait_for("worker", ">=2", timeout_s=20))
        await _offer(zk, "a", "1")
        await directory.look()
        assert not waiting.done()
        await _offer(zk, "b", "2")
        assert (await waiting).id == "b"
        assert (await directory.wait_for("worker", "<2")).id == "a"


async def test_who_waits_in_vain_is_told_what_was_there(connect: Connect) -> None:
    async with connect() as zk, Directory(zk, "/g", speaks={"worker": ">=2"}) as directory:
        with pytest.raises(TimeoutError, match="nobody offers worker"):
            await directory.wait_for("worker", timeout_s=0)
        await _offer(zk, "a", "1.7")
        await directory.look()
        with pytest.raises(TimeoutError, match=r"is 1\.7") as caught:
            await directory.wait_for("worker", timeout_s=0.01)
        assert isinstance(caught.value.__cause__, IncompatibleError)


async def test_a_closed_client_ends_the_wait(connect: Connect) -> None:
    async with connect() as zk, Directory(zk, "/g") as directory:
        waiting = asyncio.create_task(directory.wait_for("worker"))
        await directory.look()
        await zk.close()
        with pytest.raises(coterie.errors.SessionExpiredError):
            await waiting


async def test_answers_outlive_the_ensemble(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other:
        await _offer(other, "a")
        async with Directory(zk, "/g") as directory:
            assert directory.fresh
            await asyncio.to_thread(coterie_server.stop)
            await eventually(lambda: not directory.fresh)
            assert directory.choose("worker").id == "a"
            assert (await directory.wait_for("worker")).id == "a"
            assert directory.stale_s >= 0
            await asyncio.to_thread(coterie_server.start)
            await directory.look()
            assert directory.fresh
            assert directory.choose("worker").id == "a"


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, Directory(zk, "/g") as directory:
        changes = iter(directory.changes())
        zk.run(_offer(zk.client, "a", "3"))
        assert list(next(changes)) == ["worker"]
        assert zk.run(directory.wait_for("worker", ">2", timeout_s=5)).id == "a"
        assert directory.choose("worker", by=directory.next_one).id == "a"
