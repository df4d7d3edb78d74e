"""`python -m examples.gateway.manager --flavor local|dask`: an application manager.

    POST /jobs {"id", "application": {...}, "inputs": {...}, "attempt": 1}
        202 taken; 409 it has it already; 503 it drains, or has enough: another may take it
    GET  /jobs               the ids of those that it has
    POST /jobs/ID/cancel     202, or 404

`local` runs the command of an application by itself, without a network; `dask` gives it a Dask
cluster, whose address is in DASK_SCHEDULER_ADDRESS.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from coterie.gateway.component import Component
from examples.gateway.application import inputs_of_json, of_json
from examples.gateway.files import DataStore, checked
from examples.gateway.manager.cluster import Dask, cluster
from examples.gateway.manager.jobs import BusyError, Job, Jobs, KnownError, Settings
from examples.gateway.metadata_client import Metadata
from examples.gateway.process import Options, Service, main

KIND: Final = "manager"
SPEAKS: Final = {"metadata": ">=1,<3"}

_BODY_BYTES_MAX: Final = 4 << 20
_LOOK_EVERY_S: Final = 1.0
_RETRY_S: Final = 1

log = logging.getLogger("gateway.manager")


def app(jobs: Jobs) -> Starlette:
    """What a scheduler talks to."""

    async def take(request: Request) -> JSONResponse:
        body = await request.body()
        try:
            if len(body) > _BODY_BYTES_MAX:
                raise ValueError(f"more than {_BODY_BYTES_MAX} bytes")
            job = _job(await request.json())
        except (ValueError, KeyError, TypeError) as error:
            return _problem(400, "invalid", str(error))
        try:
            jobs.take(job)
        except KnownError:
            return _problem(409, "known", f"it has {job.id} already")
        except BusyError as busy:
            answer = _problem(503, "busy", str(busy))
            answer.headers["retry-after"] = str(_RETRY_S)
            return answer
        return JSONResponse({"id": job.id}, 202)

    async def listed(request: Request) -> JSONResponse:
        return JSONResponse(jobs.ids)

    async def cancel(request: Request) -> JSONResponse:
        job_id = request.path_params["job_id"]
        if not jobs.cancel(job_id):
            return _problem(404, "unknown", f"it has no {job_id}")
        return JSONResponse({"id": job_id}, 202)

    return Starlette(
        routes=[
            Route("/jobs", take, methods=["POST"]),
            Route("/jobs", listed),
            Route("/jobs/{job_id}/cancel", cancel, methods=["POST"]),
        ]
    )


def _job(told: dict[str, object]) -> Job:
    attempt = told.get("attempt", 1)
    if not isinstance(attempt, int):
        raise ValueError("attempt is no number")
    return Job(
        checked(str(told["id"])),
        of_json(told["application"]),
        inputs_of_json(told["inputs"]),
        attempt,
    )


def _problem(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _tell_of_health(component: Component[Settings], dask: Dask) -> None:
    """A cluster without a worker runs nothing: be found by nobody until there is one."""
    healthy = True
    while True:
        if healthy != (dask.workers > 0):
            healthy = not healthy
            log.warning(
                "the cluster has %s", f"{dask.workers} workers" if healthy else "no worker"
            )
            await component.report(healthy=healthy)
        await asyncio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def serve(component: Component[Settings], options: Options) -> AsyncIterator[Service]:
    """A manager, between two moments."""
    if options.flavor not in ("local", "dask"):
        raise OSError(f"there is no flavor {options.flavor!r}: local and dask are there")
    folder = options.data / "work" / options.name
    environment: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        metadata = await stack.enter_async_context(Metadata(component))
        if options.flavor == "dask":
            dask = await stack.enter_async_context(
                cluster(folder.with_name(f"{options.name}-dask"))
            )
            environment["DASK_SCHEDULER_ADDRESS"] = dask.address
            looking = asyncio.ensure_future(_tell_of_health(component, dask))
            stack.callback(looking.cancel)
        jobs = Jobs(
            component,
            metadata,
            DataStore(options.files),
            folder,
            network=options.flavor == "dask",
            environment=environment,
        )
        await stack.enter_async_context(jobs.kept())
        yield Service(app(jobs), jobs.drained)


if __name__ == "__main__":
    sys.exit(main(KIND, serve, Settings, flavor="local", speaks=SPEAKS))
