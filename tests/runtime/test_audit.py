"""The audit log's thread: lines get there, and a disk that is full costs no request anything."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

import coterie
from coterie.admin.audit import Auditor
from coterie.config import Config
from coterie.core.audit import Told
from coterie.runtime.audit import AuditLog
from coterie.runtime.process import ServerProcess, StartError
from coterie.storage.lines import Lines
from coterie.testing.files import Disk
from coterie.values import Id
from coterie.wire.requests import DeleteRequest, Op

_AUDITOR = Auditor("coterie", str)


def _told(path: bytes) -> Told:
    request = DeleteRequest(path, -1).encode()
    return Told((Id("ip", "::1"),), "::1", 1, Op.DELETE, request, 7, 0, ((Op.DELETE, path),))


def _read(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class _Saying(logging.Handler):
    """What is said in the server's log; a test may wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self._more.set()

    async def until(self, words: str) -> None:
        async with asyncio.timeout(10):
            while not any(words in line for line in self.said):
                self._more.clear()
                await self._more.wait()


@contextmanager
def _saying() -> Iterator[_Saying]:
    handler, log = _Saying(), logging.getLogger("coterie.server")
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)


class _OnFakeDisk:
    def __init__(self, **limits: Any) -> None:
        self.disk = Disk("one", Random(1))
        self.files = self.disk.mount()
        self.files.make_directory("d")
        lines = Lines(self.files, "d/log", 0, 1)
        self.log = AuditLog(lines, _AUDITOR, asyncio.get_running_loop(), **limits)

    def znodes(self) -> list[str]:
        size = self.files.size("d/log") if "log" in self.files.names("d") else 0
        lines = _read(self.files.read("d/log", 0, size)) if size else []
        return [line.get("znode", f"{line['operation']} {line.get('lost', '')}") for line in lines]


def test_lines_are_written_in_order_and_a_stop_writes_the_rest() -> None:
    async def main() -> None:
        on = _OnFakeDisk()
        on.log.say("serverStart", "success", 5)
        for number in range(100):
            on.log.take([_told(b"/%d" % number)], 5)
        on.log.close()
        assert on.znodes() == ["serverStart ", *(f"/{number}" for number in range(100))]

    asyncio.run(main())


def test_lines_wait_for_a_full_disk_and_those_beyond_the_bound_are_counted() -> None:
    line = len(_AUDITOR.lines(_told(b"/0"), 5)[0])

    async def main() -> None:
        on = _OnFakeDisk(bytes_max=4 * line, retry_s=0.001)
        on.disk.capacity = on.disk.used + line // 2
        with _saying() as log:
            for number in range(7):
                on.log.take([_told(b"/%d" % number)], 5)
            assert on.log.lost == 3
            await log.until("changes go on without it")
            on.disk.capacity = None
            await log.until("written again; 3 of its lines are lost")
            assert on.log.lost == 0
            assert len(log.said) == 2
        on.log.take([_told(b"/8")], 5)
        on.log.close()
        assert on.znodes() == ["/0", "/1", "/2", "/3", "auditLog 3", "/8"]

    asyncio.run(main())


def test_a_stop_does_not_wait_for_a_disk_that_is_full(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        on = _OnFakeDisk()
        on.disk.capacity = on.disk.used
        on.log.take([_told(b"/0")], 5)
        on.log.close()

    asyncio.run(main())
    assert "the audit log ends without 1 of its lines" in caplog.text


def test_a_server_tells_of_itself_and_of_its_changes(tmp_path: Path) -> None:
    config = Config(
        data_dir=str(tmp_path / "data"),
        client_port=0,
        client_port_address="127.0.0.1",
        audit_enabled=True,
    )

    async def main() -> None:
        server = ServerProcess(config)
        await server.start()
        async with coterie.connect(f"127.0.0.1:{server.port}") as client:
            await client.create("/a")
        await server.stop()

    asyncio.run(main())
    lines = _read((tmp_path / "data" / "audit.jsonl").read_bytes())
    assert [(line["operation"], line.get("ip"), line["result"]) for line in lines] == [
        ("serverStart", None, "success"),
        ("create", "127.0.0.1", "success"),
        ("serverStop", None, "invoked"),
    ]


def test_a_server_that_cannot_have_its_log_does_not_start(tmp_path: Path) -> None:
    config = Config(
        data_dir=str(tmp_path / "data"),
        client_port=0,
        client_port_address="127.0.0.1",
        audit_enabled=True,
        audit_file_given=str(tmp_path / "none" / "audit"),
    )

    async def main() -> None:
        with pytest.raises(StartError, match="none/audit cannot be written: No such file"):
            await ServerProcess(config).start()

    asyncio.run(main())
