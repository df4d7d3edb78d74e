"""HTTP /commands: the results of the admin commands under all their names, as Apache's JSON. Pure.

Rules, all of them Apache's (`Commands`):
- every answer has `command`, the first of its names, and `error`, null if all is well;
- an unknown command and a server that does not serve are told with status 200;
- what changes the server by more than its counters is POST, and nothing else is.
"""

from __future__ import annotations

import json
from typing import Final

from coterie.admin.commands import COMMANDS, Result, Status

_OK: Final = 200
_NOT_HERE: Final = 503

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "connection_stat_reset": ("crst",),
    "configuration": ("conf", "config"),
    "connections": ("cons",),
    "dirs": (),
    "dump": (),
    "environment": ("env", "envi"),
    "hash": (),
    "is_read_only": ("isro",),
    "last_snapshot": ("lsnp",),
    "leader": ("lead",),
    "monitor": ("mntr",),
    "ruok": (),
    "server_stats": ("srvr",),
    "stats": ("stat",),
    "stat_reset": ("srst",),
    "system_properties": ("sysp",),
    "voting_view": (),
    "watches": ("wchc",),
    "watches_by_path": ("wchp",),
    "watch_summary": ("wchs",),
    "zabstate": (),
}
PRIMARY: Final[dict[str, str]] = {
    name: primary for primary, others in _NAMES.items() for name in (primary, *others)
}
"""Every name of a command to the first of its names."""

RESETS: Final = frozenset({"connection_stat_reset", "stat_reset"})
"""The commands that change something, though they are GET in Apache's server."""

_ALWAYS: Final = frozenset({"environment", "monitor", "system_properties"})
_DENIED: Final = {"snapshot": "snapshot", "snap": "snapshot"}
_POSTED: Final = {"restore": "restore", "rest": "restore", "shed_connections": "shed_connections"}
_POSTED["shed"] = "shed_connections"
_NOT_SERVING: Final = "This ZooKeeper instance is not currently serving requests"


def run(name: str, status: Status, *, posted: bool = False) -> tuple[int, Result]:
    """The HTTP status and the answer to one command."""
    elsewhere = {**_DENIED, **_POSTED}
    if name in elsewhere:
        error = "This server takes and restores snapshots by `coterie snapshot`, not over HTTP"
        if elsewhere[name] == "shed_connections":
            error = "This server does not shed connections"
        return _NOT_HERE, {"command": elsewhere[name], "error": error}
    primary = PRIMARY.get(name)
    if primary is None:
        return _OK, {"command": name, "error": f"Unknown command: {name}"}
    if posted:
        return 405, {"command": primary, "error": "This command is GET"}
    if primary not in _ALWAYS and not status.member.server.serving:
        return _OK, {"command": primary, "error": _NOT_SERVING}
    return _OK, {"command": primary, "error": None, **COMMANDS[primary](status)}


def text(result: Result) -> str:
    """An answer as JSON, indented as Apache's."""
    return json.dumps(result, indent=2, ensure_ascii=False, default=str) + "\n"


def index(url: str) -> str:
    """The links to all commands, as Apache's server lists them."""
    links = (f'<a href="{url}/{name}">{name}</a>\n<br/>\n' for name in sorted(_NAMES))
    return "".join(links)
