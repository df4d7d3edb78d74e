"""Public keys."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

import coterie
from coterie.errors import ConnectionLossError, OutcomeUnknown
from coterie.recipes.key_store import Key, KeyRevokedError, KeyStore, StaleError
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from coterie.values import CREATOR_ALL_ACL
from tests.conftest import Connect
from tests.recipes.patience import eventually

PEM = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_keys_of_any_kind_come_back(connect: Connect) -> None:
    async with connect() as zk, KeyStore(zk, "/deep/keys") as keys:
        text = await keys.add("alice@a/b", PEM)
        raw = await keys.add("alice@a/b", b"\0\xff")
        assert text.data == PEM.encode()
        assert text.id == hashlib.sha256(PEM.encode()).hexdigest()
        assert keys.all("alice@a/b") == (text, raw)
        assert keys.names() == ["alice@a/b"]
        # PEM is stored as people can read it.
        stored = (await zk.get("/deep/keys/alice@a%2Fb")).data
        assert b"BEGIN PUBLIC KEY" in stored
        async with connect() as other, KeyStore(other, "/deep/keys") as others:
            assert others.all("alice@a/b") == (text, raw)


async def test_nobody_has_no_keys(connect: Connect) -> None:
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        assert keys.all("bob") == ()
        assert keys.valid("bob") == []
        with pytest.raises(LookupError, match="bob"):
            keys.current("bob")
        with pytest.raises(ValueError, match="bytes"):
            await keys.add("bob", b"")
        with pytest.raises(ValueError, match="begins"):
            await keys.add("bob", b"k", valid_from=2, valid_until=2)


@pytest.mark.parametrize(("when", "holds"), [(9.9, False), (10, True), (19.9, True), (20, False)])
def test_when_a_key_holds(when: float, holds: bool) -> None:
    assert Key("id", b"k", 10, 20).holds_at(when) is holds
    assert not Key("id", b"k", 10, 20, revoked_at=15).holds_at(when)


async def test_validity(connect: Connect) -> None:
    clock = _Clock()
    async with connect() as zk, KeyStore(zk, "/keys", now=clock) as keys:
        old = await keys.add("a", b"old", valid_until=2000)
        new = await keys.add("a", b"new", valid_from=1500)
        assert keys.valid("a") == [old]
        assert keys.valid("a", at=1600) == [new, old]
        clock.now = 2000
        assert keys.current("a") == new
        assert keys.valid("a", at=500) == []


async def test_rotation(connect: Connect) -> None:
    clock = _Clock()
    async with connect() as zk, KeyStore(zk, "/keys", now=clock) as keys:
        await keys.add("a", b"1")
        await keys.add("a", b"ends before", valid_until=1010)
        await keys.add("a", b"begins later", valid_from=5000)
        await keys.rotate("a", b"2", overlap_s=60)
        assert keys.current("a").data == b"2"
        assert {k.data: k.valid_until for k in keys.all("a")} == {
            b"1": 1060,
            b"ends before": 1010,
            b"begins later": None,
            b"2": None,
        }
        clock.now = 1060
        assert [key.data for key in keys.valid("a")] == [b"2"]


async def test_what_is_revoked_never_holds_again(connect: Connect) -> None:
    clock = _Clock()
    async with connect() as zk, KeyStore(zk, "/keys", now=clock) as keys:
        key = await keys.add("a", b"1")
        await keys.revoke("a", key.id, reason="stolen")
        clock.now += 1
        await keys.revoke("a", key.id)
        (found,) = keys.all("a")
        assert (found.revoked_at, found.reason) == (1000, "stolen")
        assert keys.valid("a", at=1000) == []
        for again in (keys.add("a", b"1"), keys.rotate("a", b"1")):
            with pytest.raises(KeyRevokedError, match="stolen"):
                await again
        with pytest.raises(LookupError):
            await keys.revoke("a", "unknown")


async def test_to_add_a_key_again_changes_only_what_is_asked_for(connect: Connect) -> None:
    clock = _Clock()
    async with connect() as zk, KeyStore(zk, "/keys", now=clock) as keys:
        first = await keys.add("a", b"1")
        clock.now = 2000
        assert await keys.add("a", b"1") == first
        again = await keys.add("a", b"1", valid_until=3000)
        assert keys.all("a") == (again,)
        assert (again.valid_from, again.valid_until) == (2000, 3000)


async def test_revocations_reach_others(connect: Connect) -> None:
    async with connect() as zk, connect() as other, KeyStore(other, "/keys") as others:
        changes = aiter(others.changes())
        mine = KeyStore(zk, "/keys")
        key = await mine.add("a", b"1")
        assert list(await anext(changes)) == ["a"]
        await mine.revoke("a", key.id)
        await anext(changes)
        assert others.valid("a") == []


async def test_many_add_at_once(connect: Connect) -> None:
    async with connect() as zk, connect() as other, KeyStore(zk, "/keys") as keys:
        stores = [keys, KeyStore(other, "/keys")]
        await asyncio.gather(*(stores[n % 2].add("a", b"%d" % n) for n in range(10)))
        await keys.look()
        assert {key.data for key in keys.all("a")} == {b"%d" % n for n in range(10)}


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_change_of_unknown_outcome_is_made_once(
    connect: Connect, carried_out: bool
) -> None:
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        await keys.add("a", b"1")
        client: Any = zk
        real = client.set

        async def fails(path: str, data: bytes, version: int) -> None:
            client.set = real
            if carried_out:
                await real(path, data, version)
            raise OutcomeUnknown(path, "set")

        client.set = fails
        await keys.rotate("a", b"2")
        assert [key.data for key in keys.all("a")] == [b"1", b"2"]
        assert (await zk.get("/keys/a")).stat.version == 1


async def test_a_change_that_is_looked_for_undoes_no_later_one(connect: Connect) -> None:
    clock = _Clock()
    async with connect() as zk, connect() as other, KeyStore(zk, "/keys", now=clock) as keys:
        await keys.add("a", b"1")
        client: Any = zk
        real = client.set

        async def fails(path: str, data: bytes, version: int) -> None:
            client.set = real
            await real(path, data, version)
            clock.now += 1
            await KeyStore(other, "/keys", now=clock).rotate("a", b"3")
            raise OutcomeUnknown(path, "set")

        client.set = fails
        clock.now += 1
        await keys.rotate("a", b"2")
        await keys.look()
        assert [(k.data, k.valid_until) for k in keys.all("a")] == [
            (b"1", 1001.0),
            (b"2", 1002.0),
            (b"3", None),
        ]


async def test_a_change_that_cannot_be_looked_for_is_unknown(connect: Connect) -> None:
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        await keys.add("a", b"1")
        client: Any = zk
        real = client.sync

        async def fails(path: str, *arguments: Any) -> None:
            client.sync = client.set = fails
            raise (OutcomeUnknown if arguments else ConnectionLossError)(path, "set")

        client.set = fails
        with pytest.raises(OutcomeUnknown):
            await keys.rotate("a", b"2")
        client.sync = real


async def test_an_old_answer_can_be_refused_pinot_6068(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, KeyStore(zk, "/keys") as keys:
        key = await keys.add("a", b"1")
        assert keys.valid("a", stale_s_max=0) == [key]
        await asyncio.to_thread(coterie_server.stop)
        await eventually(lambda: keys.stale_s > 0.05)
        assert keys.valid("a") == [key]
        assert keys.current("a", stale_s_max=3600) == key
        with pytest.raises(StaleError):
            keys.valid("a", stale_s_max=0.05)
        await asyncio.to_thread(coterie_server.start)
        await keys.look()
        assert keys.valid("a", stale_s_max=0.05) == [key]


@pytest.mark.parametrize("bad", [b"", b"{", b'{"keys": [{"key": "?", "valid_from": 1}]}'])
async def test_what_makes_no_sense_is_no_empty_answer(connect: Connect, bad: bytes) -> None:
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        key = await keys.add("good", b"1")
        await zk.create("/keys/bad", bad)
        await keys.look()
        assert keys.valid("good") == [key]
        with pytest.raises(ValueError, match="/keys/bad"):
            keys.valid("bad")
        with pytest.raises(ValueError, match="/keys/bad"):
            await keys.add("bad", b"2")


async def test_the_acl_is_that_of_names(connect: Connect) -> None:
    async with connect(auth=[("digest", "a:b")]) as zk:
        keys = KeyStore(zk, "/keys", acl=CREATOR_ALL_ACL)
        await keys.add("a", b"1")
        acl, _ = await zk.get_acl("/keys/a")
        assert acl[0].id.scheme == "digest"
        await zk.delete_tree("/keys")


def test_with_a_blocking_client(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, KeyStore(zk, "/keys") as keys:
        key = zk.run(keys.add("a", PEM))
        assert keys.current("a", stale_s_max=1) == key
        assert keys.fresh
