"""What the commands that run others are held by: each is the recipe of that name."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from coterie.client.blocking import BlockingClient
from coterie.gateway.component import ask_to_drain
from coterie.gateway.directory import Directory
from coterie.recipes.discovery import Discovery
from coterie.recipes.election import Election
from coterie.recipes.lock import Lock
from coterie.testing.cluster import Server, until
from tests.cli.conftest import ended, line

Start = Callable[..., "subprocess.Popen[str]"]

_FOR_EVER = (
    "exec 2>/dev/null; trap 'echo ended; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
)
_LOOP = ["sh", "-c", _FOR_EVER]


def test_others_read_who_holds_the_lock(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    start = start_command("lock", "/a", "--name", "me", "--", *_LOOP)
    assert line(start) == "ready"
    lock = Lock(coterie_client, "/a")
    assert coterie_client.run(lock.contenders()) == [b"me"]


def test_the_elected_runs_and_then_the_next(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    first = start_command("elect", "/a", "--name", "one", "--", *_LOOP)
    assert line(first) == "ready"
    second = start_command("elect", "/a", "--name", "two", "--", *_LOOP)
    until(lambda: len(coterie_client.children("/a")) == 2, "a second candidate")
    election = Election(coterie_client, "/a")
    leader = coterie_client.run(election.leader())
    assert leader is not None
    assert leader.identifier == b"one"
    first.send_signal(signal.SIGTERM)
    assert line(first) == "ended"
    assert line(second) == "ready"
    after = coterie_client.run(election.leader())
    assert after is not None
    assert (after.identifier, after.token > leader.token) == (b"two", True)
    assert ended(first) == (0, "")


@pytest.mark.slow
def test_who_does_not_want_to_wait_is_not_elected(start_command: Start) -> None:
    first = start_command("elect", "/a", "--", *_LOOP)
    assert line(first) == "ready"
    assert ended(start_command("elect", "-w", "0", "/a", "--", "true"))[0] == 124


_REGISTER = ["register", "web", "--port", "80"]


def test_a_service_is_found_while_it_runs(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    told = ["--host", "h", "--version", "1.2", "--flavor", "gpu", "--meta", "zone=eu=1"]
    process = start_command(*_REGISTER, *told, "--", *_LOOP)
    assert line(process) == "ready"
    with Discovery(coterie_client, "/services") as services:
        (found,) = services.find("web", ">=1")
        assert (found.address, found.version, found.flavor) == ("h:80", "1.2", "gpu")
        assert found.metadata == {"zone": "eu=1"}
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "")
    assert coterie_client.children("/services/web") == []


@pytest.mark.slow
def test_it_knows_its_path_and_has_no_token(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    process = start_command(*_REGISTER, "--", "sh", "-c", "echo $COTERIE_PATH${COTERIE_TOKEN-.}")
    assert line(process).startswith("/services/web/")
    assert ended(process) == (0, "")


_JOIN = ["register", "store", "--root", "/gateway/services", "--port", "80", "--host", "h"]


def test_a_program_joins_a_gateway_and_drains_before_it_ends(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    told = ["--version", "1.5", "--zone", "eu", "--speaks", "api=>=2", "--drain", "600"]
    process = start_command(*_JOIN, *told, "-q", "--check", "--", *_LOOP)
    assert line(process) == "ready"
    with Directory(coterie_client, kind="api", version="2.1") as directory:
        found = directory.choose("store", "~=1.4")
        assert found.metadata == {"zone": "eu", "speaks": {"api": ">=2"}, "state": "serving"}
        process.send_signal(signal.SIGTERM)
        until(lambda: directory.everyone("store")[0].metadata["state"] == "draining", "draining")
        assert directory.find("store") == []
        # Who does not want to wait asks twice.
        process.send_signal(signal.SIGTERM)
        assert line(process) == "ended"
        assert ended(process) == (0, "")


@pytest.mark.slow
def test_an_operator_asks_it_to_drain(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    process = start_command(*_JOIN, "--drain", "0.2", "--", *_LOOP)
    assert line(process) == "ready"
    (id,) = coterie_client.children("/gateway/services/store")
    coterie_client.run(ask_to_drain(coterie_client, "store", id))
    assert line(process) == "ended"
    status, said = ended(process)
    assert status == 0
    assert "asked to drain\n" in said
    assert "draining for 0.2 s\n" in said
    assert coterie_client.children("/gateway/drain/store") == []


@pytest.mark.slow
def test_who_does_not_fit_is_refused_in_a_clear_line(
    start_command: Start, coterie_client: BlockingClient
) -> None:
    with Discovery(coterie_client, "/gateway/services") as services:
        there = services.register(
            "api", "3.0", host="a", port=1, id="x", metadata={"speaks": {"store": ">=2"}}
        )
        with there:
            process = start_command(*_JOIN, "--version", "1.5", "--check", "--", "true")
            status, said = ended(process)
            assert status == 125
            assert "api x at a:1 (api 3.0) speaks store >=2, and store " in said
            assert said.endswith("is 1.5\n")
            assert len(said.splitlines()) == 1
        coterie_client.run(services.look())
        assert services.names() == []


def _session_of(zk: BlockingClient) -> int:
    (name,) = zk.children("/services/web")
    data, stat = zk.get(f"/services/web/{name}")
    assert json.loads(data)["port"] == 80
    return stat.ephemeral_owner


@pytest.mark.slow
def test_it_ends_with_its_session(
    start_command: Start, coterie_client: BlockingClient, coterie_server: Server
) -> None:
    process = start_command(*_REGISTER, "-q", "--", *_LOOP)
    assert line(process) == "ready"
    coterie_server.expire(_session_of(coterie_client))
    assert line(process) == "ended"
    assert ended(process) == (123, "")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["keep", "restart"])
def test_it_outlives_its_session_if_it_is_to(
    start_command: Start, coterie_client: BlockingClient, coterie_server: Server, how: str
) -> None:
    process = start_command(*_REGISTER, "-q", "--on-lost", how, "--", *_LOOP)
    assert line(process) == "ready"
    before = _session_of(coterie_client)
    coterie_server.expire(before)
    if how == "restart":
        assert [line(process), line(process)] == ["ended", "ready"]
    until(lambda: coterie_client.children("/services/web") != [], "another registration")
    assert _session_of(coterie_client) != before
    process.send_signal(signal.SIGTERM)
    assert line(process) == "ended"
    assert ended(process) == (0, "")
