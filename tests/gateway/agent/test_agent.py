"""The host agent over real connections: files follow the tree, and stay when it is away."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import NotConnectedError
from coterie.gateway.agent.agent import Agent, AgentError, confirm, read_plan, read_status
from coterie.gateway.agent.kept import HELD
from coterie.gateway.agent.subscriptions import Plan
from coterie.recipes.discovery import Discovery
from coterie.system.files import OSFiles
from coterie.testing.cluster import Server
from tests.conftest import Connect
from tests.recipes.patience import eventually

_NOWHERE = "127.0.0.1:1"


def _write(folder: Path, text: str) -> str:
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


_BASIC = """
[[settings]]
znode = "/gateway/config/api"
file = "api.json"
check = "json"

[[servers]]
kind = "manager"
file = "managers.txt"
jitter = 0
flaps = 100
"""


def _connect(plan: Plan) -> Client:
    return coterie.connect(plan.hosts, session_timeout_s=5.0, call_timeout_s=5.0)


@asynccontextmanager
async def _running(agent: Agent) -> AsyncIterator[Agent]:
    working = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _there(agent: Agent) -> dict[str, bool]:
    return {one.file: one.there for one in agent.status().files}


def _version(path: Path) -> Any:
    return json.loads(_text(path.with_name(f"{path.name}.version")))


async def _offer(zk: Client, count: int) -> None:
    """As a program of another language would; nobody makes them again when they are deleted."""
    for number in range(count):
        entry = json.dumps({"version": "2.0", "host": f"h{number}", "port": 80})
        path = f"/gateway/services/manager/m{number}"
        await zk.create(path, entry.encode(), ephemeral=True, parents=True)


async def test_files_follow_the_tree(connect: Connect, hosts: str, tmp_path: Path) -> None:
    agent = Agent(_write(tmp_path, _BASIC), _connect, hosts=hosts)
    api, managers = tmp_path / "api.json", tmp_path / "managers.txt"
    async with connect() as zk, _running(agent):
        await zk.create("/gateway/config/api", b'{"workers": 4}', parents=True)
        await eventually(lambda: _text(api) == '{"workers": 4}')
        stat = await zk.set("/gateway/config/api", b'{"workers": 5}')
        await eventually(lambda: _text(api) == '{"workers": 5}')
        await _offer(zk, 3)
        await eventually(lambda: _text(managers) == "h0:80\nh1:80\nh2:80\n")
        await eventually(
            lambda: all(one.word(agent.status().beat_ms) == "good" for one in agent.status().files)
        )
        version = _version(api)
        assert (version["zxid"], version["version"]) == (stat.mzxid, 1)
        await zk.delete("/gateway/services/manager/m1")
        await eventually(lambda: _text(managers) == "h0:80\nh2:80\n")
        gone = await zk.exists("/gateway/services/manager")
        assert gone is not None
        zxid = gone.pzxid
        # It is written after the file.
        await eventually(lambda: _version(managers)["zxid"] >= zxid)
        assert len(_version(managers)["members"]) == 2


async def test_what_is_subscribed_to_is_data_as_well(
    connect: Connect, hosts: str, tmp_path: Path
) -> None:
    text = '[agent]\nfollow = "/gateway/agents/web"\ndirectory = "files"\n' + _BASIC
    agent = Agent(_write(tmp_path, text), _connect, hosts=hosts)
    folder = tmp_path / "files"
    more = '[[settings]]\nznode = "/more"\nfile = "more"\n'
    async with connect() as zk, _running(agent):
        await zk.create("/more", b"one")
        await zk.create("/gateway/agents/web", more.encode(), parents=True)
        await eventually(lambda: _text(folder / "more") == "one")
        # One that makes no sense changes nothing.
        for bad in (
            "[[settings]",
            more.replace('"more"', '"../x"'),
            more.replace("more", "api.json"),
        ):
            await zk.set("/gateway/agents/web", bad.encode())
        await eventually(
            lambda: any(
                f.state == "failing" and "agents/web" in f.source for f in agent.status().files
            )
        )
        await zk.set("/more", b"two")
        await eventually(lambda: _text(folder / "more") == "two")
        assert not (tmp_path / "x").exists()
        # Nobody subscribes any more: the file stays, and follows no more.
        await zk.set("/gateway/agents/web", b"")
        await eventually(lambda: "more" not in {one.file for one in agent.status().files})
        await zk.set("/more", b"three")
        await zk.create("/gateway/config/api", b"{}", parents=True)
        await eventually(lambda: _text(folder / "api.json") == "{}")
        assert _text(folder / "more") == "two"
        await zk.set("/gateway/agents/web", more.encode())
        await eventually(lambda: _text(folder / "more") == "three")
    # Known without any server.
    alone = Agent(agent.file, _connect, hosts=_NOWHERE)
    async with _running(alone):
        await eventually(lambda: {"more": True}.items() <= _there(alone).items())


async def test_the_local_file_is_read_anew(connect: Connect, hosts: str, tmp_path: Path) -> None:
    file = _write(tmp_path, _BASIC)
    agent = Agent(file, _connect, hosts=hosts)
    async with connect() as zk, _running(agent):
        await zk.create("/b", b"two")
        await zk.create("/gateway/config/api", b"{}", parents=True)
        await eventually(lambda: _text(tmp_path / "api.json") == "{}")
        _write(tmp_path, "[[settings]")
        agent.read_again()
        assert agent.status().problems
        assert len(agent.status().files) == 2
        _write(
            tmp_path,
            _BASIC.replace("/gateway/config/api", "/b").replace('"json"', '"toml"')
            + '[[settings]]\nznode = "/b"\nfile = "b"',
        )
        agent.read_again()
        assert not agent.status().problems
        await eventually(lambda: _text(tmp_path / "b") == "two")
        # `two` is no TOML: the file stays.
        assert _text(tmp_path / "api.json") == "{}"


async def test_once_writes_all_and_runs_the_command(
    connect: Connect, hosts: str, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    text = f"""
    [commands]
    tell = [{sys.executable!r}, "-S", "-c", "open({str(note)!r}, 'a').write('x')"]
    """
    agent_file = _write(tmp_path, text + _BASIC + 'reload = "tell"\n')
    async with connect() as zk:
        problems = await Agent(agent_file, _connect, hosts=hosts).once()
        assert problems == [
            f"{tmp_path}/api.json: the znode is not there",
            f"{tmp_path}/managers.txt: nobody offers it yet",
        ]
        await zk.create("/gateway/config/api", b"{}", parents=True)
        await _offer(zk, 6)
        for _ in range(2):
            assert await Agent(agent_file, _connect, hosts=hosts).once() == []
        # The second time nothing had changed.
        assert _text(note) == "x"
        for number in range(4):
            await zk.delete(f"/gateway/services/manager/m{number}")
        problems = await Agent(agent_file, _connect, hosts=hosts).once()
        assert problems == [f"{tmp_path}/managers.txt: only 2 of 6 are left: held"]
        assert len(_text(tmp_path / "managers.txt").split()) == 6
    with pytest.raises(NotConnectedError):
        await Agent(
            agent_file,
            lambda plan: coterie.connect(plan.hosts, call_timeout_s=0.3),
            hosts=_NOWHERE,
        ).once()


async def test_an_operator_confirms_through_files(
    connect: Connect, hosts: str, tmp_path: Path
) -> None:
    file = _write(tmp_path, _BASIC)
    plan, files = read_plan(file, OSFiles()), OSFiles()
    agent = Agent(file, _connect, hosts=hosts)
    async with connect() as zk:
        await _offer(zk, 6)
        async with _running(agent):
            await eventually(lambda: len(_text(tmp_path / "managers.txt").split()) == 6)
            with pytest.raises(AgentError, match="there is nothing to confirm"):
                confirm(plan, files, "managers.txt")
            with pytest.raises(AgentError, match="nobody subscribes to x"):
                confirm(plan, files, "x")
            for number in range(5):
                await zk.delete(f"/gateway/services/manager/m{number}")

            def offered() -> bool:
                (one,) = [f for f in read_status(plan, files).files if f.file == "managers.txt"]
                return one.state == HELD and "1 of 6" in one.reason

            await eventually(offered)
            # It may have gone down to three by itself, one after the other.
            assert len(_text(tmp_path / "managers.txt").split()) >= 3
            assert confirm(plan, files, "managers.txt") == "only 1 of 6 are left: held"
            await eventually(lambda: _text(tmp_path / "managers.txt") == "h5:80\n")


async def test_two_agents_do_not_write_one_folder(hosts: str, tmp_path: Path) -> None:
    file = _write(tmp_path, _BASIC)
    async with _running(Agent(file, _connect, hosts=hosts)) as first:
        await eventually(lambda: first.status().connected)
        with pytest.raises(AgentError, match="another agent works in"):
            await Agent(file, _connect, hosts=hosts).run()
    assert await Agent(file, _connect, hosts=hosts).once()


async def test_a_host_may_be_found(connect: Connect, hosts: str, tmp_path: Path) -> None:
    agent = Agent(_write(tmp_path, "[agent]\npage = 0\nregister = true\n"), _connect, hosts=hosts)
    agent.port = 8090
    async with connect() as zk, Discovery(zk, "/gateway/services") as found:
        async with _running(agent):
            await eventually(lambda: bool(found.find("agent")))
            one = found.choose("agent")
            assert (one.port, one.metadata["stale"]) == (8090, 0)
        await eventually(lambda: not found.find("agent"))


async def test_files_outlive_the_servers(tmp_path: Path) -> None:
    file = _write(tmp_path, _BASIC)
    api, managers = tmp_path / "api.json", tmp_path / "managers.txt"
    with Server() as server:
        agent = Agent(file, _connect, hosts=server.hosts)
        async with coterie.connect(server.hosts, session_timeout_s=60) as zk, _running(agent):
            await zk.create("/gateway/config/api", b"1", parents=True)
            await _offer(zk, 6)
            await eventually(lambda: len(_text(managers).split()) == 6 and _text(api) == "1")
            await asyncio.to_thread(server.kill)
            await eventually(lambda: not agent.status().connected)
            assert (_text(api), len(_text(managers).split())) == ("1", 6)
            await asyncio.to_thread(server.start)
            await zk.set("/gateway/config/api", b"2")
            await eventually(lambda: _text(api) == "2")
            await asyncio.to_thread(server.kill)
        # A start without any server: the files are there, and known.
        async with _running(Agent(file, _connect, hosts=server.hosts)) as again:
            await eventually(lambda: [one.there for one in again.status().files] == [True] * 2)
            assert (_text(api), len(_text(managers).split())) == ("2", 6)
            # The servers have lost their data, and nobody offers anything there.
            await asyncio.to_thread(server.wipe)
            await asyncio.to_thread(server.start)
            await eventually(lambda: again.status().connected)
            async with coterie.connect(server.hosts) as zk:
                await zk.create("/gateway/config/api", b"3", parents=True)
                await eventually(lambda: _text(api) == "3")
                await eventually(lambda: again.status().files[1].state == HELD)
            assert len(_text(managers).split()) == 6


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is not there"),
        ("[agent", "agent.toml: Expected"),
        ('[[servers]]\nkind = "a"', r"agent.toml: \[\[servers\]\] 1: file is missing"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    file = str(tmp_path / "agent.toml") if content is None else _write(tmp_path, content)
    with pytest.raises(AgentError, match=complaint):
        Agent(file, _connect)


def test_before_an_agent_has_worked_there_is_no_status(tmp_path: Path) -> None:
    plan = read_plan(_write(tmp_path, _BASIC), OSFiles())
    with pytest.raises(AgentError, match="no agent has ever worked in"):
        read_status(plan, OSFiles())
    (tmp_path / ".coterie-agent").mkdir()
    (tmp_path / ".coterie-agent" / "status.json").write_text("{")
    with pytest.raises(AgentError, match=r"status\.json: "):
        read_status(plan, OSFiles())
