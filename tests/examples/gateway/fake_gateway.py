"""A gateway whose components only say that they are there, to drive the portal's pages.

The ensemble, the directory, the elections and the portal are real; the API servers answer from
memory, jobs go on by the clock, and a process that is killed stays registered for a moment, as one
whose session has to run out.

    python -m tests.examples.gateway.fake_gateway 8080      # to look at it
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import coterie
from coterie.gateway.directory import Directory
from coterie.gateway.standby import Standby
from coterie.recipes.discovery import Discovery
from coterie.testing.cluster import Cluster
from examples.gateway.portal.app import application
from examples.gateway.portal.live import Live
from examples.gateway.portal.picture import Job, count, read_jobs
from examples.gateway.portal.proxy import ApiServers
from examples.gateway.process import serving

_SESSION_S: Final = 3.0
"""Longer than the portal waits between two looks while no page is open."""
_RESTART_S: Final = 0.8
_STEPS_S: Final = {"queued": 0.5, "assigned": 0.4, "running": 1.6}

EVIL: Final = "<img src=x onerror=\"document.title='owned'\">"
"""What a user might call something."""

APPLICATIONS: Final[list[dict[str, Any]]] = [
    {
        "name": "align",
        "version": "1.0.0",
        "flavor": "local",
        "description": f"Aligns two proteins. {EVIL}",
        "command": ["python", "align.py", "{first}", "{second}", "--gap", "{gap}"],
        "inputs": [
            {"name": "first", "type": "file", "required": True, "description": "FASTA"},
            {"name": "second", "type": "file", "required": True, "description": "FASTA"},
            {"name": "gap", "type": "integer", "required": False, "default": -11},
        ],
        "outputs": [
            {"name": "alignment.txt", "type": "text", "description": ""},
            {"name": "result.json", "type": "json", "description": ""},
        ],
    },
    {
        "name": "outbreak",
        "version": "1.2.0",
        "flavor": "dask",
        "description": "Fits an SIR model to the cases of each day of an outbreak.",
        "command": ["python", "outbreak.py", "{cases}", "--points", "{points}"],
        "inputs": [
            {"name": "cases", "type": "file", "required": True, "description": "CSV: day,cases"},
            {"name": "points", "type": "integer", "required": False, "default": 12},
        ],
        "outputs": [{"name": "sweep.csv", "type": "csv", "description": "all points"}],
    },
]
SAMPLES: Final[list[dict[str, Any]]] = [
    {
        "application": "align",
        "fields": {"gap": "-11"},
        "files": {
            "first": {"name": "P69905.fasta", "text": ">alpha\nMVLSPADKTN\n"},
            "second": {"name": "P68871.fasta", "text": ">beta\nMVHLTPEEKS\n"},
        },
    },
    {
        "application": "outbreak",
        "fields": {"points": "12"},
        "files": {"cases": {"name": "cases.csv", "text": "day,cases\n1,3\n2,8\n"}},
    },
]
_RESULTS: Final = {
    "alignment.txt": f"target  0 MVLSPADKTN\nquery   0 MVHLTPEEKS\n{EVIL}\n",
    "result.json": json.dumps({"score": 292.0, "identity": 0.434}),
    "sweep.csv": 'beta,gamma,"note, of it"\n1.66,0.44,best\n1.70,0.50,"a ""second"" one"\n',
}


@dataclass
class Process:
    """One of the fake processes."""

    name: str
    kind: str
    flavor: str = ""
    version: str = "1.0.0"
    address: str = ""
    pid: int = 0
    alive: bool = True
    restarts: int = 0
    running: asyncio.Task[None] | None = None

    def as_json(self) -> dict[str, Any]:
        kept = ("name", "kind", "flavor", "version", "address", "pid", "alive", "restarts")
        return {key: getattr(self, key) for key in kept}


@dataclass
class FakeGateway:
    """The state of it; `url` is where the portal is."""

    url: str = ""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    applications: list[dict[str, Any]] = field(default_factory=lambda: list(APPLICATIONS))
    processes: dict[str, Process] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    cluster: Cluster | None = None
    loop: asyncio.AbstractEventLoop | None = None
    served: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    unwanted: asyncio.Event = field(default_factory=asyncio.Event)
    pids: Iterator[int] = field(default_factory=lambda: itertools.count(4101))

    holding: bool = False
    """Whether jobs that run go on running."""

    # The portal

    async def serve(self, app: Starlette, port: int) -> None:
        """Serve it while it is wanted, always at the same port."""
        self.loop = asyncio.get_running_loop()
        self.wanted.set()
        while True:
            await self.wanted.wait()
            async with serving(app, "127.0.0.1", port) as port:
                self.url = f"http://127.0.0.1:{port}"
                self.served.set()
                await self.unwanted.wait()

    def let_portal(self, serve: bool) -> None:
        """Let it serve or not, from any thread."""
        assert self.loop is not None
        first, then = (self.unwanted, self.wanted) if serve else (self.wanted, self.unwanted)
        self.loop.call_soon_threadsafe(first.clear)
        self.loop.call_soon_threadsafe(then.set)

    # The API

    def api(self) -> Starlette:
        at = "/api/v1"
        return Starlette(
            routes=[
                Route(f"{at}/sign-in", self._sign_in, methods=["POST"]),
                Route(f"{at}/applications", self._applications, methods=["GET", "POST"]),
                Route(f"{at}/samples", self._samples),
                Route(f"{at}/experiments", self._experiments),
                Route(f"{at}/experiments", self._submit, methods=["POST"]),
                Route(f"{at}/experiments/{{id}}", self._experiment),
                Route(f"{at}/experiments/{{id}}/cancel", self._cancel, methods=["POST"]),
                Route(f"{at}/experiments/{{id}}/outputs/{{name}}", self._output),
            ]
        )

    async def _sign_in(self, request: Request) -> Response:
        user = (await request.json())["user"]
        return JSONResponse({"token": f"token-of-{user}", "user": user, "expires": _now()})

    async def _applications(self, request: Request) -> Response:
        if request.method == "POST":
            made = await request.json()
            self.applications.append(made)
            return JSONResponse(made, 201)
        if "authorization" not in request.headers:
            error = {"code": "no_token", "message": "who are you?", "retry": False}
            return JSONResponse({"error": error}, 401)
        return JSONResponse(self.applications)

    async def _samples(self, request: Request) -> Response:
        return JSONResponse(SAMPLES)

    async def _experiments(self, request: Request) -> Response:
        limit = int(request.query_params.get("limit", "50"))
        of = request.query_params.get("of")
        found = [job for job in self.jobs if of in (None, job["user"])]
        return JSONResponse({"experiments": found[:limit]})

    async def _submit(self, request: Request) -> Response:
        key = request.headers["idempotency-key"]
        if key not in self.keys:
            async with request.form() as form:
                named = str(form["application"])
                inputs = {
                    name: value if isinstance(value, str) else {"file": value.filename}
                    for name, value in form.items()
                    if name not in ("application", "version")
                }
            found = next(one for one in self.applications if one["name"] == named)
            job = self._job(found, inputs, request.headers.get("authorization", ""))
            self.jobs.insert(0, job)
            self.keys[key] = job["id"]
        return JSONResponse(self._find(self.keys[key]), 201)

    def _job(self, found: dict[str, Any], inputs: dict[str, Any], who: str) -> dict[str, Any]:
        return {
            "id": f"{len(self.jobs) * 7919 + 0xA3F1:08x}e1",
            "user": who.removeprefix("Bearer token-of-"),
            "application": found["name"],
            "version": found["version"],
            "flavor": found["flavor"],
            "state": "queued",
            "created": _now(),
            "started": None,
            "ended": None,
            "manager": "",
            "attempts": 0,
            "message": "",
            "inputs": inputs,
            "outputs": [],
            "log": "",
            "at": time.monotonic(),
        }

    def _find(self, id: str) -> dict[str, Any]:
        return next(job for job in self.jobs if job["id"] == id)

    async def _experiment(self, request: Request) -> Response:
        return JSONResponse(self._find(request.path_params["id"]))

    async def _cancel(self, request: Request) -> Response:
        job = self._find(request.path_params["id"])
        job.update(state="cancelled", ended=_now())
        return JSONResponse(job)

    async def _output(self, request: Request) -> Response:
        return Response(_RESULTS[request.path_params["name"]], media_type="text/html")

    async def go_on(self) -> None:
        """Let jobs go from state to state, and from a dead manager to another."""
        while True:
            for job in self.jobs:
                self._step(job, time.monotonic())
            await asyncio.sleep(0.05)

    def _step(self, job: dict[str, Any], now: float) -> None:
        state = job["state"]
        if state not in _STEPS_S:
            return
        holder = self.processes.get(job["manager"])
        dead = holder is not None and not holder.alive
        held = now - job["at"] < _STEPS_S[state] or (self.holding and state == "running")
        if held and not dead:
            return
        job["at"] = now
        if state == "queued" or dead:
            able = [
                one.name
                for one in self.processes.values()
                if one.kind == "manager" and one.flavor == job["flavor"] and one.alive
            ]
            if able:
                job.update(
                    state="assigned",
                    manager=able[int(job["id"][:8], 16) % len(able)],
                    attempts=job["attempts"] + 1,
                )
        elif state == "assigned":
            job.update(state="running", started=_now(), log="reading\ncomputing <b>hard</b>\n")
        else:
            listed = next(one for one in self.applications if one["name"] == job["application"])
            outputs = [
                {"name": one["name"], "type": one["type"], "size": len(_RESULTS[one["name"]])}
                for one in listed["outputs"]
                if one["name"] in _RESULTS
            ]
            job.update(state="done", ended=_now(), outputs=outputs)

    # The launcher

    def control(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/processes", self._processes),
                Route("/kill/{name}", self._kill, methods=["POST"]),
            ]
        )

    async def _processes(self, request: Request) -> Response:
        return JSONResponse([one.as_json() for one in self.processes.values()])

    async def _kill(self, request: Request) -> Response:
        process = self.processes.get(request.path_params["name"])
        if process is None:
            error = {"code": "unknown", "message": "no such process", "retry": False}
            return JSONResponse({"error": error}, 404)
        pid, process.alive = process.pid, False
        process.running = asyncio.create_task(self._again(process, process.running))
        return JSONResponse({"killed": pid})

    async def _again(self, process: Process, running: asyncio.Task[None] | None) -> None:
        if process.kind == "coterie":
            assert self.cluster is not None
            server = self.cluster[int(process.name.rpartition("-")[2])]
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(_RESTART_S + _SESSION_S)
            await asyncio.to_thread(server.begin)
        else:
            await asyncio.sleep(_SESSION_S)
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await asyncio.sleep(_RESTART_S)
        process.pid, process.alive = next(self.pids), True
        process.restarts += 1
        if process.kind != "coterie":
            await self.be(process)

    async def be(self, process: Process) -> None:
        """Be registered, and a candidate, until it is cancelled."""
        assert self.cluster is not None
        host, _, port = process.address.rpartition(":")
        load = (len(process.name) * 7 % 5) / 2 if process.kind == "manager" else 0.0
        async with AsyncExitStack() as stack:
            zk = await stack.enter_async_context(coterie.connect(self.cluster.hosts))
            offer = Discovery(zk, "/gateway/services").register(
                process.kind,
                process.version,
                host=host,
                port=int(port),
                flavor=process.flavor,
                id=process.name,
                metadata={"state": "serving", "load": load, "pid": process.pid},
            )
            await stack.enter_async_context(offer)
            if process.kind in ("metadata", "scheduler"):
                place = f"/gateway/leaders/{process.kind}"
                await stack.enter_async_context(
                    Standby(zk, place, identifier=process.name.encode())
                )
            await asyncio.Event().wait()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_CAST: Final = [
    ("api-1", "api", ""),
    ("api-2", "api", ""),
    ("scheduler-1", "scheduler", ""),
    ("scheduler-2", "scheduler", ""),
    ("manager-local-1", "manager", "local"),
    ("manager-local-2", "manager", "local"),
    ("manager-dask-1", "manager", "dask"),
    ("metadata-1", "metadata", ""),
    ("metadata-2", "metadata", ""),
    ("portal-1", "portal", ""),
]


@asynccontextmanager
async def playing(gateway: FakeGateway, port: int = 0) -> AsyncIterator[None]:
    """All of it, in the running loop; the cluster has to be there."""
    cluster = gateway.cluster
    assert cluster is not None
    async with AsyncExitStack() as stack:
        ports = [
            await stack.enter_async_context(serving(gateway.api(), "127.0.0.1", 0)),
            await stack.enter_async_context(serving(gateway.api(), "127.0.0.1", 0)),
        ]
        for number, address in enumerate(cluster.addresses, 1):
            name = f"coterie-{number}"
            gateway.processes[name] = Process(
                name, "coterie", address=address, pid=next(gateway.pids)
            )
        for number, (name, kind, flavor) in enumerate(_CAST):
            at = ports[number] if kind == "api" else 9100 + number
            process = Process(name, kind, flavor, "1.0.0", f"127.0.0.1:{at}", next(gateway.pids))
            gateway.processes[name] = process
            process.running = asyncio.create_task(gateway.be(process))
        going = asyncio.create_task(gateway.go_on())
        stack.callback(going.cancel)
        control = await stack.enter_async_context(serving(gateway.control(), "127.0.0.1", 0))
        zk = await stack.enter_async_context(coterie.connect(cluster.hosts, session_timeout_s=4))
        directory = await stack.enter_async_context(Directory(zk))
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))

        async def processes() -> object:
            return (await http.get(f"http://127.0.0.1:{control}/processes")).json()

        async def jobs() -> tuple[tuple[Job, ...], dict[str, int]]:
            all_of_them = read_jobs(gateway.jobs)
            return all_of_them[:60], count(all_of_them)

        live = await stack.enter_async_context(
            Live(zk, directory, cluster.hosts, processes=processes, jobs=jobs)
        )
        app = application(live, ApiServers(directory, http), http, f"127.0.0.1:{control}")
        served = asyncio.create_task(gateway.serve(app, port))
        stack.callback(live.close)
        stack.callback(served.cancel)
        await gateway.served.wait()
        try:
            yield
        finally:
            for process in gateway.processes.values():
                if process.running is not None:
                    process.running.cancel()
            running = [one.running for one in gateway.processes.values() if one.running]
            await asyncio.gather(*running, return_exceptions=True)


@contextmanager
def played(port: int = 0) -> Iterator[FakeGateway]:
    """The same in a thread of its own."""
    gateway = FakeGateway()
    ready, ending = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def play() -> None:
        loops.append(asyncio.get_running_loop())
        async with playing(gateway, port):
            ready.set()
            await ending.wait()

    with Cluster(3) as gateway.cluster:
        thread = threading.Thread(target=lambda: coterie.run(play()), daemon=True)
        thread.start()
        while not ready.wait(0.1):
            assert thread.is_alive(), "the fake gateway did not start"
        try:
            yield gateway
        finally:
            loops[0].call_soon_threadsafe(ending.set)
            thread.join(15)


if __name__ == "__main__":
    with played(int(sys.argv[1]) if len(sys.argv) > 1 else 8080) as shown:
        print(shown.url, flush=True)
        threading.Event().wait()
