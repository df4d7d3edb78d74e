"""/commands/shed_connections: clients are sent to other servers, as Apache's command of that name.

Rules:
- super alone may have it done, and only where something may be changed at all (`access.py`);
- each connection is closed with the probability that is asked for, those without a session, too:
  so the part that goes is about right, also over many servers with few clients each;
- what is answered is sent first; a session lives on, and its client takes it to the next server;
- the connections of the pages themselves stay: they would only come back, and count for nobody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from coterie.admin import pages
from coterie.console.access import identity
from coterie.console.app import read_body
from coterie.core.connection import HOLD_CLOSED

if TYPE_CHECKING:
    from random import Random

    from starlette.requests import Request

    from coterie.admin.commands import Result
    from coterie.console.access import Access
    from coterie.console.clients import Clients
    from coterie.runtime.doors import Inside

log = logging.getLogger("coterie.server")

_BODY_BYTES_MAX: Final = 4096


class Shedding:
    """How connections are shed at the wish of who comes to one port."""

    def __init__(self, inside: Inside, access: Access, clients: Clients, dice: Random) -> None:
        self._inside = inside
        self._access = access
        self._clients = clients
        self._dice = dice

    async def shed(self, request: Request) -> Response:
        """Close as many connections as the request says."""
        self._access.check_write()
        if not self._inside.status().member.server.serving:
            return _answer(200, pages.not_shed())
        await self._clients.check_super(identity(request.headers), "shedding connections")
        body = await read_body(request, _BODY_BYTES_MAX)
        try:
            percentage = pages.percentage(body)
        except pages.BodyError as error:
            return _answer(400, pages.not_shed(str(error)))
        return _answer(200, pages.shed(self._close(percentage), percentage))

    def _close(self, percentage: int) -> int:
        """Close about so many; returns how many it were."""
        assert self._inside.shed is not None
        own = self._clients.sessions()
        found = [
            each
            for each in self._inside.status().member.server.connections
            if each.session_id not in own and not each.hold & HOLD_CLOSED
        ]
        # Of all, each is below 100.
        chosen = [each for each in found if self._dice.random() * 100 < percentage]
        self._inside.shed(chosen)
        log.info("shed %d of %d connections (%d %%)", len(chosen), len(found), percentage)
        return len(chosen)


def _answer(status: int, result: Result) -> Response:
    return Response(pages.text(result), status, media_type="application/json")
