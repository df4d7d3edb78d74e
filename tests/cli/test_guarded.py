"""A command that runs only while something is held: its start, its ends, and their statuses."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.cli import guarded
from coterie.cli.guarded import Guarded, Held, Wishes
from coterie.client.blocking import BlockingClient
from coterie.client.client import Client, connect
from coterie.errors import ConnectionLossError, NoAuthError
from coterie.testing.cluster import Cluster, Server, until
from tests.cli.conftest import ended, line

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(start_command: Start) -> Start:
    """Starts `coterie lock ARGUMENTS`."""

    def begin(*arguments: str) -> subprocess.Popen[str]:
        return start_command("lock", *arguments)

    return begin


_FOR_EVER = (
    "exec 2>/dev/null; trap 'echo ended; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
)


def test_the_command_runs_under_the_lock(start: Start, coterie_client: BlockingClient) -> None:
    process = start("/a", "--", "sh", "-c", "echo $COTERIE_PATH $COTERIE_TOKEN; exit 7")
    path, token = line(process).split()
    assert path.startswith("/a/")
    assert 0 < int(token) <= coterie_client.client.last_zxid + 1000
    assert ended(process) == (7, "")
    assert coterie_client.children("/a") == []


@pytest.mark.slow
def test_one_after_the_other_with_growing_tokens(start: Start) -> None:
    shell = "echo $COTERIE_TOKEN; while [ ! -e $0 ]; do sleep 0.02; done"
    go = Path(os.environ.get("TMPDIR", "/tmp")) / f"go-{os.getpid()}"
    first = start("/a", "--", "sh", "-c", shell, str(go))
    token = int(line(first))
    second = start("/a", "--", "sh", "-c", shell, str(go))
    go.touch()
    try:
        assert int(line(second)) > token
        assert (ended(first)[0], ended(second)[0]) == (0, 0)
    finally:
        go.unlink()


@pytest.mark.slow
def test_who_does_not_wait_gives_up(start: Start) -> None:
    holder = start("/a", "--", "sh", "-c", _FOR_EVER)
    assert line(holder) == "ready"
    for wait in ("0", "0.2"):
        status, said = ended(start("-w", wait, "/a", "--", "true"))
        assert status == 124
        assert "within" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_go_to_the_command(
    start: Start, number: signal.Signals, coterie_client: BlockingClient
) -> None:
    name = number.name.removeprefix("SIG")
    shell = f"exec 2>/dev/null; trap 'exit 9' {name}; echo ready; while :; do sleep 0.02; done"
    process = start("/a", "--", "sh", "-c", shell)
    assert line(process) == "ready"
    process.send_signal(number)
    assert ended(process) == (9, "")
    assert coterie_client.children("/a") == []


@pytest.mark.slow
def test_a_signal_ends_the_waiting(start: Start, coterie_client: BlockingClient) -> None:
    holder = start("/a", "--", "sh", "-c", _FOR_EVER)
    assert line(holder) == "ready"
    waiting = start("/a", "--", "true")
    until(lambda: len(coterie_client.children("/a")) == 2, "a second contender")
    waiting.send_signal(signal.SIGTERM)
    assert ended(waiting) == (143, "")
    assert len(coterie_client.children("/a")) == 1


def test_it_is_stopped_when_the_lock_is_lost(start: Start, coterie_client: BlockingClient) -> None:
    process = start("/a", "--", "sh", "-c", _FOR_EVER)
    assert line(process) == "ready"
    (name,) = coterie_client.children("/a")
    coterie_client.delete(f"/a/{name}")
    assert line(process) == "ended"
    assert ended(process) == (123, "coterie lock: it is lost: the command is stopped\n")


@pytest.mark.slow
def test_it_is_run_again_when_the_lock_is_held_again(
    start: Start, coterie_client: BlockingClient
) -> None:
    process = start("--on-lost", "restart", "-q", "/a", "--", "sh", "-c", _FOR_EVER)
    assert line(process) == "ready"
    (name,) = coterie_client.children("/a")
    coterie_client.delete(f"/a/{name}")
    assert [line(process), line(process)] == ["ended", "ready"]
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "")


@pytest.mark.slow
def test_it_is_stopped_before_the_session_can_be_over(
    start: Start, coterie_server: Server, coterie_client: BlockingClient
) -> None:
    """The server stands still: its clock for the session cannot have run out when it ends."""
    options = ["--session-timeout", "3", "--grace", "1"]
    process = start(*options, "/a", "--", "sh", "-c", _FOR_EVER)
    assert line(process) == "ready"
    (name,) = coterie_client.children("/a")
    stat = coterie_client.exists(f"/a/{name}")
    assert stat is not None
    coterie_server.pause()
    assert line(process) == "ended"
    coterie_server.resume()
    assert stat.ephemeral_owner in coterie_server.sessions
    status, said = ended(process)
    assert status == 123
    assert "no server answers" in said


@pytest.mark.slow
def test_it_runs_on_when_its_server_is_lost(
    coterie_ensemble: Cluster, start: Start, coterie_client: BlockingClient
) -> None:
    process = start("--session-timeout", "6", "--grace", "2", "/a", "--", "sh", "-c", _FOR_EVER)
    assert line(process) == "ready"
    (name,) = coterie_client.children("/a")
    stat = coterie_client.exists(f"/a/{name}")
    assert stat is not None
    holder = coterie_ensemble.holder(stat.ephemeral_owner)
    assert holder is not None
    holder.kill()

    def has_moved() -> bool:
        other = coterie_ensemble.holder(stat.ephemeral_owner)
        return other is not None and other is not holder

    until(has_moved, "the session at another server")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert line(process) == "ended"
    assert ended(process) == (0, "")


def test_a_session_that_is_short_for_the_grace_is_told(start: Start) -> None:
    process = start("--session-timeout", "3", "--grace", "2", "/a", "--", "true")
    assert ended(process) == (
        0,
        "coterie lock: a session lasts 3 s here: a third of that is the grace before its end\n",
    )


def test_nobody_there(start: Start) -> None:
    status, said = ended(start("--hosts", "127.0.0.1:1", "--timeout", "0.2", "/a", "--", "true"))
    assert status == 125
    assert said.count("\n") == 1


def test_hosts_that_make_no_sense(start: Start) -> None:
    assert ended(start("--hosts", ":", "/a", "--", "true"))[0] == 2


def test_a_command_that_cannot_be_run(start: Start, coterie_client: BlockingClient) -> None:
    status, said = ended(start("/a", "--", "/nowhere/at/all"))
    assert (status, said) == (127, "coterie lock: /nowhere/at/all: there is no such command\n")
    assert coterie_client.children("/a") == []


# Without processes: what comes from the recipe


class _Holder:
    """Fails some times, and then gives nothing but an error."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.asked: list[float | None] = []

    async def acquire(self, timeout_s: float | None = None) -> Held:
        self.asked.append(timeout_s)
        raise self._failures.pop(0)

    async def release(self, held: Held, /) -> None:
        raise AssertionError("nothing was held")


def outcome(hosts: str, holder: _Holder, wait_s: float | None = None) -> int:
    wishes = Wishes({"hosts": hosts}, 10, 10, wait_s, 1, "stop", ["true"], quiet=True)

    async def make(zk: Client) -> _Holder:
        return holder

    return asyncio.run(Guarded("lock", wishes).run(connect(hosts), make))


def test_what_the_connection_did_is_tried_again(
    coterie_hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "_PAUSE_S", 0)
    holder = _Holder(ConnectionLossError(), ConnectionLossError(), NoAuthError("/a"))
    assert outcome(coterie_hosts, holder) == 125
    assert holder.asked == [None] * 3


def test_trying_again_ends_in_time(coterie_hosts: str) -> None:
    holder = _Holder(*[ConnectionLossError()] * 5)
    assert outcome(coterie_hosts, holder, wait_s=0) == 124
    assert holder.asked == [0.0]
