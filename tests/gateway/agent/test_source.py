"""What the tree says for one subscription."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coterie.gateway.agent.source import read_instance, view_of
from coterie.gateway.agent.subscriptions import ServersFile, SettingsFile
from coterie.recipes.discovery import Discovery, Instance
from tests.conftest import Connect
from tests.recipes.patience import eventually


async def test_a_znode_is_what_it_holds(connect: Connect) -> None:
    async with connect() as zk:
        view = view_of(zk, SettingsFile("/config/api", "a"), "/gateway")
        await view.open()
        assert view.value.znode is None
        await zk.create("/config/api", b"one", parents=True)
        await eventually(lambda: view.value.znode is not None)
        stat = await zk.set("/config/api", b"two")
        await view.at_least(stat.mzxid)
        assert view.value.znode is not None
        assert (view.value.znode.data, view.value.znode.stat.mzxid) == (b"two", stat.mzxid)
        await view.close()


_SERVING: dict[str, dict[str, Any]] = {
    "says nothing": {},
    "serves": {"state": "serving", "healthy": True, "load": 3, "zone": "eu"},
}
_OTHERS: dict[str, dict[str, Any]] = {
    "starts": {"state": "starting"},
    "drains": {"state": "draining"},
    "is ill": {"healthy": False},
}


async def test_servers_are_those_who_serve_and_are_well(connect: Connect) -> None:
    async with connect() as zk:
        services = Discovery(zk, "/gateway/services")
        for id, metadata in {**_SERVING, **_OTHERS}.items():
            await services.register(
                "web", "2.1", host="h", port=1, id=id, metadata=metadata
            ).enter()
        view = view_of(zk, ServersFile("web", "a"), "/gateway")
        await view.open()
        await zk.create("/gateway/services/web/odd", b"{")
        await eventually(lambda: view.value.unreadable == ("odd",))
        found = {one.id: one.metadata for one in view.value.found}
        # What changes all the time is no change of the file.
        assert found == {"says nothing": {}, "serves": {"zone": "eu"}}
        await view.close()


async def test_servers_are_of_the_versions_and_the_flavor(connect: Connect) -> None:
    async with connect() as zk:
        services = Discovery(zk, "/portal/services")
        for id, (version, flavor) in enumerate(
            [("1.9", ""), ("2.0", ""), ("2.1", "gpu"), ("3.0rc1", ""), ("3.0", "gpu")]
        ):
            offer = services.register("a/b", version, host="h", port=1, flavor=flavor, id=str(id))
            await offer.enter()
        wanted = {
            ServersFile("a/b", "a"): "01234",
            ServersFile("a/b", "a", ">=2,<3"): "12",
            ServersFile("a/b", "a", ">=3.0rc1"): "34",
            ServersFile("a/b", "a", ">=2", "gpu"): "24",
            ServersFile("a/b", "a", "", ""): "013",
            ServersFile("b", "a"): "",
        }
        for one, ids in wanted.items():
            view = view_of(zk, one, "/portal/")
            await view.open()
            assert "".join(sorted(each.id for each in view.value.found)) == ids
            await view.close()


def test_an_instance_is_what_the_recipe_stores() -> None:
    stored = {"version": "2.1", "host": "h", "port": 1, "flavor": "f", "metadata": {"a": 1}}
    found = read_instance("web", "one", json.dumps(stored).encode())
    assert found == Instance("web", "2.1", "h", 1, "f", {"a": 1}, "one")


@pytest.mark.parametrize("bad", [b"", b"{", b'{"version": "x y", "host": "h", "port": 1}', b"[]"])
def test_what_makes_no_sense_is_left_out(bad: bytes) -> None:
    assert read_instance("web", "one", bad) is None
