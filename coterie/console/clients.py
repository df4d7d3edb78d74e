"""Coterie clients for who asks over HTTP: one for each identity, a few at a time.

Rules:
- everything about znodes goes through a client's session, as anybody's: ACLs, order and watches
  hold, and there is no second path to the tree;
- a client is made when its identity is asked for and closed when nobody has used it for a while.
  At most `_CLIENTS_MAX` are kept: who comes when all are in use is told to come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from coterie.client.client import Client
from coterie.console.access import Identity
from coterie.console.problems import Problem

_CLIENTS_MAX: Final = 16
_IDLE_S: Final = 60.0
_CLOSE_S_MAX: Final = 2.0

MakeClient = Callable[[Identity | None], Client]


class _Kept:
    """A client, and who is at it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.users = 0
        self.starting: asyncio.Task[None] | None = None
        self.idle: asyncio.TimerHandle | None = None


class Clients:
    """The clients of one port, by identity."""

    def __init__(self, make: MakeClient) -> None:
        self._make = make
        self._kept: dict[Identity | None, _Kept] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._kept)

    def sessions(self) -> set[int]:
        """The sessions that these clients have, as their servers know them; 0 is none."""
        return {kept.client.session.id for kept in self._kept.values()} - {0}

    @asynccontextmanager
    async def of(self, identity: Identity | None) -> AsyncIterator[Client]:
        """A connected client of that identity, for the time of a block.

        Raises `NotConnectedError` where no server takes the session, and `Problem`.
        """
        kept = self._kept.get(identity) or self._keep(identity)
        kept.users += 1
        if kept.idle is not None:
            kept.idle.cancel()
            kept.idle = None
        try:
            assert kept.starting is not None
            await asyncio.shield(kept.starting)
            yield kept.client
        except BaseException:
            if _is_of_no_use(kept):
                self._forget(identity, kept)
            raise
        finally:
            kept.users -= 1
            if not kept.users and self._kept.get(identity) is kept:
                loop = asyncio.get_running_loop()
                kept.idle = loop.call_later(_IDLE_S, self._forget, identity, kept)

    async def check_super(self, asker: Identity | None, what: str) -> None:
        """Raises `Problem` for who is not above the ACLs: `what` is for nobody else."""
        if asker is None:
            raise Problem(401, f"{what} is for super: sign in as such")
        async with self.of(asker) as client:
            known = await client.who_am_i()
        if not any(one.scheme == "super" for one in known):
            raise Problem(403, f"{what} is for super, not for {asker[0]}")

    def _keep(self, identity: Identity | None) -> _Kept:
        if self._closed:
            raise Problem(503, "the server is stopping")
        if len(self._kept) >= _CLIENTS_MAX:
            unused = [(key, kept) for key, kept in self._kept.items() if not kept.users]
            if not unused:
                raise Problem(503, "too many identities at once", {"Retry-After": "5"})
            self._forget(*unused[0])
        kept = self._kept[identity] = _Kept(self._make(identity))
        kept.starting = asyncio.get_running_loop().create_task(kept.client.start())
        return kept

    def _forget(self, identity: Identity | None, kept: _Kept) -> None:
        if self._kept.get(identity) is kept:
            del self._kept[identity]
            if kept.idle is not None:
                kept.idle.cancel()
            task = asyncio.get_running_loop().create_task(_close(kept))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every client; what cannot be told to a server in a moment is left to time-outs."""
        self._closed = True
        for identity, kept in list(self._kept.items()):
            self._forget(identity, kept)
        if self._closing:
            await asyncio.wait(list(self._closing), timeout=_CLOSE_S_MAX)


def _is_of_no_use(kept: _Kept) -> bool:
    starting = kept.starting
    failed = starting is not None and starting.done() and starting.exception() is not None
    return failed or kept.client.over


async def _close(kept: _Kept) -> None:
    starting = kept.starting
    if starting is not None and not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
    if starting is not None and not starting.cancelled():
        starting.exception()  # It has been told to who waited.
    await kept.client.close()
