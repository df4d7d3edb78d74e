"""Who may stay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coterie.client.client import Client
from coterie.gateway.admission import admit, misfits
from coterie.gateway.directory import IncompatibleError
from coterie.recipes.discovery import Discovery, Registration
from tests.conftest import Connect, until


async def _register(zk: Client, kind: str, version: str, **metadata: Any) -> Registration:
    offer = Discovery(zk, "/s").register(
        kind, version, host="h", port=1, id=f"{kind}{version}", metadata=metadata
    )
    return await offer.enter()


@pytest.mark.parametrize(
    ("there", "comes", "why"),
    [
        ({"speaks": {"api": ">=3"}}, {}, r"worker1 .* speaks api >=3, and api api2 .* is 2"),
        (
            {},
            {"speaks": {"worker": "<1"}},
            r"api2 .* speaks worker <1, and worker worker1 .* is 1",
        ),
        ({"state": "starting"}, {"speaks": {"worker": "<1"}}, "worker <1"),
        ({"healthy": False}, {"speaks": {"worker": "<1"}}, "worker <1"),
        ({"speaks": {"api": ">=2"}}, {"speaks": {"worker": "<2"}}, None),
        ({"state": "draining"}, {"speaks": {"worker": "<1"}}, None),
        ({"speaks": {"api": "three"}}, {"speaks": {"worker": "<2"}}, None),
    ],
)
async def test_whoever_is_there_has_to_fit(
    connect: Connect, there: dict[str, Any], comes: dict[str, Any], why: str | None
) -> None:
    async with connect() as zk, connect() as other, Discovery(zk, "/s") as services:
        await _register(other, "worker", "1", **there)
        mine = await _register(zk, "api", "2", **comes)
        if why is None:
            await admit(services, mine)
        else:
            with pytest.raises(IncompatibleError, match=why) as caught:
                await admit(services, mine)
            assert len(caught.value.mismatches) == 1


async def test_of_two_at_the_same_moment_the_later_one_goes(connect: Connect) -> None:
    async with (
        connect() as zk,
        connect() as other,
        Discovery(zk, "/s") as services,
        Discovery(other, "/s") as others,
    ):
        first = await _register(other, "worker", "1", speaks={"api": "<2"})
        later = await _register(zk, "api", "2", speaks={"worker": ">1"})
        # Both are registered before either looks.
        stat = await zk.exists(first.path)
        assert stat is not None
        assert await admit(others, first) == stat.czxid
        with pytest.raises(IncompatibleError):
            await admit(services, later)


async def test_who_is_gone_already_refuses_nobody(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Discovery(zk, "/s") as services:
        gone = await _register(other, "worker", "1", speaks={"api": "<2"})
        mine = await _register(zk, "api", "2")
        look = services.look

        async def late() -> None:
            await look()
            await gone.leave(None)

        services.look = late  # type: ignore[method-assign]
        await admit(services, mine)


async def test_a_session_that_ends_meanwhile_begins_it_again(
    connect: Connect, expire: Callable[[Client], Awaitable[None]]
) -> None:
    async with connect() as zk, Discovery(zk, "/s") as services:
        mine = await _register(zk, "api", "2")
        first = await zk.exists(mine.path)
        look, looks = services.look, 0

        async def expired() -> None:
            nonlocal looks
            looks += 1
            await look()
            if looks == 1:
                ended = zk.session_id
                await expire(zk)
                await until(lambda: mine.present and zk.session_id != ended)

        services.look = expired  # type: ignore[method-assign]
        admitted = await admit(services, mine)
        again = await zk.exists(mine.path)
        assert first is not None
        assert again is not None
        assert looks > 1
        assert first.czxid < admitted == again.czxid


async def test_one_does_not_have_to_fit_oneself(connect: Connect) -> None:
    async with connect() as zk, Discovery(zk, "/s") as services:
        mine = await _register(zk, "api", "2", speaks={"api": "<2"})
        await admit(services, mine)
        assert misfits(services, mine.instance) == []
        other = await _register(zk, "api", "3")
        await services.look()
        assert [one for one, _ in misfits(services, mine.instance)] == [other.instance]
