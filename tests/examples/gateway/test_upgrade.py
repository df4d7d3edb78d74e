"""A rolling upgrade under load: no job is lost by it, and what fits nobody is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
import pytest

import coterie
from coterie.gateway.directory import Directory
from examples.gateway.__main__ import Gateway, Plan
from examples.gateway.check import User
from examples.gateway.process import INCOMPATIBLE
from tests.examples.gateway import load

pytestmark = pytest.mark.gateway

_COUNTS: Final = (
    ("metadata", "", 2),
    ("api", "", 2),
    ("scheduler", "", 1),
    ("manager", "local", 2),
)
_UPGRADED: Final = (
    ("manager", "manager-local-1"),
    ("api", "api-1"),
    ("manager", "manager-local-2"),
    ("api", "api-2"),
)
_EVERY_S: Final = 0.2
_ENDED_S_MAX: Final = 60.0
_HTTP_S_MAX: Final = 60.0


@pytest.mark.timeout(180)
def test_managers_and_api_servers_go_from_version_1_to_2_under_load(tmp_path: Path) -> None:
    coterie.run(_upgrade(tmp_path))
    assert load.rows(tmp_path, "SELECT sum(lost), count(*) - count(ended) FROM experiments") == [
        (0, 0)
    ], "a job was lost on the way"


async def _upgrade(data: Path) -> None:
    plan = Plan(data, counts=_COUNTS)
    async with Gateway(plan) as gateway:
        await gateway.ready()
        control = f"http://127.0.0.1:{gateway.control_port}"
        async with (
            User("ada", gateway.urls) as user,
            httpx.AsyncClient(base_url=control, timeout=_HTTP_S_MAX, trust_env=False) as http,
            coterie.connect(gateway.hosts) as zk,
            Directory(zk) as directory,
        ):
            await user.sign_in()
            await load.register(user)
            async with load.steady_load(user, _EVERY_S) as ids:
                await load.until(lambda: len(ids) >= 3)
                for kind, name in _UPGRADED:
                    answer = await http.post(f"/upgrade/{name}", json={"version": "2.0.0"})
                    assert answer.is_success, answer.text
                    try:
                        await _found(directory, kind, name, "2.0.0")
                    except TimeoutError:
                        pytest.fail(
                            f"{name} is not found: {gateway.supervisor[name].last_words()}"
                        )
                before = len(ids)
                await _refused(gateway, http, directory)
                # Of what came after it, all is done by the new version.
                await load.until(lambda: len(ids) >= before + 5)
            problems = [
                await load.problem_of(user, job_id, number, _ENDED_S_MAX)
                for number, job_id in ids.items()
            ]
            assert [problem for problem in problems if problem] == []


async def _refused(gateway: Gateway, http: httpx.AsyncClient, directory: Directory) -> None:
    """A manager of version 3, which the scheduler does not speak, is refused and says why."""
    added = await http.post(
        "/add", json={"kind": "manager", "flavor": "local", "version": "3.0.0"}
    )
    assert added.is_success, added.text
    child = gateway.supervisor[added.json()["name"]]
    await load.until(lambda: child.refused)
    assert child.status == INCOMPATIBLE
    said = child.last_words()
    assert "3.0.0" in said
    assert "scheduler" in said
    assert ">=1,<3" in said
    assert {one.version for one in directory.everyone("manager")} == {"2.0.0"}


async def _found(directory: Directory, kind: str, name: str, version: str) -> None:
    await load.until(
        lambda: any((one.id, one.version) == (name, version) for one in directory.find(kind))
    )
