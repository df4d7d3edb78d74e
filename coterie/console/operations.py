"""/commands, /metrics, /live and /ready: what operators and their tools ask one server.

Rules:
- the commands are Apache's AdminServer's, by `admin/pages.py`;
- /live: the process answers, so it lives. /ready: clients can read and write here, which takes a
  quorum and a log that can be written; 503 says why not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from coterie.admin import exposition, pages
from coterie.console.backup import NAMES
from coterie.console.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from coterie.console.access import Access
    from coterie.console.backup import Backup
    from coterie.console.shedding import Shedding
    from coterie.runtime.doors import Inside


class Operations:
    """The pages of one server about itself."""

    def __init__(
        self,
        inside: Inside,
        access: Access,
        backup: Backup | None = None,
        shedding: Shedding | None = None,
    ) -> None:
        self._backup = backup
        self._shedding = shedding
        self._inside = inside
        self._access = access
        self._url = inside.config.admin_command_url

    def routes(self) -> list[Route]:
        return [
            Route("/metrics", self.metrics),
            Route("/live", self.live),
            Route("/ready", self.ready),
            Route(self._url, self.index),
            Route(self._url + "/", self.index),
            Route(self._url + "/{name:path}", self.command, methods=["GET", "POST"]),
        ]

    async def metrics(self, request: Request) -> Response:
        text = exposition.metrics_text(self._inside.status(), self._inside.unready() is None)
        return Response(text, headers={"content-type": exposition.CONTENT_TYPE})

    async def live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        reason = self._inside.unready()
        told = {"ready": reason is None, "reason": reason}
        return JSONResponse(told, 200 if reason is None else 503)

    async def index(self, request: Request) -> Response:
        return HTMLResponse(pages.index(self._url))

    async def command(self, request: Request) -> Response:
        name = request.path_params["name"]
        posted = request.method == "POST"
        if name in NAMES and not posted and self._backup is not None and self._backup.enabled:
            return await self._backup.snapshot(request)
        if name in pages.SHED and posted and self._shedding is not None:
            return await self._shedding.shed(request)
        if pages.PRIMARY.get(name) in pages.RESETS and request.method == "GET":
            self._access.check(request.method, request.headers, changes=True)
            self._access.check_write()
        try:
            status, result = pages.run(name, self._inside.status(), posted=posted)
        except OSError as error:
            raise Problem(500, f"the disk cannot be looked at: {error.strerror}") from None
        return Response(pages.text(result), status, media_type="application/json")
