"""The numbers of a server in Prometheus's text format, by the names of Apache's exporter. Pure.

Rules:
- the names are those of the monitor command, which are Apache's, without a prefix. What its
  monitor command flattens is a summary again: `cnt_fsynctime` is `fsynctime_count`;
- what Apache does not have begins with `coterie_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from coterie.admin.commands import COMMANDS, Status

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_STATES: Final = ("standalone", "leader", "follower", "observer", "looking", "read-only")
_SUMMARIES: Final = ("fsynctime", "snapshottime")
_COUNTERS: Final = frozenset(
    {
        "connection_drop_count",
        "connection_rejected",
        "connection_request_count",
        "connection_revalidate_count",
        "digest_mismatches_count",
        "quota_exceeded_count",
        "request_throttle_wait_count",
        "sessionless_connections_expired",
        "stale_requests_dropped",
        "throttled_ops",
        "unread_connections_cut",
    }
)
_OURS: Final = frozenset(
    {
        "max_fsynctime",
        "quota_exceeded_count",
        "resident_memory_bytes",
        "unread_connections_cut",
        "writes_refused",
    }
)


def metrics_text(status: Status, ready: bool) -> str:
    """Everything that the monitor command knows, and whether the server is ready."""
    return render(COMMANDS["monitor"](status), ready)


def render(monitor: Mapping[str, object], ready: bool) -> str:
    """The text of what `monitor` told."""
    numbers = {name: value for name, value in monitor.items() if isinstance(value, int | float)}
    lines: list[str] = []
    for name in _SUMMARIES:
        count = numbers.pop(f"cnt_{name}", None)
        average = numbers.pop(f"avg_{name}", None)
        if count is not None:
            lines.append(f"# TYPE {name} summary\n{name}_count {_number(count)}\n")
        if count is not None and average is not None:
            lines.append(f"{name}_sum {_number(round(average * count, 4))}\n")
    for name, value in sorted(numbers.items()):
        kind = "counter" if name in _COUNTERS or name.startswith("op_count_") else "gauge"
        shown = f"coterie_{name}" if name in _OURS else name
        lines.append(f"# TYPE {shown} {kind}\n{shown} {_number(value)}\n")
    lines.append(f"# TYPE coterie_ready gauge\ncoterie_ready {int(ready)}\n")
    lines.append("# TYPE coterie_server_state gauge\n")
    state = monitor.get("server_state")
    lines += [f'coterie_server_state{{state="{each}"}} {int(each == state)}\n' for each in _STATES]
    return "".join(lines)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
