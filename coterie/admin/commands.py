"""Every admin command once: its names, and what it tells as a dict. Pure.

Names and fields are those of Apache's AdminServer (`Commands`), so that the four-letter words,
and later HTTP, are renderings of one result. A command gets a `Status`, which the runtime makes
for it: the machines, and the facts that only the outside world knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from coterie import __version__
from coterie.admin.metrics import metrics
from coterie.config import Config
from coterie.core.connection import Connection
from coterie.core.front import Front
from coterie.ensemble import Ensemble, Seat
from coterie.settings import SETTINGS

VERSION: Final = f"3.9.4-coterie-{__version__}"
"""Clients and tools read a ZooKeeper version here and decide by it what the server can do, so it
begins with the one whose protocol this server speaks; then it says who it is."""
BUILT: Final = "2026-11-23 00:00 UTC"

_SECRET: Final = frozenset({"DigestAuthenticationProvider.superDigest"})

LEARNERS: Final = frozenset({"follower", "observer"})

Result = dict[str, Any]


@dataclass(slots=True)
class Status:
    """What a command may look at. Times are milliseconds."""

    member: Front
    config: Config
    port: int
    now_ms: float
    wall_ms: int
    started_ms: float
    environment: dict[str, str]
    process: dict[str, float]
    """Numbers of the process and the disk by their metric names."""
    sizes: Callable[[], tuple[int, int]]
    """Bytes of snapshots and of logs; visits the disk."""
    show_time: Callable[[int], str]
    """A time as people read it, from milliseconds since 1970."""
    snapshots: Callable[[], list[tuple[int, int, int]]] = list
    """Zxid, bytes and time (ms) of each snapshot, the newest first; visits the disk."""


def _configuration(status: Status) -> Result:
    config = status.config
    return {
        "client_port": status.port,
        "data_dir": f"{config.data_dir}/version-2",
        "data_log_dir": f"{config.data_log_dir}/version-2",
        "tick_time": config.tick_time_ms,
        "max_client_cnxns": config.connections_per_ip_max,
        "min_session_timeout": config.min_session_timeout_ms,
        "max_session_timeout": config.max_session_timeout_ms,
        "client_port_listen_backlog": config.client_port_backlog,
        "server_id": config.server_id,
        **(_membership(config, config.ensemble) if config.ensemble is not None else {}),
    }


def _membership(config: Config, ensemble: Ensemble) -> Result:
    """What only a member of an ensemble is configured with."""
    seat = ensemble.seats[config.server_id]
    return {
        "init_limit": config.init_limit,
        "sync_limit": config.sync_limit,
        "election_alg": 3,
        "election_port": seat.election[0][1],
        "quorum_port": seat.quorum[0][1],
        "peer_type": 0 if config.server_id in ensemble.voters else 1,
        "membership": ensemble.text(),
    }


def _connection(connection: Connection) -> Result:
    count = connection.latency_count
    return {
        "remote_socket_address": f"{connection.ip}:{connection.port}",
        "interest_ops": 0 if connection.hold else 1,
        "outstanding_requests": len(connection.fifo),
        "packets_received": connection.received,
        "packets_sent": connection.sent,
        "session_id": connection.session_id,
        "last_operation": connection.last_op,
        "established": connection.established_ms,
        "session_timeout": connection.session.timeout_ms if connection.session else 0,
        "last_cxid": connection.last_xid,
        "last_zxid": connection.last_zxid,
        "last_response_time": int(connection.last_response_ms),
        "last_latency": connection.last_latency_ms,
        "min_latency": max(connection.latency_min_ms, 0),
        "avg_latency": connection.latency_total_ms // count if count else 0,
        "max_latency": connection.latency_max_ms,
    }


def _connections(status: Status) -> Result:
    every = status.member.server.connections
    return {
        "connections": [_connection(each) for each in every if not each.secure],
        "secure_connections": [_connection(each) for each in every if each.secure],
    }


def every_connection(status: Status) -> list[Result]:
    """Those in the clear, then those by TLS, as the words show them."""
    found = _connections(status)
    return [*found["connections"], *found["secure_connections"]]


def _reset_connections(status: Status) -> Result:
    for connection in status.member.server.connections:
        connection.reset_stats()
    return {}


def _reset_stats(status: Status) -> Result:
    status.member.server.stats.reset()
    return {}


def _dirs(status: Status) -> Result:
    snapshots, logs = status.sizes()
    return {"datadir_size": snapshots, "logdir_size": logs}


def _dump(status: Status) -> Result:
    """Sessions and connections by when they expire (ms since 1970), and who owns ephemerals.

    A learner's leader watches over the sessions: there is only how long each may be silent.
    """
    member = status.member
    offset_ms = status.wall_ms - status.now_ms
    due_ms = {id: due for due, ids in member.sessions.buckets().items() for id in ids}
    expiry: dict[int, list[int]] = {}
    if member.mode not in LEARNERS:
        for session_id, due in due_ms.items():
            expiry.setdefault(int(due + offset_ms), []).append(session_id)
    connections: dict[int, list[Result]] = {}
    for connection in member.server.connections:
        stranger_ms = int(connection.opened_ms) + status.config.sessionless_timeout_ms
        due = due_ms.get(connection.session_id, stranger_ms)
        connections.setdefault(int(due + offset_ms), []).append(_connection(connection))
    return {
        "expiry_time_to_session_ids": expiry,
        "session_id_to_ephemeral_paths": {
            session_id: sorted(path.decode("utf-8", "replace") for path in paths)
            for session_id, paths in sorted(member.tree.ephemerals.items())
        },
        "expiry_time_to_connections": dict(sorted(connections.items())),
        "global_session_timeouts": dict(sorted(member.tree.sessions.items())),
    }


def _environment(status: Status) -> Result:
    return {"zookeeper.version": f"{VERSION}, built on {BUILT}", **status.environment}


def _hash(status: Status) -> Result:
    return {
        "digests": [
            {"zxid": zxid, "digest": digest, "digest_version": 2}
            for zxid, digest in status.member.tree.digests
        ]
    }


def _is_read_only(status: Status) -> Result:
    """`is_serving` is no field of Apache's, which does not answer at all then."""
    server = status.member.server
    return {"read_only": server.read_only, "is_serving": server.serving}


def _last_snapshot(status: Status) -> Result:
    """Apache's two fields, and all snapshots that there are."""
    found = status.snapshots()
    newest = found[0] if found else None
    return {
        "zxid": f"{newest[0]:x}" if newest else f"{2**64 - 1:x}",
        "timestamp": newest[2] // 1000 if newest else -1,
        "snapshots": [
            {"zxid": f"{zxid:#x}", "size": size, "timestamp": ms // 1000}
            for zxid, size, ms in found
        ],
    }


def _leader(status: Status) -> Result:
    ensemble, leader_id = status.config.ensemble, status.member.leader_id
    if ensemble is None:
        return {"error": "server is not initialized"}
    return {
        "is_leader": status.member.mode == "leader",
        "leader_id": -1 if leader_id is None else leader_id,
        "leader_ip": "" if leader_id is None else ensemble.seats[leader_id].quorum[0][0],
    }


def _voting_view(status: Status) -> Result:
    ensemble = status.config.ensemble
    seats = [] if ensemble is None else [ensemble.seats[id] for id in sorted(ensemble.voters)]
    return {"current_config": {seat.id: _seat(seat) for seat in seats}}


def _seat(seat: Seat) -> Result:
    return {
        "serverAddresses": [_endpoint(each) for each in seat.quorum],
        "electionAddresses": [_endpoint(each) for each in seat.election],
        "clientAddress": _endpoint(seat.client) if seat.client else "",
        "learnerType": seat.role.value,
    }


def _endpoint(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _zab_state(status: Status) -> Result:
    config, zxid = status.config, status.member.tree.zxid
    if config.ensemble is None:
        return {"voting": False, "zabstate": ""}
    seat, states = config.seat, {"looking": "election", "read-only": "election"}
    return {
        "myid": config.server_id,
        "is_leader": status.member.mode == "leader",
        "quorum_address": _endpoint(seat.quorum[0]),
        "election_address": _endpoint(seat.election[0]),
        "client_address": _endpoint((config.client_port_address or "0.0.0.0", status.port)),
        "voting": config.server_id in config.ensemble.voters,
        "last_zxid": f"{zxid:#x}",
        "zab_epoch": zxid >> 32,
        "zab_counter": zxid & 0xFFFF_FFFF,
        "zabstate": states.get(status.member.mode, "broadcast"),
    }


def _system_properties(status: Status) -> Result:
    """The settings, which are system properties to Apache's server. Secrets stay out."""
    told = {}
    for key, (attribute, setting) in SETTINGS.items():
        value = getattr(status.config, attribute)
        secret = key in _SECRET or key.endswith(".password")
        if value not in ("", None) and not secret:
            told[f"zookeeper.{key}"] = setting.kind.show(value)
    return told


def _monitor(status: Status) -> Result:
    return {
        "version": f"{VERSION}, built on {BUILT}",
        "server_state": status.member.mode,
        **metrics(status.member, status.now_ms - status.started_ms),
        **status.process,
    }


def _ruok(status: Status) -> Result:
    return {}


def _server_stats(status: Status) -> Result:
    member = status.member
    stats = member.server.stats
    count = stats.latency_count
    return {
        "version": f"{VERSION}, built on {BUILT}",
        "read_only": member.server.read_only,
        "server_stats": {
            "packets_sent": stats.sent,
            "packets_received": stats.received,
            "max_latency": stats.latency_max_ms,
            "min_latency": max(stats.latency_min_ms, 0),
            "avg_latency": round(stats.latency_total_ms / count, 4) if count else 0.0,
            "num_alive_client_connections": len(member.server.connections),
            "outstanding_requests": member.server.outstanding,
            "server_state": member.mode,
            "last_processed_zxid": member.tree.zxid,
            "writes_refused_because": member.failure,
        },
        "node_count": len(member.tree.nodes),
    }


def _stats(status: Status) -> Result:
    return {**_server_stats(status), **_connections(status)}


def _watch_tables(status: Status) -> dict[bytes, list[int]]:
    """Who watches the data of which path. ZooKeeper's watch commands leave out children."""
    return {
        path: [watcher.session_id for watcher in watchers]
        for path, watchers in status.member.server.watches.data.by_path.items()
    }


def _watches(status: Status) -> Result:
    by_session: dict[int, list[str]] = {}
    for path, sessions in _watch_tables(status).items():
        for session_id in sessions:
            by_session.setdefault(session_id, []).append(path.decode("utf-8", "replace"))
    return {"session_id_to_watched_paths": by_session}


def _watches_by_path(status: Status) -> Result:
    return {
        "path_to_session_ids": {
            path.decode("utf-8", "replace"): sessions
            for path, sessions in _watch_tables(status).items()
        }
    }


def _watch_summary(status: Status) -> Result:
    table = status.member.server.watches.data
    return {
        "num_connections": len(table.by_watcher),
        "num_paths": len(table.by_path),
        "num_total_watches": table.count(),
    }


COMMANDS: Final[dict[str, Callable[[Status], Result]]] = {
    "configuration": _configuration,
    "connections": _connections,
    "connection_stat_reset": _reset_connections,
    "dirs": _dirs,
    "dump": _dump,
    "environment": _environment,
    "hash": _hash,
    "is_read_only": _is_read_only,
    "last_snapshot": _last_snapshot,
    "leader": _leader,
    "monitor": _monitor,
    "ruok": _ruok,
    "server_stats": _server_stats,
    "stats": _stats,
    "stat_reset": _reset_stats,
    "system_properties": _system_properties,
    "voting_view": _voting_view,
    "watch_summary": _watch_summary,
    "watches": _watches,
    "watches_by_path": _watches_by_path,
    "zabstate": _zab_state,
}
