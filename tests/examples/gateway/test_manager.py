"""A manager's jobs against a real server and the real store of experiments: one end for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

import coterie
from coterie.gateway.component import Component, Identity
from coterie.gateway.fencing import StaleTokenError
from coterie.testing.cluster import Server
from examples.gateway.application import Application, Input, Output
from examples.gateway.files import DataStore
from examples.gateway.manager.__main__ import app
from examples.gateway.manager.jobs import BusyError, Job, Jobs, KnownError, Settings
from examples.gateway.metadata_client import Metadata, UnavailableError
from examples.gateway.store import StaleClaimError, Store

pytestmark = pytest.mark.gateway

_WAIT_S_MAX = 20.0
_SORT = Application(
    name="sort",
    version="1.0",
    command=("sort", "-o", "{sorted.txt}", "{lines}"),
    inputs=(Input("lines", "file"),),
    outputs=(Output("sorted.txt", "text"),),
)
_SHELL = Application(
    name="shell",
    version="1.0",
    command=("sh", "-c", "{script}"),
    inputs=(Input("script"),),
    outputs=(Output("out"),),
)


class _Here:
    """The metadata servers' part, without them; answers are lost as often as is wished."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "experiments.sqlite")
        self.lost_answers = 0
        self.recorded: list[str] = []
        for application in (_SORT, _SHELL):
            self.write("register", application=application.as_json(), user="ada")

    def write(self, operation: str, **arguments: Any) -> Any:
        try:
            return self.store.write(1, operation, arguments)
        except StaleClaimError as stale:
            raise StaleTokenError(str(stale), stale.token, stale.newest) from None

    def create(self, job: Job) -> None:
        self.write(
            "create",
            id=job.id,
            user="ada",
            key=job.id,
            digest="",
            application=job.application.name,
            version="1.0",
            inputs=dict(job.inputs),
        )

    def job(self, job_id: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self.store.read("job", {"job_id": job_id}))

    async def started(self, job_id: str, token: int, manager: str) -> bool:
        return bool(self.write("started", job_id=job_id, token=token, manager=manager))

    async def progress(self, job_id: str, token: int, text: str) -> None:
        self.write("progress", job_id=job_id, token=token, text=text)

    async def record(
        self,
        job_id: str,
        token: int,
        state: str,
        message: str,
        outputs: Sequence[Mapping[str, Any]],
    ) -> None:
        self.recorded.append(job_id)
        self.write(
            "record", job_id=job_id, token=token, state=state, message=message, outputs=outputs
        )
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnavailableError("nobody answers")


class _Place:
    """Where a test's managers work."""

    def __init__(self, hosts: str, folder: Path) -> None:
        self.hosts = hosts
        self.folder = folder
        self.metadata = _Here(folder)
        self.files = DataStore(folder / "files")

    @asynccontextmanager
    async def manager(self, name: str) -> AsyncIterator[tuple[coterie.Client, Jobs]]:
        async with (
            coterie.connect(self.hosts, session_timeout_s=4) as zk,
            Component(
                zk, Identity("manager", "1.0", "127.0.0.1", 1, id=name), Settings
            ) as component,
        ):
            metadata = cast(Metadata, self.metadata)
            jobs = Jobs(component, metadata, self.files, self.folder / name)
            async with jobs.kept():
                yield zk, jobs

    def sort(self, text: str, job_id: str = "e-1") -> Job:
        job = Job(job_id, _SORT, {"lines": {"file": "lines.txt"}})
        self.files.put_input(job_id, "lines", BytesIO(text.encode()))
        self.metadata.create(job)
        return job

    def shell(self, script: str, job_id: str = "e-1") -> Job:
        job = Job(job_id, _SHELL, {"script": script})
        self.metadata.create(job)
        return job

    def output(self, job_id: str, name: str) -> bytes:
        token = self.metadata.store._connection.execute(
            "SELECT token FROM results WHERE experiment = ?", (job_id,)
        ).fetchone()[0]
        return self.files.output_path(job_id, token, name).read_bytes()


@pytest.fixture
def place(coterie_server: Server, tmp_path: Path) -> Any:
    made = _Place(coterie_server.hosts, tmp_path)
    yield made
    made.metadata.store.close()


def _run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_WAIT_S_MAX):
            await main()

    coterie.run(bounded())


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(int(_WAIT_S_MAX * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def _ended(place: _Place, job: Job) -> dict[str, Any]:
    """Run one job to its end."""

    async def main() -> None:
        async with place.manager("manager-1") as (zk, jobs):
            jobs.take(job)
            await jobs.drained()
            assert await zk.children("/gateway/claims") == [], "claims of ended jobs are left"

    _run(main)
    return place.metadata.job(job.id)


def test_a_job_ends_with_its_result(place: _Place) -> None:
    told = _ended(place, place.sort("c\na\nb\n"))
    assert (told["state"], told["message"], told["manager"]) == ("done", "", "manager-1")
    assert told["outputs"] == [{"name": "sorted.txt", "size": 6, "type": "text"}]
    assert place.output("e-1", "sorted.txt") == b"a\nb\nc\n"
    assert list((place.folder / "manager-1").iterdir()) == []


def test_what_it_said_is_told(place: _Place) -> None:
    told = _ended(place, place.shell("echo no such sequence; exit 3"))
    assert (told["state"], told["log"]) == ("failed", "no such sequence\n")
    assert told["message"] == "it ended with status 3: no such sequence"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("true", "it made no out"),
        ("ln -s /etc/hostname out", "out is no file"),
        ("mkfifo out", "out is no file"),
    ],
)
def test_an_output_has_to_be_there(place: _Place, script: str, message: str) -> None:
    told = _ended(place, place.shell(script))
    assert (told["state"], told["message"]) == ("failed", message)


def test_an_input_that_is_lost_is_a_failure(place: _Place) -> None:
    job = place.sort("a\n")
    place.files.forget(job.id)
    told = _ended(place, job)
    assert told["state"] == "failed"
    assert "inputs cannot be had" in told["message"]


def test_a_command_has_copies_of_the_inputs(place: _Place) -> None:
    job = place.sort("b\na\n")
    job.application = Application(
        name="sort",
        version="1.0",
        command=("sort", "-o", "{lines}", "{lines}"),
        inputs=(Input("lines", "file"),),
    )
    assert _ended(place, job)["state"] == "done"
    assert place.files.input_path("e-1", "lines").read_bytes() == b"b\na\n"


def test_an_end_is_recorded_until_it_is_known(place: _Place) -> None:
    job = place.sort("a\n")
    place.metadata.lost_answers = 2
    assert _ended(place, job)["state"] == "done"
    assert place.metadata.recorded == ["e-1"] * 3


def test_who_loses_the_claim_stops_and_another_takes_over(
    place: _Place, coterie_server: Server
) -> None:
    job = place.shell(f"echo x >> {place.folder}/begun; cat {place.folder}/wait; echo 1 > out")
    again = Job(job.id, job.application, job.inputs, 2)
    begun, wait = place.folder / "begun", place.folder / "wait"

    async def main() -> None:
        await asyncio.create_subprocess_exec("mkfifo", str(wait))
        async with place.manager("m-1") as (zk, one), place.manager("m-2") as (_, two):
            one.take(job)
            await _until(begun.exists)
            two.take(again)
            # It stands in line: the claim is the first one's.
            await _until(lambda: "e-1" in two.ids)
            assert place.metadata.job("e-1")["manager"] == "m-1"
            await asyncio.to_thread(coterie_server.expire, zk.session_id)
            await one.drained()
            assert place.metadata.job("e-1")["state"] == "running"
            await _until(lambda: begun.read_text() == "x\nx\n")
            await asyncio.to_thread(wait.write_text, "")
            await two.drained()

    _run(main)
    told = place.metadata.job("e-1")
    assert (told["state"], told["manager"]) == ("done", "m-2")
    assert place.metadata.recorded == ["e-1"]
    assert place.output("e-1", "out") == b"1\n"


def test_a_job_that_was_cancelled_is_stopped(place: _Place) -> None:
    job = place.shell("echo; sleep 600")

    async def main() -> None:
        async with place.manager("m-1") as (_, jobs):
            jobs.take(job)
            await _until(lambda: place.metadata.job("e-1")["log"] == "\n")
            place.metadata.write("cancel", job_id="e-1", user="ada")
            assert jobs.cancel("e-1")
            await jobs.drained()
            assert not jobs.cancel("e-1")

    _run(main)
    assert place.metadata.job("e-1")["state"] == "cancelled"
    assert place.metadata.recorded == []


def test_a_job_that_has_ended_is_not_run(place: _Place) -> None:
    job = place.shell(f"touch {place.folder}/ran")
    place.metadata.write("cancel", job_id="e-1", user="ada")
    assert _ended(place, job)["state"] == "cancelled"
    assert not (place.folder / "ran").exists()


def test_it_takes_what_it_can_do_and_no_more(place: _Place) -> None:
    async def main() -> None:
        async with place.manager("m-1") as (_, jobs):
            for number in range(4):
                jobs.take(place.shell("sleep 600", f"e-{number}"))
            with pytest.raises(KnownError):
                jobs.take(Job("e-2", _SHELL, {}))
            with pytest.raises(BusyError):
                jobs.take(Job("e-9", _SHELL, {}))
            assert jobs.ids == ["e-0", "e-1", "e-2", "e-3"]

    _run(main)
    assert place.metadata.recorded == []


def test_who_drains_takes_nothing_and_ends_what_it_has(place: _Place) -> None:
    job = place.shell("sleep 0.2; touch out")

    async def main() -> None:
        async with place.manager("m-1") as (_, jobs):
            jobs.take(job)
            await jobs._component.drain()
            with pytest.raises(BusyError, match="drains"):
                jobs.take(Job("e-2", _SHELL, {}))
            await jobs.drained()

    _run(main)
    assert place.metadata.job("e-1")["state"] == "done"


def test_what_a_scheduler_is_answered(place: _Place) -> None:
    job = place.shell("sleep 600")
    told = {"id": job.id, "application": _SHELL.as_json(), "inputs": job.inputs, "attempt": 1}

    async def main() -> None:
        async with place.manager("m-1") as (_, jobs):
            transport = httpx.ASGITransport(app(jobs))
            async with httpx.AsyncClient(transport=transport, base_url="http://m") as http:
                assert (await http.post("/jobs", json=told)).status_code == 202
                assert (await http.post("/jobs", json=told)).status_code == 409
                assert (await http.get("/jobs")).json() == ["e-1"]
                wrong = await http.post("/jobs", json=told | {"inputs": {"script": 1}})
                assert wrong.status_code == 400
                assert (await http.post("/jobs", content=b"{")).status_code == 400
                outside = await http.post("/jobs", json=told | {"id": "../e-1"})
                assert outside.status_code == 400
                assert (await http.post("/jobs/e-2/cancel")).status_code == 404
                assert (await http.post("/jobs/e-1/cancel")).status_code == 202
                await jobs.drained()
                await jobs._component.drain()
                busy = await http.post("/jobs", content=json.dumps(told))
                assert busy.status_code == 503
                assert "retry-after" in busy.headers

    _run(main)
