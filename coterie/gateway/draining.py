"""Asking a component through the tree to drain and to end, and hearing that one is asked.

A request is a znode at `drain/KIND/ID` below the root. Rules: only who is registered can be asked;
a request is for who has the id now, not for who has it next; it outlives the session of who is
asked, who takes it away when he leaves.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import NodeExistsError, NoNodeError
from coterie.gateway.directory import place
from coterie.recipes.following import View
from coterie.recipes.names import znode_name

if TYPE_CHECKING:
    from coterie.client.cache import Cache


async def ask_to_drain(
    zk: Client | BlockingClient, kind: str, id: str, *, root: str = "/gateway", why: str = ""
) -> None:
    """Ask a component to drain and to end. Raises `LookupError` if it is not registered."""
    client = zk.client if isinstance(zk, BlockingClient) else zk
    instance = place(f"{root.rstrip('/')}/services", kind, id)
    request = request_place(root, kind, id)
    while await client.exists(instance) is not None:
        await client.ensure(request.rpartition("/")[0])
        asking = client.transaction().check(instance)
        # What is there may have been for one that had the same id, and is gone.
        if await client.exists(request) is not None:
            asking.delete(request)
        with suppress(NodeExistsError, NoNodeError):
            await asking.create(request, why.encode()).commit()
            return
    raise LookupError(f"no {kind} {id} is registered below {root}")


def request_place(root: str, kind: str, id: str) -> str:
    """The path at which one is asked."""
    return f"{root.rstrip('/')}/drain/{znode_name(kind)}/{znode_name(id)}"


class DrainRequest:
    """What one component is asked, followed between `open` and `close`."""

    def __init__(self, zk: Client, root: str, kind: str, id: str) -> None:
        self.path = request_place(root, kind, id)
        self._zk = zk
        self._born = 0
        self._view: View[int] = View(zk, self.path, 0, self._made)

    def _made(self, cache: Cache) -> int:
        """The txn that made a request; 0 if there is none. A view's None is its end."""
        request = cache.get(self.path)
        return 0 if request is None else request.stat.czxid

    async def open(self, born: int) -> None:
        """`born` is the txn by which it was registered first. Raises what a read raises."""
        self._born = born
        await self._view.open()

    async def close(self) -> None:
        await self._view.close()

    async def wait(self) -> None:
        """Wait until it is asked. Raises `SessionExpiredError` when this, or the client, is
        closed meanwhile."""
        await self._view.until(lambda made: made > self._born)

    async def forget(self) -> None:
        """Take it away."""
        with suppress(NoNodeError):
            await self._zk.delete(self.path)
