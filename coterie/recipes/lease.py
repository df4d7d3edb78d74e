"""A lease: something is held for so long, over lost connections and sessions, and renewed.

    async with Lease(zk, "/leases/nightly", duration_s=60, identifier=b"host-7") as grant:
        for step in steps:
            await step()
            await grant.renew()

It is a plain znode that names its holder and says for how long. Rules:
- the holder's time begins before it sends what gives or renews the lease, and ends after
  `duration_s`, by its own clock: then the grant is lost, and its block is cancelled;
- others may take it when they have seen it unchanged for that long and a margin, by their own
  clocks, from when they first saw it. So nobody's clock is compared with another's; that they run
  equally fast, but for the margin, is all that is assumed, and a holder has the margin to stop;
- the token is the zxid of the txn by which it was taken; to renew the lease changes no token;
- the znode is never deleted: its version tells whether somebody else was faster.
Whoever comes new waits for the whole time at most, though the holder may have died long ago. All
who wait are told of each renewal: it is for few.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    BadVersionError,
    GrantLostError,
    MarshallingError,
    NodeExistsError,
    NoNodeError,
    ZooKeeperError,
)
from coterie.recipes.grant import Holding, Tenure
from coterie.recipes.recipe import PASSING, go_on
from coterie.values import EventType, Stat, WatchEvent

_PAUSE_S: Final = 0.1
_MARGIN: Final = 0.1
"""Of the duration, unless it is said."""
_RACED: Final = (BadVersionError, NodeExistsError, NoNodeError)
"""Somebody was faster; perhaps an earlier try of one's own."""


class Terms(NamedTuple):
    """What the znode says of who holds it."""

    mark: str
    """Drawn for one holder and one time that he holds it."""
    by: bytes
    duration_ms: float
    margin_ms: float

    def encode(self) -> bytes:
        return json.dumps(self._replace(by=self.by.hex())._asdict()).encode()  # type: ignore[arg-type]

    @classmethod
    def decode(cls, path: str, data: bytes) -> Terms | None:
        """None when nobody holds it."""
        if not data:
            return None
        try:
            told = json.loads(data)
            by = bytes.fromhex(told["by"])
            return cls(str(told["mark"]), by, float(told["duration_ms"]), float(told["margin_ms"]))
        except (ValueError, KeyError, TypeError):
            raise MarshallingError(path, "read the lease") from None


class LeaseGrant(Tenure):
    """What is held until its time is over, unless it is renewed before."""

    def __init__(self, zk: Client, path: str, stat: Stat, terms: Terms, expires_ms: float) -> None:
        super().__init__(path, stat.mzxid)
        self.expires_ms = expires_ms
        """When it is over: milliseconds of the event loop's clock."""
        self._zk = zk
        self._terms = terms
        self._version = stat.version
        self._renewing = asyncio.Lock()
        self._timer = self._loop.call_at(expires_ms / 1000.0, self._lose)
        self._undo = zk.on_state(self._follow)

    @property
    def left_s(self) -> float:
        """For how many seconds it is still held."""
        return 0.0 if self.lost else max(0.0, self.expires_ms - self._zk.now_ms()) / 1000.0

    def _is_over(self) -> bool:
        return self._zk.over or self._zk.now_ms() >= self.expires_ms

    def _follow(self, state: object) -> None:
        if self._zk.over:
            self._lose()

    def _ended(self) -> None:
        self._timer.cancel()
        self._undo()

    async def renew(self) -> None:
        """Hold it for the whole time again, from now on.

        Tries until it is over. Raises `GrantLostError` then, and when another has it.
        """
        self.check()
        try:
            async with asyncio.timeout_at(self.expires_ms / 1000.0), self._renewing:
                while not await self._try_to_renew():
                    await self._look()
        except TimeoutError:
            self._lose()
            raise GrantLostError(self.path, "renew") from None

    async def _try_to_renew(self) -> bool:
        self.check()
        begun_ms = self._zk.now_ms()
        try:
            stat = await self._zk.set(self.path, self._terms.encode(), self._version)
        except (*_RACED, *PASSING):
            return False
        self._version = stat.version
        self.check()
        self.expires_ms = begun_ms + self._terms.duration_ms
        self._timer.cancel()
        self._timer = self._loop.call_at(self.expires_ms / 1000.0, self._lose)
        return True

    async def _look(self) -> None:
        """Whose is it, and in which version?"""
        while True:
            self.check()
            try:
                await self.confirm()
                return
            except PASSING:
                await asyncio.sleep(_PAUSE_S)

    async def confirm(self) -> None:
        """As `check`, but asks the ensemble, in the one order of all writes.

        Raises `GrantLostError`, or what a read raises.
        """
        self.check()
        try:
            self._compare(*await self._zk.get(self.path, linearizable=True))
        except NoNodeError:
            self._lose()
            self.check()

    async def guard(self) -> None:
        """See to it that it is one's own, and hear when it is not any more.

        Raises `GrantLostError`.
        """
        try:
            self._compare(*await self._zk.get(self.path, watch=self._changed))
        except NoNodeError:
            self._lose()
            self.check()

    def _compare(self, data: bytes, stat: Stat) -> None:
        terms = Terms.decode(self.path, data)
        if terms is None or terms.mark != self._terms.mark:
            self._lose()
        else:
            self._version = max(self._version, stat.version)
        self.check()

    def _changed(self, event: WatchEvent) -> None:
        if self._lost.is_set():
            return
        if event.type == EventType.NODE_DELETED:
            self._lose()
        else:
            go_on(self._guard_again())

    async def _guard_again(self) -> None:
        while not self._lost.is_set():
            try:
                await self.guard()
                return
            except GrantLostError:
                return
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)

    async def give_back(self) -> None:
        """Let others have it now; goes on when the caller is cancelled."""
        lost = self.lost
        self.released()
        freeing = go_on(free(self._zk, self.path, {self._terms.mark}, self.expires_ms))
        if not lost:
            await asyncio.shield(freeing)


async def free(zk: Client, path: str, marks: set[str], until_ms: float) -> None:
    """Say that nobody holds it if it bears one of these marks, unless its time is over anyway."""
    while not zk.over and zk.now_ms() < until_ms:
        try:
            async with asyncio.timeout_at(until_ms / 1000.0):
                data, stat = await zk.get(path, linearizable=True)
                terms = Terms.decode(path, data)
                if terms is not None and terms.mark in marks:
                    await zk.set(path, b"", stat.version)
                return
        except BadVersionError:
            continue
        except (NoNodeError, MarshallingError, TimeoutError):
            return
        except PASSING:
            await asyncio.sleep(_PAUSE_S)


class Lease(Holding[LeaseGrant]):
    """One who wants to hold what is at `path` for some time."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        path: str,
        *,
        duration_s: float,
        margin_s: float | None = None,
        identifier: bytes = b"",
    ) -> None:
        """`margin_s` is how much longer others wait than the holder holds it: a tenth unless it is
        said. `identifier` is what others read of who holds it.
        """
        super().__init__(zk, path)
        if margin_s is None:
            margin_s = duration_s * _MARGIN
        if duration_s <= 0 or margin_s < 0:
            raise ValueError("a lease is for some time")
        self._duration_ms = duration_s * 1000.0
        self._margin_ms = margin_s * 1000.0
        self._identifier = identifier

    async def acquire(self, timeout_s: float | None = None) -> LeaseGrant:
        """Wait until it is free, or was not renewed; with a time-out of 0 only if it is free.

        Raises `TimeoutError`, and `GrantLostError` when the answer took longer than the lease
        lasts. Nothing is left behind then.
        """
        patient = timeout_s is None or timeout_s > 0
        marks: set[str] = set()
        try:
            async with asyncio.timeout(timeout_s if patient else None):
                grant = await self._acquire(patient, marks)
        except BaseException:
            await self._withdraw(marks)
            raise
        try:
            await grant.guard()
        except BaseException:
            grant.released()
            await self._withdraw(marks)
            raise
        return grant

    async def _withdraw(self, marks: set[str]) -> None:
        if marks:
            until_ms = self.zk.now_ms() + self._duration_ms
            go_on(free(self.zk, self.path, marks, until_ms))
            # What this client asks for after this comes after that.
            await asyncio.sleep(0)

    async def _acquire(self, patient: bool, marks: set[str]) -> LeaseGrant:
        seen_zxid, since_ms = 0, 0.0
        while True:
            changed = asyncio.Event()

            def wake(event: WatchEvent, changed: asyncio.Event = changed) -> None:
                changed.set()

            try:
                data, stat = await self.zk.get(self.path, watch=wake)
                terms = Terms.decode(self.path, data)
                now_ms = self.zk.now_ms()
                if stat.mzxid != seen_zxid:
                    seen_zxid, since_ms = stat.mzxid, now_ms
                wait_ms = 0.0
                if terms is not None and terms.mark not in marks:
                    wait_ms = since_ms + terms.duration_ms + terms.margin_ms - now_ms
                if wait_ms > 0:
                    if not patient:
                        raise TimeoutError
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), wait_ms / 1000.0)
                    continue
                return await self._take(stat.version, marks)
            except NoNodeError:
                with suppress(*_RACED, *PASSING):
                    return await self._take(None, marks)
            except BadVersionError:
                continue
            except PASSING:
                if self.zk.over:
                    raise
                await asyncio.sleep(_PAUSE_S)
            finally:
                self.zk.unwatch(self.path, wake)

    async def _take(self, version: int | None, marks: set[str]) -> LeaseGrant:
        mark = f"{self.zk.dice.getrandbits(128):032x}"
        terms = Terms(mark, self._identifier, self._duration_ms, self._margin_ms)
        marks.add(terms.mark)
        begun_ms = self.zk.now_ms()
        try:
            if version is None:
                made = await self.zk.create_with_stat(self.path, terms.encode(), parents=True)
                stat = made.stat
            else:
                stat = await self.zk.set(self.path, terms.encode(), version)
        except _RACED:
            marks.discard(terms.mark)
            raise
        return LeaseGrant(self.zk, self.path, stat, terms, begun_ms + self._duration_ms)

    async def release(self, grant: LeaseGrant) -> None:
        """Let others have it now."""
        await grant.give_back()

    async def holder(self) -> bytes | None:
        """The identifier of who holds it, or has let its time go by; None if it is free."""
        try:
            data, _ = await self.zk.get(self.path)
        except NoNodeError:
            return None
        terms = Terms.decode(self.path, data)
        return None if terms is None else terms.by
