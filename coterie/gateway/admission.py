"""Whether one that has just registered may stay: whoever is there already has to fit, both ways.

Rules: one registers first and looks then, so of two that come at the same moment at least one
sees the other; the znode that was made later goes, so that it is exactly one. Who drains is on
his way out and refuses nobody; who states what cannot be understood refuses nobody either, and is
found by nobody.
"""

from __future__ import annotations

from coterie.errors import SessionExpiredError
from coterie.gateway.compatibility import Mismatch, Party, mismatches, party_of
from coterie.gateway.directory import DRAINING, IncompatibleError, place
from coterie.recipes.discovery import Discovery, Instance, Registration


async def admit(services: Discovery, mine: Registration) -> int:
    """The txn by which `mine` was registered, if it may stay.

    Raises `IncompatibleError` for partners that were there before and do not fit.
    """
    zk = services.zk
    while True:
        session_id = zk.session_id
        made = await zk.exists(mine.path)
        # What was made before one's own znode is in every answer that comes after that.
        await services.look()
        if made is None:
            if zk.over:
                raise SessionExpiredError(mine.path, "register")
            continue
        found: list[Mismatch] = []
        for one, reasons in misfits(services, mine.instance):
            stat = await zk.exists(place(services.path, one.name, one.id))
            if stat is not None and stat.czxid < made.czxid:
                found.extend(reasons)
        if found:
            raise IncompatibleError("; ".join(map(str, found)), found)
        if zk.session_id == session_id:
            return made.czxid


def misfits(services: Discovery, mine: Instance) -> list[tuple[Instance, list[Mismatch]]]:
    """All that are registered, stay, and do not fit an instance, and why."""
    me = party_of(mine)
    found: list[tuple[Instance, list[Mismatch]]] = []
    for name in services.names():
        for one in services.find(name):
            other = _party(one)
            itself = (one.name, one.id) == (mine.name, mine.id)
            if not itself and other is not None and (reasons := mismatches(me, other)):
                found.append((one, reasons))
    return found


def _party(one: Instance) -> Party | None:
    if one.metadata.get("state") == DRAINING:
        return None
    try:
        return party_of(one)
    except ValueError:
        return None
