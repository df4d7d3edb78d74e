"""Quotas as zkCli keeps them: znodes below /zookeeper/quota, for a znode and all below it.

Of a path and those above and below it only one may have a quota. What is not limited is -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import click

from coterie.cli.session import Session
from coterie.cli.walk import child, walk
from coterie.client.client import Client
from coterie.errors import BadVersionError, NodeExistsError, NoNodeError
from coterie.paths import QUOTA

_ROOT: Final = QUOTA.decode()
_LIMITS: Final = "zookeeper_limits"
_STATS: Final = "zookeeper_stats"
_KEYS: Final = {
    "count": "count",
    "size": "bytes",
    "hard_count": "countHardLimit",
    "hard_size": "byteHardLimit",
}
_UNLIMITED: Final = -1


def parse(data: bytes) -> dict[str, int]:
    """The numbers in a znode of limits or statistics."""
    numbers: dict[str, int] = {}
    for pair in data.decode("utf-8", "replace").replace(";", ",").split(","):
        key, _, value = pair.partition("=")
        try:
            numbers[key] = int(value.rstrip("="))
        except ValueError:
            continue
    return numbers


def text(numbers: Mapping[str, int]) -> bytes:
    """As zkCli writes it: hard limits come behind an odd `=`, so that old servers skip them."""
    first = f"count={numbers.get('count', -1)},bytes={numbers.get('bytes', -1)}"
    hard = [
        f";{key}={numbers[key]}"
        for key in ("byteHardLimit", "countHardLimit")
        if numbers.get(key, _UNLIMITED) != _UNLIMITED
    ]
    return (first + ("=" if hard else "") + "".join(hard)).encode()


def _place(zk: Client, path: str) -> str:
    """Where the quota of a path is. Raises a usage error where there can be none."""
    if zk.chroot:
        raise click.UsageError("Quotas are kept at the root: connect without one of your own.")
    if path == "/" or path == "/zookeeper" or path.startswith("/zookeeper/"):
        raise click.UsageError(f"{path} cannot have a quota.")
    return _ROOT + path


async def show_quota(session: Session, *, path: str) -> None:
    """Raises `NoNodeError` if there is none."""
    place = _place(session.zk, path)
    limits = parse((await session.zk.get(child(place, _LIMITS))).data)
    used = parse((await session.zk.get(child(place, _STATS))).data)
    session.out.record({"path": path, "limits": limits, "used": used})
    session.out.line(f"{'':<8}{'used':>12}{'limit':>12}{'enforced':>12}")
    for name, soft, hard in (("znodes", "count", "hard_count"), ("bytes", "size", "hard_size")):
        numbers = (used.get(_KEYS[soft]), limits.get(_KEYS[soft]), limits.get(_KEYS[hard]))
        cells = ["-" if one in (None, _UNLIMITED) else str(one) for one in numbers]
        session.out.line(f"{name:<8}" + "".join(f"{cell:>12}" for cell in cells))


async def set_quota(session: Session, *, path: str, limits: Mapping[str, int]) -> None:
    zk = session.zk
    place = _place(zk, path)
    if await zk.exists(path) is None:
        raise NoNodeError(path, "setquota")
    wanted = {_KEYS[name]: value for name, value in limits.items()}
    other = await _other(zk, path)
    if other is not None:
        raise click.UsageError(f"{other} has a quota: of it and {path} only one may.")
    await zk.ensure(place)
    with suppress(NodeExistsError):
        # The statistics come first: a server that sees the limits counts what there is.
        await zk.create(child(place, _STATS), text({"count": 0, "bytes": 0}))
    try:
        await zk.create(child(place, _LIMITS), text(wanted))
    except NodeExistsError:
        await _change(zk, child(place, _LIMITS), wanted)
    session.out.record({"path": path, "limits": wanted})


async def _other(zk: Client, path: str) -> str | None:
    """The path above or below that has a quota."""
    above = path.rpartition("/")[0]
    while above:
        if await zk.exists(child(_ROOT + above, _LIMITS)) is not None:
            return above
        above = above.rpartition("/")[0]
    with suppress(NoNodeError):
        async for step in walk(zk, _ROOT + path):
            if _LIMITS in step.names and step.path != _ROOT + path:
                return step.path.removeprefix(_ROOT)
    return None


async def _change(zk: Client, place: str, wanted: Mapping[str, int]) -> None:
    while True:
        data, stat = await zk.get(place)
        try:
            await zk.set(place, text({**parse(data), **wanted}), stat.version)
        except BadVersionError:
            continue
        return


async def delete_quota(session: Session, *, path: str, names: Sequence[str]) -> None:
    """Raises `NoNodeError` if there is none."""
    zk = session.zk
    place = _place(zk, path)
    limits = child(place, _LIMITS)
    gone: dict[str, Any] = {"path": path}
    if names:
        await _change(zk, limits, {_KEYS[name]: _UNLIMITED for name in names})
        session.out.record(gone)
        return
    await zk.delete(limits)
    with suppress(NoNodeError):
        await zk.delete(child(place, _STATS))
    # What was there for this quota alone goes with it.
    while place != _ROOT and not await zk.children(place):
        await zk.delete(place)
        place = place.rpartition("/")[0]
    session.out.record(gone)
