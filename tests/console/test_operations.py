"""/commands, /metrics, /live and /ready of a server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.operations import Operations
from coterie.runtime.doors import Inside
from tests.admin.served import Served
from tests.console.asking import Answer, ask


def _ask(
    method: str,
    target: str,
    *,
    unready: str | None = None,
    read_only: bool = False,
    url: str = "/commands",
    **headers: str,
) -> Answer:
    served = Served()
    served.create(served.connect(4001), b"/a")
    config = replace(served.config, admin_command_url=url)
    inside = Inside(config, served.status, lambda: unready, lambda: 2181, False)
    access = Access("127.0.0.1", read_only=read_only)
    app = make_app(Operations(inside, access).routes(), access)
    return asyncio.run(ask(app, method, target, b"", **headers))


@pytest.mark.parametrize("name", ["server_stats", "srvr"])
def test_a_command(name: str) -> None:
    answer = _ask("GET", f"/commands/{name}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["command"] == "server_stats"
    assert answer.json["node_count"] == 6


def test_the_commands_may_be_elsewhere() -> None:
    assert _ask("GET", "/zk/do/ruok", url="/zk/do").json == {"command": "ruok", "error": None}
    assert b'href="/zk/do/ruok"' in _ask("GET", "/zk/do/", url="/zk/do").body


def test_a_reset_is_get_as_apaches_and_no_other_site_may_ask_for_it() -> None:
    assert _ask("GET", "/commands/srst").json == {"command": "stat_reset", "error": None}
    assert _ask("GET", "/commands/srst", sec_fetch_site="cross-site").status == 403
    assert _ask("GET", "/commands/crst", read_only=True).status == 403


def test_a_command_that_is_posted() -> None:
    assert _ask("POST", "/commands/restore", x_requested_by="test").status == 503
    assert _ask("POST", "/commands/srvr", x_requested_by="test").status == 405
    assert _ask("POST", "/commands/restore").status == 403


def test_ready_is_another_thing_than_live() -> None:
    assert _ask("GET", "/ready").status == 200
    answer = _ask("GET", "/ready", unready="the disk is full")
    assert answer.status == 503
    assert answer.json == {"ready": False, "reason": "the disk is full"}
    assert _ask("GET", "/live", unready="the disk is full").status == 200


def test_metrics() -> None:
    answer = _ask("GET", "/metrics", unready="the disk is full")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nznode_count 6\n" in answer.body
    assert b"\ncoterie_ready 0\n" in answer.body
