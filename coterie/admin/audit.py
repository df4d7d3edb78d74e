"""The audit log's lines: JSON with Apache's fields and names, for what the core tells.

Rules: a line for each znode that was changed, and one for a change that failed; a failed multi is
one line. The data of znodes is never in it, nor what a password hashes to: of an identity of the
scheme digest the name is there. Beyond Apache's fields a line has the time, the zxid, and the name
of the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from coterie.core.acl import masked
from coterie.core.audit import Told
from coterie.errors import MarshallingError, from_code
from coterie.values import MODES, ACLs, Id
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.requests import TABLE, Op, read_multi

Fields = dict[str, object]

_CREATES: Final = frozenset({Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL})
_OPERATIONS: Final = {
    **dict.fromkeys(_CREATES, "create"),
    Op.DELETE: "delete",
    Op.DELETE_CONTAINER: "delete",
    Op.SET_DATA: "setData",
    Op.SET_ACL: "setAcl",
    Op.MULTI: "multiOperation",
    Op.RECONFIG: "reconfig",
}
_OF_SESSION: Final = "ephemeralZNodeDeletionOnSessionCloseOrExpire"
_PERMS: Final = ((4, "c"), (8, "d"), (1, "r"), (2, "w"), (16, "a"))


class Auditor:
    """Makes lines. `server_user` is whom the server runs as: what it does by itself is his."""

    def __init__(self, server_user: str, show_time: Callable[[int], str]) -> None:
        self._server_user = server_user
        self._show_time = show_time

    def lines(self, told: Told, wall_ms: int) -> list[bytes]:
        """What is written of one change."""
        requests = _requests(told)
        about = {
            "session": f"{told.session_id & 2**64 - 1:#x}" if told.session_id else None,
            "user": _users(told.ids) or self._server_user,
            "ip": told.ip or None,
        }
        result: Fields = {"result": "success", "zxid": told.zxid}
        if told.error:
            request = requests[0][1] if len(requests) == 1 and told.op != Op.MULTI else None
            path = getattr(request, "path", None)
            what = _what(_OPERATIONS[told.op], path, told.op, request)
            error = type(from_code(told.error)).__name__
            result = {"result": "failure", "error": error, "zxid": told.zxid or None}
            return [self._line(wall_ms, about | what | result)]
        lines = []
        for place, (op, path) in enumerate(told.changed):
            if op not in _OPERATIONS:
                continue  # a check in a multi
            if told.op == Op.CLOSE_SESSION:
                what = _what(_OF_SESSION, path, op, None)
            else:
                op, request = requests[place] if place < len(requests) else (op, None)
                what = _what(_OPERATIONS[op], path, op, request)
            lines.append(self._line(wall_ms, about | what | result))
        return lines

    def of_server(self, operation: str, result: str, wall_ms: int, **more: object) -> bytes:
        """A line about the server itself, as serverStart."""
        about = {"user": self._server_user, "operation": operation, "result": result}
        return self._line(wall_ms, about | more)

    def _line(self, wall_ms: int, fields: Fields) -> bytes:
        shown = {name: value for name, value in fields.items() if value is not None}
        text = json.dumps({"time": self._show_time(wall_ms), **shown}, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace") + b"\n"


def _requests(told: Told) -> list[tuple[int, Record]]:
    """The operations that were asked for; none where they cannot be read."""
    reader = Reader(told.payload)
    try:
        if told.op == Op.MULTI:
            return read_multi(reader)
        if told.op == Op.CLOSE_SESSION:
            return []
        return [(told.op, TABLE[told.op].request.read(reader))]
    except MarshallingError:
        return []


def _what(operation: str, path: bytes | None, op: int, request: Record | None) -> Fields:
    what: Fields = {"operation": operation}
    if path:
        what["znode"] = path.decode("utf-8", "replace")
    if op in _CREATES and request is not None:
        mode = MODES.get(getattr(request, "flags", -1))
        what["znode_type"] = mode.name.lower() if mode is not None else None
    if op == Op.SET_ACL and request is not None:
        what["acl"] = _shown(getattr(request, "acl", ()))
    return what


def _shown(acl: ACLs) -> str:
    """Each entry as Apache writes it, with commas between them and without hashes."""
    return ",".join(
        f"{scheme}:{name}:{''.join(letter for bit, letter in _PERMS if perms & bit)}"
        for perms, (scheme, name) in masked(acl)
    )


def _users(ids: Sequence[Id]) -> str:
    return ",".join(_names(ids))


def _names(ids: Sequence[Id]) -> Iterator[str]:
    for scheme, name in ids:
        shown = name.partition(":")[0] if scheme == "digest" else name
        if shown.strip():
            yield shown
