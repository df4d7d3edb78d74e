"""Every operation of the client, against whatever ensemble there is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coterie.client.client import connect as connect_to
from coterie.client.hosts import HostsError
from coterie.errors import (
    ApiError,
    BadArgumentsError,
    BadVersionError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotConnectedError,
    NotEmptyError,
    OperationTimeoutError,
    OutcomeUnknown,
    SessionExpiredError,
    TooLargeError,
    ZooKeeperError,
)
from coterie.values import (
    ACL,
    CREATOR_ALL_ACL,
    READ_ACL,
    EventType,
    Id,
    KeeperState,
    Perms,
    SessionState,
    WatchEvent,
    Znode,
)
from tests.conftest import Connect


async def test_create_get_set_delete(connect: Connect) -> None:
    async with connect() as zk:
        assert await zk.create("/a", b"one") == "/a"
        data, stat = await zk.get("/a")
        assert (data, stat.version) == (b"one", 0)
        assert (await zk.set("/a", b"two", 0)).version == 1
        with pytest.raises(BadVersionError, match=r"^set /a: "):
            await zk.set("/a", b"three", 0)
        with pytest.raises(NodeExistsError):
            await zk.create("/a")
        await zk.delete("/a", 1)
        assert await zk.exists("/a") is None
        with pytest.raises(NoNodeError):
            await zk.get("/a")


async def test_kinds_of_znodes(connect: Connect) -> None:
    async with connect() as zk:
        ephemeral = await zk.create_with_stat("/e", ephemeral=True)
        assert ephemeral.stat.ephemeral_owner == zk.session_id
        first = await zk.create("/s-", sequential=True)
        second = await zk.create("/s-", sequential=True, ephemeral=True)
        assert [int(path[-10:]) for path in (first, second)] == [1, 2]
        assert await zk.create("/c", container=True) == "/c"
        assert await zk.ephemerals() == sorted(["/e", second])
        assert await zk.count_descendants("/") == 4
        with pytest.raises(BadArgumentsError):
            await zk.create("/x", ephemeral=True, container=True)
        with pytest.raises(BadArgumentsError):
            await zk.create("/x", ttl_ms=0)


async def test_paths_that_no_znode_can_have_are_refused_here(connect: Connect) -> None:
    async with connect() as zk:
        for path in ("", "a", "/a/", "//", "/a/../b", "/\0", "/\ud800"):
            with pytest.raises(BadArgumentsError):
                await zk.get(path)
        with pytest.raises(BadArgumentsError):
            await zk.get(None)  # type: ignore[arg-type]
        assert zk.state == SessionState.CONNECTED


async def test_trees(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a/b/c", b"x", parents=True)
        await zk.ensure("/a/b/d/e")
        await zk.ensure("/a/b/d/e")
        assert await zk.children("/a/b") == ["c", "d"]
        names, stat = await zk.children_with_stat("/a/b")
        assert len(names) == stat.num_children == 2
        with pytest.raises(NotEmptyError):
            await zk.delete("/a")
        await zk.delete_tree("/a")
        await zk.delete_tree("/a")
        assert await zk.children("/") == []


async def test_many_reads_in_one_request(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a", b"1")
        found = await zk.get_many(["/a", "/none"])
        assert isinstance(found[0], Znode)
        assert found[0].data == b"1"
        assert isinstance(found[1], NoNodeError)
        assert (found[1].path, found[1].operation) == ("/none", "get")
        assert await zk.get_many([]) == []


async def test_acls_and_identities(connect: Connect) -> None:
    async with connect() as zk, connect() as stranger:
        await zk.add_auth("digest", "me:secret")
        await zk.create("/mine", b"x", acl=CREATOR_ALL_ACL)
        acls, stat = await zk.get_acl("/mine")
        assert acls[0].id.scheme == "digest"
        assert acls[0].id.id.startswith("me:")
        assert stat.aversion == 0
        with pytest.raises(NoAuthError, match=r"^get /mine"):
            await stranger.get("/mine")
        await zk.set_acl("/mine", [*READ_ACL, ACL(Perms.ALL, acls[0].id)], 0)
        assert (await stranger.get("/mine")).data == b"x"
        with pytest.raises(NoAuthError):
            await stranger.set("/mine", b"y")


async def test_who_one_is(connect: Connect) -> None:
    async with connect(auth=[("digest", "a:b")]) as zk:
        found = await zk.who_am_i()
        assert Id("ip", "127.0.0.1") in found
        assert any(scheme == "digest" and name.startswith("a") for scheme, name in found)


async def test_reads_as_new_as_is_asked_for(connect: Connect) -> None:
    async with connect() as writer, connect() as reader:
        await writer.create("/a", b"0")
        for number in range(1, 20):
            stat = await writer.set("/a", b"%d" % number)
            data, seen = await reader.get("/a", after=stat.mzxid)
            assert seen.mzxid >= stat.mzxid
            assert data == b"%d" % number
            stat = await writer.set("/a", b"%d!" % number)
            assert (await reader.get("/a", linearizable=True)).data == b"%d!" % number
            assert await reader.children("/a", linearizable=True) == []
        await writer.sync("/a")


async def test_a_watch_is_called_once_with_the_callers_path(connect: Connect) -> None:
    events: list[WatchEvent] = []
    async with connect() as zk:
        await zk.create("/a")
        await zk.get("/a", watch=events.append)
        await zk.exists("/b", watch=events.append)
        await zk.children("/", watch=events.append)
        await zk.set("/a", b"1")
        await zk.set("/a", b"2")
        await zk.create("/b")
    assert events == [
        WatchEvent(EventType.NODE_DATA_CHANGED, KeeperState.SYNC_CONNECTED, "/a"),
        WatchEvent(EventType.NODE_CREATED, KeeperState.SYNC_CONNECTED, "/b"),
        WatchEvent(EventType.NODE_CHILDREN_CHANGED, KeeperState.SYNC_CONNECTED, "/"),
    ]


async def test_a_callback_that_fails_harms_nobody_else(connect: Connect) -> None:
    failures: list[dict[str, object]] = []
    events: list[WatchEvent] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))

    def fail(event: WatchEvent) -> None:
        raise ValueError("mine")

    async with connect() as zk:
        await zk.create("/a")
        await zk.get("/a", watch=fail)
        await zk.get("/a", watch=events.append)
        await zk.set("/a", b"1")
        assert (await zk.get("/a")).data == b"1"
    assert len(events) == len(failures) == 1
    assert isinstance(failures[0]["exception"], ValueError)


async def test_a_thousand_at_once_are_answered_in_their_order(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a", b"0")
        done: list[int] = []

        async def step(number: int) -> None:
            await zk.set("/a", b"%d" % number)
            done.append(number)

        await asyncio.gather(*map(step, range(1000)))
        assert done == list(range(1000))
        assert (await zk.get("/a")).data == b"999"


async def test_what_is_too_large_is_an_error_not_a_lost_connection(connect: Connect) -> None:
    """helix#962, druid#10808, pulsar#24382: users of others see ConnectionLoss."""
    async with connect() as zk:
        with pytest.raises(TooLargeError, match="/big"):
            await zk.create("/big", bytes(2**20))
        with pytest.raises(TooLargeError):
            await zk.set("/", bytes(2**20))
        assert await zk.create("/fits", bytes(1_000_000)) == "/fits"
        assert zk.state == SessionState.CONNECTED


@pytest.mark.parametrize("ephemeral", [True, False])
async def test_a_create_that_cannot_be_looked_for_is_unknown(
    connect: Connect, ephemeral: bool
) -> None:
    async with connect() as zk:
        client: Any = zk
        create = client._create

        async def loses(*arguments: Any) -> None:
            client._create = create
            raise OutcomeUnknown("/p-", "create")

        for failure in (OperationTimeoutError, SessionExpiredError):

            async def refused(*arguments: object, failure: type[ZooKeeperError] = failure) -> None:
                raise failure("/", "children")

            client._create, client._find = loses, refused
            # An ephemeral is gone with its session, and that is known.
            gone = ephemeral and failure is SessionExpiredError
            with pytest.raises(SessionExpiredError if gone else OutcomeUnknown):
                await zk.create("/p-", ephemeral=ephemeral, sequential=True, protected=True)


async def test_a_protected_create_gives_the_name_that_its_maker_finds_again(
    connect: Connect,
) -> None:
    async with connect() as zk:
        path = await zk.create("/p-", ephemeral=True, sequential=True, protected=True)
        assert path.startswith("/_c_")
        assert path.endswith("-p-0000000000")
        assert await zk.create("/e", ephemeral=True, protected=True) == "/e"
        with pytest.raises(NodeExistsError):
            await zk.create("/e", ephemeral=True, protected=True)
        with pytest.raises(BadArgumentsError):
            await zk.create("/x", protected=True)


async def test_states_are_told_in_order(connect: Connect) -> None:
    zk = connect()
    heard: list[SessionState] = []
    undo = zk.on_state(heard.append)
    assert zk.state == SessionState.CONNECTING
    async with zk:
        assert zk.session_id
        assert 0 < zk.session_timeout_ms <= 60_000
        states = zk.states()
        assert await anext(states) == SessionState.CONNECTED
    assert await anext(states) == SessionState.CLOSED
    assert [state async for state in states] == []
    assert heard == [SessionState.CONNECTED, SessionState.CLOSED]
    undo()
    await zk.close()


async def test_who_is_not_started_or_closed_says_so(connect: Connect) -> None:
    zk = connect()
    with pytest.raises(RuntimeError, match="not started"):
        await zk.get("/")
    async with zk:
        with pytest.raises(RuntimeError, match="once"):
            await zk.start()
    with pytest.raises(ZooKeeperError):
        await zk.get("/")


async def test_nobody_listens() -> None:
    zk = connect_to("127.0.0.1:1", call_timeout_s=0.3)
    with pytest.raises(NotConnectedError, match=r"connect to 127\.0\.0\.1:1 \(127\.0\.0\.1:1: "):
        await zk.start()
    assert zk.state == SessionState.CLOSED


@pytest.mark.parametrize("wrong", ["", "a:b", "a//b"])
def test_a_connect_string_that_makes_no_sense_is_refused_at_once(wrong: str) -> None:
    with pytest.raises(HostsError):
        connect_to(wrong)


async def test_the_config_has_the_members(connect: Connect) -> None:
    async with connect() as zk:
        (found,) = await asyncio.gather(zk.config(), return_exceptions=True)
        if isinstance(found, BaseException):
            assert isinstance(found, ApiError)
            assert "stands alone" in str(found)
        else:
            assert found.seats


async def test_a_call_can_be_cancelled(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create("/a", b"x")
        reads = [asyncio.ensure_future(zk.get("/a")) for _ in range(10)]
        await asyncio.sleep(0)
        for read in reads[::2]:
            read.cancel()
        found = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(each).__name__ for each in found] == ["CancelledError", "Znode"] * 5
