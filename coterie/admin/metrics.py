"""The numbers that the machines keep, named as Apache names them (`ServerMetrics`, `mntr`).

Only what is truly measured is here. Apache's names for the stages of its pipeline (queue sizes
and times of its processors), for the JVM and for ensembles are left out: this server has no such
stages, and a constant would be a lie.
"""

from __future__ import annotations

from typing import Final

from coterie.core.front import Front
from coterie.wire.requests import Op

_COUNTED: Final[dict[str, tuple[int, ...]]] = {
    "add_watch": (Op.ADD_WATCH,),
    "check_watches": (Op.CHECK_WATCHES,),
    "close_session": (Op.CLOSE_SESSION,),
    "create": (Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL),
    "delete": (Op.DELETE,),
    "exists": (Op.EXISTS,),
    "get_acl": (Op.GET_ACL,),
    "get_all_children_number": (Op.GET_ALL_CHILDREN_NUMBER,),
    "get_children": (Op.GET_CHILDREN, Op.GET_CHILDREN2),
    "get_data": (Op.GET_DATA,),
    "get_ephemerals": (Op.GET_EPHEMERALS,),
    "multi": (Op.MULTI,),
    "multi_read": (Op.MULTI_READ,),
    "ping": (Op.PING,),
    "remove_watches": (Op.REMOVE_WATCHES,),
    "set_acl": (Op.SET_ACL,),
    "set_data": (Op.SET_DATA,),
    "set_watches": (Op.SET_WATCHES, Op.SET_WATCHES2),
    "sync": (Op.SYNC,),
    "who_am_i": (Op.WHO_AM_I,),
}


def metrics(member: Front, uptime_ms: float) -> dict[str, float]:
    """Gauges and counters of a server, by Apache's names without the `zk_` in front."""
    server, tree, stats = member.server, member.tree, member.server.stats
    count = stats.latency_count
    values: dict[str, float] = {
        "avg_latency": round(stats.latency_total_ms / count, 4) if count else 0.0,
        "max_latency": stats.latency_max_ms,
        "min_latency": max(stats.latency_min_ms, 0),
        "packets_received": stats.received,
        "packets_sent": stats.sent,
        "num_alive_connections": len(server.connections),
        "outstanding_requests": server.outstanding,
        "uptime": int(uptime_ms),
        "znode_count": len(tree.nodes),
        "watch_count": server.watches.data.count() + server.watches.children.count(),
        "ephemerals_count": sum(map(len, tree.ephemerals.values())),
        "approximate_data_size": tree.data_bytes,
        "global_sessions": len(member.sessions.by_id),
        "local_sessions": 0,
        "digest_mismatches_count": tree.digest_mismatches,
        "outstanding_changes_queued": member.outstanding_txns,
        "quota_exceeded_count": member.quotas.exceeded if member.quotas is not None else 0,
        "writes_refused": int(member.failure is not None),
        "connection_request_count": stats.greeted,
        "connection_revalidate_count": stats.renewed,
        "connection_rejected": stats.rejected,
        "connection_drop_count": stats.gone,
        "connection_drop_probability": server.throttle.drop,
        "max_connection_token_deficit": server.throttle.deficit_max,
        "sessionless_connections_expired": stats.strangers_closed,
        "stale_requests_dropped": stats.stale_dropped,
        "request_throttle_wait_count": stats.holds,
        "throttled_ops": stats.throttled_ops,
        "unread_connections_cut": stats.cut_off,
    }
    values.update(member.role_numbers())
    for name, ops in _COUNTED.items():
        values[f"op_count_{name}"] = sum(stats.requests.get(op, 0) for op in ops)
    values["op_count_total"] = sum(stats.requests.values())
    return values
