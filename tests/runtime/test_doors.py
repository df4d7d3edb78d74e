"""The HTTP ports of a server: what is bound, when it is opened, and who is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from dataclasses import replace
from typing import cast

import pytest

from coterie.config import embedded_default
from coterie.runtime import doors
from coterie.system.certificates import Certificates
from coterie.system.handshakes import Secure
from coterie.system.transport import PortTakenError

_CONFIG = embedded_default("data")
_PROMETHEUS = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"


def _close(bound: list[doors.Bound]) -> None:
    for each in bound:
        each.listener.close()


def test_a_port_that_was_not_asked_for_may_be_taken(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(doors, "PORT", taken.getsockname()[1])
        # Where servers are embedded, their logger tells others less.
        monkeypatch.setattr(doors, "log", logging.getLogger("test.doors"))
        with caplog.at_level(logging.INFO, "test.doors"):
            assert doors.bind(_CONFIG) == []
    [line] = [record.getMessage() for record in caplog.records]
    assert "admin.serverPort" in line


def test_a_port_that_was_asked_for_has_to_be_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(_CONFIG, admin_port_given=taken.getsockname()[1])
        with pytest.raises(PortTakenError):
            doors.bind(config)


def test_metrics_have_a_port_only_with_apaches_provider() -> None:
    config = replace(_CONFIG, admin_enabled=False, metrics_port=0)
    assert doors.bind(config) == []
    bound = doors.bind(replace(config, metrics_provider=_PROMETHEUS))
    assert [each.metrics_only for each in bound] == [True]
    assert bound[0].listener.getsockname()[0] == "127.0.0.1"
    _close(bound)


@pytest.mark.parametrize(
    ("ports", "both", "by_tls"),
    [
        ({"metrics_port": 0}, False, [False]),
        ({"metrics_tls_port": 0}, False, [True]),
        ({"metrics_port": 0, "metrics_tls_port": 0}, False, [False, True]),
        ({"metrics_port": 0, "metrics_tls_port": 0}, True, [True]),
    ],
)
def test_metrics_have_a_port_in_the_clear_and_one_by_tls(
    ports: dict[str, int], both: bool, by_tls: list[bool]
) -> None:
    secure = Secure(cast(Certificates, None), 5.0, both)
    config = replace(_CONFIG, admin_enabled=False, metrics_provider=_PROMETHEUS)
    bound = doors.bind(replace(config, **ports), None, secure)  # type: ignore[arg-type]
    assert [each.secure is secure for each in bound] == by_tls
    assert all(each.metrics_only for each in bound)
    _close(bound)


def test_a_port_for_metrics_has_to_be_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = replace(_CONFIG, admin_port_given=0, metrics_provider=_PROMETHEUS)
        with pytest.raises(PortTakenError, match=str(port)):
            doors.bind(replace(config, metrics_port=port))


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"here")
        transport.close()


class _Pages:
    def __init__(self) -> None:
        self.closed = False

    def protocol(self) -> asyncio.Protocol:
        return _Echo()

    async def close(self) -> None:
        self.closed = True


def test_pages_are_made_when_somebody_knocks() -> None:
    made: list[_Pages] = []

    def make() -> _Pages:
        made.append(_Pages())
        return made[-1]

    async def run() -> None:
        [bound] = doors.bind(replace(_CONFIG, admin_port_given=0))
        door = doors.Door(bound.listener, make)
        door.open()
        await asyncio.sleep(0)
        assert made == []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            assert await reader.read() == b"here"
            writer.close()
        assert len(made) == 1
        await door.close()
        assert made[0].closed
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", door.port)

    asyncio.run(run())


def test_a_door_that_nobody_knocked_at_closes() -> None:
    async def run() -> None:
        [bound] = doors.bind(replace(_CONFIG, admin_port_given=0))
        door = doors.Door(bound.listener, _Pages)
        door.open()
        await door.close()
        assert bound.listener.fileno() == -1

    asyncio.run(run())


def test_who_starts_a_server_loads_nothing_of_http() -> None:
    code = "import sys, coterie.cli.serve; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "coterie.runtime.doors" in loaded
    assert not loaded & {"starlette", "uvicorn", "h11", "anyio", "coterie.console"}
