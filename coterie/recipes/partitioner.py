"""Partitions of some work, shared out among those who are there.

    async def work(share):
        async for item in items_of(share.partition):
            await store(item, token=share.token)

    async with Partitioner(zk, "/jobs/import", 16, work) as mine:
        ...

Everybody works out the same shares from the list of members: as even as can be, and so that few
partitions move when one joins or leaves. Rules:
- to work on a partition one holds its lock, so it is held by one member at a time, whatever the
  others believe; the lock's token grows from holder to holder, for what is written elsewhere;
- a partition that is to move is given back after its work has ended: a coroutine is cancelled and
  waited for, a plain function (in a thread) finds `share.ending` set;
- a member that is cut off stops when its session may be over, as every holder of a lock does;
- work that fails gives its partition back, and is begun anew after a pause.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import ZooKeeperError
from coterie.recipes.grant import Grant
from coterie.recipes.lock import Lock
from coterie.recipes.membership import Group, Members
from coterie.recipes.names import znode_name
from coterie.recipes.recipe import Recipe

_PAUSE_S: Final = 0.1


class Share:
    """A partition that is held now."""

    def __init__(self, partition: str, grant: Grant) -> None:
        self.partition = partition
        self.grant = grant
        self.token = grant.token
        """The fencing token: it only grows from one holder of the partition to the next."""
        self.ending = threading.Event()
        """Set when the work has to end: the partition moves, is lost, or all is over."""

    def check(self) -> None:
        """Raises `GrantLostError` if it is, or may be, lost. Costs no round trip."""
        self.grant.check()


Work = Callable[[Share], Coroutine[Any, Any, None]] | Callable[[Share], None]


def shares(partitions: Iterable[str], members: Iterable[str]) -> dict[str, str]:
    """Which member every partition is for. Nobody has two more than another.

    Each pair has a weight that everybody works out alike, and the heaviest go first: so whoever
    joins or leaves moves few partitions but those that he gets or had.
    """
    names = sorted(set(partitions))
    room = dict.fromkeys(sorted(set(members)), 0)
    if not room:
        return {}
    least, more = divmod(len(names), len(room))
    found: dict[str, str] = {}
    for _, name, member in sorted((_weight(n, m), n, m) for n in names for m in room):
        if name in found or room[member] > least or (room[member] == least and not more):
            continue
        more -= room[member] == least
        room[member] += 1
        found[name] = member
    return found


def _weight(partition: str, member: str) -> bytes:
    return blake2b(f"{partition}\0{member}".encode(), digest_size=8).digest()


class Partitioner(Recipe["Partitioner"]):
    """One member among those who share the partitions at `path`.

    `partitions` are names, or how many there are ("0", "1" and so on): the same for all members.
    """

    def __init__(
        self,
        zk: Client | BlockingClient,
        path: str,
        partitions: Iterable[str] | int,
        work: Work,
        *,
        name: str | None = None,
        retry_s: float = 1.0,
    ) -> None:
        super().__init__(zk, path)
        if isinstance(partitions, int):
            partitions = map(str, range(partitions))
        self.partitions = tuple(sorted(set(partitions)))
        self._under = self.path.rstrip("/")
        self._work = work
        self._retry_s = retry_s
        self._group = Group(zk, f"{self._under}/members")
        self._membership = self._group.join(name)
        self.name = self._membership.name
        self._held: Mapping[str, Share] = MappingProxyType({})
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """One for each partition that is held, waited for or being given back."""
        self._ending: set[str] = set()
        self._steering: asyncio.Task[None] | None = None
        self._threads: ThreadPoolExecutor | None = None

    async def enter(self) -> Partitioner:
        """Be a member. Shares come when they are free."""
        await self._group.enter()
        try:
            await self._membership.enter()
        except BaseException:
            await self._group.leave(None)
            raise
        self._steering = asyncio.get_running_loop().create_task(self._steer())
        return self

    async def leave(self, error: BaseException | None) -> None:
        """End all work, wait for that, and give everything back."""
        steering, self._steering = self._steering, None
        assert steering is not None
        steering.cancel()
        tasks = [steering, *self._tasks.values()]
        self._end(*self._tasks)
        try:
            await asyncio.wait(tasks)
        finally:
            await self._membership.leave(error)
            await self._group.leave(error)
            if self._threads is not None:
                self._threads.shutdown(wait=False)
                self._threads = None

    @property
    def held(self) -> Mapping[str, Share]:
        """The partitions that are held now: a copy that does not change."""
        return self._held

    @property
    def members(self) -> Members:
        """Who shares, as far as is known."""
        return self._group.members

    # Who has what

    async def _steer(self) -> None:
        changes = self._group.changes()
        self._share_out()
        async for _ in changes:
            self._share_out()

    def _share_out(self) -> None:
        """Begin what is wanted and end what is not."""
        if self._steering is None or self.zk.over:
            return
        # Between two sessions it is still one of them, and will be on the list again.
        assigned = shares(self.partitions, {*self._group.members, self.name})
        wanted = {name for name, member in assigned.items() if member == self.name}
        self._end(*(self._tasks.keys() - wanted))
        for partition in sorted(wanted - self._tasks.keys()):
            task = asyncio.get_running_loop().create_task(self._keep(partition))
            self._tasks[partition] = task
            task.add_done_callback(partial(self._ended, partition))

    def _end(self, *partitions: str) -> None:
        for partition in partitions:
            if partition not in self._ending:
                self._ending.add(partition)
                self._tasks[partition].cancel()

    def _ended(self, partition: str, task: asyncio.Task[None]) -> None:
        del self._tasks[partition]
        self._ending.discard(partition)
        # It may be wanted again meanwhile.
        self._share_out()

    async def _keep(self, partition: str) -> None:
        """Hold a partition and work on it, for as long as this is not cancelled."""
        path = f"{self._under}/partitions/{znode_name(partition)}"
        lock = Lock(self.zk, path, identifier=self.name.encode())
        while not self.zk.over:
            try:
                grant = await lock.acquire()
            except ZooKeeperError:
                # No connection, or the session is over: there will be another.
                await asyncio.sleep(_PAUSE_S)
                continue
            share = Share(partition, grant)
            self._held = MappingProxyType({**self._held, partition: share})
            try:
                well = await self._run(share)
            finally:
                others = {p: s for p, s in self._held.items() if p != partition}
                self._held = MappingProxyType(others)
                with suppress(ZooKeeperError):
                    await lock.release(grant)
            if not well:
                await asyncio.sleep(self._retry_s)

    # The work

    async def _run(self, share: Share) -> bool:
        """Let the work go on until the share is lost or this is cancelled; whether it went well.

        When it comes to an end by itself the partition is held all the same.
        """
        loop = asyncio.get_running_loop()
        lost = asyncio.Event()
        undo = share.grant.on_lost(lost.set)
        losing: asyncio.Future[Any] = loop.create_task(lost.wait())
        working: asyncio.Future[Any] = self._begin(share)
        try:
            await asyncio.wait([working, losing], return_when=asyncio.FIRST_COMPLETED)
            if working.done() and (working.cancelled() or working.exception() is None):
                await lost.wait()
        finally:
            undo()
            losing.cancel()
            share.ending.set()
            if isinstance(working, asyncio.Task):
                working.cancel()
            while not working.done():
                await asyncio.wait([working])
        error = None if working.cancelled() else working.exception()
        if error is not None:
            message = f"the work on partition {share.partition} of {self.path} has failed"
            loop.call_exception_handler({"message": message, "exception": error})
        return error is None

    def _begin(self, share: Share) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if inspect.iscoroutinefunction(self._work):
            return loop.create_task(self._work(share))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(len(self.partitions), "coterie partitions")
        work: Callable[[Share], Any] = self._work
        return loop.run_in_executor(self._threads, work, share)
