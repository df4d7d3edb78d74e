"""What the commands for znodes do, seen through the commands, at a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coterie.cli import operations
from coterie.cli.session import Session
from coterie.cli.show import Output
from coterie.client.blocking import BlockingClient
from coterie.client.client import Client, connect
from coterie.errors import AuthFailedError, SessionExpiredError
from coterie.testing.cluster import Server
from coterie.values import ACL, OPEN_ACL, READ_ACL, Created, Id, Perms
from tests.cli.conftest import Command


def test_get_shows_text_and_metadata(coterie: Command, coterie_client: BlockingClient) -> None:
    coterie_client.create("/a", "blau\ngrün".encode())
    assert coterie("get", "/a") == "blau\ngrün\n"
    assert coterie("get", "-s", "/a").splitlines()[:3:2] == ["blau", coterie_first(coterie)]
    (found,) = coterie.json("get", "/a")
    assert found["data"] == "blau\ngrün"
    assert found["stat"]["data_length"] == 10


def coterie_first(coterie: Command) -> str:
    return coterie("stat", "/a").splitlines()[0]


def test_get_shows_bytes(coterie: Command, coterie_client: BlockingClient) -> None:
    coterie_client.create("/a", b"\xff\0")
    assert coterie("get", "/a").startswith("00000000  ff 00 ")
    assert coterie.run("get", "--raw", "/a").stdout_bytes == b"\xff\0"
    assert coterie.json("get", "/a")[0]["data_base64"] == "/wA="


def test_set_takes_an_argument_a_file_or_what_is_piped_in(
    coterie: Command, coterie_client: BlockingClient, tmp_path: Path
) -> None:
    coterie_client.create("/a")
    file = tmp_path / "data"
    file.write_bytes(b"\0file")
    coterie("set", "/a", "argument")
    assert coterie_client.get("/a").data == b"argument"
    coterie("set", "/a", "--file", str(file))
    assert coterie_client.get("/a").data == b"\0file"
    coterie("set", "/a", stdin=b"\xffpiped")
    assert coterie_client.get("/a").data == b"\xffpiped"
    assert coterie.run("set", "-v", "1", "/a", "x").exit_code == 1
    assert coterie.json("set", "-v", "3", "/a", "x")[0]["stat"]["version"] == 4
    assert "version         5" in coterie("set", "-s", "/a", "y")


def test_create_makes_every_kind(coterie: Command, coterie_client: BlockingClient) -> None:
    assert coterie("create", "-p", "/a/b", "x", "world:anyone:r,ip:127.0.0.1:all") == "/a/b\n"
    acl, _ = coterie_client.get_acl("/a/b")
    assert acl == (*READ_ACL, ACL(Perms.ALL, Id("ip", "127.0.0.1")))
    assert coterie("create", "-s", "/a/n-") == "/a/n-0000000001\n"
    refused = coterie.run("create", "/a")
    assert (refused.exit_code, "exists already" in refused.stderr) == (1, True)
    orphan = coterie.run("create", "/c/d")
    assert (orphan.exit_code, "parent" in orphan.stderr) == (1, True)
    assert coterie.run("create", "/c", "x", "nonsense").exit_code == 2


def test_containers_and_ttls(coterie: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their clients do not see what they are, so it is looked at what is asked for."""
    asked: list[tuple[object, object]] = []
    create = Client.create_with_stat

    async def recorded(zk: Client, path: str, data: bytes, **given: Any) -> Created:
        asked.append((given["container"], given["ttl_ms"]))
        return await create(zk, path, data, **given)

    monkeypatch.setattr(Client, "create_with_stat", recorded)
    coterie("create", "-c", "/container")
    coterie("create", "-t", "1h", "/ttl")
    assert asked == [(True, None), (False, 3_600_000)]


def test_ls(coterie: Command, coterie_client: BlockingClient) -> None:
    for path in ("/b", "/a", "/a/x"):
        coterie_client.create(path, b"123")
    assert coterie("ls", "/") == "a\nb\n"
    assert coterie("ls", "-R", "/") == "/\n/a\n/a/x\n/b\n"
    assert coterie("ls", "/b") == ""
    assert coterie("ls", "-s", "/b").endswith("numChildren     0\n")
    head, first, second = coterie("ls", "-l", "/").splitlines()
    assert head.split()[:3] == ["version", "bytes", "children"]
    assert first.split()[:3] == ["0", "3", "1"]
    assert second.split()[-1] == "b"
    assert coterie.json("ls", "/")[0]["children"] == ["a", "b"]
    assert [one["path"] for one in coterie.json("ls", "-l", "/")] == ["/a", "/b"]
    assert [one["path"] for one in coterie.json("ls", "-R", "/a")] == ["/a", "/a/x"]
    assert coterie.run("ls", "/c").exit_code == 1


def test_tree(coterie: Command, coterie_client: BlockingClient) -> None:
    for path in ("/a", "/a/x", "/a/y", "/b"):
        coterie_client.create(path, path.encode(), ephemeral=path == "/b")
    assert coterie("tree") == "/\n├─ a\n│  ├─ x\n│  └─ y\n└─ b  (ephemeral)\n"
    assert coterie("tree", "-d", "1", "--data").splitlines()[1] == "├─ a = /a  (2 below)"
    assert [one["path"] for one in coterie.json("tree", "/a")] == ["/a", "/a/x", "/a/y"]
    assert coterie.json("tree", "/b", "--data")[0]["data"] == "/b"
    coterie_client.set_acl("/a/x", [ACL(Perms.ADMIN, Id("world", "anyone"))])
    assert "├─ x  (may not be read)" in coterie("tree", "/a")
    coterie_client.set_acl("/a/x", OPEN_ACL)


def test_rm(coterie: Command, coterie_client: BlockingClient) -> None:
    for path in ("/a", "/a/x", "/b", "/c"):
        coterie_client.create(path)
    assert coterie.run("rm", "/a").exit_code == 1
    assert coterie.run("rm", "-v", "3", "/b").exit_code == 1
    assert coterie("rm", "/b", "/c") == ""
    assert coterie.run("rm", "/b").exit_code == 1
    assert coterie.json("rm", "-f", "/b") == [{"path": "/b", "deleted": False}]
    assert coterie.run("rm", "-r", "--yes", "/b").exit_code == 1
    assert coterie.json("rm", "-r", "--yes", "/a") == [{"path": "/a", "deleted": True}]
    assert coterie_client.children("/") == []


def test_acl(coterie: Command, coterie_client: BlockingClient) -> None:
    coterie_client.create("/a")
    coterie_client.create("/a/b")
    assert coterie("acl", "/a") == "world:anyone:cdrwa\n"
    assert coterie.json("acl", "/a", "world:anyone:ra")[0]["stat"]["aversion"] == 1
    assert coterie("acl", "/a") == "world:anyone:ra\n"
    assert coterie.run("acl", "-v", "0", "/a", "world:anyone:a").exit_code == 1
    coterie("acl", "-R", "/a", "world:anyone:a", "ip:10.0.0.0/8:r")
    assert coterie_client.get_acl("/a/b")[1].aversion == 1
    assert coterie.json("acl", "/a/b")[0]["acl"] == [
        {"scheme": "world", "id": "anyone", "perms": "a"},
        {"scheme": "ip", "id": "10.0.0.0/8", "perms": "r"},
    ]
    coterie_client.set_acl("/a", OPEN_ACL)
    shown = coterie("acl", "-R", "/a").splitlines()
    assert shown == ["/a", "world:anyone:cdrwa", "/a/b", "world:anyone:a", "ip:10.0.0.0/8:r"]
    coterie_client.set_acl("/a/b", OPEN_ACL)


def test_multi_is_all_or_nothing(coterie: Command, coterie_client: BlockingClient) -> None:
    coterie_client.create("/a")
    assert coterie("multi", stdin="check /a\ncreate -s /a/n- 1\nset /a 5\n") == (
        "check /a\ncreate /a/n-0000000000\nset /a\n"
    )
    failed = coterie.run("multi", stdin="set /a 6\ncheck -v 9 /a\n")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "check /a: The znode has another version" in failed.stderr
    assert coterie_client.get("/a").data == b"5"
    deleted, made = coterie.json(
        "multi", stdin='[{"op": "rm", "path": "/a/n-0000000000"}, {"op": "create", "path": "/b"}]'
    )
    assert deleted == {"op": "delete", "path": "/a/n-0000000000"}
    assert made["path"] == "/b"


class _Heard(Output):
    """An output that is listened to."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__(as_json)
        self.lines: list[str] = []
        self.records: list[Mapping[str, Any]] = []
        self.begun = asyncio.Event()
        self.lines_awaited = 0
        self.enough = asyncio.Event()

    def line(self, text: str) -> None:
        self.lines.append(text)
        if len(self.lines) == self.lines_awaited:
            self.enough.set()

    def record(self, fields: Mapping[str, Any]) -> None:
        self.records.append(fields)

    def note(self, text: str) -> None:
        self.begun.set()


Does = Callable[[Client], Awaitable[object]]


def watched(hosts: str, does: Does, *, lines: int = 0, **given: bool) -> _Heard:
    """What a watch of /a tells while something is done: one event, or that many lines."""
    once = not lines

    async def run() -> _Heard:
        heard = _Heard()
        heard.lines_awaited = lines
        async with connect(hosts) as zk, connect(hosts) as other:
            options = {"recursive": False, "with_data": False, **given}
            watching = operations.watch(Session(zk, heard), path="/a", once=once, **options)
            task = asyncio.create_task(watching)
            await heard.begun.wait()
            await does(other)
            if not once:
                await heard.enough.wait()
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task
        return heard

    return asyncio.run(run())


def test_watch_ends_after_one_event(coterie_hosts: str) -> None:
    heard = watched(coterie_hosts, lambda zk: zk.create("/a", b"x"), with_data=True)
    assert [line.split(" ", 1)[1] for line in heard.lines] == ["/a created = x"]
    assert heard.records[0]["event"] == "NODE_CREATED"
    assert heard.records[0]["data"] == "x"


def test_watch_goes_on_over_a_subtree(coterie_hosts: str) -> None:
    async def change(zk: Client) -> None:
        await zk.create("/a")
        await zk.create("/a/b")
        await zk.delete("/a/b")

    heard = watched(coterie_hosts, change, lines=3, recursive=True)
    assert [line.split(" ", 1)[1] for line in heard.lines] == [
        "/a created",
        "/a/b created",
        "/a/b deleted",
    ]


def test_watch_says_that_the_connection_was_away(
    coterie_hosts: str, coterie_server: Server
) -> None:
    async def change(zk: Client) -> None:
        await asyncio.to_thread(coterie_server.disconnect)

    heard = watched(coterie_hosts, change, lines=1)
    assert "/a the connection was away" in heard.lines[0]
    assert heard.records[0]["event"] == "NONE"


def test_an_ephemeral_is_kept_until_its_session_is_lost(
    coterie_hosts: str, coterie_server: Server
) -> None:
    async def run() -> None:
        heard = _Heard()
        async with connect(coterie_hosts) as zk:
            given: dict[str, Any] = {
                "path": "/a",
                "data": b"",
                "acl": None,
                "ephemeral": True,
                "sequential": False,
                "container": False,
                "ttl_ms": None,
                "parents": False,
            }
            session = Session(zk, heard)
            task = asyncio.create_task(operations.create(session, **given))
            await heard.begun.wait()
            assert await zk.exists("/a") is not None
            assert session.endless
            await asyncio.to_thread(coterie_server.expire, zk.session_id)
            with pytest.raises(SessionExpiredError):
                await task

    asyncio.run(run())


def test_a_watch_that_can_tell_no_more_is_an_error(coterie_hosts: str) -> None:
    async def run() -> None:
        heard = _Heard()
        async with connect(coterie_hosts) as zk:
            watching = operations.watch(
                Session(zk, heard), path="/a", recursive=False, once=False, with_data=False
            )
            task = asyncio.create_task(watching)
            await heard.begun.wait()
            with pytest.raises(AuthFailedError):
                await zk.add_auth("nobody knows this", b"")
            with pytest.raises(SessionExpiredError):
                await task

    asyncio.run(run())
