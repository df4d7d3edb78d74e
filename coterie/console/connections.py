"""The connections of an HTTP port: uvicorn's protocol, with bounds on what a stranger can claim.

Rules:
- a request's line and headers have to be there within `_HEADERS_S` of their first byte, or of the
  connection, and are at most `_HEADER_BYTES_MAX`: who sends a byte now and then is shown out;
- there are at most `_CONNECTIONS_MAX` connections; one more is reset before it costs anything;
- a client that does not take its answer for `_TAKES_S` is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_HEADERS_S: Final = 10.0
_HEADER_BYTES_MAX: Final = 16 * 1024
_CONNECTIONS_MAX: Final = 256
_TAKES_S: Final = 30.0
_CLOSE_S_MAX: Final = 1.0


class Connections:
    """All connections to one port, and the application that answers them."""

    def __init__(self, app: ASGIApp, idle_s: float) -> None:
        # It says who is wrong about HTTP at every connection, which is the stranger's affair, and
        # that answers were cut off at the end. What breaks is logged by the application.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._config = Config(
            cast(Any, app),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(idle_s)),
            h11_max_incomplete_event_size=_HEADER_BYTES_MAX,
        )
        self._config.load()
        self._state = ServerState()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._state.connections)

    def protocol(self) -> asyncio.Protocol:
        """For one connection."""
        return _Bounded(self, self._config, self._state)

    async def close(self) -> None:
        """Let the answers that are under way end, for a moment; then end every connection."""
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S_MAX)
        for connection in list(self._state.connections):
            connection.transport.abort()


class _Bounded(H11Protocol):
    """One connection."""

    def __init__(self, port: Connections, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._port = port
        self._admitted = False
        self._late: asyncio.TimerHandle | None = None
        self._full: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._port) >= _CONNECTIONS_MAX:
            self._port.refused += 1
            cast(asyncio.Transport, transport).abort()
            return
        self._admitted = True
        super().connection_made(cast(asyncio.Transport, transport))
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        waits = self._waits()
        super().data_received(data)
        if not self._waits():
            self._stop_waiting()
        elif waits and self._late is None:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._take()
        if self._admitted:
            super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = self.loop.call_later(_TAKES_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._take()
        super().resume_writing()

    def _take(self) -> None:
        if self._full is not None:
            self._full.cancel()
            self._full = None

    def _waits(self) -> bool:
        """Whether no request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _await_headers(self) -> None:
        self._late = self.loop.call_later(_HEADERS_S, self._show_out)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _show_out(self) -> None:
        self._late = None
        if self._waits() and not self.transport.is_closing():
            self.transport.abort()
