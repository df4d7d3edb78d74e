"""A tree that was read from files: walked in order, drawn as `coterie tree` draws, exported.

An exported znode is a JSON object that `coterie import` takes: its path, what it holds (`data`, or
`data_base64` if it is not UTF-8; neither if it is null), its ACL, its kind, and its Stat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from coterie.cli import show
from coterie.cli.walk import Step
from coterie.core.tree import Tree
from coterie.core.znode import CONTAINER_OWNER, Node, is_ephemeral, ttl_ms
from coterie.values import ACL, Stat
from coterie.wire.requests import STAT

_ROOT: Final = b"/"


def stat_of(node: Node) -> Stat:
    """As a client sees it."""
    return Stat(*STAT.unpack(node.stat()))


def walk(tree: Tree, top: str, depth_max: int | None = None) -> Iterator[Step]:
    """Each before what is below it, children in the order of their names; the top is there."""
    for _, step in _walk(tree, top, depth_max):
        yield step


def _walk(tree: Tree, top: str, depth_max: int | None) -> Iterator[tuple[Node, Step]]:
    ahead: list[tuple[bytes, str, tuple[bool, ...]]] = [(top.encode(), top, ())]
    while ahead:
        path, name, more = ahead.pop()
        node = tree.nodes[path]
        names = sorted(map(_text, tree.names(path, node)))
        yield node, Step(_text(path), name, more, names, stat_of(node), node.data or b"")
        if depth_max is not None and len(more) >= depth_max:
            continue
        below = sorted(node.children or ())
        skip = 1 if path == _ROOT else len(path) + 1
        ahead += [
            (child, show.path_text(child[skip:]), (*more, number > 0))
            for number, child in enumerate(reversed(below))
        ]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def kind_of(node: Node) -> dict[str, Any]:
    """The mode of a create that makes such a znode."""
    if is_ephemeral(node.owner):
        return {"mode": "ephemeral"}
    if node.owner == CONTAINER_OWNER:
        return {"mode": "container"}
    ttl = ttl_ms(node.owner) if node.owner else None
    if ttl is not None:
        return {"mode": "persistent_ttl", "ttl_ms": ttl}
    return {"mode": "persistent"}


def exported(
    path: str, data: bytes | None, acl: Sequence[ACL], kind: dict[str, Any], stat: Stat
) -> dict[str, Any]:
    return {
        "path": path,
        **({} if data is None else show.data_fields(data)),
        **kind,
        "acl": [show.acl_fields(entry) for entry in acl],
        "stat": show.stat_fields(stat),
    }


def export(tree: Tree, top: str, depth_max: int | None = None) -> Iterator[dict[str, Any]]:
    """The znodes from `top` down."""
    for node, step in _walk(tree, top, depth_max):
        assert step.stat is not None
        yield exported(step.path, node.data, node.acl, kind_of(node), step.stat)
