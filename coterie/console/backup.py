"""/commands/snapshot: what this server has applied, as Apache's admin command of that name.

Rules:
- there is none unless `admin.snapshot.enabled` says so, and then for super alone: all data and all
  hashes of ACLs are in it;
- it is exact, not fuzzy: a process of its own makes it of the snapshots and the log (as
  `coterie snapshot take` does) up to the txn that was applied when it was asked for;
- one at a time, until it is sent; and one within `admin.rateLimiterIntervalInMS` of the beginning
  of the last, unless that failed;
- that process finds its modules where this one does, and not in the working directory as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse

from coterie.console.access import identity
from coterie.console.problems import Problem
from coterie.core.replica import Replica
from coterie.system.command import run_command
from coterie.system.files import OSFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from coterie.console.clients import Clients
    from coterie.core.front import Front
    from coterie.runtime.doors import Inside

NAMES: Final = frozenset({"snapshot", "snap"})
_TAKES_S_MAX: Final = 600.0
_PIECE_BYTES: Final = 256 * 1024
_BUSY_S: Final = "5"


class Backup:
    """The snapshots that one port gives."""

    def __init__(self, inside: Inside, clients: Clients) -> None:
        self._inside = inside
        self._clients = clients
        self._begun_s = float("-inf")
        """When the last one was asked for that was taken."""
        self._busy = False

    @property
    def enabled(self) -> bool:
        return self._inside.config.admin_snapshot_enabled

    async def snapshot(self, request: Request) -> Response:
        """The snapshot, or with `streaming=false` only what it would be."""
        await self._clients.check_super(identity(request.headers), "a snapshot")
        begun_s = asyncio.get_running_loop().time()
        self._check_time(begun_s)
        directory = tempfile.mkdtemp(prefix="coterie-snapshot-")
        self._busy = True

        async def end() -> None:
            try:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, True))
            finally:
                self._busy = False

        try:
            path, zxid = await self._take(directory)
            size = await asyncio.to_thread(OSFiles().size, path)
        except BaseException:
            await end()
            raise
        self._begun_s = begun_s
        told = {"last_zxid": zxid, "snapshot_size": str(size)}
        if request.query_params.get("streaming", "true").lower() != "true":
            await end()
            return Response(headers=told)
        return _Streamed(path, size, told, end)

    def _check_time(self, now_s: float) -> None:
        """Raises `Problem` where it is too early for one more."""
        if self._busy:
            raise Problem(429, "a snapshot is being taken or sent", {"Retry-After": _BUSY_S})
        left_s = self._begun_s + self._inside.config.admin_pause_ms / 1000 - now_s
        if left_s > 0:
            again_s = str(int(left_s) + 1)
            raise Problem(429, "a snapshot was taken a moment ago", {"Retry-After": again_s})

    async def _take(self, directory: str) -> tuple[str, str]:
        """The path of a snapshot below `directory`, and its zxid."""
        config = self._inside.config
        zxid = _applied(self._inside.status().member)
        command = [sys.executable, "-P", "-m", "coterie", "snapshot", "take", "--json"]
        command += ["--log-data", config.data_log_dir]
        command += ["--at", f"{zxid:#x}"] if zxid else []
        command += ["--to", f"{directory}/data", "--", config.data_dir]
        outcome = await run_command(command, _TAKES_S_MAX, {"PYTHONPATH": _modules()})
        if outcome.problem:
            why = outcome.said.rpartition("\n")[2] or outcome.problem
            raise Problem(500, f"no snapshot was taken: {why}")
        told = json.loads(outcome.said.splitlines()[-1])
        return told["path"], told["zxid"]


def _applied(member: Front) -> int:
    """The last txn in its tree. `tree.zxid` may be the number of an epoch, which no txn has, and
    nothing later is in the log by which that could be seen."""
    return member.applied_zxid if isinstance(member, Replica) else member.tree.zxid


def _modules() -> str:
    """Where this process finds modules, in that order; what is not absolute could be anywhere."""
    home = str(Path(__file__).parents[2])
    found = [each for each in sys.path if os.path.isabs(each)]
    return os.pathsep.join(found if home in found else [home, *found])


class _Streamed(StreamingResponse):
    """A file that is sent; `end` is called whatever becomes of that."""

    def __init__(
        self, path: str, size: int, headers: dict[str, str], end: Callable[[], Awaitable[None]]
    ) -> None:
        length = {"content-length": str(size)}
        kind = "application/octet-stream"
        super().__init__(_pieces(path, size), media_type=kind, headers={**headers, **length})
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._end()


async def _pieces(path: str, size: int) -> AsyncIterator[bytes]:
    for at in range(0, size, _PIECE_BYTES):
        yield await asyncio.to_thread(OSFiles().read, path, at, _PIECE_BYTES)
