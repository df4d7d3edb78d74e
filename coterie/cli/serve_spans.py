"""Where the spans of a server's process go: OpenTelemetry's SDK, as OTEL_* variables have it.

Rules:
- a provider that is there already (`opentelemetry-instrument`) is left as it is;
- the SDK and its exporters read their own variables; only which exporter it is, is found out here;
- what cannot be had as the variables say is told before the server starts. A collector that does
  not answer later is told in the log, and costs spans: no end of a server waits for it for long.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from coterie import __version__
from coterie.config import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_KEY: Final = "admin.telemetry"
_EXTRA: Final = "pip install 'coterie[telemetry]'"
_END_S_MAX: Final = 2.0
_GROUP: Final = "opentelemetry_traces_exporter"
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def export_spans(server: str | None) -> Callable[[], None]:
    """From now on the spans of this process are exported. Gives what hands on the last of them.

    `server` is which member of its ensemble this is, if it is one. Raises `ConfigError`.
    """
    try:
        from opentelemetry import trace

        import_module("opentelemetry.propagate")  # It reads OTEL_PROPAGATORS.
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            provider = make_provider(server)
            if provider is not None:
                trace.set_tracer_provider(provider)
                return partial(_end, provider)
    except ImportError as error:
        reason = f"it needs OpenTelemetry, which is not all installed ({error}): {_EXTRA}"
        raise ConfigError(reason, key=_KEY) from None
    except ValueError as error:
        raise ConfigError(f"OpenTelemetry refuses its variables: {error}", key=_KEY) from None
    return lambda: None


def make_provider(server: str | None) -> TracerProvider | None:
    """What makes spans and hands them on; None if they are to go nowhere."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if named == "none":
        return None
    own = {"service.name": "coterie", "service.version": __version__}
    if server is not None:
        own["service.instance.id"] = server
    # What the environment says of the same comes last.
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    exporters = [_exporter(name.strip()) for name in named.split(",")]
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _end(provider: TracerProvider) -> None:
    """Hand on what waits; an exporter tries a collector that is away for longer than we wait."""
    ending = Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(_END_S_MAX)


def _exporter(named: str) -> Any:
    """The exporter of that name, which says what it takes by variables of its own."""
    name = named
    if named == "otlp":
        variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        said = [value for each in variables if (value := os.environ.get(each, "").strip())]
        protocol = said[0] if said else "http/protobuf"
        if protocol not in _OTLP:
            raise ValueError(f"there is no exporter of OTLP by {protocol!r}")
        name = _OTLP[protocol]
    found = list(entry_points(group=_GROUP, name=name))
    if not found:
        raise ImportError(f"no exporter {name!r}")
    return found[0].load()()
