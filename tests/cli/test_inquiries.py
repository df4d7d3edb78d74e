"""What the shell asks about its session and its ensemble."""

from __future__ import annotations

from coterie.testing.cluster import Cluster
from tests.cli.conftest import Command


def test_who_one_is(coterie: Command) -> None:
    said = coterie("shell", "-c", "addauth digest me:secret", "-c", "whoami")
    assert set(said.splitlines()) == {"ip:127.0.0.1", "digest:me"}


def test_what_one_has(coterie: Command) -> None:
    said = coterie(
        "shell", "-c", "create /a", "-c", "create -e /a/b", "-c", "create -e /c",
        "-c", "getEphemerals /a", "-c", "getAllChildrenNumber /", "-c", "sync /",
    )  # fmt: skip
    assert said.splitlines()[3:] == ["/a/b", "3"]


def test_the_session(coterie: Command) -> None:
    (found,) = coterie.json("shell", "-c", "session", "--session-timeout", "7")
    assert found["state"] == "CONNECTED"
    assert found["timeout_ms"] == 7000
    assert coterie.hosts.startswith(found["server"])
    assert int(found["session_id"], 16) > 0


def test_the_members_of_an_ensemble(coterie_ensemble: Cluster, coterie: Command) -> None:
    said = coterie("shell", "-c", "config")
    assert [line.partition("=")[0] for line in said.splitlines()] == [
        "server.1",
        "server.2",
        "server.3",
        "version",
    ]


def test_a_server_that_is_alone(coterie: Command) -> None:
    result = coterie.run("shell", "-c", "config")
    assert result.exit_code == 1
    assert "alone" in result.stderr


def test_watches_go_on_until_they_are_removed(coterie: Command) -> None:
    said = coterie(
        "shell", "-c", "addWatch -m PERSISTENT /a", "-c", "addWatch /a", "-c", "create /a",
        "-c", "create /a/b", "-c", "removewatches /a", "-c", "rm /a/b",
    )  # fmt: skip
    told = [line.split(" ", 2)[2] for line in said.splitlines() if line.startswith("--")]
    assert told == ["/a created", "/a/b created"]
    assert coterie.run("shell", "-c", "removewatches /a").exit_code == 1


def test_one_shot_watches(coterie: Command) -> None:
    said = coterie(
        "shell", "-c", "create /a", "-c", "get -w /a", "-c", "ls -w /a", "-c", "ls",
        "-c", "create /a/b", "-c", "set /a x", "-c", "set /a y",
    )  # fmt: skip
    told = [line.split(" ", 2)[2] for line in said.splitlines() if line.startswith("--")]
    assert told == ["/a children changed", "/a changed"]
