"""The live page's data, followed from a real tree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import coterie
from coterie.gateway.directory import Directory
from coterie.recipes.discovery import Discovery
from coterie.recipes.election import Election
from examples.gateway.portal.live import Live
from examples.gateway.portal.picture import Job

pytestmark = pytest.mark.gateway

_PATIENCE_S = 10.0


@asynccontextmanager
async def _following(hosts: str, **asked: Any) -> AsyncIterator[tuple[Live, coterie.Client]]:
    async with (
        coterie.connect(hosts) as zk,
        Directory(zk) as directory,
        Live(zk, directory, hosts, **asked) as live,
    ):
        yield live, zk


async def _seen(live: Live, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first state that is wanted."""
    async with asyncio.timeout(_PATIENCE_S):
        async for text in live.changes():
            state: dict[str, Any] = json.loads(text)
            if wanted(state):
                return state
    raise AssertionError("it has ended")


def _told(state: dict[str, Any], text: str) -> bool:
    return any(event["text"].startswith(text) for event in state["events"])


async def test_who_comes_and_who_goes_is_seen(coterie_hosts: str) -> None:
    async with _following(coterie_hosts) as (live, zk):
        offer = Discovery(zk, "/gateway/services").register(
            "api", "1.2", host="127.0.0.1", port=9101, id="api-1", metadata={"load": 3}
        )
        async with offer:
            state = await _seen(live, lambda state: state["components"])
            (one,) = state["components"]
            assert (one["name"], one["version"], one["load"]) == ("api-1", "1.2", 3)
            assert one["since"]
        state = await _seen(live, lambda state: not state["components"])
        assert _told(state, "api-1 left")


async def test_who_leads_is_seen(coterie_hosts: str) -> None:
    async with _following(coterie_hosts) as (live, zk):
        async with Election(zk, "/gateway/leaders/metadata", identifier=b"metadata-2"):
            state = await _seen(live, lambda state: state["leaders"].get("metadata"))
            assert state["leaders"] == {"metadata": "metadata-2"}
            assert _told(state, "metadata-2 leads metadata")
        await _seen(live, lambda state: state["leaders"] == {"metadata": ""})


async def test_the_servers_are_seen(coterie_hosts: str) -> None:
    async with _following(coterie_hosts) as (live, _):
        (server,) = live.state()["ensemble"]
        assert (server["address"], server["role"]) == (
            coterie_hosts.partition("/")[0],
            "standalone",
        )
        assert server["zxid"].startswith("0x")


async def test_jobs_and_processes_are_asked_for(coterie_hosts: str) -> None:
    async def processes() -> object:
        return [{"name": "api-1", "kind": "api", "pid": 7, "alive": False}]

    async def jobs() -> tuple[tuple[Job, ...], dict[str, int]]:
        return (Job("7f", "align", "running"),), {"running": 1}

    async with _following(coterie_hosts, processes=processes, jobs=jobs) as (live, _):
        (one,) = live.state()["components"]
        assert (one["name"], one["state"]) == ("api-1", "down")
        state = await _seen(live, lambda state: state["jobs"])
        assert state["counts"] == {"running": 1}


async def test_who_does_not_answer_leaves_the_last_answer(coterie_hosts: str) -> None:
    answers: list[object] = [[{"name": "api-1", "kind": "api", "pid": 7}]]
    refused = asyncio.Event()

    async def processes() -> object:
        if answers:
            return answers.pop()
        refused.set()
        raise httpx.ConnectError("refused")

    async def jobs() -> tuple[tuple[Job, ...], dict[str, int]]:
        raise RuntimeError("of any kind")

    async with _following(coterie_hosts, processes=processes, jobs=jobs) as (live, _):
        await refused.wait()
        live.killed("somebody")
        await _seen(live, lambda state: _told(state, "somebody"))
        assert [one["name"] for one in live.state()["components"]] == ["api-1"]


async def test_a_press_of_the_button_is_in_the_log(coterie_hosts: str) -> None:
    async with _following(coterie_hosts) as (live, _):
        live.killed("api-1")
        event, _ = live.state()["events"]
        assert (event["text"], event["kind"]) == ("api-1 was killed with -9 by hand", "killed")


async def test_closing_ends_who_follows(coterie_hosts: str) -> None:
    async with _following(coterie_hosts) as (live, _):
        changes = live.changes()
        await anext(changes)
        live.close()
        assert [text async for text in changes] == []


async def test_an_outage_is_told_of(coterie_server: Any) -> None:
    async with _following(coterie_server.hosts) as (live, _):
        coterie_server.pause()
        state = await _seen(live, lambda state: state["stale_s"] >= 1)
        assert _told(state, "no server of the ensemble answers")
        assert state["ensemble"][0]["role"] == "down"
