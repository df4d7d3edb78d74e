"""The audit trail: the last lines of this server's audit log, the newest first, and only some.

Rules:
- the log is read from its end, never as a whole: `_SEARCHED_BYTES_MAX` of it at most for one
  question, and one question at a time, in a thread;
- a log names znodes that its reader may not even list. At a loopback port it is shown as the other
  pages are to who asks for this machine; elsewhere, and to who comes through a proxy by another
  name, only if he has signed in and is above the ACLs;
- what is no line of the log (a crash cut it off) is passed over;
- a member's log tells of the clients of that member alone, so this does, too.
"""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import JSONResponse
from starlette.routing import Route

from coterie.console.access import identity, is_loopback
from coterie.console.problems import Problem
from coterie.storage.lines import newest_first
from coterie.system.files import OSFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from coterie.config import Config
    from coterie.console.access import Access
    from coterie.console.clients import Clients
    from coterie.runtime.doors import Inside
    from coterie.system.files import Files

_SEARCHED_BYTES_MAX: Final = 4 * 2**20
_SHOWN: Final = 200
_SHOWN_MAX: Final = 1000

Entry = dict[str, Any]


class Wanted(NamedTuple):
    """Which entries are asked for; an empty text is no condition."""

    user: str = ""
    """A part of who it was, or the whole address that he came from."""
    operation: str = ""
    path: str = ""
    """A znode, and what is below it; or a part of a path, if it does not begin with a slash."""
    result: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Wanted:
        return cls(*(asked.get(name, "").strip() for name in cls._fields))

    def takes(self, entry: Entry) -> bool:
        return (
            self._by(entry)
            and self.operation in ("", entry.get("operation"))
            and self.result in ("", entry.get("result"))
            and self._at(str(entry.get("znode", "")))
        )

    def _by(self, entry: Entry) -> bool:
        user = self.user.lower()
        return user in str(entry.get("user", "")).lower() or self.user == entry.get("ip")

    def _at(self, znode: str) -> bool:
        if not self.path.startswith("/"):
            return self.path in znode
        below = self.path.rstrip("/") + "/"
        return znode == self.path.rstrip("/") or znode.startswith(below)


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """What lines of the log say."""
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            if isinstance(entry.get("zxid"), int):
                entry["zxid"] = f"{entry['zxid']:#x}"  # JavaScript's numbers end at 2**53.
            yield entry


def told(config: Config, files: Files, wanted: Wanted, count: int) -> dict[str, Any]:
    """What the page shows. Raises `OSError` for a log that cannot be read."""
    about = {"enabled": config.audit_enabled, "file": config.audit_file}
    if not config.audit_enabled:
        return about
    looked_at = 0

    def counted() -> Iterator[bytes]:
        nonlocal looked_at
        kept = config.audit_files_kept
        for line in newest_first(files, config.audit_file, kept, _SEARCHED_BYTES_MAX):
            looked_at += len(line) + 1
            yield line

    found = list(islice(filter(wanted.takes, entries(counted())), count))
    return {**about, "entries": found, "full": len(found) == count, "bytes": looked_at}


class Trail:
    """The audit trail at one port; `inside` is None beside an ensemble, which has none to show."""

    def __init__(self, inside: Inside | None, access: Access, clients: Clients) -> None:
        self._inside = inside
        self._access = access
        self._clients = clients
        self._one = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [Route("/console/audit", self.audit)]

    async def audit(self, request: Request) -> Response:
        if self._inside is None:
            raise Problem(404, "only a server itself knows this: ask its own port")
        if not (self._access.loopback and is_loopback(request.headers.get("host", ""))):
            await self._clients.check_super(identity(request.headers), "the audit log")
        asked = request.query_params
        count = asked.get("count", str(_SHOWN))
        short = len(count) <= len(str(_SHOWN_MAX))  # Of very many digits `int` makes no number.
        if not (short and count.isdecimal() and 0 < int(count) <= _SHOWN_MAX):
            raise Problem(400, f"count is a number from 1 to {_SHOWN_MAX}")
        config = self._inside.config
        try:
            async with self._one:
                found = await asyncio.to_thread(
                    told, config, OSFiles(), Wanted.of(asked), int(count)
                )
        except OSError as error:
            raise Problem(500, f"the audit log cannot be read: {error.strerror}") from None
        return JSONResponse(found)
