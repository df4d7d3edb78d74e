"""Several changes as one."""

from __future__ import annotations

from contextlib import suppress

import pytest

from coterie.errors import BadArgumentsError, BadVersionError, NodeExistsError, NoNodeError
from coterie.values import CreateMode, Stat
from tests.conftest import Connect


async def test_all_of_it_happens(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a", b"0")
        async with zk.transaction() as change:
            change.check("/a", 0).set("/a", b"1").create("/b", b"2").delete("/b")
            change.create("/s-", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        checked, changed, made, gone, numbered = change.results
        assert checked is gone is None
        assert isinstance(changed, Stat)
        assert (made, numbered[:3]) == ("/b", "/s-")
        assert changed.mzxid == zk.last_zxid
        assert (await zk.get("/a")).data == b"1"


async def test_or_nothing_and_the_error_is_the_one_that_failed(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a", b"0")
        with pytest.raises(BadVersionError, match=r"^check /a: "):
            async with zk.transaction() as change:
                change.create("/b").check("/a", 7).delete("/a")
        with pytest.raises(NoNodeError, match=r"^delete /none: "):
            await zk.transaction().set("/a", b"1").delete("/none").commit()
        with pytest.raises(NodeExistsError, match=r"^create /a: "):
            await zk.transaction().create("/a").commit()
        assert await zk.children("/") == ["a"]
        assert (await zk.get("/a")).data == b"0"


async def test_a_block_that_fails_sends_nothing(connect: Connect) -> None:
    async with connect() as zk:
        with suppress(ZeroDivisionError):
            async with zk.transaction() as change:
                change.create("/a")
                raise ZeroDivisionError
        assert await zk.children("/") == []
        assert await zk.transaction().commit() == []
        with pytest.raises(BadArgumentsError):
            zk.transaction().create("no-path")
