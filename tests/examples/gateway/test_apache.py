"""The gateway on Apache's servers: the samples, and jobs while the leader is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

import coterie
from examples.gateway.__main__ import Gateway, Plan
from examples.gateway.check import User, check
from tests.compat.servers import Apache
from tests.examples.gateway import load
from tests.interop.ensembles import Ensemble

pytestmark = [
    pytest.mark.gateway,
    pytest.mark.skipif(Apache.missing() is not None, reason=Apache.missing() or ""),
]

_COUNTS: Final = (
    ("metadata", "", 2),
    ("api", "", 2),
    ("scheduler", "", 2),
    ("manager", "local", 2),
    ("manager", "dask", 1),
)
_JOBS: Final = 30
_ENDED_S_MAX: Final = 90.0


@pytest.mark.timeout(240)
def test_all_of_it_runs_on_apaches_servers(tmp_path: Path) -> None:
    with Ensemble(tmp_path / "ensemble", ["apache"] * 3) as ensemble:
        ensemble.start()
        coterie.run(_run(ensemble, tmp_path / "gateway"))
    ended = load.rows(tmp_path / "gateway", "SELECT state, count(*) FROM experiments GROUP BY 1")
    assert ended == [("done", _JOBS + 2)]
    assert load.rows(tmp_path / "gateway", "SELECT count(*) FROM results") == [(_JOBS + 2,)]


async def _run(ensemble: Ensemble, data: Path) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in ensemble.addresses())
    async with Gateway(Plan(data, hosts=hosts, counts=_COUNTS)) as gateway:
        await gateway.ready()
        said: list[str] = []
        assert await check(gateway.urls(), said.append), "\n".join(said)
        async with User("ada", gateway.urls) as user:
            await user.sign_in()
            await load.register(user)
            ids = []
            for number in range(_JOBS):
                ids.append(await load.submit(user, number))
                if number == _JOBS // 3:
                    leader = ensemble.leader()
                    ensemble.kill(leader)
                    gateway.supervisor.kill("manager-local-1")
                if number == 2 * _JOBS // 3:
                    await asyncio.to_thread(ensemble.start)
            problems = [
                await load.problem_of(user, job_id, number, _ENDED_S_MAX)
                for number, job_id in enumerate(ids)
            ]
            assert [problem for problem in problems if problem] == []
