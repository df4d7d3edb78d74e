"""The console's files, and what it asks of the server that it belongs to."""

from __future__ import annotations

import asyncio
import re
from importlib import resources

import pytest

from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.members import Members, Place
from coterie.console.views import Views, sessions, storage
from coterie.runtime.doors import Inside
from tests.admin.served import Served
from tests.console.asking import Answer, ask

_STATIC = resources.files("coterie.console").joinpath("static")


async def _alone() -> list[Place]:
    return [Place(None, "standalone", ("127.0.0.1", 1))]


def _ask(target: str, *, inside: bool = True, unready: str | None = None) -> Answer:
    served = Served()
    access = Access("127.0.0.1", read_only=True)
    own = Inside(served.config, served.status, lambda: unready, lambda: 2181, False)
    views = Views(Members(_alone), access, lambda: "here:1", own if inside else None)
    return asyncio.run(ask(make_app(views.routes(), access), "GET", target))


def test_the_page_and_its_files() -> None:
    page = _ask("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.body.decode())
    assert len(named) >= 4
    for name in named:
        assert _ask(name).status == 200
    assert _ask("/static/views.py").status == 404
    assert _ask("/static/..%2fviews.py").status == 404


@pytest.mark.parametrize("name", sorted(file.name for file in _STATIC.iterdir()))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = _STATIC.joinpath(name).read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href|from|url)\W+(?:https?:)?//", text)
    for wanted in re.findall(r'from "/static/([^"]+)"', text):
        assert _STATIC.joinpath(wanted).is_file()
    assert "innerHTML" not in text
    assert ' style="' not in text


def test_the_state_of_the_ensemble() -> None:
    told = _ask("/console/state", unready="the disk is full").json
    assert (told["hosts"], told["inside"], told["read_only"]) == ("here:1", True, True)
    assert told["unready"] == "the disk is full"
    [member] = told["members"]
    assert member["mode"] == "standalone", "it need not be asked at its own port"
    assert member["latency_ms"] == [0, 0.0, 0]
    assert member["data_bytes"] == 44


def test_who_stands_beside_knows_less() -> None:
    assert "unready" not in _ask("/console/state", inside=False).json
    assert _ask("/console/sessions", inside=False).status == 404
    assert _ask("/console/storage", inside=False).status == 404


def test_sessions() -> None:
    served = Served()
    client = served.connect(4001)
    served.create(client, b"/mine", flags=1)
    served.get(client, b"/mine", watch=True)
    served.stranger(4002)
    told = sessions(served.status())
    assert (told["count"], told["strangers"]) == (1, 1)
    [one] = told["sessions"]
    assert one["id"] == hex(client.session_id)
    assert (one["ephemerals"], one["watches"]) == (["/mine"], ["/mine"])
    assert one["connection"]["address"] == "127.0.0.1:4001"
    assert one["timeout_ms"] == 30_000


def test_storage() -> None:
    status = Served().status()
    status.snapshots = lambda: [(0x20, 500, 1_795_539_494_000), (0, 100, 1_795_000_000_000)]
    told = storage(status)
    assert told["snapshots"][0] == {"zxid": "0x20", "size": 500, "timestamp": 1_795_539_494}
    assert (told["snapshot_bytes"], told["log_bytes"]) == (1000, 2000)
    assert told["failure"] is None
