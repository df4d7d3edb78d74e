"""Spans of requests and of recipes that are entered, as an application's exporter gets them."""

from __future__ import annotations

import asyncio

import pytest

import coterie
from coterie.errors import NoNodeError
from coterie.recipes.lock import Lock

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from coterie.client.tracing import entering, traced


class _Spans:
    """What was exported so far, by name."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = provider.get_tracer("test")

    def take(self) -> dict[str, ReadableSpan]:
        found = {span.name: span for span in self._exporter.get_finished_spans()}
        self._exporter.clear()
        return found


@pytest.fixture
def spans() -> _Spans:
    return _Spans()


async def test_each_request_is_a_span_below_the_current_one(hosts: str, spans: _Spans) -> None:
    async with coterie.connect(hosts) as zk:
        traced(zk, spans.tracer)
        with spans.tracer.start_as_current_span("job") as job:
            await zk.create("/traced", b"a secret")
        await asyncio.sleep(0)
        [span] = [span for name, span in spans.take().items() if name != "job"]
        assert (span.name, span.kind) == ("zookeeper create", SpanKind.CLIENT)
        assert span.parent is not None
        assert span.parent.span_id == job.get_span_context().span_id
        assert span.attributes is not None
        assert span.attributes["zookeeper.path"] == "/traced"
        assert span.attributes["zookeeper.session_id"] == f"{zk.session_id:#x}"
        assert span.attributes["zookeeper.last_zxid"] == f"{zk.last_zxid:#x}"
        assert "a secret" not in span.to_json()


async def test_what_fails_and_what_is_given_up_are_told(hosts: str, spans: _Spans) -> None:
    async with coterie.connect(hosts) as zk:
        traced(zk, spans.tracer)
        with pytest.raises(NoNodeError):
            await zk.get("/nowhere")
        await asyncio.sleep(0)
        span = spans.take()["zookeeper get"]
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "NoNodeError"
        waiting = asyncio.create_task(zk.get("/"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0)
        assert [event.name for event in spans.take()["zookeeper get"].events] == ["cancelled"]


async def test_the_wait_for_a_lock_is_a_span_above_its_requests(hosts: str, spans: _Spans) -> None:
    async with coterie.connect(hosts) as zk:
        traced(zk, spans.tracer)
        async with entering(Lock(zk, "/locks/traced"), spans.tracer) as grant:
            await asyncio.sleep(0)
            found = spans.take()
            enter = found.pop("zookeeper enter Lock")
            assert enter.attributes is not None
            assert enter.attributes["zookeeper.path"] == "/locks/traced"
            assert enter.attributes["zookeeper.token"] == f"{grant.token:#x}"
            assert enter.context is not None
            below = [span.parent.span_id for span in found.values() if span.parent is not None]
            assert enter.context.span_id in below
        assert await zk.children("/locks/traced") == []


async def test_a_recipe_that_is_left_by_an_error_lets_go(hosts: str, spans: _Spans) -> None:
    async with coterie.connect(hosts) as zk:
        with pytest.raises(KeyError):
            async with entering(Lock(zk, "/locks/left"), spans.tracer):
                raise KeyError
        assert await zk.children("/locks/left") == []
        assert spans.take()["zookeeper enter Lock"].status.status_code is StatusCode.UNSET


def test_a_client_of_threads_is_traced_too(hosts: str, spans: _Spans) -> None:
    with coterie.connect_blocking(hosts) as zk:
        traced(zk, spans.tracer)
        with spans.tracer.start_as_current_span("job") as job:
            zk.exists("/")
        zk.get("/")  # What has its answer before has its span, too.
        span = spans.take()["zookeeper exists"]
        assert span.parent is not None
        assert span.parent.span_id == job.get_span_context().span_id
