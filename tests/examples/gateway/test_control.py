"""The launcher's port: for programs of this machine, never for a page in a browser."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from examples.gateway.control import control
from examples.gateway.supervisor import Child, Spec, Supervisor

pytestmark = pytest.mark.gateway

COMMAND = (sys.executable, "-c", "import time; time.sleep(60)", "--version", "1.0.0")


@asynccontextmanager
async def port(path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Supervisor]]:
    async with Supervisor(path) as supervisor:

        def add(kind: str, flavor: str, version: str) -> Child:
            return supervisor.add(Spec(f"{kind}-9", kind, COMMAND, flavor, version))

        supervisor.add(Spec("a", "x", COMMAND, version="1.0.0", address="127.0.0.1:9"))
        transport = httpx.ASGITransport(app=control(supervisor, add))
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as http:
            async with asyncio.timeout(20):
                while not supervisor["a"].alive:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield http, supervisor


async def test_it_shows_kills_stops_starts_and_adds(tmp_path: Path) -> None:
    async with port(tmp_path) as (http, supervisor):
        (shown,) = (await http.get("/processes")).json()
        assert {
            "name": "a",
            "kind": "x",
            "version": "1.0.0",
            "restarts": 0,
        }.items() <= shown.items()
        assert (await http.post("/kill/a")).json() == {"killed": shown["pid"]}
        assert (await http.post("/stop/a")).json()["alive"] is False
        started = await http.post("/start/a", json={"version": "2.0.0"})
        assert started.json()["version"] == "2.0.0"
        assert supervisor["a"].spec.command[-1] == "2.0.0"
        added = await http.post("/add", json={"kind": "manager", "version": "3.0.0"})
        assert added.json()["name"] == "manager-9"
        assert len((await http.get("/processes")).json()) == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [("/kill/b", 404), ("/start/a", 409), ("/upgrade/a", 404), ("/add", 404), ("/nowhere", 404)],
)
async def test_errors_are_clear(tmp_path: Path, path: str, status: int) -> None:
    async with port(tmp_path) as (http, _):
        assert (await http.post(path)).status_code == status


async def test_no_page_kills_anything(tmp_path: Path) -> None:
    async with port(tmp_path) as (http, supervisor):
        answer = await http.post("/kill/a", headers={"Origin": "http://elsewhere.example"})
        assert answer.status_code == 403
        assert supervisor["a"].kills == 0
