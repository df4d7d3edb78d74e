"""What each admin command tells of a server that has served, in the fields of Apache's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coterie.admin.commands import COMMANDS, VERSION
from tests.admin.served import WALL_MS, Served


@pytest.fixture
def served() -> Served:
    return Served()


def _run(served: Served, name: str) -> dict[str, Any]:
    return COMMANDS[name](served.status())


def test_the_commands_are_those_of_apaches_admin_server() -> None:
    assert COMMANDS.keys() == {
        *("configuration", "connections", "connection_stat_reset", "dirs", "dump", "environment"),
        *("hash", "is_read_only", "monitor", "ruok", "server_stats", "stat_reset", "stats"),
        *("watch_summary", "watches", "watches_by_path", "last_snapshot", "leader"),
        *("system_properties", "voting_view", "zabstate"),
    }


def test_the_version_begins_with_that_of_a_zookeeper() -> None:
    major, minor, _ = VERSION.split("-")[0].split(".")
    assert (int(major), int(minor)) >= (3, 9)
    assert "coterie" in VERSION


def test_configuration(served: Served) -> None:
    assert _run(served, "configuration") == {
        "client_port": 2181,
        "data_dir": "data/version-2",
        "data_log_dir": "data/version-2",
        "tick_time": 2000,
        "max_client_cnxns": served.config.connections_per_ip_max,
        "min_session_timeout": 4000,
        "max_session_timeout": 40_000,
        "server_id": 0,
        "client_port_listen_backlog": served.config.client_port_backlog,
    }


def test_connections(served: Served) -> None:
    client = served.connect(4001)
    served.stranger(4002)
    served.create(client, b"/a")
    served.set(client, b"/a", b"x", after_ms=8)
    served.set(client, b"/a", b"x", after_ms=2)
    served.stranger(4003).secure = True
    told = _run(served, "connections")
    assert [each["remote_socket_address"] for each in told["secure_connections"]] == [
        "127.0.0.1:4003"
    ]
    one, other = told["connections"]
    assert one == {
        "remote_socket_address": "127.0.0.1:4001",
        "interest_ops": 1,
        "outstanding_requests": 0,
        "packets_received": 4,
        "packets_sent": 4,
        "session_id": client.session_id,
        "last_operation": "SETD",
        "established": WALL_MS,
        "session_timeout": 30_000,
        "last_cxid": 3,
        "last_zxid": 4,
        "last_response_time": 100_010,
        "last_latency": 2,
        "min_latency": 0,
        "avg_latency": 2,
        "max_latency": 8,
    }
    assert other["session_id"] == other["session_timeout"] == other["packets_received"] == 0
    assert other["last_operation"] == "NA"


def test_what_waits_for_the_log_is_outstanding(served: Served) -> None:
    client = served.connect(4001)
    served.create(client, b"/a")
    served.log_waits = True
    served.set(client, b"/a", b"x")
    served.get(client, b"/a")
    assert _run(served, "connections")["connections"][0]["outstanding_requests"] == 2
    assert _run(served, "server_stats")["server_stats"]["outstanding_requests"] == 2


def test_connection_stat_reset(served: Served) -> None:
    client = served.connect(4001)
    served.create(client, b"/a")
    assert _run(served, "connection_stat_reset") == {}
    told = _run(served, "connections")["connections"][0]
    assert told["packets_received"] == told["packets_sent"] == told["max_latency"] == 0
    assert told["session_id"] == client.session_id


def test_server_stats_and_their_reset(served: Served) -> None:
    client = served.connect(4001)
    served.create(client, b"/a")
    served.set(client, b"/a", b"x", after_ms=6)
    told = _run(served, "server_stats")
    assert told["server_stats"] == {
        "packets_sent": 3,
        "packets_received": 3,
        "max_latency": 6,
        "min_latency": 0,
        "avg_latency": 3.0,
        "num_alive_client_connections": 1,
        "outstanding_requests": 0,
        "server_state": "standalone",
        "last_processed_zxid": 3,
        "writes_refused_because": None,
    }
    assert told["node_count"] == 6
    assert not told["read_only"]
    _run(served, "stat_reset")
    stats = _run(served, "server_stats")["server_stats"]
    assert stats["packets_sent"] == stats["packets_received"] == stats["max_latency"] == 0
    assert stats["last_processed_zxid"] == 3


def test_why_writes_are_refused(served: Served) -> None:
    served.member.log_failed("the disk is full")
    stats = _run(served, "server_stats")["server_stats"]
    assert stats["writes_refused_because"] == "the disk is full"


def test_stats_are_both(served: Served) -> None:
    served.connect(4001)
    told = _run(served, "stats")
    assert told["server_stats"] == _run(served, "server_stats")["server_stats"]
    assert told["connections"] == _run(served, "connections")["connections"]


def test_dirs(served: Served) -> None:
    assert _run(served, "dirs") == {"datadir_size": 1000, "logdir_size": 2000}


def test_dump(served: Served) -> None:
    client = served.connect(4001, timeout_ms=10_000)
    other = served.connect(4002, timeout_ms=30_000)
    served.create(client, b"/b", flags=1)
    served.create(client, b"/a", flags=1)
    told = _run(served, "dump")
    # A session ends with the first boundary of a tick behind its time-out.
    assert told["expiry_time_to_session_ids"] == {
        WALL_MS + 12_000: [client.session_id],
        WALL_MS + 32_000: [other.session_id],
    }
    assert told["session_id_to_ephemeral_paths"] == {client.session_id: ["/a", "/b"]}
    assert told["global_session_timeouts"] == {client.session_id: 10_000, other.session_id: 30_000}


def test_when_connections_expire(served: Served) -> None:
    """With their session; without one when a stranger's time is over."""
    client = served.connect(4001, timeout_ms=30_000)
    served.stranger(4002)
    told = _run(served, "dump")["expiry_time_to_connections"]
    stranger_ms = WALL_MS + served.config.sessionless_timeout_ms
    assert list(told) == sorted([stranger_ms, WALL_MS + 32_000])
    assert [each["session_id"] for each in told[stranger_ms]] == [0]
    assert [each["session_id"] for each in told[WALL_MS + 32_000]] == [client.session_id]


def test_environment(served: Served) -> None:
    told = _run(served, "environment")
    assert told["zookeeper.version"].startswith(VERSION)
    assert told["host.name"] == "here"


def test_hash_is_every_128th_digest(served: Served) -> None:
    client = served.connect(4001)
    served.create(client, b"/a")
    while served.member.tree.zxid < 260:
        served.set(client, b"/a", b"x")
    first, second = _run(served, "hash")["digests"]
    assert (first["zxid"], second["zxid"]) == (128, 256)
    assert first["digest_version"] == 2
    assert first["digest"] != second["digest"]


def test_monitor_has_the_numbers_of_the_machine_and_of_the_process(served: Served) -> None:
    served.now_ms += 1500
    told = _run(served, "monitor")
    assert told["server_state"] == "standalone"
    assert told["version"].startswith(VERSION)
    assert told["uptime"] == 1500
    assert told["open_file_descriptor_count"] == 7


def test_watches_of_data_only(served: Served) -> None:
    """As in ZooKeeper, where a watch of children is in no watch command."""
    one, two = served.connect(4001), served.connect(4002)
    for path in (b"/a", b"/b"):
        served.create(one, path)
    for client, path in ((one, b"/a"), (one, b"/b"), (two, b"/a")):
        served.get(client, path, watch=True)
    served.children(two, b"/b")
    assert _run(served, "watches")["session_id_to_watched_paths"] == {
        one.session_id: ["/a", "/b"],
        two.session_id: ["/a"],
    }
    assert _run(served, "watches_by_path")["path_to_session_ids"] == {
        "/a": [one.session_id, two.session_id],
        "/b": [one.session_id],
    }
    assert _run(served, "watch_summary") == {
        "num_connections": 2,
        "num_paths": 2,
        "num_total_watches": 3,
    }


def test_is_read_only_and_ruok(served: Served) -> None:
    assert _run(served, "is_read_only") == {"read_only": False, "is_serving": True}
    served.member.server.shut()
    assert _run(served, "is_read_only") == {"read_only": False, "is_serving": False}
    assert _run(served, "ruok") == {}


def test_no_password_is_told(served: Served) -> None:
    served.config = replace(
        served.config, client_key_store="server.p12", client_key_password="hush"
    )
    told = _run(served, "system_properties")
    assert told["zookeeper.ssl.keyStore.location"] == "server.p12"
    assert "hush" not in told.values()
