"""A rendezvous: one puts something at a place, others wait for it there, whoever starts first.

    meeting = Rendezvous(zk, "/jobs/42/address")
    await meeting.put(b"10.0.0.7:9618")         # in one program
    address = await meeting.get(timeout_s=60)   # in others

What was put first stays: to put the same again is no error, anything else is. An `ephemeral` one
goes with the session of who has put it, for what is of no use without him.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import NodeExistsError, NoNodeError, OutcomeUnknown
from coterie.recipes.following import until
from coterie.recipes.recipe import Recipe


class Rendezvous(Recipe[bytes]):
    """The place at `path`. `async with` waits for what is put there, and gives it."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, ephemeral: bool = False) -> None:
        super().__init__(zk, path)
        self._ephemeral = ephemeral

    async def put(self, data: bytes) -> None:
        """Put it there, for all who wait or come later.

        Raises `NodeExistsError` if something else is there, and `OutcomeUnknown` when the
        connection was lost and nothing is there now: it may have been put, and taken away.
        """
        try:
            await self.zk.create(
                self.path,
                data,
                ephemeral=self._ephemeral,
                protected=self._ephemeral,
                parents=True,
            )
        except NodeExistsError:
            if await self._peek() != data:
                raise
        except OutcomeUnknown:
            # Behind a write: a leader may answer a sync before what is on its way to the disk.
            await self.zk.exists(self.path, linearizable=True)
            if await self._peek() != data:
                raise

    async def get(self, timeout_s: float | None = None) -> bytes:
        """What was put there, waited for. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            return await until(self.zk, self.path, self._peek)

    async def _peek(self) -> bytes | None:
        try:
            return (await self.zk.get(self.path)).data
        except NoNodeError:
            return None

    async def clear(self) -> None:
        """Take away what is there, so that something else can be put."""
        with suppress(NoNodeError):
            await self.zk.delete(self.path)

    async def enter(self) -> bytes:
        return await self.get()

    async def leave(self, error: BaseException | None) -> None:
        """What was put stays."""
