"""The audit trail: what is found, what is asked for, and how much of the log is looked at."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from coterie.admin.audit import Auditor
from coterie.config import embedded_default
from coterie.console import trail
from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.clients import Clients
from coterie.console.site import client_of
from coterie.console.trail import Trail, Wanted, entries, told
from coterie.core.audit import Told
from coterie.runtime.doors import Inside
from coterie.runtime.process import ServerProcess
from coterie.testing.files import Disk, FakeFiles
from coterie.values import Id
from coterie.wire.requests import DeleteRequest, Op
from tests.admin.served import Served
from tests.console.asking import Answer, ask

_CONFIG = replace(embedded_default("data"), audit_enabled=True, audit_file_given="d/audit.jsonl")


def _line(user: str, path: bytes, error: int = 0, ip: str = "10.0.0.7") -> bytes:
    """As the server writes it."""
    request = DeleteRequest(path, -1).encode()
    changed = () if error else ((Op.DELETE, path),)
    one = Told((Id("digest", f"{user}:x"),), ip, 1, Op.DELETE, request, 2**60, error, changed)
    [line] = Auditor("coterie", str).lines(one, 5)
    return line


_LINES = [
    _line("ann", b"/config/a"),
    _line("bob", b"/config"),
    _line("ann", b"/configs", -101),
    _line("Anna", b"/jobs/1", ip="::1"),
]


def _files(text: bytes) -> FakeFiles:
    files = Disk("one", Random(1)).mount()
    files.make_directory("d")
    files.open("d/audit.jsonl").write(0, text)
    return files


def _paths(asked: dict[str, str], count: int = 200) -> list[str]:
    found = told(_CONFIG, _files(b"".join(_LINES)), Wanted.of(asked), count)
    return [entry["znode"] for entry in found["entries"]]


def test_the_newest_come_first() -> None:
    assert _paths({}) == ["/jobs/1", "/configs", "/config", "/config/a"]
    assert _paths({}, 1) == ["/jobs/1"]


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        ({"user": "ann"}, ["/jobs/1", "/configs", "/config/a"]),
        ({"user": "::1"}, ["/jobs/1"]),
        ({"user": "10.0.0"}, []),
        ({"path": "/config"}, ["/config", "/config/a"]),
        ({"path": "/config/"}, ["/config", "/config/a"]),
        ({"path": "/"}, ["/jobs/1", "/configs", "/config", "/config/a"]),
        ({"path": "onfig"}, ["/configs", "/config", "/config/a"]),
        ({"result": "failure"}, ["/configs"]),
        ({"operation": "delete", "result": "success", "user": "bob"}, ["/config"]),
        ({"operation": "create"}, []),
    ],
)
def test_only_some_are_asked_for(asked: dict[str, str], paths: list[str]) -> None:
    assert _paths(asked) == paths


def test_what_is_no_line_of_the_log_is_passed_over() -> None:
    [entry] = entries([b"half", b'["a"]', b"\xff", _LINES[2]])
    assert (entry["error"], entry["zxid"]) == ("NoNodeError", "0x1000000000000000")


def test_the_log_is_read_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "_SEARCHED_BYTES_MAX", len(_LINES[3]) + 5)
    found = told(_CONFIG, _files(b"".join(_LINES)), Wanted(), 200)
    assert ([one["znode"] for one in found["entries"]], found["full"]) == (["/jobs/1"], False)
    assert found["bytes"] == len(_LINES[3])


def _ask(target: str, settings: dict[str, Any], *, inside: bool = True) -> Answer:
    served = Served()
    config = replace(served.config, **settings)
    own = Inside(config, served.status, lambda: None, lambda: 2181, False)
    access = Access("127.0.0.1", read_only=True)
    clients = Clients(partial(client_of, "127.0.0.1:1"))
    app = make_app(Trail(own if inside else None, access, clients).routes(), access)
    return asyncio.run(ask(app, "GET", target))


def test_the_page_asks(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b"".join(_LINES))
    settings = {"audit_enabled": True, "audit_file_given": str(log)}
    answer = _ask("/console/audit?user=bob&count=5", settings)
    assert [one["znode"] for one in answer.json["entries"]] == ["/config"]
    assert json.loads(answer.body)["file"] == str(log)
    for count in ("0", "1001", "-1", "x", "", "9" * 5000):
        assert _ask(f"/console/audit?count={count}", settings).status == 400
    assert _ask("/console/audit", settings | {"audit_file_given": str(tmp_path)}).status == 500


def test_a_log_that_is_off_is_not_looked_for() -> None:
    answer = _ask("/console/audit", {"audit_file_given": "/nowhere/at/all"})
    assert answer.json == {"enabled": False, "file": "/nowhere/at/all"}


@pytest.mark.parametrize(
    ("address", "host"),
    [("0.0.0.0", "localhost:8080"), ("127.0.0.1", "console.example.org")],
    ids=["away from loopback", "behind a proxy"],
)
async def test_elsewhere_it_is_for_who_is_above_the_acls(
    tmp_path: Path, address: str, host: str
) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b"".join(_LINES))
    digest = f"su:{base64.b64encode(hashlib.sha1(b'su:secret').digest()).decode()}"
    config = replace(embedded_default(str(tmp_path), port=0), super_digest=digest)
    server = ServerProcess(config)
    await server.start()
    clients = Clients(partial(client_of, f"127.0.0.1:{server.port}"))
    access = Access(address, read_only=True, names=["console.example.org"])
    told = replace(config, audit_enabled=True, audit_file_given=str(log))
    own = Inside(told, Served().status, lambda: None, lambda: server.port, False)
    app = make_app(Trail(own, access, clients).routes(), access)

    async def status(who: str | None) -> int:
        headers = {"host": host}
        if who is not None:
            headers["authorization"] = f"Basic {base64.b64encode(who.encode()).decode()}"
        return (await ask(app, "GET", "/console/audit", b"", **headers)).status

    try:
        assert [await status(who) for who in (None, "ann:x", "su:secret")] == [401, 403, 200]
    finally:
        await clients.close()
        await server.stop()


def test_beside_an_ensemble_there_is_none() -> None:
    assert _ask("/console/audit", {}, inside=False).status == 404
