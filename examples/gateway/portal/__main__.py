"""The portal's process: `python -m examples.gateway.portal --hosts HOSTS --port 8080`.

With `--control PORT`, the launcher's, the live page can kill.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from coterie.gateway.component import Component
from examples.gateway.metadata_client import Metadata
from examples.gateway.portal.app import application
from examples.gateway.portal.live import JOBS_MAX, Live
from examples.gateway.portal.picture import Job, read_jobs
from examples.gateway.portal.proxy import ApiServers
from examples.gateway.process import HOST, Options, Service, main

SPEAKS: Final = {"api": ">=1,<3", "metadata": ">=1,<3"}
_LAUNCHER_S_MAX: Final = 3.0
_METADATA_S_MAX: Final = 2.0


@asynccontextmanager
async def serve(component: Component[Any], options: Options) -> AsyncIterator[Service]:
    """The portal's application, while its component is there."""
    control = f"{HOST}:{options.control}" if options.control else None
    timeout = httpx.Timeout(_LAUNCHER_S_MAX)
    async with (
        httpx.AsyncClient(trust_env=False, timeout=timeout) as http,
        Metadata(component, patience_s=_METADATA_S_MAX) as metadata,
    ):

        async def processes() -> object:
            answer = await http.get(f"http://{control}/processes")
            return answer.raise_for_status().json()

        async def jobs() -> tuple[tuple[Job, ...], dict[str, int]]:
            newest = read_jobs(await metadata.jobs(limit=JOBS_MAX))
            return newest, await metadata.counts()

        async with Live(
            component.zk,
            component.directory,
            options.hosts,
            root=options.root,
            processes=processes if control else None,
            jobs=jobs,
        ) as live:

            async def drained() -> None:
                live.close()

            app = application(live, ApiServers(component.directory, http), http, control)
            yield Service(app, drained)


if __name__ == "__main__":
    sys.exit(main("portal", serve, speaks=SPEAKS))
