"""What the tree says for one subscription: a znode, or those who offer a service now.

Only the znodes that are subscribed to are read: one, or those of one kind. Rules for servers are
those of the directory: who does not serve, is not healthy or cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from coterie.client.cache import Cache
from coterie.client.client import Client
from coterie.gateway.agent.content import lasting
from coterie.gateway.agent.subscriptions import ServersFile, SettingsFile, Subscription
from coterie.gateway.directory import available
from coterie.recipes import typed_json
from coterie.recipes.discovery import Instance
from coterie.recipes.following import View
from coterie.recipes.names import text_of, znode_name
from coterie.values import Znode


class Offer(NamedTuple):
    """What there is."""

    znode: Znode | None = None
    found: tuple[Instance, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Entries that make no sense, by their names."""


@dataclass(frozen=True)
class _Entry:
    """An instance as it is stored."""

    version: str
    host: str
    port: int
    flavor: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def view_of(zk: Client, one: Subscription, root: str) -> View[Offer]:
    """What there is for a subscription, followed between its `open` and `close`."""
    if isinstance(one, SettingsFile):
        znode = one.znode
        return View(zk, znode, 0, lambda cache: Offer(znode=cache.get(znode)))
    place = f"{root.rstrip('/')}/services/{znode_name(one.kind)}"
    return View(zk, place, 1, _reader(one, place))


def _reader(one: ServersFile, place: str) -> Callable[[Cache], Offer]:
    from packaging.specifiers import SpecifierSet

    wanted = SpecifierSet(one.versions) if one.versions else None
    early = wanted is not None and bool(wanted.prereleases)

    def read(cache: Cache) -> Offer:
        found: list[Instance] = []
        unreadable: list[str] = []
        for name in cache.children(place):
            instance = read_instance(one.kind, text_of(name), cache[f"{place}/{name}"].data)
            if instance is None:
                unreadable.append(name)
                continue
            if not available(instance):
                continue
            if one.flavor is not None and instance.flavor != one.flavor:
                continue
            if wanted is not None and not wanted.contains(instance.version, prereleases=early):
                continue
            found.append(replace(instance, metadata=lasting(instance.metadata)))
        return Offer(found=tuple(found), unreadable=tuple(unreadable))

    return read


def read_instance(kind: str, id: str, data: bytes) -> Instance | None:
    """An instance as the discovery recipe stores it; None for what makes no sense."""
    from packaging.version import Version

    try:
        entry = typed_json.decode(_Entry, data)
        Version(entry.version)
    except ValueError:
        return None
    return Instance(name=kind, id=id, **vars(entry))
