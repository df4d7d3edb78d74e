"""What the shell's own commands do: about the session, the ensemble, and watches that go on."""

from __future__ import annotations

import click

from coterie.cli.session import Session
from coterie.errors import ApiError, NoNodeError, NoWatcherError
from coterie.values import AddWatchMode


async def sync(session: Session, *, path: str) -> None:
    await session.zk.sync(path)


async def demand(session: Session, *, path: str) -> None:
    """Raises `NoNodeError` if there is no such znode."""
    if await session.zk.exists(path) is None:
        raise NoNodeError(path, "cd")


async def add_auth(session: Session, *, scheme: str, credential: str) -> None:
    await session.zk.add_auth(scheme, credential.encode("utf-8", "surrogateescape"))


async def who_am_i(session: Session) -> None:
    for scheme, id in await session.zk.who_am_i():
        session.out.record({"scheme": scheme, "id": id})
        session.out.line(f"{scheme}:{id}")


async def config(session: Session) -> None:
    try:
        found = await session.zk.config()
    except ApiError:
        raise click.ClickException("the server is alone: it is in no ensemble") from None
    session.out.record({"config": found.text(), "version": f"{found.version:#x}"})
    session.out.line(found.text())


async def session(session: Session) -> None:
    zk = session.zk
    fields = {
        "session_id": f"{zk.session_id & (2**64 - 1):#x}",
        "state": zk.state.name,
        "timeout_ms": zk.session_timeout_ms,
        "server": str(zk.session.server),
        "last_zxid": f"{zk.last_zxid:#x}",
    }
    session.out.record(fields)
    for name, value in fields.items():
        session.out.line(f"{name:<11} {value}")


async def ephemerals(session: Session, *, path: str) -> None:
    found = sorted(await session.zk.ephemerals(path))
    session.out.record({"ephemerals": found})
    for one in found:
        session.out.line(one)


async def count(session: Session, *, path: str) -> None:
    found = await session.zk.count_descendants(path)
    session.out.record({"path": path, "descendants": found})
    session.out.line(str(found))


async def add_watch(session: Session, *, path: str, recursive: bool) -> None:
    """One watch for each path: another one takes its place."""
    mode = AddWatchMode.PERSISTENT_RECURSIVE if recursive else AddWatchMode.PERSISTENT
    before = session.watched.pop(path, None)
    if before is not None:
        await session.zk.remove_watch(path, before, session.tell)
    await session.zk.add_watch(path, mode, session.tell)
    session.watched[path] = mode


async def remove_watches(session: Session, *, path: str) -> None:
    mode = session.watched.pop(path, None)
    if mode is None:
        raise NoWatcherError(path, "removewatches")
    await session.zk.remove_watch(path, mode, session.tell)
