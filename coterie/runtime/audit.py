"""The audit log, written by a thread of its own behind what the server does.

Rules:
- no request waits for it or fails by it: a change is answered whether its line is written or not;
- while the disk takes nothing, lines wait, up to a bound, and are tried again every second; what
  is beyond the bound is lost, and the log says how many lines were, once it can be written again;
- a stop writes what waits; what a crash of the machine takes with it is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from coterie.admin.audit import Auditor
from coterie.core.audit import Told
from coterie.storage.lines import Lines
from coterie.system.worker import Worker

log = logging.getLogger("coterie.server")

_WAITING_BYTES_MAX: Final = 8 * 2**20
_RETRY_S: Final = 1.0


class AuditLog:
    """Takes what the core tells. Made, used and closed in the loop's thread."""

    def __init__(
        self,
        lines: Lines,
        auditor: Auditor,
        loop: asyncio.AbstractEventLoop,
        bytes_max: int = _WAITING_BYTES_MAX,
        retry_s: float = _RETRY_S,
    ) -> None:
        self.lost = 0
        """Lines that are not in the log and of which it does not know yet."""
        self._lines = lines
        self._auditor = auditor
        self._loop = loop
        self._bytes_max = bytes_max
        self._retry_s = retry_s
        self._worker = Worker(loop, "coterie-audit")
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._wall_ms = 0
        self._writing = False
        self._failing = False
        self._closed = False
        self._retry_handle: asyncio.TimerHandle | None = None

    def take(self, told: Sequence[Told], wall_ms: int) -> None:
        """Have lines written about these changes."""
        for each in told:
            for line in self._auditor.lines(each, wall_ms):
                self._add(line)
        self._wall_ms = wall_ms
        self._write()

    def say(self, operation: str, result: str, wall_ms: int) -> None:
        """Have a line written about the server."""
        self._add(self._auditor.of_server(operation, result, wall_ms))
        self._wall_ms = wall_ms
        self._write()

    def _add(self, line: bytes) -> None:
        if self._waiting_bytes + len(line) > self._bytes_max:
            self.lost += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _write(self) -> None:
        if self._closed or self._writing or self._retry_handle is not None or not self._waiting:
            return
        self._writing = True
        batch, lost = self._waiting, self.lost
        data = b"".join(batch)
        if lost:
            data += self._auditor.of_server("auditLog", "failure", self._wall_ms, lost=lost)
        self._waiting = []
        self._worker.submit(
            lambda: self._lines.append(data), lambda _, error: self._wrote(batch, lost, error)
        )

    def _wrote(self, batch: list[bytes], lost: int, error: BaseException | None) -> None:
        self._writing = False
        if isinstance(error, OSError):
            self._waiting = batch + self._waiting
            if not self._failing:
                log.error("the audit log cannot be written, changes go on without it: %s", error)
            self._failing = True
            if self._closed:
                return
            self._retry_handle = self._loop.call_later(self._retry_s, self._retry)
            return
        if error is not None:
            raise error
        self._waiting_bytes -= sum(map(len, batch))
        self.lost -= lost
        if self._failing:
            log.warning("the audit log is written again; %d of its lines are lost", lost)
            self._failing = False
        self._write()

    def _retry(self) -> None:
        self._retry_handle = None
        self._write()

    def close(self) -> None:
        """Write what waits, if the disk takes it, and end the thread."""
        if self._retry_handle is not None:
            self._retry_handle.cancel()
            self._retry_handle = None
        self._closed = True
        self._worker.close()
        self._lines_at_once()

    def _lines_at_once(self) -> None:
        try:
            if self._waiting:
                self._lines.append(b"".join(self._waiting))
            self._lines.close()
        except OSError as error:
            count = len(self._waiting) + self.lost
            log.error("the audit log ends without %d of its lines: %s", count, error)
