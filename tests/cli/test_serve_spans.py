"""Where a server's spans go: what OTEL_* variables say, and what of it cannot be had."""

from __future__ import annotations

import builtins
import http.client
import os
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coterie.cli import serve, serve_spans
from coterie.config import ConfigError
from coterie.testing.ports import free_port
from tests.runtime.server import Server, until

_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of OpenTelemetry's but those that a test sets, and no provider."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    return monkeypatch


@pytest.fixture
def asked(variables: pytest.MonkeyPatch) -> list[str]:
    """The names under which exporters were looked for; every one is installed."""
    names: list[str] = []

    def find(*, group: str, name: str) -> list[EntryPoint]:
        assert group == "opentelemetry_traces_exporter"
        names.append(name)
        where = f"{InMemorySpanExporter.__module__}:{InMemorySpanExporter.__name__}"
        return [EntryPoint(name, where, group)]

    variables.setattr(serve_spans, "entry_points", find)
    return names


def _made(server: str | None = None) -> TracerProvider:
    provider = serve_spans.make_provider(server)
    assert provider is not None
    provider.shutdown()
    return provider


@pytest.mark.parametrize(
    ("said", "looked_for"),
    [
        ({}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp_proto_http", "console"]),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ["otlp_proto_http"],
        ),
    ],
)
def test_which_exporter_it_is(
    asked: list[str],
    variables: pytest.MonkeyPatch,
    said: dict[str, str],
    looked_for: list[str],
) -> None:
    for name, value in said.items():
        variables.setenv(name, value)
    _made()
    assert asked == looked_for


def test_none_is_none(asked: list[str], variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_TRACES_EXPORTER", "none")
    assert serve_spans.make_provider(None) is None
    assert asked == []


def test_a_server_says_who_it_is_unless_the_environment_does(
    asked: list[str], variables: pytest.MonkeyPatch
) -> None:
    about = _made("2").resource.attributes
    assert (about["service.name"], about["service.instance.id"]) == ("coterie", "2")
    variables.setenv("OTEL_SERVICE_NAME", "zk")
    variables.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=zk1,zone=a")
    about = _made("2").resource.attributes
    assert (about["service.name"], about["service.instance.id"]) == ("zk", "zk1")
    assert about["zone"] == "a"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("OTEL_TRACES_EXPORTER", "pigeon", "no exporter 'pigeon'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "no exporter of OTLP by 'http/json'"),
    ],
)
def test_what_cannot_be_had_is_told_before_the_server_starts(
    variables: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    reason: str,
) -> None:
    variables.setenv(variable, value)
    variables.setattr(serve, "run", lambda *_: pytest.fail("it starts"))
    file = tmp_path / "zoo.cfg"
    file.write_text(f"dataDir={tmp_path}/data\nclientPort=2181\nadmin.telemetry=true\n")
    assert serve.serve(str(file), "./data", None, None) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("coterie serve: admin.telemetry: ")
    assert reason in last


def test_what_is_not_installed_is_told_with_its_name(variables: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest)

    variables.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'coterie\[telemetry\]'"):
        serve_spans.export_spans(None)


def test_a_provider_that_is_there_is_left_as_it_is(
    asked: list[str], variables: pytest.MonkeyPatch
) -> None:
    variables.setattr(trace, "get_tracer_provider", TracerProvider)
    variables.setattr(trace, "set_tracer_provider", lambda _: pytest.fail("it is replaced"))
    serve_spans.export_spans(None)
    assert asked == []


def test_the_last_spans_are_handed_on_at_the_end(
    asked: list[str], variables: pytest.MonkeyPatch
) -> None:
    made: list[TracerProvider] = []
    variables.setattr(trace, "set_tracer_provider", made.append)
    handed_on: list[str] = []

    def export(exporter: InMemorySpanExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        handed_on.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS

    variables.setattr(InMemorySpanExporter, "export", export)
    end = serve_spans.export_spans(None)
    made[0].get_tracer("test").start_span("last").end()
    end()
    assert handed_on == ["last"]


def test_no_end_waits_for_a_collector_that_is_away(
    asked: list[str], variables: pytest.MonkeyPatch
) -> None:
    made: list[TracerProvider] = []
    away = Event()
    variables.setattr(trace, "set_tracer_provider", made.append)
    variables.setattr(serve_spans, "_END_S_MAX", 0.01)
    end = serve_spans.export_spans(None)
    variables.setattr(made[0], "shutdown", away.wait)
    end()
    away.set()


@pytest.mark.slow
def test_a_server_by_itself_exports_what_it_was_asked(tmp_path: Path) -> None:
    port = free_port()
    settings: dict[str, object] = {
        "admin__enableServer": "true",
        "admin__serverPort": port,
        "admin__telemetry": "true",
    }
    with Server(tmp_path, {"OTEL_TRACES_EXPORTER": "console"}, **settings) as server:
        until(lambda: server.said("pages"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        brought = {"traceparent": f"00-{_TRACE}-b7ad6b7169203331-01"}
        connection.request("GET", "/znodes/?children", headers=brought)
        assert connection.getresponse().status == 200
        connection.close()
        assert server.stop() == 0
        said = server.log.read_text()
        assert said.count(f'"trace_id": "0x{_TRACE}"') >= 2
        assert '"name": "GET /znodes/{path:path}"' in said
        assert '"name": "zookeeper children' in said
        assert '"service.name": "coterie"' in said
