"""An ephemeral that is kept there: made again when its session has expired, or it was deleted.

Rules: it is there for as long as this is open and a server can be reached. A znode of the same
name that another session made is never taken for one's own (curator#500), nor deleted: it is
waited for, and so is one that was made in an earlier session of one's own.
"""

from __future__ import annotations

import asyncio

from coterie.client.client import Client
from coterie.errors import (
    NodeExistsError,
    NoNodeError,
    OutcomeUnknown,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.recipes.recipe import (
    PASSING,
    discard,
    discard_unknown_later,
    go_on,
    take_place,
)

_PAUSE_S = 0.1


class Presence:
    """One ephemeral znode, in one session after the other."""

    def __init__(self, zk: Client, path: str, data: bytes = b"") -> None:
        self.path = path
        self.data = data
        self.failure: ZooKeeperError | None = None
        """What keeps the znode from being there, while something does."""
        self._zk = zk
        self._sessions: set[int] = set()
        """Those in which it was made, or may have been, by this and nothing else."""
        self._owner = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def present(self) -> bool:
        """Whether the znode is there, as far as is known: its session lives and is this one."""
        if not self._owner or self._zk.over or self._zk.session_id != self._owner:
            return False
        expires_ms = self._zk.expires_ms
        return expires_ms is not None and self._zk.now_ms() < expires_ms

    async def open(self) -> None:
        """Make it, and keep it there from now on; waits while another session has the name.

        Raises what a create raises. Leaves nothing behind when it is cancelled.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.get_running_loop().create_task(self._keep(opened))
        try:
            await opened
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Delete it. Goes on when the caller is cancelled."""
        await asyncio.shield(go_on(self._close()))

    async def _close(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        owner, self._owner = self._owner, 0
        session_id = self._zk.session_id
        if owner and owner == session_id:
            await discard(self._zk, self.path, owner)
        elif session_id in self._sessions:
            # It may have been made, and nobody has seen it since.
            discard_unknown_later(self._zk, self.path, session_id)

    async def update(self, data: bytes) -> None:
        """Change what it holds, now and whenever it is made again.

        What cannot be written now is written as soon as it can be: that is no error.
        """
        self.data = data
        if self.present and not await self._write():
            go_on(self._write_later())

    async def _write(self) -> bool:
        """Let it hold what it is to hold; whether it does, or will when it is made again."""
        try:
            await self._zk.set(self.path, self.data)
        except NoNodeError:
            return True
        except PASSING:
            return False
        return True

    async def _write_later(self) -> None:
        data = self.data
        while True:
            await asyncio.sleep(_PAUSE_S)
            if not self.present or self.data is not data or await self._write():
                return

    async def _keep(self, opened: asyncio.Future[None]) -> None:
        try:
            await self._follow(opened)
        except ZooKeeperError as error:
            self.failure = error
            if not opened.done():
                opened.set_exception(error)

    async def _follow(self, opened: asyncio.Future[None]) -> None:
        async with self._zk.watch(self.path) as events:
            while True:
                try:
                    await self._make()
                    self.failure = None
                except ZooKeeperError as error:
                    if self._zk.over or not opened.done():
                        raise
                    self.failure = error
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if self._owner and not opened.done():
                    opened.set_result(None)
                if await events.next() is None:
                    raise SessionExpiredError(self.path, "keep")

    async def _make(self) -> None:
        """Look, and make it if it is not there."""
        while True:
            session_id = self._zk.session_id
            try:
                data, stat = await self._zk.get(self.path)
            except NoNodeError:
                self._owner = 0
                if await self._create(session_id):
                    return
                continue
            self._owner = stat.ephemeral_owner if stat.ephemeral_owner in self._sessions else 0
            if self._owner and self._owner == self._zk.session_id and data != self.data:
                await self._zk.set(self.path, self.data)
            return

    async def _create(self, session_id: int) -> bool:
        """Whether it was made; not when somebody was faster."""
        try:
            made = await take_place(self._zk, self.path, self.data, sequential=False)
        except NodeExistsError:
            return False
        except OutcomeUnknown:
            self._sessions |= {session_id, self._zk.session_id}
            raise
        self._owner = made.stat.ephemeral_owner
        self._sessions.add(self._owner)
        return True
