"""A Dask cluster of a manager's own, on this host, for the time of a block.

    async with cluster(folder, workers=1) as dask:
        environment = {"DASK_SCHEDULER_ADDRESS": dask.address}

The scheduler is in this process, each worker is one of its own, started again when it dies, and
gone when this process is. A command submits its tasks to the scheduler: those of a command that
is killed are forgotten when its connection ends.
"""

# mypy: disable-error-code="import-not-found, no-untyped-call"
from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

_LOOPBACK: Final = "127.0.0.1"
_WORKER_MB: Final = 1024


class Dask:
    """A cluster that runs."""

    def __init__(self, running: Any) -> None:
        self._running = running

    @property
    def address(self) -> str:
        """Of its scheduler."""
        return str(self._running.scheduler_address)

    @property
    def workers(self) -> int:
        """How many workers are there now."""
        return len(self._running.scheduler.workers)


@asynccontextmanager
async def cluster(folder: Path, *, workers: int = 1) -> AsyncIterator[Dask]:
    """A cluster whose files are below `folder`."""
    import dask
    from distributed import LocalCluster

    logging.getLogger("distributed").setLevel(logging.WARNING)
    dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})
    async with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        asynchronous=True,
        host=_LOOPBACK,
        dashboard_address=f"{_LOOPBACK}:0",
        memory_limit=f"{_WORKER_MB}MiB",
        local_directory=str(folder),
        silence_logs=logging.WARNING,
    ) as running:
        yield Dask(running)
