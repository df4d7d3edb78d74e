"""HTTP /commands: the results of the admin commands under all their names, as Apache's JSON. Pure.

Rules, all of them Apache's (`Commands`):
- every answer has `command`, the first of its names, and `error`, null if all is well;
- an unknown command and a server that does not serve are told with status 200;
- what changes the server by more than its counters is POST, and nothing else is.
"""

from __future__ import annotations

import json
import re
from typing import Final

from coterie.admin.commands import COMMANDS, Result, Status

_OK: Final = 200
_NO_SUCH_METHOD: Final = 405
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

SHED: Final = frozenset({"shed_connections", "shed"})
"""The names of the one command that is POST."""

_ALWAYS: Final = frozenset({"environment", "monitor", "system_properties"})
_NO_SNAPSHOT: Final = (
    "Super gets a snapshot by GET where admin.snapshot.enabled is true; everywhere "
    "`coterie snapshot take` makes one of a data directory"
)
_NO_RESTORE: Final = (
    "Nothing is restored into a server that runs: stop it, make a new data directory of the "
    "snapshot by `coterie snapshot restore`, for each member one, and start it with that"
)
_REFUSED: Final = {
    "snapshot": ("snapshot", _NO_SNAPSHOT),
    "snap": ("snapshot", _NO_SNAPSHOT),
    "restore": ("restore", _NO_RESTORE),
    "rest": ("restore", _NO_RESTORE),
}
_NOT_SERVING: Final = "This ZooKeeper instance is not currently serving requests"
_PERCENTAGE: Final = "percentage"
_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]{1,9})(\.[0-9]*)?\s*", re.ASCII)


class BodyError(ValueError):
    """What was posted says not what is to be done; the message is as Apache's."""


def run(name: str, status: Status, *, posted: bool = False) -> tuple[int, Result]:
    """The HTTP status and the answer to one command."""
    if name in _REFUSED:
        command, error = _REFUSED[name]
        return _NOT_HERE, {"command": command, "error": error}
    if name in SHED:
        return _NO_SUCH_METHOD, {"command": "shed_connections", "error": "This command is POST"}
    primary = PRIMARY.get(name)
    if primary is None:
        return _OK, {"command": name, "error": f"Unknown command: {name}"}
    if posted:
        return _NO_SUCH_METHOD, {"command": primary, "error": "This command is GET"}
    if primary not in _ALWAYS and not status.member.server.serving:
        return _OK, {"command": primary, "error": _NOT_SERVING}
    return _OK, {"command": primary, "error": None, **COMMANDS[primary](status)}


def percentage(body: bytes) -> int:
    """How much is to be shed, of the JSON that was posted. Raises `BodyError`.

    A number may be in quotes and have a fraction, which counts as nothing: so Apache's has it.
    """
    if not body:
        raise BodyError("Request body is required")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = f"Invalid JSON or failed to read request body: {error}"
        raise BodyError(reason) from None
    if not isinstance(told, dict) or _PERCENTAGE not in told:
        raise BodyError(f"Missing required field: {_PERCENTAGE}")
    found = _NUMBER.fullmatch(str(told[_PERCENTAGE]))
    if found is None or not 0 <= int(found[1]) <= 100:
        raise BodyError("Percentage must be between 0 and 100")
    return int(found[1])


def shed(count: int, percentage: int) -> Result:
    """The answer to who had connections shed."""
    numbers = {"connections_shed": count, "percentage_requested": percentage}
    return {"command": "shed_connections", "error": None, **numbers}


def not_shed(error: str = _NOT_SERVING) -> Result:
    """The answer to who had none shed, and why."""
    return {"command": "shed_connections", "error": error}


def text(result: Result) -> str:
    """An answer as JSON, indented as Apache's."""
    return json.dumps(result, indent=2, ensure_ascii=False, default=str) + "\n"


def index(url: str) -> str:
    """The links to all commands, as Apache's server lists them."""
    links = (f'<a href="{url}/{name}">{name}</a>\n<br/>\n' for name in sorted(_NAMES))
    return "".join(links)
