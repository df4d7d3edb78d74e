"""Znodes as HTTP resources, against a server."""

from __future__ import annotations

import base64
import json

import pytest

from tests.conftest import Connect
from tests.console.asking import ask
from tests.console.serving import Asker, serving


def _basic(who: str) -> str:
    return f"Basic {base64.b64encode(who.encode()).decode()}"


async def _transact(asker: Asker, *operations: object) -> tuple[int, object]:
    body = json.dumps({"operations": operations}).encode()
    answer = await asker("POST", "/transactions", body)
    return answer.status, answer.json


async def test_a_znode_is_made_read_changed_and_deleted(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        made = await asker("POST", "/znodes/a b", b"one")
        assert (made.status, made.json["path"]) == (201, "/a b")
        assert made.headers["location"] == "/znodes/a%20b"
        read = await asker("GET", "/znodes/a b")
        assert (read.status, read.body, read.headers["etag"]) == (200, b"one", '"0"')
        assert read.headers["content-security-policy"] == "default-src 'none'; sandbox"
        changed = await asker("PUT", "/znodes/a b", b"two", if_match='"0"')
        assert (changed.status, changed.headers["etag"]) == (200, '"1"')
        assert (await zk.get("/a b")).data == b"two"
        assert (await asker("DELETE", "/znodes/a b", if_match='"1"')).status == 204
        assert await zk.exists("/a b") is None


async def test_what_bears_a_version_happens_only_to_that(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        await zk.create("/a", b"one")
        await zk.set("/a", b"two")
        for method in ("PUT", "DELETE"):
            refused = await asker(method, "/znodes/a", b"three", if_match='"0"')
            assert (refused.status, refused.json["code"]) == (412, -103)
        assert (await zk.get("/a")).data == b"two"
        assert (await asker("PUT", "/znodes/a", b"3", if_match="*")).status == 200
        assert (await asker("PUT", "/znodes/a", b"3", if_match='"x"')).status == 400


async def test_the_shapes_of_a_znode(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        await zk.create("/a", b"\xff")
        await zk.create("/a/b", "é".encode(), ephemeral=True)
        raw = (await asker("GET", "/znodes/a?json")).json
        assert raw["data_base64"] == "/w=="
        assert raw["stat"]["num_children"] == 1
        told = (await asker("GET", "/znodes/a/b?json")).json
        assert told["data"] == "é"
        assert told["stat"]["ephemeral_owner"] == hex(zk.session_id)
        assert (await asker("GET", "/znodes/a?children")).json["children"] == ["b"]
        assert (await asker("GET", "/znodes/a?stat")).json["stat"] == raw["stat"]
        [child] = (await asker("GET", "/znodes/a?children=stats")).json["children"]
        assert (child["name"], child["stat"]["data_length"]) == ("b", 2)
        assert (await asker("GET", "/znodes/?children")).json["children"] == ["a"]
        assert (await asker("GET", "/znodes/none?stat")).status == 404


async def test_children_come_in_pages(
    hosts: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.console.znodes._PAGE_MAX", 2)
    async with serving(hosts) as asker, connect() as zk:
        for name in "abc":
            await zk.create(f"/{name}")
        first = (await asker("GET", "/znodes?children=stats")).json
        assert ([each["name"] for each in first["children"]], first["more"]) == (["a", "b"], True)
        rest = (await asker("GET", "/znodes?children=stats&after=b")).json
        assert ([each["name"] for each in rest["children"]], rest["more"]) == (["c"], False)


async def test_modes_of_a_create(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        one = await asker("POST", "/znodes/q/n-?mode=sequential&parents")
        assert one.json["path"] == "/q/n-0000000000"
        assert (await asker("POST", "/znodes/c?mode=container")).status == 201
        assert (await asker("POST", "/znodes/t?mode=ttl&ttl_ms=60000")).status == 201
        assert (await asker("POST", "/znodes/t2?mode=ttl")).status == 400
        refused = await asker("POST", "/znodes/e?mode=ephemeral")
        assert (refused.status, await zk.exists("/e")) == (400, None)
        assert (await asker("POST", "/znodes/c")).status == 409
        assert (await asker("POST", "/znodes/x/y")).status == 404


async def test_a_subtree_goes(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        await zk.create("/a/b/c", parents=True)
        assert (await asker("DELETE", "/znodes/a")).status == 409
        assert (await asker("DELETE", "/znodes/a?recursive", if_match="1")).status == 400
        assert (await asker("DELETE", "/znodes/a?recursive")).status == 204
        assert await zk.exists("/a") is None
        assert (await asker("DELETE", "/znodes/a?recursive")).status == 404


async def test_who_asks_is_who_the_acl_means(hosts: str) -> None:
    me, you = _basic("me:secret"), _basic("you:guess")
    async with serving(hosts) as asker:
        await asker("POST", "/znodes/mine?acl=creator", b"secret", authorization=me)
        assert (await asker("GET", "/znodes/mine", authorization=me)).body == b"secret"
        refused = await asker("GET", "/znodes/mine", authorization=you)
        assert (refused.status, refused.json["code"]) == (403, -102)
        beside = await asker("GET", "/znodes?children=stats", authorization=you)
        assert beside.json["children"] == [{"name": "mine", "stat": None}]
        nobody = await asker("GET", "/znodes/mine")
        assert nobody.status == 401
        assert "www-authenticate" not in nobody.headers, "the page asks by itself"
        plain = await ask(asker.app, "GET", "/znodes/mine")
        assert plain.headers["www-authenticate"].startswith("Basic ")
        acl = b'[{"scheme":"world","id":"anyone","perms":"rcdwa"}]'
        stale = await asker("PUT", "/znodes/mine?acl", acl, authorization=me, if_match="7")
        assert stale.status == 412
        await asker("PUT", "/znodes/mine?acl", acl, authorization=me, if_match='"0"')
        told = await asker("GET", "/znodes/mine?acl")
        assert told.json["acl"] == [{"scheme": "world", "id": "anyone", "perms": "cdrwa"}]
        assert told.headers["etag"] == '"1"'


async def test_a_transaction_happens_or_does_not(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        status, told = await _transact(
            asker,
            {"op": "create", "path": "/a", "data": "one"},
            {"op": "create", "path": "/a/n-", "mode": "sequential"},
            {"op": "set", "path": "/a", "data_base64": "/w==", "version": 0},
            {"op": "check", "path": "/a", "version": 1},
        )
        assert status == 200
        assert isinstance(told, dict)
        assert [each.get("path") for each in told["results"]] == [
            "/a",
            "/a/n-0000000000",
            None,
            None,
        ]
        assert told["results"][2]["stat"]["version"] == 1
        assert (await zk.get("/a")).data == b"\xff"
        failed, _ = await _transact(
            asker, {"op": "create", "path": "/b"}, {"op": "check", "path": "/a", "version": 9}
        )
        assert (failed, await zk.exists("/b")) == (412, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"operations": [1]}',
        b'{"operations": [{"op": "create"}]}',
        b'{"operations": [{"op": "rename", "path": "/a"}]}',
        b'{"operations": [{"op": "set", "path": "/a", "version": "1"}]}',
        b'{"operations": [{"op": "create", "path": "/a", "mode": ["x"]}]}',
        b'{"operations": [{"op": "create", "path": "/a", "data": "x", "data_base64": ""}]}',
    ],
)
async def test_what_is_no_transaction(hosts: str, body: bytes) -> None:
    async with serving(hosts) as asker:
        assert (await asker("POST", "/transactions", body)).status == 400


async def test_a_search(hosts: str, connect: Connect) -> None:
    async with serving(hosts) as asker, connect() as zk:
        for path in ("/one/Colour", "/two/colours/x", "/three"):
            await zk.create(path, parents=True)
        told = (await asker("GET", "/znodes?search=colour")).json
        assert told["found"] == ["/one/Colour", "/two/colours"]
        assert (told["complete"], told["searched"]) == (True, 6)


async def test_a_port_that_is_read_only_reads(hosts: str) -> None:
    async with serving(hosts, read_only=True) as asker:
        assert (await asker("GET", "/znodes?children")).status == 200
        for method in ("PUT", "POST", "DELETE"):
            assert (await asker(method, "/znodes/a", b"")).status == 403
        assert (await asker("POST", "/transactions", b"{}")).status == 403


async def test_paths_that_no_znode_can_have(hosts: str) -> None:
    async with serving(hosts) as asker:
        for path in ("/znodes/a/../b", "/znodes//a", "/znodes/a//b"):
            assert (await asker("GET", path)).status == 400
