"""A manager's Dask cluster: it is there for commands, mends itself, and goes with its manager."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import coterie
from examples.gateway.applications import catalogue
from examples.gateway.manager.cluster import Dask, cluster
from examples.gateway.manager.sandbox import TOP, Limits, Sandbox
from tests.examples.gateway import load

pytestmark = pytest.mark.gateway

_STARTED_S_MAX = 30.0


def _worker_pids(parent: int) -> list[int]:
    """The processes that run Dask's workers for a process."""
    return [
        int(number)
        for task in Path(f"/proc/{parent}/task").iterdir()
        for number in (task / "children").read_text().split()
        if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def _fit(dask: Dask, folder: Path) -> dict[str, bytes]:
    """Run the sample of the outbreak, as a manager does."""
    sample = catalogue.sample_of("outbreak")
    sandbox = Sandbox(folder, Limits(network=True))
    (sandbox.work / "inputs").mkdir(parents=True)
    (sandbox.work / "inputs" / "counts").write_text(sample["files"]["counts"]["text"])
    inputs = catalogue.OUTBREAK.check_inputs(sample["fields"], {"counts": "counts.csv"})
    environment = {"DASK_SCHEDULER_ADDRESS": dask.address}
    ended = await sandbox.run(catalogue.OUTBREAK.command_line(inputs), environment)
    assert ended.problem == "", sandbox.tail()
    assert dask.address in sandbox.tail(), "it was computed elsewhere"
    return {
        output.name: (sandbox.work / output.name).read_bytes()
        for output in catalogue.OUTBREAK.outputs
    }


@asynccontextmanager
async def _mended(dask: Dask) -> AsyncIterator[None]:
    """Kill the worker, and wait until another has taken its place."""
    (worker,) = _worker_pids(os.getpid())
    os.kill(worker, signal.SIGKILL)
    await load.until(lambda: dask.workers == 0)
    yield
    await load.until(lambda: dask.workers == 1)
    assert _worker_pids(os.getpid()) != [worker]


def test_a_sweep_is_computed_by_it_whatever_becomes_of_a_worker(tmp_path: Path) -> None:
    async def main() -> dict[str, Any]:
        async with cluster(tmp_path / "dask") as dask:
            assert dask.address.startswith("tcp://127.0.0.1:")
            async with _mended(dask):
                # It waits for the worker that comes.
                return await _fit(dask, tmp_path / "job")

    assert catalogue.problem("outbreak", coterie.run(main())) is None


def test_it_is_gone_when_its_manager_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, coterie, pathlib\n"
        "from examples.gateway.manager.cluster import cluster\n"
        "async def main():\n"
        f"    async with cluster(pathlib.Path({str(tmp_path)!r})) as dask:\n"
        "        print(dask.workers, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    coterie.run(main())\n"
    )
    (tmp_path / "manager.py").write_text(program)
    command = [sys.executable, str(tmp_path / "manager.py")]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as manager:
        assert manager.stdout is not None
        assert manager.stdout.readline() == b"1\n"
        workers = _worker_pids(manager.pid)
        assert workers
        manager.kill()
    coterie.run(load.until(lambda: all(map(_is_gone, workers)), _STARTED_S_MAX))
