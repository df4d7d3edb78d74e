"""Servers for tests: they start, keep their data, fail as they are told, and are mended."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coterie.runtime.process import StartError
from coterie.testing import cluster as clusters
from coterie.testing.cluster import Cluster, Server, until
from coterie.testing.ports import free_port, free_ports
from tests.runtime.client import Client, word


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def _three() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture
def three(_three: Cluster) -> Iterator[Cluster]:
    yield _three
    _three.mend()


def _client(server: Server) -> Client:
    return Client(server.port)


def _reattach(server: Server, client: Client) -> Client:
    return Client(server.port, session_id=client.session_id, password=client.password)


# One server


@pytest.mark.parametrize("kill", [False, True])
def test_data_and_sessions_outlive_it(server: Server, kill: bool) -> None:
    address = server.address
    with _client(server) as client:
        assert client.create(b"/kept", b"here", flags=1)[2] == 0
        if kill:
            server.kill()
        else:
            server.stop()
        assert (server.mode, server.running) == (None, False)
        server.start()
        assert server.address == address
        with _reattach(server, client) as again:
            assert again.get(b"/kept") == b"here"


def test_its_directory_goes_when_it_made_it(tmp_path: Path) -> None:
    with Server() as server:
        made = server.data_dir
        assert (made / "version-2").is_dir()
    assert not made.exists()
    with Server(tmp_path) as server:
        assert server.data_dir == tmp_path
    assert (tmp_path / "version-2").is_dir()


def test_it_can_lose_its_disk(server: Server) -> None:
    with _client(server) as client:
        client.create(b"/lost")
    with pytest.raises(RuntimeError, match="stop it first"):
        server.wipe()
    server.stop()
    server.wipe()
    server.start()
    with _client(server) as client:
        assert client.get(b"/lost") is None


def test_settings_can_be_given() -> None:
    with Server(tick_time_ms=1234) as server:
        assert b"tickTime=1234" in word(server.port, b"conf")


def test_an_async_context_manager() -> None:
    async def run() -> str | None:
        async with Server() as server:
            return server.mode

    assert asyncio.run(run()) == "standalone"


def test_a_port_that_somebody_takes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=str(port)):
            Server(port=port).start()
        assert list(tmp_path.iterdir()) == []
        given = iter([port, free_port()])
        monkeypatch.setattr(clusters, "free_port", lambda: next(given))
        with Server() as server:
            assert word(server.port, b"ruok") == b"imok"


def test_clients_are_cut_off_until_it_is_healed(server: Server) -> None:
    with _client(server) as client:
        server.cut_clients()
        assert not server.serves
        with pytest.raises(ConnectionError):
            client.get(b"/zookeeper")
        with pytest.raises(ConnectionError):
            _reattach(server, client)
        server.restart()
        with pytest.raises(ConnectionError):
            _reattach(server, client)
        server.heal()
        with _reattach(server, client) as again:
            assert again.session_id == client.session_id


def test_a_session_expires(server: Server) -> None:
    with _client(server) as client, _client(server) as other:
        client.create(b"/mine", flags=1)
        server.expire(client)
        assert other.get(b"/mine") is None
        assert server.sessions == {other.session_id}
        with pytest.raises(LookupError, match="no session"):
            server.expire(client.session_id)


def test_mending_undoes_everything(server: Server) -> None:
    server.cut_clients()
    server.pause()
    assert (server.mode, server.serves) == ("paused", False)
    server.mend()
    assert server.serves
    server.kill()
    server.mend()
    assert word(server.port, b"ruok") == b"imok"


def test_what_cannot_be_done_to_one_that_is_stopped(server: Server) -> None:
    server.stop()
    server.stop()
    server.resume()
    for wrong in (server.pause, server.disconnect, lambda: server.sessions):
        with pytest.raises(RuntimeError, match="start it first"):
            wrong()


def test_what_does_not_happen_is_told() -> None:
    with pytest.raises(TimeoutError, match=r"the sky fell did not happen within 0\.01 s\nlog"):
        until(lambda: False, "the sky fell", 0.01, lambda: "log")


# Several


def test_three_serve_the_same_tree(three: Cluster) -> None:
    assert sorted(str(server.mode) for server in three.servers) == [
        "follower",
        "follower",
        "leader",
    ]
    assert three.hosts == ",".join(server.address for server in three.servers)
    with ExitStack() as stack:
        one, *others = (stack.enter_context(_client(server)) for server in three.servers)
        assert one.create(b"/everywhere", b"x")[2] == 0
        for other in others:
            until(lambda other=other: other.get(b"/everywhere") == b"x")  # type: ignore[misc]


def test_another_leads_when_the_leader_is_gone(three: Cluster) -> None:
    first = three.leader()
    first.kill()
    second = three.leader()
    assert second is not first
    three.wait()
    first.start()
    assert first.mode == "follower"


def test_a_session_expires_on_every_server(three: Cluster) -> None:
    follower = three.followers()[0]
    with _client(follower) as client:
        assert three.holder(client) is follower
        assert client.create(b"/mine", flags=1)[2] == 0
        follower.expire(client)
        assert three.holder(client) is None
        for server in three.servers:
            with _client(server) as other:
                assert other.get(b"/mine") is None


def test_a_leader_that_is_cut_off_leads_no_more(three: Cluster) -> None:
    old = three.leader()
    with _client(old) as client:
        assert client.create(b"/before")[2] == 0
        three.partition(old)
        assert old.mode == "looking"
        with pytest.raises(ConnectionError):
            client.create(b"/meanwhile")
    new = three.leader()
    assert new is not old
    with _client(new) as client:
        assert client.get(b"/before") == b""
        assert client.create(b"/after", b"x")[2] == 0
    # It cannot come back by itself, nor by starting anew.
    old.restart()
    assert old.mode == "looking"
    three.heal()
    with _client(old) as client:
        until(lambda: client.get(b"/after") == b"x")


def test_no_side_of_a_partition_has_a_majority(three: Cluster) -> None:
    three.partition(three[1], three[2])
    assert {server.mode for server in three.servers} == {"looking"}
    three.heal()
    assert {server.mode for server in three.servers} == {"leader", "follower"}


def test_two_sides_of_five() -> None:
    with Cluster(5) as five:
        five.partition([five[1], five[5]], [five[2], five[3], five[4]])
        assert [five[n].mode for n in (1, 5)] == ["looking", "looking"]
        assert five.leader().id in (2, 3, 4)


def test_a_member_that_stands_still(three: Cluster) -> None:
    follower = three.followers()[0]
    follower.pause()
    three.wait()
    with _client(three.leader()) as client:
        assert client.create(b"/paused")[2] == 0
    follower.resume()
    three.wait()
    with _client(follower) as client:
        until(lambda: client.get(b"/paused") == b"")


def test_an_observer_serves_and_has_no_vote() -> None:
    with Cluster(1, observers=1, standalone_enabled=False) as two:
        assert [server.mode for server in two.servers] == ["leader", "observer"]
        two[1].stop()
        until(lambda: two[2].mode == "looking")


def test_an_ensemble_that_does_not_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = threading.active_count()
        monkeypatch.setattr(clusters, "free_ports", lambda count: [port, *free_ports(count - 1)])
        with pytest.raises(StartError, match=str(port)), Cluster(3):
            pass
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_all_together(three: Cluster) -> None:
    three.kill()
    assert not any(server.running for server in three.servers)
    three.start()
    assert all(server.serves for server in three.servers)
    with pytest.raises(IndexError):
        three[0]


def test_the_log_bears_the_names_of_servers(three: Cluster) -> None:
    three.forget_log_lines()
    leader = three.leader()
    three.followers()[0].restart()
    assert f"{leader.name}: " in three.last_lines()
    assert "lost the connection" in three.last_lines()
