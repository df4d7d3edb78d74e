"""Whoever starts first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import coterie
from coterie.errors import NodeExistsError, OutcomeUnknown
from coterie.recipes.rendezvous import Rendezvous
from tests.conftest import Connect


async def test_who_waits_gets_what_is_put_later(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        waiting = [asyncio.create_task(Rendezvous(zk, "/jobs/1").get()) for _ in range(3)]
        await zk.sync()
        await Rendezvous(other, "/jobs/1").put(b"address")
        assert await asyncio.gather(*waiting) == [b"address"] * 3


async def test_who_comes_later_gets_what_was_put(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        await Rendezvous(other, "/place").put(b"")
        assert await Rendezvous(zk, "/place").get() == b""
        async with Rendezvous(zk, "/place") as found:
            assert found == b""


async def test_nobody_comes(connect: Connect) -> None:
    async with connect() as zk:
        with pytest.raises(TimeoutError):
            await Rendezvous(zk, "/place").get(timeout_s=0.05)


async def test_who_waits_in_vain_leaves_no_watch_aiozk_24(connect: Connect) -> None:
    async with connect() as zk:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await Rendezvous(zk, "/place").get(timeout_s=0.005)
        assert list(zk.session.watches.arm(0)) == []


async def test_the_first_stays(connect: Connect) -> None:
    async with connect() as zk:
        place = Rendezvous(zk, "/place")
        await place.put(b"1")
        await place.put(b"1")
        with pytest.raises(NodeExistsError):
            await place.put(b"2")
        await place.clear()
        await place.clear()
        await place.put(b"2")
        assert await place.get() == b"2"


async def test_what_is_of_no_use_alone_goes(connect: Connect) -> None:
    async with connect() as zk:
        async with connect() as other:
            await Rendezvous(other, "/place", ephemeral=True).put(b"1")
            assert await Rendezvous(zk, "/place").get() == b"1"
        with pytest.raises(TimeoutError):
            await Rendezvous(zk, "/place").get(timeout_s=0.05)


@pytest.mark.parametrize("carried_out", [True, False])
async def test_what_became_of_it_is_looked_up(connect: Connect, carried_out: bool) -> None:
    async with connect() as zk:
        client: Any = zk
        real = client.create

        async def fails(path: str, data: bytes, **kind: Any) -> None:
            if carried_out:
                await real(path, data, **kind)
            raise OutcomeUnknown(path, "create")

        client.create = fails
        if carried_out:
            await Rendezvous(zk, "/place").put(b"1")
        else:
            with pytest.raises(OutcomeUnknown):
                await Rendezvous(zk, "/place").put(b"1")


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        zk.run(Rendezvous(zk, "/place").put(b"1"))
        with Rendezvous(zk, "/place") as found:
            assert found == b"1"
