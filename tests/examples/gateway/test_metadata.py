"""A metadata server by HTTP: one that leads, one that does not, one that led."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from coterie.gateway.component import Component, Identity
from coterie.gateway.standby import Standby
from examples.gateway.metadata import Desk, MetadataServer, serve
from examples.gateway.process import Options
from tests.conftest import Connect

pytestmark = pytest.mark.gateway

APPLICATION = {"name": "align", "version": "1.0", "flavor": "local"}


class Copy:
    """A copy whose leadership is what the test says."""

    def __init__(self, http: httpx.AsyncClient, standby: SimpleNamespace) -> None:
        self.http = http
        self.standby = standby

    def leads(self, token: int | None, leader: str) -> None:
        self.standby.token = token
        self.standby.leading = token
        named = SimpleNamespace(identifier=leader.encode())
        self.standby.leader = named if leader else None

    async def ask(self, operation: str, **arguments: Any) -> httpx.Response:
        return await self.http.post(f"/{operation}", json=arguments)


@asynccontextmanager
async def copy(path: Path, token: int | None = None, leader: str = "") -> AsyncIterator[Copy]:
    standby = SimpleNamespace()
    async with Desk(path / "db") as writer, Desk(path / "db") as reader:
        app = MetadataServer("m1", cast(Standby, standby), reader, writer).app()
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://m1") as http:
            made = Copy(http, standby)
            made.leads(token, leader)
            yield made


async def test_the_leader_writes_and_a_replica_says_who_does(tmp_path: Path) -> None:
    async with copy(tmp_path, 5, "m1") as one, copy(tmp_path, None, "m1") as other:
        made = await one.ask("register", application=APPLICATION, user="ada")
        assert made.json() == {"result": True}
        read = await other.ask("application", name="align")
        assert read.json() == {"result": APPLICATION}
        other.leads(None, "m2")
        refused = await other.ask("register", application=APPLICATION, user="ada")
        assert (refused.status_code, refused.headers["x-leader"]) == (421, "m2")


async def test_while_nobody_leads_nothing_is_written(tmp_path: Path) -> None:
    async with copy(tmp_path) as one:
        refused = await one.ask("register", application=APPLICATION, user="ada")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_leader")
        # It hears of its own election a moment later than the others.
        one.leads(None, "m1")
        assert (await one.ask("register", application=APPLICATION, user="a")).status_code == 503


async def test_a_deposed_leader_is_refused_by_the_store(tmp_path: Path) -> None:
    async with copy(tmp_path, 5, "m1") as old, copy(tmp_path, 9, "m2") as new:
        assert (await new.ask("register", application=APPLICATION, user="ada")).is_success
        late = await old.ask("register", application=APPLICATION | {"version": "2"}, user="ada")
        assert (late.status_code, late.json()["error"]["code"]) == (503, "deposed")
        assert (await new.ask("application", name="align")).json()["result"]["version"] == "1.0"


@pytest.mark.parametrize(
    ("operation", "content", "status"),
    [
        ("job", b"{}", 400),
        ("job", b'{"job_id": "x", "more": 1}', 400),
        ("job", b"[]", 400),
        ("job", b"{", 400),
        ("nothing", b"{}", 404),
        ("cancel", b'{"job_id": "x", "user": "ada"}', 404),
    ],
)
async def test_what_cannot_be_answered_is_said_clearly(
    tmp_path: Path, operation: str, content: bytes, status: int
) -> None:
    async with copy(tmp_path, 5, "m1") as one:
        answer = await one.http.post(f"/{operation}", content=content)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


async def test_a_copy_that_begins_to_lead_has_the_applications_that_come_along(
    tmp_path: Path, connect: Connect
) -> None:
    options = Options("metadata", "metadata-1", data=tmp_path)
    identity = Identity("metadata", "1.0", "127.0.0.1", 9121, id="metadata-1")
    async with (
        connect() as zk,
        Component(zk, identity) as component,
        serve(component, options) as service,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=service.app), base_url="http://m1"
        ) as http,
    ):
        async with Standby(zk, "/gateway/leaders/metadata") as other:
            while other.leader is None:
                await other.next(other.number)
            await component.published()
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while len(found) < 2:
                found = (await http.post("/applications", content=b"")).json()["result"]
        assert [one["name"] for one in found] == ["align", "outbreak"]
        assert (await http.get("/status")).json()["leader"] == "metadata-1"
