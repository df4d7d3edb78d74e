"""A lock over the client's public methods, as short as it can be right: what holding is tested on.

With a rule taken away it is wrong, and a simulation has to find that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import NamedTuple

from coterie.client.client import Client
from coterie.errors import (
    ConnectionLossError,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    ServerFailureError,
    SessionExpiredError,
)
from coterie.testing.errands import Holding
from coterie.values import SessionState

PLACE = "/lock"


class Grant(NamedTuple):
    """The znode by which its maker holds the lock."""

    path: str
    token: int
    session_id: int


class PlainLock(Holding):
    """One at a time, in the order in which they came. It cannot be cancelled at any moment."""

    impatience = 0.0

    def hold(self, client: Client) -> AbstractAsyncContextManager[Grant]:
        return self._hold(client)

    @asynccontextmanager
    async def _hold(self, client: Client) -> AsyncIterator[Grant]:
        with suppress(NodeExistsError):
            await client.create(PLACE)
        session_id = client.session_id
        grant = await self.join(client)
        try:
            async with asyncio.timeout(None) as scope:

                def follow(state: SessionState) -> None:
                    if state in self.LOST:
                        scope.reschedule(0)

                undo = client.on_state(follow)
                try:
                    if client.session_id != session_id:
                        raise TimeoutError
                    while (ahead := await self.ahead(client, grant)) is not None:
                        await self.gone(client, ahead)
                    yield grant
                finally:
                    undo()
        except TimeoutError:
            raise SessionExpiredError(grant.path, "hold") from None
        finally:
            if client.session_id == session_id:
                await self.leave(client, grant)

    # Each rule by itself, so that it can be taken away

    LOST = frozenset((SessionState.LOST, SessionState.CLOSED))

    async def join(self, client: Client) -> Grant:
        path, stat = await client.create_with_stat(
            f"{PLACE}/n-", ephemeral=True, sequential=True, protected=True
        )
        return Grant(path, stat.czxid, stat.ephemeral_owner)

    async def ahead(self, client: Client, grant: Grant) -> str | None:
        """Who has to go before this one may hold the lock."""
        names = sorted(await client.children(PLACE), key=lambda name: name[-10:])
        own = grant.path.rpartition("/")[2]
        if own not in names:
            raise SessionExpiredError(grant.path, "hold")
        place = names.index(own)
        return names[place - 1] if place else None

    async def gone(self, client: Client, name: str) -> None:
        changed = asyncio.Event()
        if await client.exists(f"{PLACE}/{name}", watch=lambda event: changed.set()):
            await changed.wait()

    async def leave(self, client: Client, grant: Grant) -> None:
        """As long as its session lives, so does the znode: it has to go, whatever it takes."""
        session_id = client.session_id
        while client.session_id == session_id:
            try:
                await client.delete(grant.path)
            except (ConnectionLossError, OperationTimeoutError, ServerFailureError):
                await asyncio.sleep(0.1)
            except (NoNodeError, SessionExpiredError):
                return
            else:
                return
