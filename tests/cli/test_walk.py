"""The walk: in order, not deeper than asked, and not stopped by what goes or may not be read."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from coterie.cli.walk import Step, child, walk
from coterie.client.client import Client
from coterie.errors import NoAuthError, NoNodeError
from coterie.values import Children, Stat, Znode

_STAT = Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class _Tree:
    """A client that knows these znodes and their children alone."""

    def __init__(self, names: dict[str, str], hidden: str = "", gone: str = "") -> None:
        self._names = names
        self._hidden = hidden
        self._gone = gone

    async def children_with_stat(self, path: str) -> Children:
        if path == self._gone:
            raise NoNodeError(path)
        if path == self._hidden:
            raise NoAuthError(path)
        return Children(self._names.get(path, "").split(), _STAT)

    async def get(self, path: str) -> Znode:
        return Znode(path.encode(), _STAT)


def steps(tree: _Tree, top: str = "/", depth_max: int | None = None) -> list[Step]:
    async def run() -> list[Step]:
        zk = cast(Client, tree)
        return [step async for step in walk(zk, top, depth_max, with_data=True)]

    return asyncio.run(run())


_NAMES = {"/": "a c", "/a": "b d", "/a/b": "x"}


def test_each_before_what_is_below_it() -> None:
    found = steps(_Tree(_NAMES))
    assert [step.path for step in found] == ["/", "/a", "/a/b", "/a/b/x", "/a/d", "/c"]
    assert [step.more for step in found[2:]] == [
        (True, True),
        (True, True, False),
        (True, False),
        (False,),
    ]
    assert found[2].data == b"/a/b"


def test_not_deeper_than_asked() -> None:
    assert [step.path for step in steps(_Tree(_NAMES), "/a", 1)] == ["/a", "/a/b", "/a/d"]
    assert [step.names for step in steps(_Tree(_NAMES), "/a", 0)] == [["b", "d"]]


def test_what_goes_meanwhile_is_left_out() -> None:
    found = steps(_Tree(_NAMES, gone="/c"))
    assert [(step.path, step.more) for step in found[1:2]] == [("/a", (False,))]
    assert "/c" not in [step.path for step in found]


def test_what_may_not_be_read_is_there_without_what_it_holds() -> None:
    hidden = steps(_Tree(_NAMES, hidden="/a"))[1]
    assert (hidden.path, hidden.names, hidden.stat, hidden.data) == ("/a", [], None, None)


@pytest.mark.parametrize("fault", ["gone", "hidden"])
def test_the_top_has_to_be_there(fault: str) -> None:
    with pytest.raises((NoNodeError, NoAuthError)):
        steps(_Tree(_NAMES, **{fault: "/"}))


def test_more_children_than_are_asked_for_at_once() -> None:
    names = [f"{number:04}" for number in range(600)]
    found = steps(_Tree({"/": " ".join(names)}))
    assert [step.name for step in found[1:]] == names
    assert not found[-1].more[0]
    assert found[-2].more[0]


def test_the_child_of_the_root() -> None:
    assert (child("/", "a"), child("/a", "b")) == ("/a", "/a/b")
