"""/commands/snapshot of a real server: who gets it, how often, and that it is all of the tree."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import coterie
from coterie.config import embedded_default
from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.backup import Backup
from coterie.console.clients import Clients
from coterie.console.operations import Operations
from coterie.console.site import client_of
from coterie.runtime.doors import Inside
from coterie.runtime.process import ServerProcess
from coterie.storage import snapshot
from coterie.system.files import OSFiles
from tests.admin.served import Served
from tests.console.asking import Answer, ask

_SUPER = f"su:{base64.b64encode(hashlib.sha1(b'su:secret').digest()).decode()}"


def test_what_was_not_asked_for_is_not_given() -> None:
    served = Served()
    inside = Inside(served.config, served.status, lambda: None, lambda: 1, False)
    access = Access("127.0.0.1", read_only=False)
    backup = Backup(inside, Clients(partial(client_of, "127.0.0.1:1")))
    app = make_app(Operations(inside, access, backup).routes(), access)
    assert asyncio.run(ask(app, "GET", "/commands/snapshot")).status == 503


async def test_super_gets_all_of_the_tree_and_not_too_often(tmp_path: Path) -> None:
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
