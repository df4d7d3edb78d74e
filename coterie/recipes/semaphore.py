"""A semaphore: so many leases, and each holder has one; in the order of asking.

    async with Semaphore(zk, "/limits/licences", 5) as grant:
        ...

Who wants a lease stands in line, waiting for the one ahead. Only the first in line counts the
leases: no more than its own can be added while it stands there, so there are never too many. It
waits for one to be given back, and moves from the line to the leases in one txn. So everyone
watches one znode, a release wakes one, and no wake-up is lost when several come at once. (To watch
the one that is n ahead would not do: any of those ahead may be the next to go.)

The number is in the znode's data: who means another one gets an error. Tokens grow from grant to
grant, but as several hold, none makes the others old.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    BadArgumentsError,
    BadVersionError,
    GrantLostError,
    NodeExistsError,
    NoNodeError,
    OutcomeUnknown,
)
from coterie.recipes.grant import Grant, Holding
from coterie.recipes.lock import Line, next_ahead
from coterie.recipes.recipe import discard, go_on
from coterie.values import Created, CreateMode, Stat, WatchEvent


class Semaphore(Holding[Grant]):
    """So many leases at `path`. One object is held once at a time: make another for each block."""

    def __init__(
        self, zk: Client | BlockingClient, path: str, leases: int, *, identifier: bytes = b""
    ) -> None:
        """`identifier` is what others read of who holds a lease."""
        if leases < 1:
            raise ValueError("a semaphore has one lease at least")
        super().__init__(zk, path)
        self.leases = leases
        under = self.path.rstrip("/")
        self._leases = f"{under}/leases"
        self._identifier = identifier
        self._line = Line(self.zk, f"{under}/line", "lock-", identifier, next_ahead)

    async def acquire(self, timeout_s: float | None = None) -> Grant:
        """Wait for a lease; with a time-out of 0 take one only if there is one and nobody asks.

        Raises `TimeoutError`; `GrantLostError` when the session ends meanwhile; and
        `BadArgumentsError` when others mean another number of leases. Nothing is left behind then.
        """
        patient = timeout_s is None or timeout_s > 0
        async with asyncio.timeout(timeout_s if patient else None):
            await self._agree()
            place = await self._line.turn(None if patient else 0)
            lease = f"{self._leases}/{place.path.rpartition('/')[2]}"
            try:
                await self._until_free(place, patient)
                stat = await self._move(place, lease)
                place.released()
                grant = Grant(self.zk, lease, stat)
            except BaseException:
                place.released()
                await self._withdraw(place, lease)
                raise
            try:
                await grant.guard()
            except BaseException:
                grant.released()
                await self._withdraw(place, lease)
                raise
            return grant

    async def release(self, grant: Grant) -> None:
        """Give the lease back."""
        await grant.give_back()

    async def holders(self) -> list[bytes]:
        """The identifiers of those who hold a lease."""
        try:
            names = await self.zk.children(self._leases)
        except NoNodeError:
            return []
        found = await self.zk.get_many([f"{self._leases}/{name}" for name in names])
        return [each.data for each in found if isinstance(each, tuple)]

    async def _agree(self) -> None:
        """See to it that all mean the same number."""
        mine = b"%d" % self.leases
        while True:
            try:
                data, stat = await self.zk.get(self.path)
                if not data:
                    await self.zk.set(self.path, mine, stat.version)
                elif data != mine:
                    found = data.decode("utf-8", "replace")
                    raise BadArgumentsError(
                        self.path, f"acquire (one of {mine.decode()} leases, others have {found})"
                    )
                await self.zk.ensure(self._leases)
                return
            except NoNodeError:
                with suppress(NodeExistsError, OutcomeUnknown):
                    await self.zk.create(self.path, mine, parents=True)
            except (BadVersionError, OutcomeUnknown):
                continue

    async def _until_free(self, place: Grant, patient: bool) -> None:
        """As the first in line: wait until there are fewer than there may be."""
        while True:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(event: WatchEvent | None = None, woken: asyncio.Future[None] = woken) -> None:
                if not woken.done():
                    woken.set_result(None)

            undo = place.on_lost(wake)
            try:
                place.check()
                if len(await self.zk.children(self._leases, watch=wake)) < self.leases:
                    return
                if not patient:
                    raise TimeoutError
                await woken
            finally:
                undo()
                self.zk.unwatch(self._leases, wake)

    async def _move(self, place: Grant, lease: str) -> Stat:
        """From the line to the leases. What came of it is found out, if it is not told.

        That the place is gone says nothing here: this may be what has deleted it.
        """
        while True:
            change = self.zk.transaction()
            change.delete(place.path)
            change.create(lease, self._identifier, CreateMode.EPHEMERAL)
            try:
                _, made = await change.commit()
                if isinstance(made, Created):
                    return made.stat
                # Before 3.9 a transaction does not tell the Stat.
                return await self._owned(lease, place)
            except NoNodeError:
                return await self._owned(lease, place)
            except OutcomeUnknown:
                # To try again finds out: what the old connection carried comes before that.
                if self.zk.session_id != place.session_id:
                    raise GrantLostError(place.path) from None

    async def _owned(self, lease: str, place: Grant) -> Stat:
        """The lease is there and one's own, or the place was lost."""
        stat = await self.zk.exists(lease)
        if stat is None or stat.ephemeral_owner != self.zk.session_id:
            raise GrantLostError(place.path)
        return stat

    async def _withdraw(self, place: Grant, lease: str) -> None:
        """Leave nothing behind. Without its place the move, if it is on its way, comes to
        nothing, so this goes first."""

        async def discard_both() -> None:
            await discard(self.zk, place.path, place.session_id)
            await discard(self.zk, lease)

        go_on(discard_both())
        await asyncio.sleep(0)
