"""The agent's status page, on the loopback interface: HTML, /status.json and /metrics.

Rules: it only shows. There is no button: whatever page a browser on this host has open could press
it, too; a held set is confirmed by the command line. It answers to names of this host alone. What
it needs is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final

from coterie.gateway.agent.status import (
    FileStatus,
    Status,
    age,
    detail,
    encode,
    metrics,
    shown_name,
)
from coterie.system.transport import bind

if TYPE_CHECKING:
    import socket

    from starlette.applications import Starlette

Look = Callable[[], Status]
Now = Callable[[], int]

LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 64
_COLOURS: Final = {"good": "good", "waiting": "wait", "old": "wait", "held": "wait"}

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #fbfaf7; --text: #22262b; --soft: #68707a;
  --line: #e2dfd7; --card: #ffffff; --good: #1d7a4c; --wait: #96650a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181c; --text: #e6e8ea;
  --soft: #98a1ab; --line: #2c323a; --card: #1c2127; --good: #5cc796; --wait: #e2b04a;
  --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.banner { border-left: .3rem solid var(--good); background: var(--card); padding: .8rem 1rem;
  margin: 1.25rem 0; border-radius: .3rem; } .banner.bad { border-color: var(--bad); }
.banner.wait { border-color: var(--wait); }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .55rem .9rem;
  border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { font-weight: 600; font-size: .85rem; color: var(--soft); }
td { overflow-wrap: break-word; } code { font: .9em ui-monospace, monospace; }
.state { font-weight: 600; white-space: nowrap; } .state::before { content: "\\25CF\\00A0"; }
td:last-child { overflow-wrap: anywhere; } .banner p { color: var(--text); }
@media (max-width: 46rem) { table, tbody, tr, td { display: block; } tr.head { display: none; }
  tr { padding: .5rem 0; border-top: 1px solid var(--line); } tr.head + tr { border-top: 0; }
  td { border: 0; padding: .1rem .9rem; } td:empty { display: none; }
  .when::before { content: "confirmed "; } }
.good { color: var(--good); } .wait { color: var(--wait); } .bad { color: var(--bad); }
"""


def page(status: Status, now_ms: int) -> str:
    """The whole page."""
    rows = "".join(_row(one, now_ms) for one in status.files)
    commands = "".join(
        f"<tr><td><code>{escape(one.name)}</code></td><td>{one.runs}</td><td>{one.failures}</td>"
        f'<td class="{"bad" if one.problem else ""}">{escape(one.problem)}</td></tr>'
        for one in status.commands
    )
    link = "connected to" if status.connected else "no server at"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="refresh" content="5">'
        f"<title>{escape(status.host)}: Coterie agent</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>Files of {escape(status.host)}</h1>"
        f'<p class="soft">Coterie agent {escape(status.software)}, process {status.pid}, running '
        f"for {age((now_ms - status.began_ms) / 1000)}; {link} "
        f"<code>{escape(status.hosts)}</code>{_session(status)}</p>"
        f"{_banner(status, now_ms)}"
        f'<div class="table"><table><tr class="head"><th>State</th><th>File</th><th>Made of</th>'
        f"<th>Confirmed</th><th>More</th></tr>{rows}</table></div>"
        + (
            '<h2>Commands</h2><div class="table"><table><tr class="head"><th>Command</th>'
            f"<th>Runs</th><th>Failures</th><th>Problem</th></tr>{commands}</table></div>"
            if commands
            else ""
        )
        + '<p class="soft">The same as <a href="/status.json">JSON</a> and as '
        '<a href="/metrics">metrics</a>.</p></main></body></html>'
    )


def _session(status: Status) -> str:
    return f", session <code>{escape(status.session)}</code>" if status.session else ""


def _banner(status: Status, now_ms: int) -> str:
    red = status.red(now_ms)
    if red:
        return _box("bad", "Somebody has to look", red)
    worries = [*status.problems, *([status.trouble] if status.trouble else [])]
    worries += [f"{c.name}: {c.problem}" for c in status.commands if c.problem]
    if worries or not status.connected:
        calm = "Programs go on with the files that are here."
        return _box("wait", calm, worries)
    if all(one.word(now_ms) == "good" for one in status.files):
        return _box("good", "All files say what the tree says.", [])
    return _box("wait", "Some files wait.", [])


def _box(kind: str, title: str, lines: list[str]) -> str:
    inside = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        f'<div class="banner {kind}" role="status"><strong>{escape(title)}</strong>{inside}</div>'
    )


def _row(one: FileStatus, now_ms: int) -> str:
    word = one.word(now_ms)
    confirmed = "now" if word == "good" else f"{age(one.age_s(now_ms))} ago"
    more = escape(detail(one))
    if one.offered:
        more += f"<br><code>coterie agent FILE --confirm {escape(one.file)}</code>"
    return (
        f'<tr><td class="state {_COLOURS.get(word, "bad")}">{word}</td>'
        f"<td><code>{escape(shown_name(one))}</code></td><td><code>{escape(one.source)}</code></td>"
        f"<td class='when'>{confirmed}</td><td>{more}</td></tr>"
    )


def app(look: Look, now: Now) -> Starlette:
    """The page as an ASGI application; it is red (503) for /healthz when somebody has to look."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def show(request: Any) -> Response:
        return HTMLResponse(page(look(), now()), headers={"cache-control": "no-store"})

    async def as_json(request: Any) -> Response:
        return Response(encode(look()), media_type="application/json")

    async def as_metrics(request: Any) -> Response:
        return PlainTextResponse(metrics(look(), now()))

    async def health(request: Any) -> Response:
        red = look().red(now())
        return PlainTextResponse("\n".join(red or ["good"]), 503 if red else 200)

    routes = [
        Route("/", show),
        Route("/status.json", as_json),
        Route("/metrics", as_metrics),
        Route("/healthz", health),
    ]
    # A name that leads here from elsewhere would let foreign pages read it.
    known = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
    return Starlette(routes=routes, middleware=[known])


class Page:
    """The page between `open` and the end of `serve`."""

    def __init__(self, look: Look, now: Now, port: int) -> None:
        """Raises `PortTakenError`."""
        self._app = app(look, now)
        self._socket: socket.socket = bind(LOOPBACK, port, _BACKLOG)
        self.port: int = self._socket.getsockname()[1]

    async def serve(self) -> None:
        """Answer until cancelled."""
        import asyncio

        import uvicorn

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                # They are the agent's.
                yield

        server = Server(
            uvicorn.Config(
                self._app, log_config=None, access_log=False, lifespan="off", log_level="warning"
            )
        )
        serving = asyncio.get_running_loop().create_task(server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = server.force_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            self._socket.close()
