"""Components: coming, working and going."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import SessionExpiredError
from coterie.gateway import component
from coterie.gateway.component import Component, Identity, ask_to_drain
from coterie.gateway.directory import Directory, IncompatibleError
from coterie.recipes.configuration import Configuration
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect, until
from tests.recipes.patience import eventually
from tests.recipes.scene import cancelled_at, children_until

Expire = Callable[[Client], Awaitable[None]]


@dataclass(frozen=True)
class Settings:
    slots: int = 4


def _identity(kind: str = "worker", version: str = "2.1", **more: Any) -> Identity:
    return Identity(kind, version, "10.0.0.7", 8080, **more)


def _component(
    zk: Any, kind: str = "worker", version: str = "2.1", **more: Any
) -> Component[None]:
    return Component(zk, _identity(kind, version, **more), root="/g", report_every_s=0.02)


async def test_it_is_found_from_entering_to_draining(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Directory(zk, "/g") as directory:
        identity = _identity(flavor="gpu", zone="eu", metadata={"gpus": [1, 2]})
        async with Component(other, identity, root="/g") as me:
            await directory.look()
            (found,) = directory.find("worker", ">=2", flavor="gpu")
            assert (found.id, found.address) == (me.id, "10.0.0.7:8080")
            assert found.metadata == {
                "state": "serving",
                "load": 0,
                "zone": "eu",
                "gpus": [1, 2],
            }
            assert (me.present, me.state, me.identity.id) == (True, "serving", me.id)
            await me.drain()
            await directory.look()
            assert directory.find("worker") == []
            assert [one.metadata["state"] for one in directory.everyone()] == ["draining"]
        await directory.look()
        assert directory.everyone() == []
        assert not me.present


async def test_nobody_finds_it_before_it_serves(connect: Connect) -> None:
    async with (
        connect() as zk,
        connect() as other,
        Directory(zk, "/g") as directory,
        Component(other, _identity(), root="/g", serve=False) as me,
    ):
        await directory.look()
        assert directory.find("worker") == []
        assert [one.metadata["state"] for one in directory.everyone()] == ["starting"]
        await me.serve()
        await directory.look()
        assert directory.choose("worker").id == me.id


async def test_who_comes_again_starts_again(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Directory(zk, "/g") as directory:
        me = Component(other, _identity(), root="/g", serve=False)
        async with me:
            await me.serve()
        async with me:
            await directory.look()
            assert [one.metadata["state"] for one in directory.everyone()] == ["starting"]


async def test_who_is_cancelled_while_entering_leaves_nothing_behind(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/g/services/worker", parents=True)
        came: Component[None] | None = None
        for number in range(1, 24):
            me = _component(zk)
            came = await cancelled_at(zk, number, me.enter())
            if came is not None:
                await came.leave(None)
            await children_until(zk, "/g/services/worker", lambda names: not names)
        assert came is not None


# Fitting


@pytest.mark.parametrize(
    ("there", "comes"),
    [({"speaks": {"api": "<2"}}, {}), ({}, {"speaks": {"worker": ">=3"}})],
)
async def test_who_does_not_fit_is_refused_and_nothing_stays(
    connect: Connect, there: dict[str, Any], comes: dict[str, Any]
) -> None:
    async with (
        connect() as zk,
        connect() as other,
        _component(other, **there) as worker,
    ):
        with pytest.raises(IncompatibleError, match=r"speaks .* is 2"):
            await _component(zk, "api", "2", **comes).enter()
        assert await zk.children("/g/services/api") == []
        await worker.drain()
        async with _component(zk, "api", "2", **comes):
            pass


async def test_of_two_that_do_not_fit_exactly_one_comes_in(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        for _ in range(8):
            worker = _component(zk, "worker", "1", speaks={"api": "<2"})
            api = _component(other, "api", "2", speaks={"worker": ">1"})
            came = await asyncio.gather(worker.enter(), api.enter(), return_exceptions=True)
            assert sorted((type(one) for one in came), key=str) == [Component, IncompatibleError]
            for one in came:
                if isinstance(one, Component):
                    await one.leave(None)


async def test_copies_of_two_versions_are_found_by_who_speaks_them(connect: Connect) -> None:
    """A rolling upgrade: who asks comes first, in a version that speaks both."""
    async with connect() as zk:
        api = _component(zk, "api", "1.1", speaks={"worker": ">=1,<3"})
        async with api as me, _component(zk, "worker", "1"), _component(zk, "worker", "2") as new:
            await me.directory.look()
            assert [one.version for one in me.directory.find("worker")] == ["2", "1"]
            assert (await me.partner("worker", ">=2")).id == new.id
            assert me.mismatches == []


async def test_who_came_between_two_sessions_is_told_of_and_not_found(
    connect: Connect, expire: Expire
) -> None:
    async with (
        connect() as zk,
        _component(zk, "api", "2", speaks={"worker": ">1"}) as me,
    ):
        assert me.mismatches == []
        # As if `me` had been away when it came.
        await me.directory.services.register("worker", "1", host="h", port=1).enter()
        await me.directory.look()
        assert [reason.version for reason in me.mismatches] == ["1"]
        with pytest.raises(IncompatibleError):
            me.directory.choose("worker")


# Working


async def test_settings_are_followed_and_a_problem_is_told(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        path = "/g/config/worker"
        async with Component(other, _identity(), Settings, root="/g", report_every_s=0) as me:
            assert me.settings.current == Settings(4)
            await zk.create(path, b'{"slots": 8}', parents=True)
            await until(lambda: me.settings.current == Settings(8))
            await zk.set(path, b'{"slots": "many"}')
            await until(lambda: me.settings.problem is not None)
            assert me.settings.current == Settings(8)
            async with Directory(zk, "/g") as directory:
                told = await directory.until(
                    lambda: next(
                        (o for o in directory.everyone() if "problem" in o.metadata), None
                    )
                )
                assert "slots is 'many'" in told.metadata["problem"]
                await zk.set(path, b'{"slots": 2}')
                await directory.until(
                    lambda: all("problem" not in o.metadata for o in directory.everyone()) or None
                )
                assert me.settings.current == Settings(2)


async def test_settings_that_are_bad_from_the_start_are_told_of(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/g/config/worker", b"{", parents=True)
        one = Component(
            zk, _identity(), Settings, root="/g", default=Settings(1), report_every_s=0
        )
        async with one as me:
            assert me.settings.current == Settings(1)
            await me.published()
            (told,) = me.directory.everyone()
            assert "Settings" in told.metadata["problem"]


async def test_there_are_no_settings_without_a_class(connect: Connect) -> None:
    async with connect() as zk, _component(zk) as me:
        with pytest.raises(RuntimeError, match="class of settings"):
            me.settings  # noqa: B018


async def test_settings_of_others_are_followed_until_it_leaves(connect: Connect) -> None:
    async with connect() as zk:
        async with _component(zk) as me:
            others = await me.configuration("store", Settings, default=Settings(9))
            assert others.current == Settings(9)
            await Configuration(zk, "/g/config/store", Settings).update(slots=3)
            await until(lambda: others.current == Settings(3))
        assert not others.fresh


@pytest.mark.parametrize("first", ["api", "worker"])
async def test_partners_meet_whoever_starts_first(connect: Connect, first: str) -> None:
    met, started = asyncio.Barrier(2), asyncio.Event()

    async def lives(zk: Client, kind: str, partner: str) -> str:
        if kind != first:
            await started.wait()
        async with _component(zk, kind) as me:
            started.set()
            found = await me.partner(partner, ">=2", timeout_s=10)
            await met.wait()
            return found.name

    async with connect() as zk, connect() as other:
        found = await asyncio.gather(lives(zk, "api", "worker"), lives(other, "worker", "api"))
        assert list(found) == ["worker", "api"]


async def test_a_storm_of_reports_costs_few_writes(connect: Connect) -> None:
    zk = connect()
    storm = Component(zk, _identity(), root="/g", report_every_s=0.5)
    async with zk, storm as me:
        began_s = asyncio.get_running_loop().time()
        for number in range(1000):
            await me.report(load=number, jobs=number, healthy=number > 0)
        await me.report(load=0.5, healthy=False)
        await me.published()
        (told,) = me.directory.everyone()
        assert told.metadata == {"state": "serving", "load": 0.5, "jobs": 999, "healthy": False}
        assert me.directory.find("worker") == []
        stat = await zk.exists(me.directory.place(told))
        assert stat is not None
        # One to serve, one at once, one at the end, and those of the time that it took.
        took_s = asyncio.get_running_loop().time() - began_s
        assert stat.version <= 3 + took_s / 0.5


@pytest.mark.parametrize("key", ["state", "zone", "speaks", "problem"])
async def test_what_means_something_to_the_kit_is_not_reported(connect: Connect, key: str) -> None:
    async with connect() as zk, _component(zk) as me:
        more: dict[str, Any] = {key: "x"}
        with pytest.raises(ValueError, match=f"{key} has a meaning"):
            await me.report(**more)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": {"load": 1}},
        {"metadata": {"x": object()}},
        {"speaks": {"api": "two"}},
        {"version": "new"},
        {"port": 0},
    ],
)
def test_who_nobody_can_be(hosts: str, wrong: dict[str, Any]) -> None:
    told: dict[str, Any] = {"kind": "worker", "version": "1", "host": "h", "port": 1} | wrong
    with coterie.connect_blocking(hosts) as zk, pytest.raises(ValueError, match=r"."):
        Component(zk, Identity(**told))


# Trouble


async def test_a_new_session_tells_the_newest_again(connect: Connect, expire: Expire) -> None:
    async with (
        connect() as zk,
        connect() as other,
        Directory(zk, "/g") as directory,
        _component(other) as me,
    ):
        await me.report(load=7, jobs=3)
        await me.published()
        before = other.session_id
        await expire(other)
        await me.report(load=8)
        await until(lambda: me.present and other.session_id != before)
        await me.published()
        await directory.look()
        assert directory.choose("worker").metadata == {
            "state": "serving",
            "load": 8,
            "jobs": 3,
        }


async def test_who_drains_comes_back_draining(connect: Connect, expire: Expire) -> None:
    async with (
        connect() as zk,
        connect() as other,
        Directory(zk, "/g") as directory,
        _component(other) as me,
    ):
        seen: list[str] = []

        async def look() -> None:
            async for catalogue in directory.changes():
                seen.extend(one.metadata["state"] for one in catalogue.get("worker", ()))

        looking = asyncio.create_task(look())
        draining = asyncio.create_task(me.drain())
        before = other.session_id
        await expire(other)
        await draining
        await until(lambda: me.present and other.session_id != before)
        await directory.look()
        looking.cancel()
        assert [one.metadata["state"] for one in directory.everyone()] == ["draining"]
        # It never looked as if it served again.
        assert "serving" not in seen[seen.index("draining") :]


async def test_work_goes_on_while_the_ensemble_is_away(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with (
        coterie_connect() as zk,
        Component(zk, _identity(), Settings, report_every_s=0) as me,
    ):
        await asyncio.to_thread(coterie_server.stop)
        await eventually(lambda: not me.directory.fresh)
        async with asyncio.timeout(3):
            await me.report(load=5)
            assert me.settings.current == Settings(4)
            assert (await me.partner("worker")).id == me.id
        await asyncio.to_thread(coterie_server.start)
        await me.published()
        assert me.directory.choose("worker").metadata["load"] == 5


async def test_one_can_leave_while_the_ensemble_is_away(
    coterie_server: Server, coterie_connect: FaultyConnect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component, "_LEAVE_S_MAX", 0.05)
    async with coterie_connect() as zk:
        async with Component(zk, _identity()) as me:
            await asyncio.to_thread(coterie_server.stop)
            await eventually(lambda: not me.directory.fresh)
            async with asyncio.timeout(3):
                await me.leave(None)
            me = Component(zk, _identity())
            entering = asyncio.create_task(me.enter())
            await asyncio.to_thread(coterie_server.start)
        # An ensemble that comes late is waited for.
        await entering
        async with Directory(zk) as directory:
            assert [one.id for one in directory.everyone()] == [me.id]
        await me.leave(None)


# Going


async def test_an_operator_asks_it_to_go(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Directory(zk, "/g") as directory:
        async with _component(other) as me:
            asked = asyncio.create_task(me.wait_asked_to_drain())
            assert not me.asked_to_drain
            await ask_to_drain(zk, "worker", me.id, root="/g", why="a new version")
            await ask_to_drain(zk, "worker", me.id, root="/g")
            await asked
            await directory.until(lambda: not directory.find("worker") or None)
            assert me.asked_to_drain
            await me.serve()
            assert me.state == "draining"
            await me.wait_asked_to_drain()
        assert await zk.children("/g/drain/worker") == []


async def test_who_is_not_there_cannot_be_asked(connect: Connect) -> None:
    async with connect() as zk:
        with pytest.raises(LookupError, match="no worker x is registered"):
            await ask_to_drain(zk, "worker", "x", root="/g")


async def test_what_another_was_asked_is_not_for_who_comes_next(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        crashed = await _component(other, id="w/1").enter()
        await crashed._follow_no_more()
        await ask_to_drain(zk, "worker", "w/1", root="/g")
        await other.close()
        async with _component(zk, id="w/1") as me:
            waiting = asyncio.create_task(me.wait_asked_to_drain())
            await me.directory.look()
            assert (me.state, me.asked_to_drain, waiting.done()) == ("serving", False, False)
            await ask_to_drain(zk, "worker", "w/1", root="/g")
            await waiting
        await crashed.leave(None)


async def test_who_waits_to_be_asked_hears_that_the_client_is_closed(connect: Connect) -> None:
    async with connect() as zk, _component(zk) as me:
        waiting = asyncio.create_task(me.wait_asked_to_drain())
        await me.directory.look()
        await zk.close()
        with pytest.raises(SessionExpiredError):
            await waiting


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        with Component(zk, _identity(), Settings, root="/g", report_every_s=0) as me:
            assert zk.run(me.partner("worker", timeout_s=5)).id == me.id
            zk.run(me.report(load=3))
            zk.run(me.published())
            assert me.directory.choose("worker").metadata["load"] == 3
            assert me.settings.current == Settings()
            zk.run(ask_to_drain(zk, "worker", me.id, root="/g"))
            zk.run(me.wait_asked_to_drain())
        assert zk.children("/g/services/worker") == []
