"""A znode and all below it, each before what is below it, children in the order of their names.

The children of one znode are asked for at once, not one after the other. What goes meanwhile is
left out; what may not be read is there without what it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from coterie.client.client import Client
from coterie.errors import NoAuthError, NoNodeError
from coterie.values import Stat

_AT_ONCE: Final = 256


class Step(NamedTuple):
    """A znode on the way."""

    path: str
    name: str
    more: tuple[bool, ...]
    """For it and each znode above it but the top: whether a sibling follows."""
    names: list[str]
    """Those of its children; empty for one that may not be read."""
    stat: Stat | None
    """None for one that may not be read."""
    data: bytes | None
    """None if it was not asked for, or may not be read."""


class _Sight(NamedTuple):
    names: list[str]
    stat: Stat | None
    data: bytes | None


def child(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"


async def walk(
    zk: Client, top: str, depth_max: int | None = None, *, with_data: bool = False
) -> AsyncIterator[Step]:
    """Raises `NoNodeError` and `NoAuthError` for the top alone."""
    first = await _look(zk, top, with_data)
    ahead = [Step(top, top, (), *first)]
    while ahead:
        step = ahead.pop()
        yield step
        if depth_max is None or len(step.more) < depth_max:
            below = await _below(zk, step, with_data)
            ahead += reversed(below)


async def _below(zk: Client, step: Step, with_data: bool) -> list[Step]:
    found: list[tuple[str, _Sight]] = []
    for at in range(0, len(step.names), _AT_ONCE):
        names = step.names[at : at + _AT_ONCE]
        looks = [_look_if_there(zk, child(step.path, name), with_data) for name in names]
        sights = await asyncio.gather(*looks)
        found += [(name, sight) for name, sight in zip(names, sights, strict=True) if sight]
    last = len(found) - 1
    return [
        Step(child(step.path, name), name, (*step.more, number < last), *sight)
        for number, (name, sight) in enumerate(found)
    ]


async def _look_if_there(zk: Client, path: str, with_data: bool) -> _Sight | None:
    try:
        return await _look(zk, path, with_data)
    except NoNodeError:
        return None
    except NoAuthError:
        return _Sight([], None, None)


async def _look(zk: Client, path: str, with_data: bool) -> _Sight:
    names, stat = await zk.children_with_stat(path)
    data = (await zk.get(path)).data if with_data else None
    return _Sight(names, stat, data)
