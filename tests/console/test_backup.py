"""/commands/snapshot: who gets it and how often; of a real server, that it is all of the tree."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

import coterie
from coterie.admin.commands import Status
from coterie.config import embedded_default
from coterie.console import backup
from coterie.console.access import Access, Identity
from coterie.console.app import make_app
from coterie.console.backup import Backup
from coterie.console.clients import Clients
from coterie.console.operations import Operations
from coterie.console.site import client_of
from coterie.core.effects import Epochs
from coterie.core.front import Front
from coterie.core.member import Member
from coterie.core.tree import Tree
from coterie.runtime.doors import Inside
from coterie.runtime.process import ServerProcess
from coterie.storage import snapshot
from coterie.system.command import Outcome
from coterie.system.files import OSFiles
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import CreateSessionTxn
from tests.admin.served import Served
from tests.console.asking import Answer, ask
from tests.core import pack

_SUPER = f"su:{base64.b64encode(hashlib.sha1(b'su:secret').digest()).decode()}"


def test_what_was_not_asked_for_is_not_given() -> None:
    served = Served()
    inside = Inside(served.config, served.status, lambda: None, lambda: 1, False)
    access = Access("127.0.0.1", read_only=False)
    backup = Backup(inside, Clients(partial(client_of, "127.0.0.1:1")))
    app = make_app(Operations(inside, access, backup).routes(), access)
    assert asyncio.run(ask(app, "GET", "/commands/snapshot")).status == 503


async def test_super_gets_all_of_the_tree_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # What somebody puts there is not run.
    (tmp_path / "click.py").write_text("raise SystemExit('not ours')")
    config = replace(
        embedded_default(str(tmp_path / "data"), port=0),
        super_digest=_SUPER,
        admin_snapshot_enabled=True,
    )
    server = ServerProcess(config)
    await server.start()
    clients = Clients(partial(client_of, f"127.0.0.1:{server.port}"))
    inside = Inside(config, server._status, lambda: None, lambda: server.port, False)
    access = Access("127.0.0.1", read_only=False)
    app = make_app(Operations(inside, access, Backup(inside, clients)).routes(), access)

    async def get(query: str = "", authorization: str = "digest su:secret") -> Answer:
        return await ask(app, "GET", f"/commands/snapshot{query}", authorization=authorization)

    try:
        async with coterie.connect(f"127.0.0.1:{server.port}") as zk:
            await zk.create("/here", b"and now")
        assert (await ask(app, "GET", "/commands/snapshot")).status == 401
        assert (await get(authorization="digest ann:x")).status == 403
        answer = await get()
        assert answer.status == 200, answer.body
        assert (await get()).status == 429
    finally:
        await clients.close()
        await server.stop()
    assert answer.headers["snapshot_size"] == str(len(answer.body))
    path = tmp_path / snapshot.name(int(answer.headers["last_zxid"], 16))
    path.write_bytes(answer.body)
    tree = snapshot.read(OSFiles(), str(path)).tree
    assert tree.nodes[b"/here"].data == b"and now"


class _Supers(Clients):
    """For whom everybody is super."""

    async def check_super(self, asker: Identity | None, what: str) -> None:
        pass


class _Taking:
    """Snapshots that are only said to be taken, while `goes_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, top: Path, pause_ms: int) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(top))
        monkeypatch.setattr(backup, "run_command", self._run)
        monkeypatch.setattr(backup, "_pieces", self._pieces)
        self.served = Served()
        self.member: Front = self.served.member
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.fails = False
        self.asked: list[Sequence[str]] = []
        config = replace(self.served.config, admin_snapshot_enabled=True, admin_pause_ms=pause_ms)
        inside = Inside(config, self._status, lambda: None, lambda: 1, False)
        access = Access("127.0.0.1", read_only=False)
        clients = _Supers(partial(client_of, "127.0.0.1:1"))
        self._app = make_app(Operations(inside, access, Backup(inside, clients)).routes(), access)

    def _status(self) -> Status:
        return replace(self.served.status(), member=self.member)

    async def get(self) -> Answer:
        async with asyncio.timeout(5):
            return await ask(self._app, "GET", "/commands/snapshot")

    async def _run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] = {}
    ) -> Outcome:
        self.asked.append(command)
        await self.goes_on.wait()
        if self.fails:
            return Outcome("it ended with status 1", "and that is why")
        path = command[command.index("--to") + 1]
        _write(path)
        return Outcome("", json.dumps({"path": path, "zxid": "0x1"}))

    async def _pieces(self, path: str, size: int) -> AsyncIterator[bytes]:
        await self.goes_on.wait()
        yield OSFiles().read(path, 0, size)


def _write(path: str) -> None:
    Path(path).write_bytes(b"all of it")


async def _until_asked(taking: _Taking, count: int) -> None:
    async with asyncio.timeout(5):
        while len(taking.asked) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_one_is_taken_at_a_time_and_sent_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = _Taking(monkeypatch, tmp_path, 0)
    taking.goes_on.clear()
    first = asyncio.create_task(taking.get())
    await _until_asked(taking, 1)
    assert (await taking.get()).status == 429
    first.cancel()
    await asyncio.wait([first])
    assert os.listdir(tmp_path) == []
    taking.goes_on.set()
    second = asyncio.create_task(taking.get())
    await _until_asked(taking, 2)
    taking.goes_on.clear()  # It is taken, and not sent.
    refused = await taking.get()
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    taking.goes_on.set()
    assert (await second).body == b"all of it"
    assert (await taking.get()).status == 200
    assert os.listdir(tmp_path) == []


async def test_one_that_fails_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = _Taking(monkeypatch, tmp_path, 300_000)
    taking.fails = True
    failed = await taking.get()
    assert (failed.status, failed.json["detail"]) == (
        500,
        "no snapshot was taken: and that is why",
    )
    taking.fails = False
    assert [(await taking.get()).status for _ in range(2)] == [200, 429]
    assert os.listdir(tmp_path) == []


async def test_the_beginning_of_an_epoch_is_no_txn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = _Taking(monkeypatch, tmp_path, 0)
    config = pack.config(pack.three().ensemble, 1)
    member = Member(config, Tree(), 0, Epochs(3, 2), 0.0, 1, Random(1))
    last = 2 * 2**32 + 7
    member.log(Txn(last, 1, last, 1, Op.CREATE_SESSION, CreateSessionTxn(4000)))
    member.apply()
    member.begin_epoch(3)
    taking.member = member
    await taking.get()
    [command] = taking.asked
    assert command[command.index("--at") + 1] == "0x200000007"
