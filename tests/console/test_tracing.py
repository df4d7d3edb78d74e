"""Spans of what is asked over HTTP, as an exporter gets them: one trace from caller to client."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coterie.console import tracing
from coterie.console.access import Access
from coterie.console.app import make_app
from coterie.console.clients import Clients
from coterie.console.site import client_of, pages
from coterie.console.tracing import Traced, of_traced
from coterie.console.znodes import Znodes
from coterie.runtime.doors import Inside
from tests.admin.served import Served
from tests.console.asking import Answer, ask

TRACE = "0af7651916cd43dd8448eb211c80319c"
ABOVE = "b7ad6b7169203331"
BROUGHT = f"00-{TRACE}-{ABOVE}-01"
"""The example of the W3C's recommendation."""


class Port:
    """Znodes, and what goes wrong, at a port whose requests are spans."""

    def __init__(self, hosts: str) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")
        self.clients = Clients(of_traced(partial(client_of, hosts), self.tracer))
        access = Access("127.0.0.1", read_only=False)
        routes = [
            *Znodes(self.clients, access).routes(),
            Route("/broken", self._broken),
            Route("/ready", self._ready),
        ]
        self.app = Traced(make_app(routes, access), self.tracer)

    async def _broken(self, request: Request) -> Response:
        raise RuntimeError("a secret")

    async def _ready(self, request: Request) -> Response:
        return Response("yes")

    async def __call__(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> Answer:
        answer = await ask(self.app, method, target, body, x_requested_by="test", **headers)
        await asyncio.sleep(0)
        return answer

    def take(self) -> list[ReadableSpan]:
        """The spans since the last time, in the order in which they began."""
        found = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        self._exporter.clear()
        return found

    async def one(self, method: str, target: str, **headers: str) -> ReadableSpan:
        await self(method, target, b"", **headers)
        [span] = [span for span in self.take() if span.kind is SpanKind.SERVER]
        return span


@asynccontextmanager
async def port(hosts: str) -> AsyncIterator[Port]:
    made = Port(hosts)
    try:
        yield made
    finally:
        await made.clients.close()


def _about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _ids(span: ReadableSpan) -> tuple[str, str, str | None]:
    """Its trace, itself, and what it is below."""
    assert span.context is not None
    above = None if span.parent is None else f"{span.parent.span_id:016x}"
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", above


async def test_a_callers_trace_goes_on_through_the_server_to_its_client(hosts: str) -> None:
    async with port(hosts) as asked:
        answer = await asked("POST", "/znodes/traced", b"a secret", traceparent=BROUGHT)
        assert answer.status == 201
        server, *below = asked.take()
        assert (server.name, server.kind) == ("POST /znodes/{path:path}", SpanKind.SERVER)
        assert _ids(server)[::2] == (TRACE, ABOVE)
        assert below, "the client's requests are spans, too"
        for span in below:
            assert span.kind is SpanKind.CLIENT
            assert _ids(span)[::2] == (TRACE, _ids(server)[1])
        assert "zookeeper create" in [span.name for span in below]
        assert not any("a secret" in span.to_json() for span in (server, *below))


async def test_who_asks_later_has_a_trace_of_his_own_though_the_client_is_kept(
    hosts: str,
) -> None:
    async with port(hosts) as asked:
        await asked("GET", "/znodes/", traceparent=BROUGHT)
        asked.take()
        first, second = await asyncio.gather(
            ask(asked.app, "GET", "/znodes/?stat"), ask(asked.app, "GET", "/znodes/?children")
        )
        await asyncio.sleep(0)
        assert (first.status, second.status) == (200, 200)
        found = asked.take()
        servers = {_ids(span)[0]: span for span in found if span.kind is SpanKind.SERVER}
        assert len(servers) == 2
        assert TRACE not in servers
        clients = [span for span in found if span.kind is SpanKind.CLIENT]
        assert len({_ids(span)[0] for span in clients}) == 2
        for span in clients:
            assert _ids(span)[2] == _ids(servers[_ids(span)[0]])[1]


async def test_the_attributes_are_the_stable_ones_of_http(hosts: str) -> None:
    async with port(hosts) as asked:
        assert _about(await asked.one("GET", "/znodes/nowhere?stat")) == {
            "http.request.method": "GET",
            "http.route": "/znodes/{path:path}",
            "http.response.status_code": 404,
            "network.protocol.version": "1.1",
            "server.address": "localhost",
            "server.port": 8080,
            "url.path": "/znodes/nowhere",
            "url.scheme": "http",
        }
        named = _about(await asked.one("GET", "/znodes/", host="[::1]"))
        assert (named["server.address"], named["server.port"]) == ("::1", 80)
        wrong = _about(await asked.one("GET", "/znodes/", host="localhost:x"))
        assert (wrong["server.address"], wrong["server.port"]) == ("127.0.0.1", 8080)


async def test_only_what_the_server_is_to_blame_for_is_an_error(
    hosts: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with port(hosts) as asked:
        missing = await asked.one("GET", "/nothing")
        assert missing.name == "GET"
        assert "http.route" not in _about(missing)
        assert missing.status.status_code is StatusCode.UNSET
        refused = await asked.one("GET", "/znodes/", host="evil.example")
        assert _about(refused)["http.response.status_code"] == 421
        assert refused.status.status_code is StatusCode.UNSET
        broken = await asked.one("GET", "/broken")
        assert broken.status.status_code is StatusCode.ERROR
        assert _about(broken)["error.type"] == "500"
        assert "a secret" not in broken.to_json()


async def test_a_method_that_nobody_knows_is_not_in_the_name(hosts: str) -> None:
    async with port(hosts) as asked:
        span = await asked.one("BREW", "/znodes/a")
        assert span.name == "HTTP /znodes/{path:path}"
        about = _about(span)
        assert about["http.request.method"] == "_OTHER"
        assert about["http.request.method_original"] == "BREW"


@pytest.mark.parametrize("brought", ["", "00-0-0-01", f"00-{'0' * 32}-{ABOVE}-01", "x" * 5000])
async def test_a_traceparent_that_is_none_begins_a_trace(hosts: str, brought: str) -> None:
    async with port(hosts) as asked:
        with asked.tracer.start_as_current_span("the program around"):
            span = await asked.one("GET", "/znodes/", traceparent=brought)
        assert span.parent is None
        assert _about(span)["http.response.status_code"] == 200


async def test_who_is_not_sampled_by_his_caller_is_not_here(hosts: str) -> None:
    async with port(hosts) as asked:
        await asked("GET", "/znodes/", traceparent=BROUGHT[:-1] + "0")
        assert asked.take() == []


async def test_a_probe_has_a_span_only_for_who_brings_a_trace(hosts: str) -> None:
    async with port(hosts) as asked:
        assert (await asked("GET", "/ready")).status == 200
        assert asked.take() == []
        assert _ids(await asked.one("GET", "/ready", traceparent=BROUGHT))[0] == TRACE


async def test_the_span_of_a_stream_is_over_when_it_begins(hosts: str) -> None:
    async with port(hosts) as asked:
        listening = asyncio.create_task(
            ask(asked.app, "GET", "/znodes/?watch", traceparent=BROUGHT)
        )
        found: list[ReadableSpan] = []
        async with asyncio.timeout(10):
            while not any(span.kind is SpanKind.SERVER for span in found):
                await asyncio.sleep(0)
                found += asked.take()
        assert not listening.done()
        listening.cancel()
        await asyncio.wait([listening])
        [server] = [span for span in found if span.kind is SpanKind.SERVER]
        assert _about(server)["http.response.status_code"] == 200
        assert server.status.status_code is StatusCode.UNSET
        assert [_ids(span)[0] for span in asked.take() if span.kind is SpanKind.SERVER] == []


async def test_an_answer_that_breaks_off_is_an_error(hosts: str) -> None:
    async with port(hosts) as asked:

        async def cut_off(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ConnectionResetError

        asked.app = Traced(cut_off, asked.tracer)
        with pytest.raises(ConnectionResetError):
            await asked("GET", "/commands/snapshot")
        [span] = asked.take()
        assert _about(span)["error.type"] == "ConnectionResetError"
        assert span.status.status_code is StatusCode.ERROR


async def test_a_site_is_traced_where_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def around(app: Any) -> Any:
        seen.append("app")
        return app

    monkeypatch.setattr(tracing, "Traced", around)
    served = Served()
    for telemetry, metrics_only in ((False, False), (True, True), (True, False)):
        config = replace(served.config, admin_telemetry=telemetry)
        inside = Inside(config, served.status, lambda: None, lambda: 1, metrics_only)
        await pages(inside).close()
        assert bool(seen) == (telemetry and not metrics_only)


def test_where_it_is_off_nothing_of_it_is_imported() -> None:
    program = """if True:
        import sys
        from coterie.cli import serve
        from coterie.config import Config
        from coterie.console.site import pages
        from coterie.runtime.doors import Inside
        pages(Inside(Config(data_dir="x"), None, None, None, False))
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
