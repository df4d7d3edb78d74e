"""A group: who is there, each with some data, known to everybody.

    async with Group(zk, "/workers") as group, group.join("w7", b"10.0.0.7:80"):
        await group.wait_for(3)
        async for members in group.changes():
            print(sorted(members))

A member is an ephemeral znode, made again in a new session when its old one has expired. The list
is a local copy. Rules: an outage never empties it, it only grows old (`stale_s`); a member is
missing from it only when a server has said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.recipes.following import Changes, View
from coterie.recipes.names import text_of, znode_name
from coterie.recipes.presence import Presence
from coterie.recipes.recipe import Recipe, name_by_chance

if TYPE_CHECKING:
    from coterie.client.cache import Cache


class Member(NamedTuple):
    """One who is there."""

    name: str
    data: bytes
    session_id: int
    since: int
    """The txn by which it has joined: of two members the older one has the smaller."""


Members = Mapping[str, Member]


class Membership(Recipe["Membership"]):
    """A place in a group, for the time of a block. Made by `Group.join`."""

    def __init__(self, zk: Client | BlockingClient, path: str, name: str, data: bytes) -> None:
        super().__init__(zk, f"{path.rstrip('/')}/{znode_name(name)}")
        self.name = name
        self._presence = Presence(self.zk, self.path, data)

    async def enter(self) -> Membership:
        """Be a member when this returns; waits while another session has that name."""
        await self._presence.open()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self._presence.close()

    @property
    def present(self) -> bool:
        """Whether it is a member as far as is known; not between two sessions."""
        return self._presence.present

    async def update(self, data: bytes) -> None:
        """Change its data, now and for later sessions."""
        await self._presence.update(data)


class Group(Recipe["Group"]):
    """The members below `path`. Between `async with` their list is kept up to date."""

    def __init__(self, zk: Client | BlockingClient, path: str) -> None:
        super().__init__(zk, path)
        self._client = zk
        self._view: View[Members] = View(self.zk, self.path, 1, self._list)

    def _list(self, cache: Cache) -> Members:
        found: dict[str, Member] = {}
        for child in cache.children(self.path):
            data, stat = cache[f"{self.path.rstrip('/')}/{child}"]
            if stat.ephemeral_owner:
                name = text_of(child)
                found[name] = Member(name, data, stat.ephemeral_owner, stat.czxid)
        return MappingProxyType(found)

    async def enter(self) -> Group:
        """Know who is there. Raises what a read raises."""
        await self._view.open()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self._view.close()

    def join(self, name: str | None = None, data: bytes = b"") -> Membership:
        """A membership, to be entered by `with`; the group itself need not be. Without a name it
        gets one that nobody has."""
        if name is None:
            name = name_by_chance(self.zk)
        return Membership(self._client, self.path, name, data)

    @property
    def members(self) -> Members:
        """Who is there, by name: a copy that does not change. Costs no round trip."""
        return self._view.value

    @property
    def fresh(self) -> bool:
        """Whether the list is as new as what this client's server has told of."""
        return self._view.fresh

    @property
    def stale_s(self) -> float:
        """For how many seconds the list has not been known to be fresh; 0 while it is."""
        return self._view.stale_s

    def changes(self) -> Changes[Members]:
        """Every new list from now on, by `async for`, or a plain `for` over a blocking client."""
        return self._view.changes(self.portal)

    async def wait_for(self, count: int, timeout_s: float | None = None) -> Members:
        """Wait until so many are there. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            return await self._view.until(lambda members: len(members) >= count)

    async def look(self) -> Members:
        """The list as new as anything that was written before this call. Costs a round trip to
        the leader."""
        await self.zk.sync(self.path)
        return await self._view.at_least(0)
