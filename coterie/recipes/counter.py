"""An integer that many count on.

    hits = Counter(zk, "/hits")
    number = await hits.add(1)

Every change is made from what is stored at that moment, and only if nobody has changed it
meanwhile (compare-and-set). Rules:
- integers only; whatever else is stored is a `ValueError`, nothing is rounded;
- a change is made once. With it, in the same transaction, goes a mark of who makes it: an
  ephemeral child of the counter. When the connection is lost before the answer comes, the mark
  tells what became of the change, whatever others have done since. Only when the session is over,
  too, the mark is gone with it: then `OutcomeUnknown` is raised, and it may have been made or not.

The number is stored in decimal digits, as by kazoo's Counter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    OutcomeUnknown,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.recipes.recipe import Recipe, discard, name_by_chance
from coterie.values import CreateMode

_MISSING_VERSION = -1


class Counter(Recipe["Counter"]):
    """The integer at `path`; `start` while nothing is stored there."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, start: int = 0) -> None:
        super().__init__(zk, path)
        self._start = _integer(start)
        self._mark = f"{self.path.rstrip('/')}/by-{name_by_chance(self.zk)}"
        self._marked_in = 0
        """The session that has the mark."""
        self._changes = 0
        self._one_by_one = asyncio.Lock()

    async def enter(self) -> Counter:
        """It need not be entered; who does leaves no mark behind while the session goes on."""
        return self

    async def leave(self, error: BaseException | None) -> None:
        if self._marked_in and self._marked_in == self.zk.session_id:
            await discard(self.zk, self._mark)
        self._marked_in = 0

    async def value(self) -> int:
        """The integer, as the server at hand knows it."""
        return (await self._read())[0]

    async def add(self, amount: int = 1) -> int:
        """Add to it; gives what it is then."""
        _integer(amount)
        return await self.update(lambda value: value + amount)

    async def subtract(self, amount: int = 1) -> int:
        """Take from it; gives what it is then."""
        return await self.add(-_integer(amount))

    async def set(self, value: int) -> None:
        """Let it be `value`, whatever it was."""
        _integer(value)
        await self.update(lambda _: value)

    async def update(self, change: Callable[[int], int]) -> int:
        """Let it be what `change` makes of it; gives that.

        `change` may be called several times, when others are faster, but is made once.
        """
        async with self._one_by_one:
            while True:
                value, version = await self._read()
                new = _integer(change(value))
                if await self._swap(str(new).encode(), version):
                    return new

    async def _read(self) -> tuple[int, int]:
        """The integer and its version."""
        try:
            data, stat = await self.zk.get(self.path)
        except NoNodeError:
            return self._start, _MISSING_VERSION
        if not data:
            return self._start, stat.version
        try:
            # int() takes more than digits: spaces and underscores.
            if not data.removeprefix(b"-").isdigit():
                raise ValueError
            return int(data), stat.version
        except ValueError:
            raise ValueError(f"{self.path} holds {data[:50]!r}, which is no integer") from None

    async def _swap(self, data: bytes, version: int) -> bool:
        """Whether it was stored; not if somebody was faster."""
        session_id = self.zk.session_id
        self._changes += 1
        mark = str(self._changes).encode()
        change = self.zk.transaction()
        if version == _MISSING_VERSION:
            await self.zk.ensure(self.path.rpartition("/")[0] or "/")
            change.create(self.path, data)
        else:
            change.set(self.path, data, version)
        if self._marked_in == session_id:
            change.set(self._mark, mark)
        else:
            change.create(self._mark, mark, CreateMode.EPHEMERAL)
        try:
            await change.commit()
        except (BadVersionError, NodeExistsError, NoNodeError) as error:
            await self._refused(error)
            return False
        except OutcomeUnknown:
            return await self._was_made(mark, session_id)
        self._marked_in = session_id
        return True

    async def _refused(self, error: ZooKeeperError) -> None:
        """Somebody was faster; or the mark is not as expected, because the session is another."""
        if error.path == self._mark:
            stat = await self.zk.exists(self._mark)
            if stat is not None and stat.ephemeral_owner != self.zk.session_id:
                # An earlier session's, which the servers have not ended yet.
                self._mark = f"{self.path.rstrip('/')}/by-{name_by_chance(self.zk)}"
                stat = None
            self._marked_in = 0 if stat is None else stat.ephemeral_owner

    async def _was_made(self, mark: bytes, session_id: int) -> bool:
        """What a change has come to, of which nothing was heard."""
        try:
            # What the old connection carried has happened before the write of this, or never will.
            # A sync would not do: a leader answers it before what is still on its way to the disk.
            stat = await self.zk.exists(self._mark, linearizable=True)
            if self.zk.session_id != session_id:
                raise SessionExpiredError(self.path, "add")
            if stat is None or stat.ephemeral_owner != session_id:
                made = False
            else:
                self._marked_in = session_id
                made = (await self.zk.get(self._mark)).data == mark
            if self.zk.session_id != session_id:
                raise SessionExpiredError(self.path, "add")
        except ZooKeeperError as error:
            raise OutcomeUnknown(self.path, "change") from error
        return made


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value
