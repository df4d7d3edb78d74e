"""Typed settings."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

import coterie
from coterie.errors import OutcomeUnknown
from coterie.recipes.configuration import Configuration
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.patience import eventually


@dataclass(frozen=True)
class Settings:
    workers: int = 4
    name: str = "a"


async def test_what_holds_before_anything_is_stored(connect: Connect) -> None:
    async with connect() as zk, Configuration(zk, "/app/config", Settings) as config:
        assert (config.current, config.version) == (Settings(), -1)
        assert await config.update(workers=8) == Settings(8)
        assert (config.current, config.version) == (Settings(8), 0)
        assert json.loads((await zk.get("/app/config")).data) == {"workers": 8, "name": "a"}
        async with Configuration(zk, "/x", Settings, default=Settings(1)) as other:
            assert other.current == Settings(1)


async def test_changes_come_by_themselves(connect: Connect) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config, connect() as other:
        changes = aiter(config.changes())
        await Configuration(other, "/c", Settings).update(lambda s: replace(s, workers=5))
        assert await anext(changes) == Settings(5)
        assert config.fresh
        assert config.stale_s == 0


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"workers": "many"}', b"\xff", b"[" * 100_000])
async def test_what_is_not_valid_does_not_hold(connect: Connect, bad: bytes) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config:
        await config.update(workers=8)
        changes = aiter(config.changes())
        await zk.set("/c", bad)
        assert await anext(changes) == Settings(8)
        assert config.problem
        assert config.version == 1
        # It can be mended: an update starts from what was good.
        assert await config.update(name="b") == Settings(8, "b")
        assert config.problem is None


async def test_what_would_not_be_valid_is_not_stored(connect: Connect) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config:
        with pytest.raises(ValueError, match=r"Settings.workers is 'many'"):
            await config.update(workers="many")
        with pytest.raises(TypeError):
            await config.update(colour="red")
        assert await zk.exists("/c") is None


async def test_nobodys_update_is_lost(connect: Connect) -> None:
    async def count(config: Configuration[Settings]) -> None:
        for _ in range(10):
            await config.update(lambda s: replace(s, workers=s.workers + 1))

    async with connect() as zk, connect() as other:
        both = Configuration(zk, "/c", Settings), Configuration(other, "/c", Settings)
        await asyncio.gather(*map(count, both))
        async with both[0] as config:
            assert config.current == Settings(24)
            assert config.version == 19


async def test_fields_that_only_others_know_stay(connect: Connect) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config:
        await zk.create("/c", b'{"workers": 1, "new": [1]}')
        await config.update(workers=2)
        stored = json.loads((await zk.get("/c")).data)
        assert stored == {"workers": 2, "name": "a", "new": [1]}


async def test_one_that_is_deleted_is_the_default_again(connect: Connect) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config:
        await config.update(workers=9)
        changes = aiter(config.changes())
        await zk.delete("/c")
        assert await anext(changes) == Settings()
        assert config.version == -1


async def test_an_outage_leaves_what_was_there_pinot_6068(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, Configuration(zk, "/c", Settings) as config:
        await config.update(workers=9)
        await asyncio.to_thread(coterie_server.stop)
        await eventually(lambda: not config.fresh)
        assert config.current == Settings(9)
        await asyncio.to_thread(coterie_server.start)
        await eventually(lambda: config.fresh)
        assert config.current == Settings(9)


def _lose_next(zk: Any, *, carried_out: bool, meanwhile: bytes | None = None) -> None:
    """The next write is carried out, or not, and nothing is heard of it."""
    real = zk.set

    async def fails(path: str, data: bytes, version: int = -1) -> None:
        zk.set = real
        if carried_out:
            await real(path, data, version)
        if meanwhile is not None:
            await real(path, meanwhile)
        raise OutcomeUnknown(path, "set")

    zk.set = fails


@pytest.mark.parametrize("carried_out", [True, False])
async def test_what_became_of_an_update_is_found_out(connect: Connect, carried_out: bool) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config:
        await config.update(workers=1)
        _lose_next(zk, carried_out=carried_out)
        assert await config.update(lambda s: replace(s, workers=s.workers + 1)) == Settings(2)
        assert (config.current, config.version) == (Settings(2), 1)


async def test_or_it_is_told_that_it_cannot_be(connect: Connect) -> None:
    async with connect() as zk, Configuration(zk, "/c", Settings) as config:
        await config.update(workers=1)
        _lose_next(zk, carried_out=True, meanwhile=b'{"workers": 7}')
        with pytest.raises(OutcomeUnknown):
            await config.update(workers=2)


async def test_a_pydantic_model(connect: Connect) -> None:
    pydantic = pytest.importorskip("pydantic")
    model: Any = pydantic.create_model(
        "Model", workers=(int, pydantic.Field(default=4, gt=0)), name=(str, "a")
    )
    async with connect() as zk, Configuration[Any](zk, "/c", model) as config:
        assert (await config.update(workers=8)).workers == 8
        with pytest.raises(ValueError, match="workers"):
            await config.update(workers=0)
        with pytest.raises(TypeError, match="colour"):
            await config.update(colour="red")
        changes = aiter(config.changes())
        await zk.set("/c", b'{"workers": -1}')
        assert (await anext(changes)).workers == 8
        assert "workers" in (config.problem or "")


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, Configuration(zk, "/c", Settings) as config:
        changes = iter(config.changes())
        assert zk.run(config.update(workers=3)) == Settings(3)
        assert next(changes) == Settings(3)
        assert config.current == Settings(3)
