"""THE test of the gateway: 200 jobs while every process is killed with -9, the leaders included.

What it says in the end: every job that was submitted has ended well, with the result that it has
to have; every result was recorded once; no answer that any user got was wrong (errors that say
that the same request may be sent again are no wrong answers).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

import coterie
from coterie.cli import ensemble
from examples.gateway.__main__ import Gateway, Plan
from examples.gateway.applications.catalogue import problem, sample_of
from examples.gateway.check import AnswerError, User
from examples.gateway.metadata import FILE
from examples.gateway.process import ROOT

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(420)]

JOBS: Final = 200
ALIGNMENTS: Final = 8
OUTBREAKS: Final = 6
USERS: Final = ("ada", "grace", "alan", "edsger")
END_S_MAX: Final = 240.0
KILL_EVERY_S: Final = 2.0
PORT: Final = 18_080

_BACKWARDS: Final = (
    "import sys, time; time.sleep(float(sys.argv[1]));"
    " open(sys.argv[3], 'wb').write(open(sys.argv[2], 'rb').read()[::-1])"
)


def _backwards(flavor: str) -> dict[str, Any]:
    """An application that takes a while and writes its input backwards."""
    return {
        "name": f"backwards-{flavor}",
        "version": "1.0",
        "flavor": flavor,
        "command": ["python", "-I", "-S", "-c", _BACKWARDS, "{seconds}", "{text}", "{result}"],
        "inputs": [{"name": "seconds", "type": "number"}, {"name": "text", "type": "file"}],
        "outputs": [{"name": "result", "type": "text"}],
    }


@dataclass
class Job:
    """What one user has submitted, and what it has to come to."""

    id: str
    application: str
    expected: bytes = b""
    answers: list[str] = field(default_factory=list)
    """The states that were seen, in order."""


class Crowd:
    """The users: what they have submitted, and what they have seen."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.jobs: list[Job] = []
        self.retried = 0
        self.answered: Counter[str] = Counter()

    async def submit(self, user: User, number: int) -> Job:
        if number < ALIGNMENTS:
            name, fields, files, expected = *_sample("align", {}), b""
        elif number < ALIGNMENTS + OUTBREAKS:
            name, fields, files, expected = *_sample("outbreak", {}), b""
        else:
            text = f"job {number} ".encode() * (1 + number % 50)
            flavor = "dask" if number % 15 == 0 else "local"
            name, expected = f"backwards-{flavor}", text[::-1]
            fields, files = {"seconds": f"{0.1 + number % 7 / 10:.1f}"}, {"text": ("t", text)}
        key = hashlib.sha256(f"{user.name} {number}".encode()).hexdigest()
        made = await user.submit(name, fields, files, key)
        if number % 10 == 0:
            # Sent again, as by one who heard nothing, it is the same experiment.
            again = await user.submit(name, fields, files, key)
            assert again["id"] == made["id"]
        job = Job(made["id"], name, expected)
        self.jobs.append(job)
        return job

    async def watch(self, user: User, job: Job) -> None:
        """Look until it has ended: it never goes back from there, and the result is right."""
        ended = await user.ended(job.id, END_S_MAX)
        assert ended["state"] == "done", f"{job}: {ended}"
        outputs = {
            output["name"]: await user.output(job.id, output["name"])
            for output in ended["outputs"]
        }
        if job.expected:
            assert outputs == {"result": job.expected}, job
        else:
            assert problem(job.application, outputs) is None, job
        again = await user.experiment(job.id)
        assert (again["state"], again["outputs"]) == ("done", ended["outputs"])

    async def work(self, name: str, numbers: range, seconds: float) -> None:
        """One user: submits one after the other over some time, and watches all of them."""
        async with User(name, self.gateway.urls, patience_s=90.0) as user:
            await user.sign_in()
            watching = []
            for number in numbers:
                job = await self.submit(user, number)
                watching.append(asyncio.ensure_future(self.watch(user, job)))
                await asyncio.sleep(seconds / len(numbers))
            await asyncio.gather(*watching)
            listed = await user.ask("GET", f"/api/v1/experiments?limit=500&of={name}")
            ids = [one["id"] for one in listed.json()["experiments"]]
            assert len(ids) == len(set(ids)) == len(numbers)
            self.retried += user.retried
            self.answered += user.answered


def _sample(
    name: str, more: dict[str, str]
) -> tuple[str, dict[str, str], dict[str, tuple[str, bytes]]]:
    sample = sample_of(name)
    files = {
        field: (file["name"], file["text"].encode()) for field, file in sample["files"].items()
    }
    return name, {**sample["fields"], **more}, files


async def _intruder(gateway: Gateway, done: asyncio.Event) -> int:
    """One who has no token is never let in, whoever is dead at the moment."""
    tries = 0
    async with User("mallory", gateway.urls) as user:
        while not done.is_set():
            with pytest.raises(AnswerError, match="401 no_token"):
                await user.ask("GET", "/api/v1/experiments")
            tries += 1
            await asyncio.sleep(0.5)
    return tries


def _leading_server(gateway: Gateway) -> str | None:
    for child in gateway.of_kind("coterie"):
        port = int(child.spec.address.rpartition(":")[2])
        if ensemble.read_answer(ensemble.ask(port)).mode == "leader":
            return child.spec.name
    return None


async def _all_servers_serve(gateway: Gateway) -> None:
    async with asyncio.timeout(60):
        while True:
            modes = []
            for child in gateway.of_kind("coterie"):
                port = int(child.spec.address.rpartition(":")[2])
                answer = await asyncio.to_thread(ensemble.ask, port)
                modes.append(ensemble.read_answer(answer).mode)
            if sorted(modes) == ["follower", "follower", "leader"]:
                return
            await asyncio.sleep(0.1)


async def _kill_all(gateway: Gateway, dice: random.Random) -> list[str]:
    """Kill every process once, and the ensemble's leader among its servers; who was killed."""
    killed: list[str] = []
    names = [n for n, c in gateway.supervisor.children.items() if c.spec.kind != "coterie"]
    dice.shuffle(names)
    servers = [child.spec.name for child in gateway.of_kind("coterie")]
    while names or servers:
        if servers and (not names or len(killed) % 4 == 1):
            # One at a time: a majority is what an ensemble has to have.
            await _all_servers_serve(gateway)
            leader = await asyncio.to_thread(_leading_server, gateway)
            name = leader if leader in servers else servers[0]
            assert killed or leader is not None
            servers.remove(name)
        else:
            name = names.pop()
        async with asyncio.timeout(60):
            while not gateway.supervisor[name].alive:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        gateway.supervisor.kill(name)
        killed.append(name)
        await asyncio.sleep(KILL_EVERY_S)
    return killed


async def _set_up(gateway: Gateway) -> None:
    await gateway.ready()
    async with coterie.connect(gateway.hosts) as zk:
        settings = json.dumps({"slots": 4, "waiting": 4}).encode()
        await zk.create(f"{ROOT}/config/manager", settings, parents=True)
    async with User("ada", gateway.urls) as user:
        await user.sign_in()
        for flavor in ("local", "dask"):
            await user.ask("POST", "/api/v1/applications", json=_backwards(flavor))


async def _run(data: Path, hosts: str = "") -> tuple[Crowd, list[str], int]:
    dice = random.Random(2026)
    async with Gateway(Plan(data, port=PORT, hosts=hosts)) as gateway:
        await _set_up(gateway)
        crowd = Crowd(gateway)
        done = asyncio.Event()
        intruding = asyncio.ensure_future(_intruder(gateway, done))
        share = JOBS // len(USERS)
        seconds = KILL_EVERY_S * len(gateway.supervisor.children)
        users = [
            crowd.work(name, range(turn * share, (turn + 1) * share), seconds)
            for turn, name in enumerate(USERS)
        ]
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(user) for user in users]
            killing = group.create_task(_kill_all(gateway, dice))
            await asyncio.wait(working)
        done.set()
        tries = await intruding
        kills = {name: child.kills for name, child in gateway.supervisor.children.items()}
        assert min(kills.values()) >= 1, kills
        assert crowd.answered.keys() == set(gateway.urls())
        assert min(crowd.answered.values()) > JOBS
        return crowd, killing.result(), tries


def test_two_hundred_jobs_outlive_all_kills(tmp_path: Path) -> None:
    crowd, killed, tries = asyncio.run(_run(tmp_path))
    database = sqlite3.connect(tmp_path / FILE)
    try:
        states = Counter(
            dict(database.execute("SELECT state, count(*) FROM experiments GROUP BY state"))
        )
        results = database.execute("SELECT experiment, state, token FROM results").fetchall()
        tokens = dict(database.execute("SELECT id, token FROM experiments").fetchall())
        attempts = database.execute(
            "SELECT count(*), max(attempts) FROM experiments WHERE attempts > 1"
        ).fetchone()
    finally:
        database.close()
    assert states == {"done": JOBS}
    assert len(results) == len({row[0] for row in results}) == JOBS
    assert {job.id for job in crowd.jobs} == tokens.keys()
    # What is recorded is of the newest claim that was ever seen.
    assert all(state == "done" and tokens[id] == token for id, state, token in results)
    assert tries
    print(
        f"{JOBS} jobs done; killed: {', '.join(killed)}; {attempts[0]} jobs had more than one"
        f" attempt (at most {attempts[1]}); {crowd.retried} requests were sent again"
    )
