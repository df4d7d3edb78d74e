"""/commands/snapshot: what this server has applied, as Apache's admin command of that name.

Rules:
- there is none unless `admin.snapshot.enabled` says so, and then for super alone: all data and all
  hashes of ACLs are in it;
- it is exact, not fuzzy: a process of its own makes it of the snapshots and the log (as
  `coterie snapshot take` does) up to the txn that was applied when it was asked for;
- one at a time, and one within `admin.rateLimiterIntervalInMS` of the last that was begun.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse

from coterie.console.access import identity
from coterie.console.problems import Problem
from coterie.system.command import run_command
from coterie.system.files import OSFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from coterie.console.clients import Clients
    from coterie.runtime.doors import Inside

NAMES: Final = frozenset({"snapshot", "snap"})
_TAKES_S_MAX: Final = 600.0
_PIECE_BYTES: Final = 256 * 1024


class Backup:
    """The snapshots that one port gives."""

    def __init__(self, inside: Inside, clients: Clients) -> None:
        self._inside = inside
        self._clients = clients
        self._begun_s = float("-inf")

    @property
    def enabled(self) -> bool:
        return self._inside.config.admin_snapshot_enabled

    async def snapshot(self, request: Request) -> Response:
        """The snapshot, or with `streaming=false` only what it would be."""
        await self._clients.check_super(identity(request.headers), "a snapshot")
        now_s, pause_s = (
            asyncio.get_running_loop().time(),
            self._inside.config.admin_pause_ms / 1000,
        )
        if now_s - self._begun_s < pause_s:
            again_s = str(int(self._begun_s + pause_s - now_s) + 1)
            raise Problem(429, "a snapshot was taken a moment ago", {"Retry-After": again_s})
        self._begun_s = now_s
        directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="coterie-snapshot-")
        try:
            path, zxid = await self._take(directory)
            size = OSFiles().size(path)
        except BaseException:
            _delete(directory)
            raise
        told = {"last_zxid": zxid, "snapshot_size": str(size)}
        if request.query_params.get("streaming", "true").lower() != "true":
            _delete(directory)
            return Response(headers=told)
        return _Streamed(directory, path, size, told)

    async def _take(self, directory: str) -> tuple[str, str]:
        """The path of a snapshot below `directory`, and its zxid."""
        config = self._inside.config
        zxid = self._inside.status().member.tree.zxid
        command = [sys.executable, "-m", "coterie", "snapshot", "take", config.data_dir, "--json"]
        command += ["--log-data", config.data_log_dir, "--to", f"{directory}/data"]
        command += ["--at", f"{zxid:#x}"] if zxid else []
        outcome = await run_command(command, _TAKES_S_MAX)
        if outcome.problem:
            raise Problem(500, f"no snapshot was taken: {outcome.said.rpartition(chr(10))[2]}")
        told = json.loads(outcome.said.splitlines()[-1])
        return told["path"], told["zxid"]


class _Streamed(StreamingResponse):
    """A file that is sent, and deleted with its directory whatever becomes of that."""

    def __init__(self, directory: str, path: str, size: int, headers: dict[str, str]) -> None:
        length = {"content-length": str(size)}
        kind = "application/octet-stream"
        super().__init__(_pieces(path, size), media_type=kind, headers={**headers, **length})
        self._directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            _delete(self._directory)


def _delete(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)


async def _pieces(path: str, size: int) -> AsyncIterator[bytes]:
    for at in range(0, size, _PIECE_BYTES):
        yield await asyncio.to_thread(OSFiles().read, path, at, _PIECE_BYTES)
