"""Quotas: the znodes are Apache's, and a server of ours enforces them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from coterie.cli import quotas
from coterie.client.blocking import BlockingClient, connect_blocking
from coterie.testing.cluster import SUPER, Server
from tests.cli.conftest import Command

# As org.apache.zookeeper.StatsTrack writes them.
_TEXTS = {
    "count=5,bytes=-1": {"count": 5},
    "count=-1,bytes=10=;byteHardLimit=20": {"bytes": 10, "byteHardLimit": 20},
    "count=-1,bytes=-1=;byteHardLimit=1;countHardLimit=2": {
        "countHardLimit": 2,
        "byteHardLimit": 1,
    },
}


@pytest.mark.parametrize(("text", "numbers"), _TEXTS.items())
def test_the_text_is_apaches(text: str, numbers: dict[str, int]) -> None:
    assert quotas.text(numbers) == text.encode()
    assert {"count": -1, "bytes": -1, **numbers} == quotas.parse(text.encode())


def test_what_cannot_be_read_is_not_there() -> None:
    assert quotas.parse(b"count=x,,\xff=1,bytes=2") == {"\ufffd": 1, "bytes": 2}


@pytest.fixture
def root(coterie_server: Server) -> Iterator[tuple[Command, str, BlockingClient]]:
    """A command at the server's own root, a new path there, and a client."""
    hosts = ",".join(coterie_server.addresses)
    path = f"/quota-{secrets.token_hex(4)}"
    with connect_blocking(hosts, auth=[SUPER]) as zk:
        zk.create(path)
        yield Command(hosts), path, zk
        zk.delete_tree(path)
        zk.delete_tree(f"/zookeeper/quota{path}")


Root = tuple[Command, str, BlockingClient]


def test_what_is_used_is_shown(root: Root) -> None:
    coterie, path, _ = root
    coterie("shell", "-c", f"setquota -N 2 {path}", "-c", f"create {path}/a")
    (shown,) = coterie.json("shell", "-c", f"listquota {path}")
    assert shown["limits"]["countHardLimit"] == 2
    assert shown["used"]["count"] == 2
    said = coterie("shell", "-c", f"listquota {path}").splitlines()
    assert said[1].split() == ["znodes", "2", "-", "2"]


def test_a_hard_limit_is_enforced() -> None:
    with Server(enforce_quota=True) as server:
        coterie = Command(server.hosts)
        coterie("shell", "-c", "create /a", "-c", "setquota -N 2 /a", "-c", "create /a/b")
        refused = coterie.run("create", "/a/c")
        assert refused.exit_code == 1
        assert "quota" in refused.stderr


def test_limits_are_added_and_taken_away(root: Root) -> None:
    coterie, path, zk = root
    limits = f"/zookeeper/quota{path}/zookeeper_limits"
    coterie("shell", "-c", f"setquota -n 5 -b 10 {path}", "-c", f"setquota -B 20 {path}")
    assert zk.get(limits).data == b"count=5,bytes=10=;byteHardLimit=20"
    coterie("shell", "-c", f"delquota -b -B {path}")
    assert zk.get(limits).data == b"count=5,bytes=-1"
    coterie("shell", "-c", f"delquota {path}")
    assert zk.exists(f"/zookeeper/quota{path}") is None
    assert coterie.run("shell", "-c", f"delquota {path}").exit_code == 1
    assert coterie.run("shell", "-c", f"listquota {path}").exit_code == 1


def test_only_one_on_a_way_down_has_a_quota(root: Root) -> None:
    coterie, path, zk = root
    zk.create(f"{path}/a")
    zk.create(f"{path}/a/b")
    coterie("shell", "-c", f"setquota -n 5 {path}/a")
    for other in (path, f"{path}/a/b"):
        refused = coterie.run("shell", "-c", f"setquota -n 5 {other}")
        assert refused.exit_code == 2
        assert f"{path}/a has a quota" in refused.stderr


def test_what_cannot_have_one(root: Root, coterie: Command) -> None:
    at_root, path, _ = root
    assert at_root.run("shell", "-c", f"setquota {path}").exit_code == 2
    assert at_root.run("shell", "-c", f"setquota -n 0 {path}").exit_code == 2
    assert at_root.run("shell", "-c", f"setquota -n 1 {path}/nope").exit_code == 1
    assert at_root.run("shell", "-c", "setquota -n 1 /zookeeper/quota").exit_code == 2
    assert "kept at the root" in coterie.run("shell", "-c", "setquota -n 1 /a").stderr
