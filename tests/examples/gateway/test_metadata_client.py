"""Whom a component asks: the leader for writes, whoever answers for reads, and for how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from coterie.gateway.component import Component
from coterie.gateway.fencing import StaleTokenError
from coterie.recipes.discovery import Instance
from coterie.testing.ports import free_port
from examples.gateway.metadata_client import Metadata, RefusedError, UnavailableError
from examples.gateway.process import serving

pytestmark = pytest.mark.gateway

Answer = Callable[[str], JSONResponse]


def refusal(status: int, code: str, leader: str = "", **more: Any) -> JSONResponse:
    told = {"error": {"code": code, "message": code, **more}}
    return JSONResponse(told, status, headers={"x-leader": leader} if leader else {})


class Server:
    """A metadata server that answers as it is told, and remembers what it was asked."""

    def __init__(self, id: str, answer: Answer) -> None:
        self.id = id
        self.answer = answer
        self.asked: list[str] = []
        self.port = 0

    def app(self) -> Starlette:
        async def operate(request: Request) -> JSONResponse:
            self.asked.append(request.path_params["operation"])
            return self.answer(request.path_params["operation"])

        return Starlette(routes=[Route("/{operation}", operate, methods=["POST"])])

    def instance(self) -> Instance:
        return Instance("metadata", "1.0", "127.0.0.1", self.port, id=self.id)


def leads(operation: str) -> JSONResponse:
    return JSONResponse({"result": operation})


@asynccontextmanager
async def clients(*servers: Server, patience_s: float = 5.0) -> AsyncIterator[Metadata]:
    async with AsyncExitStack() as stack:
        for server in servers:
            if not server.port:
                at = serving(server.app(), "127.0.0.1", 0)
                server.port = await stack.enter_async_context(at)
        found = [server.instance() for server in servers]
        directory = SimpleNamespace(find=lambda kind: found, everyone=lambda kind: found)
        fake = SimpleNamespace(directory=directory, zk=SimpleNamespace(dice=random.Random(1)))
        component = cast("Component[Any]", fake)
        yield await stack.enter_async_context(Metadata(component, patience_s=patience_s))


async def test_a_replica_names_the_leader_who_is_asked_first_from_then_on() -> None:
    replica = Server("m1", lambda _: refusal(421, "not_leader", "m2"))
    leader = Server("m2", leads)
    async with clients(replica, leader) as metadata:
        for _ in range(20):
            assert await metadata.write("assign") == "assign"
    assert len(replica.asked) <= 1
    assert len(leader.asked) == 20


async def test_reads_go_to_all() -> None:
    servers = [Server("m1", leads), Server("m2", leads)]
    async with clients(*servers) as metadata:
        for _ in range(20):
            await metadata.read("job")
    assert all(server.asked for server in servers)


async def test_a_dead_server_is_passed_over() -> None:
    dead = Server("m1", leads)
    dead.port = free_port()
    async with clients(dead, Server("m2", leads)) as metadata:
        assert await metadata.write("create") == "create"
        assert await metadata.read("job") == "job"


async def test_it_waits_for_a_leader() -> None:
    answers = iter([refusal(503, "no_leader"), refusal(503, "deposed")])
    server = Server("m1", lambda operation: next(answers, None) or leads(operation))
    async with clients(server) as metadata:
        assert await metadata.write("create") == "create"
    assert len(server.asked) == 3


async def test_patience_has_an_end_and_then_the_outcome_is_unknown() -> None:
    server = Server("m1", lambda _: refusal(503, "no_leader"))
    async with clients(server, patience_s=0.2) as metadata:
        with pytest.raises(UnavailableError, match="no_leader"):
            await metadata.write("create")
    assert issubclass(UnavailableError, OSError), "what `JobClaim.settle` tries again"


async def test_what_is_refused_is_not_asked_again() -> None:
    server = Server("m1", lambda _: refusal(404, "unknown_experiment"))
    async with clients(server) as metadata:
        with pytest.raises(RefusedError) as refused:
            await metadata.cancel("job", "ada")
    assert (refused.value.status, refused.value.code) == (404, "unknown_experiment")
    assert server.asked == ["cancel"]


async def test_a_newer_claim_is_an_error_of_its_own() -> None:
    server = Server("m1", lambda _: refusal(409, "stale_token", token=7, newest=9))
    async with clients(server) as metadata:
        with pytest.raises(StaleTokenError) as stale:
            await metadata.started("job", 7, "m1")
    assert (stale.value.token, stale.value.newest) == (7, 9)


async def test_nobody_is_there_at_first() -> None:
    server = Server("m1", leads)
    found: list[Instance] = []
    directory = SimpleNamespace(find=lambda kind: found, everyone=lambda kind: found)
    fake = SimpleNamespace(directory=directory, zk=SimpleNamespace(dice=random.Random(1)))
    async with (
        serving(server.app(), "127.0.0.1", 0) as server.port,
        Metadata(cast("Component[Any]", fake)) as metadata,
    ):
        asking = asyncio.ensure_future(metadata.read("job"))
        await asyncio.sleep(0)
        found.append(server.instance())
        assert await asking == "job"
