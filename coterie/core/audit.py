"""What is told of a change: who asked for it, from where, and what became of it.

Rules: each change is told by one member, that which has the client; what no client asked for (the
end of a silent session, a container that goes) is told by the member that numbered it. Nobody
waits for it to be written down. `admin/audit.py` makes lines of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from coterie.values import Id
from coterie.wire.requests import Op

if TYPE_CHECKING:
    from coterie.core.prepare import Write
    from coterie.core.tree import Outcome

_TOLD: Final = frozenset(
    {
        Op.CREATE,
        Op.CREATE2,
        Op.CREATE_CONTAINER,
        Op.CREATE_TTL,
        Op.DELETE,
        Op.DELETE_CONTAINER,
        Op.SET_DATA,
        Op.SET_ACL,
        Op.MULTI,
        Op.RECONFIG,
        Op.CLOSE_SESSION,
    }
)


class Told(NamedTuple):
    """A change that was asked for, and what became of it."""

    ids: Sequence[Id]
    """Who the client has proved to be; none for what no client asked for."""
    ip: str
    session_id: int
    op: int
    payload: bytes
    """The request, as it came."""
    zxid: int
    """0 for what was refused without a txn."""
    error: int
    changed: tuple[tuple[int, bytes], ...]
    """What was done to which znodes, in order: opcodes and paths."""


def of_commit(write: Write, outcome: Outcome, zxid: int, ended: Sequence[bytes]) -> Told | None:
    """What is told of a txn that is applied, if this member has to. `ended` are the ephemerals
    that went with a session."""
    if write.owner is not None or write.op not in _TOLD:
        return None
    if write.op == Op.CLOSE_SESSION:
        changed = tuple((Op.DELETE, path) for path in ended)
        return _told(write, zxid, outcome.error, changed) if changed else None
    if outcome.error:
        return _told(write, zxid, outcome.error, ())
    if write.op == Op.MULTI:
        parts = tuple((part.type, part.path) for part in outcome.parts)
        return _told(write, zxid, 0, parts)
    return _told(write, zxid, 0, ((write.op, outcome.path),))


def of_refusal(write: Write, code: int) -> Told | None:
    """What is told of a write that came to no txn."""
    if write.owner is not None or write.op not in _TOLD or write.op == Op.CLOSE_SESSION:
        return None
    return _told(write, 0, code, ())


def _told(write: Write, zxid: int, error: int, changed: tuple[tuple[int, bytes], ...]) -> Told:
    ip = write.connection.ip if write.connection is not None else ""
    return Told(write.ids, ip, write.session_id, write.op, write.payload, zxid, error, changed)
