"""A candidate all the time: one that stands by, and says whether it leads, and who does.

    async with Standby(zk, "/gateway/leaders/metadata", identifier=b"host-7:8001") as standby:
        async for leading, leader in standby.changes():
            if leading is not None:
                print("this one writes, with the token", leading.token)
            else:
                print("copies read; writes go to", leader and leader.identifier)

Rules:
- between enter and leave it stands in the election, or leads. Who has lost the lead, resigned, or
  whose session has ended stands again by itself, behind all others;
- `leading` is None from the moment at which the grant may be lost. What is written under it
  takes its token along (`fencing.py`): that alone holds when this process stands still between
  looking and writing;
- what is known of who leads outlives an outage, and may be old.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import GrantLostError, SessionExpiredError, ZooKeeperError
from coterie.recipes.election import Election, Leader
from coterie.recipes.grant import Grant
from coterie.recipes.recipe import PASSING, Recipe
from coterie.values import SessionState

if TYPE_CHECKING:
    from coterie.client.portal import Portal

_PAUSE_S: Final = 0.1
_STANDS_S: Final = 1.0


class Lead(NamedTuple):
    """How things are, as this one knows it."""

    leading: Grant | None
    """What this one leads by, if it does."""
    leader: Leader | None
    """Who leads; None while nobody does, or nothing is known yet."""


class Standby(Recipe["Standby"]):
    """One candidate for the lead at `path`, in one session after the other."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, identifier: bytes = b"") -> None:
        """`identifier` is what others read of who leads: an address to send writes to."""
        super().__init__(zk, path)
        self.number = 0
        """How many changes there were."""
        self.problem: ZooKeeperError | None = None
        """What keeps it from standing, while something does that will not pass by itself."""
        self._identifier = identifier
        self._election = Election(self.zk, path, identifier=identifier)
        self._grant: Grant | None = None
        self._ended = asyncio.Event()
        self._seen: Leader | None = None
        self._told = Lead(None, None)
        self._news: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._undo: Callable[[], None] | None = None
        self._open = False

    async def enter(self) -> Standby:
        """Stand; does not wait to lead. Raises what a read raises."""
        if self._open:
            raise RuntimeError("this one is entered already")
        self._seen = await self._election.leader()
        self._open = True
        self._changed()
        self._undo = self.zk.on_state(self._follow)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stand()), loop.create_task(self._observe())]
        return self

    async def leave(self, error: BaseException | None) -> None:
        """Stand no more; if it leads, the next one does."""
        self._open = False
        if self._undo is not None:
            self._undo()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            # One that is about to be elected gives that up itself.
            task.cancel()
        try:
            await self.resign()
        finally:
            self._wake()
            await asyncio.gather(*tasks, return_exceptions=True)

    # What is known

    @property
    def leading(self) -> Grant | None:
        """What this one leads by; None when it does not, or may not any more."""
        grant = self._grant
        return None if grant is None or grant.lost else grant

    @property
    def token(self) -> int | None:
        """The fencing token that goes with every write of the leader."""
        grant = self.leading
        return None if grant is None else grant.token

    @property
    def leader(self) -> Leader | None:
        """Who leads, as far as is known; None while nobody does."""
        grant = self.leading
        if grant is not None:
            return Leader(self._identifier, grant.token, grant.path)
        return self._seen

    def changes(self) -> Changes:
        """How things are now, and after every change, by `async for`; by a plain `for` over a
        blocking client. Who is slow gets the newest, not all. Ends when it is left, or the client
        is closed.
        """
        return Changes(self, self.portal)

    async def next(self, number: int) -> Lead | None:
        """How things are, once there was a change after the `number`-th; None when it is left."""
        while self.number <= number:
            if not self._open or self.zk.over:
                return None
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)
        return Lead(self.leading, self.leader)

    async def wait_leading(self, timeout_s: float | None = None) -> Grant:
        """Wait until this one leads. Raises `TimeoutError`, and goes on standing then."""
        async with asyncio.timeout(timeout_s):
            while (grant := self.leading) is None:
                if await self.next(self.number) is None:
                    raise SessionExpiredError(self.path, "wait to lead")
        return grant

    async def resign(self) -> bool:
        """Lead no more, and stand again behind all others; whether it led."""
        grant, self._grant = self._grant, None
        if grant is None:
            return False
        led = not grant.lost
        self._ended.set()
        self._changed()
        await grant.give_back()
        return led

    # What goes on meanwhile

    async def _stand(self) -> None:
        while not self.zk.over:
            try:
                grant = await self._acquire()
            except (*PASSING, GrantLostError):
                await asyncio.sleep(_PAUSE_S)
            except ZooKeeperError as error:
                self.problem = error
                await asyncio.sleep(_PAUSE_S)
            else:
                self.problem = None
                await self._lead(grant)

    async def _acquire(self) -> Grant:
        """Stand until elected. Who was not refused for so long stands."""
        loop = asyncio.get_running_loop()
        standing = loop.call_later(_STANDS_S, setattr, self, "problem", None)
        try:
            return await self._election.acquire()
        finally:
            standing.cancel()

    async def _lead(self, grant: Grant) -> None:
        self._grant = grant
        self._seen = Leader(self._identifier, grant.token, grant.path)
        self._ended = ended = asyncio.Event()
        self._changed()
        grant.on_lost(self._changed)
        grant.on_lost(ended.set)
        await ended.wait()
        if self._grant is grant:
            self._grant = None
            # The session may go on, if only this client's clock had given it up.
            await grant.give_back()

    async def _observe(self) -> None:
        while not self.zk.over:
            try:
                async for leader in self._election.observe():
                    self._seen = leader
                    self._changed()
            except ZooKeeperError:
                # Who may not see it cannot stand either, and says so.
                await asyncio.sleep(_PAUSE_S)

    def _follow(self, state: SessionState) -> None:
        if self.zk.over:
            self._changed()
            self._wake()

    def _changed(self) -> None:
        lead = Lead(self.leading, self.leader)
        if lead != self._told:
            self._told = lead
            self.number += 1
            self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)


class Changes:
    """How things are with a standby, now and after every change."""

    def __init__(self, standby: Standby, portal: Portal | None) -> None:
        self._standby = standby
        self._portal = portal
        self._number = -1

    async def _next(self) -> Lead | None:
        lead = await self._standby.next(self._number)
        self._number = self._standby.number
        return lead

    async def __aiter__(self) -> AsyncIterator[Lead]:
        while (lead := await self._next()) is not None:
            yield lead

    def __iter__(self) -> Iterator[Lead]:
        if self._portal is None:
            raise TypeError("a plain `for` takes a blocking client; here it is `async for`")
        while (lead := self._portal.call(self._next())) is not None:
            yield lead
