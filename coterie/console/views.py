"""The console's page, and what it asks of the server that is not a znode.

Rules:
- the pages are files beside this one, read once: no build step, and nothing from elsewhere;
- what a server alone knows of itself (its sessions, its disk) is there only where the console is
  its own: one that stands beside an ensemble says so by `inside: false`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coterie.admin.commands import COMMANDS, Status, every_connection
from coterie.console.members import Members, Told, of_monitor
from coterie.console.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from coterie.console.access import Access
    from coterie.runtime.doors import Inside

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_SESSIONS_MAX: Final = 2000
_PATHS_MAX: Final = 100


class Views:
    """The console at one port; `inside` is None for one that stands beside its ensemble."""

    def __init__(
        self, members: Members, access: Access, hosts: Callable[[], str], inside: Inside | None
    ) -> None:
        self._members = members
        self._access = access
        self._hosts = hosts
        self._inside = inside
        self._files = {
            file.name: file.read_bytes()
            for file in resources.files("coterie.console").joinpath("static").iterdir()
            if file.is_file()
        }

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/static/{name}", self.file),
            Route("/console/state", self.state),
            Route("/console/sessions", self.sessions),
            Route("/console/storage", self.storage),
        ]

    async def page(self, request: Request) -> Response:
        return Response(self._files["index.html"], media_type=_TYPES["html"])

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        kind = _TYPES.get(name.rpartition(".")[2])
        if name not in self._files or kind is None:
            raise Problem(404, "there is nothing at this address")
        return Response(self._files[name], media_type=kind)

    async def state(self, request: Request) -> Response:
        members = await self._members.told()
        told: dict[str, Any] = {
            "hosts": self._hosts(),
            "inside": self._inside is not None,
            "read_only": self._access.read_only,
            "members": members,
        }
        if self._inside is not None:
            told["unready"] = self._inside.unready()
            told["audit"] = self._inside.config.audit_enabled
            ensemble = self._inside.config.ensemble
            own = None if ensemble is None else self._inside.config.server_id
            more = _itself(self._inside.status())
            told["members"] = [
                _known(each, more) if each["id"] == own else each for each in members
            ]
        return JSONResponse(told)

    async def sessions(self, request: Request) -> Response:
        return JSONResponse(sessions(self._status()))

    async def storage(self, request: Request) -> Response:
        try:
            return JSONResponse(storage(self._status()))
        except OSError as error:
            raise Problem(500, f"the disk cannot be looked at: {error.strerror}") from None

    def _status(self) -> Status:
        if self._inside is None:
            raise Problem(404, "only a server itself knows this: ask its own port")
        return self._inside.status()


def _known(member: Told, more: Told) -> Told:
    """A member that is this server: why it could not be asked is of no matter."""
    return {**{name: value for name, value in member.items() if name != "why"}, **more}


def _itself(status: Status) -> Told:
    """What this server says of itself without being asked at its client port."""
    stats = COMMANDS["server_stats"](status)
    told = stats["server_stats"]
    return {
        "mode": told["server_state"],
        "version": stats["version"].partition(",")[0],
        "zxid": f"{told['last_processed_zxid']:#x}",
        "znodes": stats["node_count"],
        "connections": told["num_alive_client_connections"],
        "outstanding": told["outstanding_requests"],
        "received": told["packets_received"],
        "sent": told["packets_sent"],
        "latency_ms": [told["min_latency"], told["avg_latency"], told["max_latency"]],
        **of_monitor(COMMANDS["monitor"](status)),
    }


def sessions(status: Status) -> dict[str, Any]:
    """The sessions of the ensemble as far as this server knows them, and who is connected here."""
    dump = COMMANDS["dump"](status)
    watched = COMMANDS["watches"](status)["session_id_to_watched_paths"]
    here = {each["session_id"]: each for each in every_connection(status)}
    owned = dump["session_id_to_ephemeral_paths"]
    timeouts = dump["global_session_timeouts"]
    ids = sorted({*timeouts, *(id for id in here if id)})
    return {
        "count": len(ids),
        "strangers": sum(not each["session_id"] for each in _connections(status)),
        "sessions": [
            {
                "id": f"{id % 2**64:#x}",
                "timeout_ms": timeouts.get(id, 0),
                "ephemerals": owned.get(id, [])[:_PATHS_MAX],
                "ephemeral_count": len(owned.get(id, [])),
                "watches": watched.get(id, [])[:_PATHS_MAX],
                "watch_count": len(watched.get(id, [])),
                "connection": _shown(here[id]) if id in here else None,
            }
            for id in ids[:_SESSIONS_MAX]
        ],
    }


def _connections(status: Status) -> list[dict[str, Any]]:
    return every_connection(status)


def _shown(connection: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": connection["remote_socket_address"],
        "since_ms": connection["established"],
        "received": connection["packets_received"],
        "sent": connection["packets_sent"],
        "last": connection["last_operation"],
        "avg_ms": connection["avg_latency"],
        "max_ms": connection["max_latency"],
    }


def storage(status: Status) -> dict[str, Any]:
    """What is on this server's disk, and how it does."""
    numbers = COMMANDS["monitor"](status)
    sizes = COMMANDS["dirs"](status)
    config = COMMANDS["configuration"](status)
    return {
        "data_dir": config["data_dir"],
        "log_dir": config["data_log_dir"],
        "snapshot_bytes": sizes["datadir_size"],
        "log_bytes": sizes["logdir_size"],
        "snapshots": COMMANDS["last_snapshot"](status)["snapshots"],
        "zxid": f"{status.member.tree.zxid:#x}",
        "failure": status.member.failure,
        "fsync": {
            "count": numbers.get("cnt_fsynctime", 0),
            "avg_ms": numbers.get("avg_fsynctime", 0),
            "max_ms": numbers.get("max_fsynctime", 0),
        },
        "data_bytes": numbers["approximate_data_size"],
        "znodes": numbers["znode_count"],
    }
