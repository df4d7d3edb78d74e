"""What the commands for znodes do, each a coroutine over a session of whatever kind.

What servers refuse is raised as it comes; who runs them turns it into a line and an exit status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import click

from coterie.cli import acls, show
from coterie.cli.changes import Change
from coterie.cli.session import Session
from coterie.cli.walk import child, walk
from coterie.client.client import Client
from coterie.errors import (
    NoAuthError,
    NoNodeError,
    NotReadOnlyError,
    SessionExpiredError,
)
from coterie.system.clock import SystemClock
from coterie.values import (
    OPEN_ACL,
    ACLs,
    EventType,
    SessionState,
    Stat,
    WatchEvent,
)

_CHILDREN_AT_ONCE: Final = 256
_REMOVED: Final = (
    EventType.DATA_WATCH_REMOVED,
    EventType.CHILD_WATCH_REMOVED,
    EventType.PERSISTENT_WATCH_REMOVED,
)


def parse_acl(entries: Sequence[str]) -> ACLs:
    """Raises a usage error."""
    try:
        return acls.parse(",".join(entries))
    except acls.ACLTextError as error:
        raise click.UsageError(str(error)) from None


# Reading


async def get(
    session: Session, *, path: str, with_stat: bool, raw: bool, watch: bool = False
) -> None:
    data, stat = await session.zk.get(path, watch=session.tell if watch else None)
    out = session.out
    if raw:
        out.raw(data)
        return
    out.record({"path": path, **show.data_fields(data), "stat": show.stat_fields(stat)})
    out.line(show.data_lines(data))
    if with_stat:
        out.line(show.stat_lines(stat))


async def stat(session: Session, *, path: str, watch: bool = False) -> None:
    found = await session.zk.exists(path, watch=session.tell if watch else None)
    if found is None:
        raise NoNodeError(path, "stat")
    show_stat(session, path, found)


def show_stat(session: Session, path: str, stat: Stat) -> None:
    session.out.record({"path": path, "stat": show.stat_fields(stat)})
    session.out.line(show.stat_lines(stat))


async def ls(
    session: Session,
    *,
    path: str,
    with_stat: bool,
    long: bool,
    recursive: bool,
    watch: bool = False,
) -> None:
    zk, out = session.zk, session.out
    if recursive:
        async for step in walk(zk, path):
            out.record({"path": step.path})
            out.line(step.path)
        return
    names, found = await zk.children_with_stat(path, watch=session.tell if watch else None)
    if long:
        await _ls_long(session, path, names)
    else:
        out.record({"path": path, "children": names, "stat": show.stat_fields(found)})
        for name in names:
            out.line(name)
    if with_stat:
        out.line(show.stat_lines(found))


async def _ls_long(session: Session, path: str, names: list[str]) -> None:
    rows = [["version", "bytes", "children", "ephemeral", "changed", "name"]]
    for at in range(0, len(names), _CHILDREN_AT_ONCE):
        some = names[at : at + _CHILDREN_AT_ONCE]
        stats = await asyncio.gather(*(session.zk.exists(child(path, name)) for name in some))
        for name, found in zip(some, stats, strict=True):
            if found is None:
                continue
            session.out.record({"path": child(path, name), "stat": show.stat_fields(found)})
            numbers = (found.version, found.data_length, found.num_children)
            kind = "yes" if found.ephemeral_owner else "-"
            changed = show.time_for_people(found.mtime)
            rows.append([*map(str, numbers), kind, changed, name])
    if len(rows) > 1:
        session.out.line(show.table(rows))


async def tree(session: Session, *, path: str, depth_max: int | None, with_data: bool) -> None:
    async for step in walk(session.zk, path, depth_max, with_data=with_data):
        fields: dict[str, Any] = {"path": step.path}
        if step.data is not None:
            fields |= show.data_fields(step.data)
        if step.stat is not None:
            fields["stat"] = show.stat_fields(step.stat)
        session.out.record(fields)
        hidden = depth_max is not None and len(step.more) == depth_max
        session.out.line(show.branch(step, hidden))


# Writing


async def create(
    session: Session,
    *,
    path: str,
    data: bytes,
    acl: str | None,
    ephemeral: bool,
    sequential: bool,
    container: bool,
    ttl_ms: int | None,
    parents: bool,
) -> None:
    made = await session.zk.create_with_stat(
        path,
        data,
        ephemeral=ephemeral,
        sequential=sequential,
        container=container,
        ttl_ms=ttl_ms,
        acl=OPEN_ACL if acl is None else parse_acl([acl]),
        parents=parents,
    )
    session.out.record({"path": made.path, "stat": show.stat_fields(made.stat)})
    session.out.line(made.path)
    if ephemeral:
        await _keep(session, made.path)


async def _keep(session: Session, path: str) -> None:
    """Stay as long as the session has to live; an ephemeral znode would go with it."""
    if session.stays:
        return
    session.endless = True
    session.out.note("it is there until Ctrl-C")
    async for state in session.zk.states():
        if state == SessionState.LOST:
            break
    raise SessionExpiredError(path, "keep")


async def set_data(
    session: Session, *, path: str, data: bytes, version: int, with_stat: bool
) -> None:
    found = await session.zk.set(path, data, version)
    session.out.record({"path": path, "stat": show.stat_fields(found)})
    if with_stat:
        session.out.line(show.stat_lines(found))


async def rm(
    session: Session, *, paths: Sequence[str], recursive: bool, force: bool, version: int
) -> None:
    for path in paths:
        deleted = True
        if recursive:
            if not force and await session.zk.exists(path) is None:
                raise NoNodeError(path, "delete")
            await session.zk.delete_tree(path)
        else:
            try:
                await session.zk.delete(path, version)
            except NoNodeError:
                if not force:
                    raise
                deleted = False
        session.out.record({"path": path, "deleted": deleted})


async def multi(session: Session, *, changes: Sequence[Change]) -> None:
    transaction = session.zk.transaction()
    for change in changes:
        change.add_to(transaction)
    results = await transaction.commit()
    kept = ""
    for change, result in zip(changes, results, strict=True):
        fields: dict[str, Any] = {"op": change.op, "path": change.path}
        if isinstance(result, str):
            fields["path"] = result
        elif isinstance(result, Stat):
            fields["stat"] = show.stat_fields(result)
        session.out.record(fields)
        session.out.line(f"{change.op} {fields['path']}")
        if change.mode.ephemeral:
            kept = fields["path"]
    if kept:
        await _keep(session, kept)


# ACLs


async def acl(
    session: Session,
    *,
    path: str,
    entries: Sequence[str],
    recursive: bool,
    version: int,
    with_stat: bool,
) -> None:
    zk = session.zk
    if not entries:
        if not recursive:
            await _show_acl(session, path, with_stat)
            return
        async for step in walk(zk, path):
            session.out.line(step.path)
            await _show_acl(session, step.path, with_stat)
        return
    wanted = parse_acl(entries)
    if not recursive:
        await _set_acl(session, path, wanted, version, with_stat)
        return
    # All paths first: the new ACL may not let this client look any further.
    for found in [step.path async for step in walk(zk, path)]:
        await _set_acl(session, found, wanted, version, with_stat)


async def _show_acl(session: Session, path: str, with_stat: bool) -> None:
    entries, found = await session.zk.get_acl(path)
    fields = [show.acl_fields(entry) for entry in entries]
    session.out.record({"path": path, "acl": fields, "stat": show.stat_fields(found)})
    for entry in entries:
        session.out.line(acls.show(entry))
    if with_stat:
        session.out.line(show.stat_lines(found))


async def _set_acl(
    session: Session, path: str, wanted: ACLs, version: int, with_stat: bool
) -> None:
    found = await session.zk.set_acl(path, wanted, version)
    session.out.record({"path": path, "stat": show.stat_fields(found)})
    if with_stat:
        session.out.line(show.stat_lines(found))


# Watching


async def watch(
    session: Session, *, path: str, recursive: bool, once: bool, with_data: bool
) -> None:
    async with session.zk.watch(path, recursive=recursive) as events:
        session.endless = not once
        session.out.note(f"watching {path}{' and all below' if recursive else ''}")
        async for event in events:
            await _show_event(session, event, with_data)
            if event.type in _REMOVED:
                raise NoAuthError(path, "watch")
            if once and event.type != EventType.NONE:
                return
    raise SessionExpiredError(path, "watch")


async def _show_event(session: Session, event: WatchEvent, with_data: bool) -> None:
    wall_ms = SystemClock().wall_ms()
    fields, line = show.event_fields(event, wall_ms), show.event_line(event, wall_ms)
    if with_data and event.type in (EventType.NODE_CREATED, EventType.NODE_DATA_CHANGED):
        data = await _data_if_there(session.zk, event.path)
        if data is not None:
            fields |= show.data_fields(data)
            line += f" = {show.data_inline(data)}"
    session.out.record(fields)
    session.out.line(line)


async def _data_if_there(zk: Client, path: str) -> bytes | None:
    try:
        return (await zk.get(path)).data
    except (NoNodeError, NoAuthError, NotReadOnlyError):
        return None
