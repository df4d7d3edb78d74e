"""OpenTelemetry spans of what a client asks for, and of how long a recipe took to be entered.

    from coterie.client.tracing import entering, traced

    async with coterie.connect("127.0.0.1:2181") as zk:
        traced(zk)
        async with entering(Lock(zk, "/locks/deploy")) as grant: ...

Rules:
- it needs `coterie[telemetry]`, and a client that is not traced pays nothing for it but a look at
  one attribute;
- a span bears what was asked for, of which znode, and what it came to; never data or an identity;
- whose span it is below is whose is the current one where the call is made, in a thread as well.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import ZooKeeperError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncIterator
    from types import TracebackType

    from coterie.client.calls import Call

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NAME: Final = "coterie"


class Entered(Protocol[T_co]):
    """A recipe: what is entered, and where it is."""

    path: str

    async def __aenter__(self) -> T_co: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...


def traced(zk: Client | BlockingClient, tracer: Tracer | None = None) -> None:
    """From now on each request of this client is a span, from when it is asked for to its answer.

    Without a `tracer` it is the application's own, as OpenTelemetry has it.
    """
    client = zk.client if isinstance(zk, BlockingClient) else zk
    spans = tracer or trace.get_tracer(_NAME)

    def begin(call: Call, future: Future[Any]) -> None:
        about: dict[str, str] = {"db.system.name": "zookeeper", "db.operation.name": call.name}
        if call.path is not None:
            about["zookeeper.path"] = call.path
        span = spans.start_span(f"zookeeper {call.name}", kind=SpanKind.CLIENT, attributes=about)

        def end(answer: Future[Any]) -> None:
            if answer.cancelled():
                span.add_event("cancelled")
            else:
                _note(span, answer.exception())
            span.set_attribute("zookeeper.session_id", f"{client.session_id % 2**64:#x}")
            span.set_attribute("zookeeper.last_zxid", f"{client.last_zxid:#x}")
            span.end()

        future.add_done_callback(end)

    client.on_call = begin


@asynccontextmanager
async def entering(recipe: Entered[T], tracer: Tracer | None = None) -> AsyncIterator[T]:
    """Enter a recipe, and have a span of how long that took: how long a lock was waited for.

    The requests that it took are spans below it, if the client is traced.
    """
    spans = tracer or trace.get_tracer(_NAME)
    name = type(recipe).__name__
    about = {"zookeeper.recipe": name, "zookeeper.path": recipe.path}
    with spans.start_as_current_span(
        f"zookeeper enter {name}",
        attributes=about,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            entered = await recipe.__aenter__()
        except BaseException as error:
            _note(span, error)
            raise
        token = getattr(entered, "token", None)
        if isinstance(token, int):
            span.set_attribute("zookeeper.token", f"{token:#x}")
    try:
        yield entered
    except BaseException as error:
        if not await recipe.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        await recipe.__aexit__(None, None, None)


def _note(span: Span, error: BaseException | None) -> None:
    """What a span came to. The message of an error names the path, and nothing that is secret."""
    if error is None:
        return
    span.set_attribute("error.type", type(error).__name__)
    message = str(error) if isinstance(error, ZooKeeperError) else None
    span.set_status(Status(StatusCode.ERROR, message))
