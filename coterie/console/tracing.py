"""OpenTelemetry spans of what is asked over HTTP: one for each request, and below it our client's.

Rules:
- it needs `coterie[telemetry]`, and is imported only where `admin.telemetry` is true;
- a request continues the trace that its headers name (W3C `traceparent`, or as OTEL_PROPAGATORS
  has it); without one it begins a trace, whatever span the program around us is in;
- probes and scrapes come every few seconds and say nothing new: they have a span only for who
  brings a trace;
- a stream of events has a span until it begins: how long somebody listens is no latency;
- the attributes are the stable HTTP ones of OpenTelemetry. A query is in none, since it may name
  who is looked for in the audit trail; nor are bodies and identities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from starlette.datastructures import Headers

from coterie.client.tracing import traced

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from coterie.client.client import Client
    from coterie.console.access import Identity
    from coterie.console.clients import MakeClient

_NAME: Final = "coterie"
_PROBES: Final = frozenset({"/live", "/ready", "/metrics"})
_METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]
)
_PORTS: Final = {"http": 80, "https": 443}


class Traced:
    """An application whose requests are spans. Without a `tracer` it is the process's own."""

    def __init__(self, app: ASGIApp, tracer: Tracer | None = None) -> None:
        self._app = app
        self._tracer = tracer or trace.get_tracer(_NAME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        above = propagate.extract(headers, Context(), _GETTER)
        brought = trace.get_current_span(above).get_span_context().is_valid
        if scope["path"] in _PROBES and not brought:
            await self._app(scope, receive, send)
            return
        about = _about(scope, headers)
        method = _shown(scope["method"])
        span = self._tracer.start_span(method, above, SpanKind.SERVER, about)
        asked = _Asked(span, method, scope)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.answered(message)
            await send(message)

        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                await self._app(scope, receive, told)
            except BaseException as error:
                asked.fail(type(error).__name__)
                raise
            finally:
                asked.end()


def of_traced(make: MakeClient, tracer: Tracer | None = None) -> MakeClient:
    """Clients whose requests are spans, below that of the HTTP request that they are for."""

    def make_traced(identity: Identity | None) -> Client:
        client = make(identity)
        traced(client, tracer)
        return client

    return make_traced


class _Asked:
    """The span of one request."""

    def __init__(self, span: Span, method: str, scope: Scope) -> None:
        self._span = span
        self._method = method
        self._scope = scope
        self._ended = False

    def answered(self, start: Message) -> None:
        status: int = start["status"]
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.fail(str(status))
        if Headers(raw=start["headers"]).get("content-type", "").startswith("text/event-stream"):
            self.end()

    def fail(self, kind: str) -> None:
        if not self._ended:
            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """Starlette says by then which route it was, if any."""
        if self._ended:
            return
        self._ended = True
        route = getattr(self._scope.get("route"), "path", None)
        if isinstance(route, str):
            self._span.set_attribute("http.route", route)
            self._span.update_name(f"{self._method} {route}")
        self._span.end()


class _HeaderGetter(Getter[Headers]):
    """Headers have no case, and may be there several times."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        return carrier.getlist(key) or None

    def keys(self, carrier: Headers) -> list[str]:
        return carrier.keys()


_GETTER: Final = _HeaderGetter()


def _shown(method: str) -> str:
    """A span's name has no words of strangers in it."""
    return method if method in _METHODS else "HTTP"


def _about(scope: Scope, headers: Headers) -> dict[str, str | int]:
    """What is known before the request is answered, so that a sampler knows it, too."""
    method, scheme = scope["method"], scope["scheme"]
    about: dict[str, str | int] = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.scheme": scheme,
        "url.path": scope["path"],
        "network.protocol.version": scope["http_version"],
    }
    if method not in _METHODS:
        about["http.request.method_original"] = method
    try:
        asked = urlsplit("//" + headers.get("host", ""))
        host, port = asked.hostname, asked.port or _PORTS.get(scheme)
    except ValueError:
        host, port = None, None
    if host and port:
        about |= {"server.address": host, "server.port": port}
    elif scope.get("server") is not None:
        host, port = scope["server"]
        about |= {"server.address": host, "server.port": port or 0}
    return about
