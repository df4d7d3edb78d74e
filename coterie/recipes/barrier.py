"""Barriers: a gate that all wait at, and one through which a number of them go together.

    gate = Barrier(zk, "/maintenance")
    await gate.close()                 # in one program
    await gate.until_open()            # in others

    async with DoubleBarrier(zk, "/jobs/42", 8):
        ...                            # begins when 8 are there, ends when all of these are done

Rules of the second: those who go together are a *round*, written down as one change, so all agree
on who is in it; who comes later waits until all of it have left, and for the next. Who dies counts
as one who has left: the others neither wait for him nor learn of it. Whoever is lost and does not
know (his session is over) is told as a holder of a lock is: the block is cancelled.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    BadVersionError,
    GrantLostError,
    NodeExistsError,
    NoNodeError,
    OutcomeUnknown,
    ZooKeeperError,
)
from coterie.recipes.following import until
from coterie.recipes.grant import Grant, Holding
from coterie.recipes.recipe import (
    PASSING,
    Recipe,
    discard,
    discard_later,
    go_on,
    is_number,
    name_by_chance,
    sequence_of,
    take_place,
)
from coterie.values import WatchEvent

_PAUSE_S: Final = 0.1
_PLACE: Final = "place-"
_ROUND: Final = "round"


class Barrier(Recipe["Barrier"]):
    """A gate: closed while the znode at `path` is there.

    Under `async with` it is closed for the time of the block. An `ephemeral` one opens when the
    session of who has closed it is over; any other stays closed until somebody opens it.
    """

    def __init__(self, zk: Client | BlockingClient, path: str, *, ephemeral: bool = False) -> None:
        super().__init__(zk, path)
        self._ephemeral = ephemeral

    async def close(self) -> None:
        """Close it. It is no error that it is closed already."""
        await self._close(b"")

    async def _close(self, mark: bytes) -> None:
        with suppress(NodeExistsError):
            await self.zk.create(
                self.path, mark, ephemeral=self._ephemeral, protected=self._ephemeral, parents=True
            )

    async def _reopen(self, closing: asyncio.Future[None], mark: bytes) -> None:
        """Open it, if it was closed under this mark by somebody who could not enter."""
        await asyncio.gather(closing, return_exceptions=True)
        while not self.zk.over:
            try:
                # Behind a write: what closes it may be on its way.
                await self.zk.exists(self.path, linearizable=True)
                found, stat = await self.zk.get(self.path)
                if found == mark:
                    await self.zk.delete(self.path, stat.version)
                return
            except PASSING:
                await asyncio.sleep(_PAUSE_S)
            except ZooKeeperError:
                return

    async def open(self) -> None:
        """Open it: all who wait go on. It is no error that it is open already."""
        with suppress(NoNodeError):
            await self.zk.delete(self.path)

    async def is_closed(self) -> bool:
        return await self.zk.exists(self.path) is not None

    async def until_open(self, timeout_s: float | None = None) -> None:
        """Wait until it is open. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            await until(self.zk, self.path, self._is_open)

    async def _is_open(self) -> bool | None:
        return True if await self.zk.exists(self.path) is None else None

    async def enter(self) -> Barrier:
        """Close it. Who cannot enter, or is cancelled, does not leave it closed."""
        mark = name_by_chance(self.zk).encode()
        closing = asyncio.get_running_loop().create_task(self._close(mark))
        try:
            await asyncio.shield(closing)
        except BaseException:
            go_on(self._reopen(closing, mark))
            raise
        return self

    async def leave(self, error: BaseException | None) -> None:
        """Open it. Goes on when the caller is cancelled."""
        opening = asyncio.get_running_loop().create_task(self.open())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            go_on(self._open_later(opening))
            raise

    async def _open_later(self, opening: asyncio.Future[None]) -> None:
        """Nobody hears what an opening comes to: try again until it is done."""
        while True:
            try:
                await opening
            except PASSING:
                if self.zk.over:
                    return
                await asyncio.sleep(_PAUSE_S)
                opening = asyncio.ensure_future(self.open())
            except ZooKeeperError:
                return
            else:
                return


class DoubleBarrier(Holding[Grant]):
    """A gate at `path` through which `count` go together, in and out; for one block each."""

    def __init__(self, zk: Client | BlockingClient, path: str, count: int) -> None:
        if count < 1:
            raise ValueError("a barrier is for one at least")
        super().__init__(zk, path)
        self._count = count
        self._round_path = f"{self.path.rstrip('/')}/{_ROUND}"
        self._round: list[str] = []
        self._hurries = False

    def _path_of(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    async def acquire(self, timeout_s: float | None = None) -> Grant:
        """Wait until so many are there. Raises `TimeoutError`, and `GrantLostError` when the
        session ends meanwhile; nothing is left behind then.
        """
        async with asyncio.timeout(timeout_s):
            await self.zk.ensure(self._round_path)
            place = await take_place(self.zk, self._path_of(_PLACE))
            grant = Grant(self.zk, place.path, place.stat)
            try:
                await grant.guard()
                self._round = await self._until_in_a_round(grant)
                grant.check()
            except BaseException:
                grant.released()
                discard_later(self.zk, place.path, grant.session_id)
                # What this client asks for after this will find it gone.
                await asyncio.sleep(0)
                raise
        return grant

    async def _places(self, watch: Callable[[WatchEvent], None] | None = None) -> list[str]:
        names = await self.zk.children(self.path, watch=watch)
        found = (n for n in names if is_number(n.rpartition(_PLACE)[2]) and _PLACE in n)
        return sorted(found, key=sequence_of)

    async def _until_in_a_round(self, grant: Grant) -> list[str]:
        """Wait for a round with this one in it, or begin it; gives the names of all in it."""
        rung = asyncio.Event()

        def ring(event: WatchEvent) -> None:
            rung.set()

        undo = grant.on_lost(rung.set)
        try:
            while (names := await self._look(grant, ring)) is None:
                await rung.wait()
                rung.clear()
                self._forget(ring)
        finally:
            undo()
            self._forget(ring)
        return names

    def _forget(self, ring: Callable[[WatchEvent], None]) -> None:
        self.zk.unwatch(self._round_path, ring)
        self.zk.unwatch(self.path, ring)

    async def _look(self, grant: Grant, ring: Callable[[WatchEvent], None]) -> list[str] | None:
        """The names of all in this one's round; None if it has not begun, and cannot yet.

        Whoever makes the number full begins the round, and all wait for that one change. Only
        those who came while another round was on also hear of every one who leaves.
        """
        mine = grant.path.rpartition("/")[2]
        while True:
            grant.check()
            self._forget(ring)
            data, stat = await self.zk.get(self._round_path, watch=ring)
            names: list[str] = json.loads(data or b"[]")
            if mine in names:
                return names
            places = await self._places()
            if not set(names).isdisjoint(places):
                places = await self._places(ring)
            if mine not in places:
                raise GrantLostError(grant.path)
            if len(places) < self._count or not set(names).isdisjoint(places):
                return None
            begun = json.dumps(places[: self._count]).encode()
            # Whoever was faster has begun the same round, or one that is over.
            with suppress(BadVersionError, OutcomeUnknown):
                await self.zk.set(self._round_path, begun, stat.version)

    async def leave(self, error: BaseException | None) -> None:
        """Wait for the others of the round; not when the block has failed."""
        self._hurries = error is not None
        await super().leave(error)

    async def release(self, grant: Grant) -> None:
        """Leave, and wait until all of the round have left.

        Those who leave wait for the first in line, who waits for the last one after the other:
        so each departure wakes one, and the end wakes all.
        """
        mine = grant.path.rpartition("/")[2]
        grant.released()
        try:
            while not self._hurries:
                places = await self._places()
                left = [name for name in self._round if name in places]
                if not left or left == [mine]:
                    return
                if mine == left[0]:
                    await self._until_gone(left[-1])
                else:
                    if mine in left:
                        await discard(self.zk, grant.path, grant.session_id)
                    await self._until_gone(left[0])
        finally:
            await discard(self.zk, grant.path, grant.session_id)

    async def _until_gone(self, name: str) -> None:
        path = self._path_of(name)

        async def look() -> bool | None:
            return True if await self.zk.exists(path) is None else None

        await until(self.zk, path, look)
