"""A claim: a job that many could do is done by one, and recorded once.

    try:
        async with Claim(zk, "/jobs/42", identifier=b"worker-7") as claim:
            result = await run_job(token=claim.token)
            await claim.complete(result)
    except DoneAlready as done:
        result = done.record.result

Who wants the job stands in line; the first has it. To complete it is one txn: the record is made
and the claim given up, if the claim is still there. So it is recorded once, by one who holds it,
or not at all. Who dies, or leaves without completing, is succeeded by the next, with a larger
token. What a lost connection leaves open is found out by looking.

What a job does outside is not undone when its holder dies in the middle: let it take the token
along, or be such that it may be done again. Records stay until somebody deletes them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    GrantLostError,
    MarshallingError,
    NodeExistsError,
    NoNodeError,
    OutcomeUnknown,
    ZooKeeperError,
)
from coterie.recipes.grant import Grant, Holding
from coterie.recipes.lock import Line, next_ahead
from coterie.recipes.recipe import PASSING
from coterie.values import WatchEvent

_PAUSE_S: Final = 0.1


class Record(NamedTuple):
    """That a job was done."""

    token: int
    """The token of who has done it."""
    by: bytes
    result: bytes


class DoneAlready(ZooKeeperError):  # noqa: N818
    """The job was done already."""

    def __init__(self, path: str, record: Record) -> None:
        super().__init__(path, "claim")
        self.record = record


class ClaimGrant(Grant):
    """The right to do the job, and to say that it is done."""

    def __init__(self, zk: Client, place: Grant, record_path: str, by: bytes) -> None:
        super().__init__(zk, place.path, place.stat)
        self.completed = False
        """Whether it was recorded."""
        self._record_path = record_path
        self._by = by
        self._completing = False

    async def complete(self, result: bytes = b"") -> None:
        """Record that it is done, and give the claim up: both or neither.

        Raises `GrantLostError` when the claim was lost before that: then another has it, or has
        done it. It tries until it knows. If it is cancelled, who comes next finds the record, or
        does the job.
        """
        # That the znode goes is what this does itself.
        self._completing = True
        try:
            while not await self._try_to_complete(result):
                if self._zk.over:
                    raise GrantLostError(self.path, "complete")
        except GrantLostError:
            self._lose()
            raise
        finally:
            self._completing = False
        self.completed = True
        self.released()

    async def _try_to_complete(self, result: bytes) -> bool:
        change = self._zk.transaction()
        change.delete(self.path)
        change.create(self._record_path, _encoded(self.token, self._by, result))
        try:
            await change.commit()
            return True
        except OutcomeUnknown:
            # To try again finds out. Should an old connection have carried the first one, and it
            # come late: only one of the two finds the claim.
            return False
        except (NoNodeError, NodeExistsError):
            # Either the claim was lost, or an earlier try was told to nobody.
            record = await self._look()
        except PASSING:
            await asyncio.sleep(_PAUSE_S)
            return False
        if record is not None and record.token == self.token:
            return True
        raise GrantLostError(self.path, "complete")

    async def _look(self) -> Record | None:
        while not self._zk.over:
            try:
                return await _record_at(self._zk, self._record_path)
            except PASSING:
                await asyncio.sleep(_PAUSE_S)
        return None

    def _changed(self, event: WatchEvent) -> None:
        if not self._completing:
            super()._changed(event)


class Claim(Holding[ClaimGrant]):
    """One who wants to do the job at `path`."""

    def __init__(self, zk: Client | BlockingClient, path: str, *, identifier: bytes = b"") -> None:
        """`identifier` is recorded as who has done it."""
        super().__init__(zk, path)
        under = self.path.rstrip("/")
        self._record_path = f"{under}/done"
        self._identifier = identifier
        self._line = Line(self.zk, self.path, "claim-", identifier, next_ahead)

    async def acquire(self, timeout_s: float | None = None) -> ClaimGrant:
        """Wait until the job is this one's to do; with a time-out of 0 take it only if nobody has.

        Raises `DoneAlready`, also when it is done by another meanwhile; `TimeoutError`; and
        `GrantLostError` when the session ends meanwhile. Nothing is left behind then.
        """
        patient = timeout_s is None or timeout_s > 0
        async with asyncio.timeout(timeout_s if patient else None):
            await self._check_done()
            place = await self._line.turn(None if patient else 0)
            claim = ClaimGrant(self.zk, place, self._record_path, self._identifier)
            place.released()
            try:
                await claim.guard()
                # Whoever had it before has recorded that and left in one txn.
                await self._check_done()
                claim.check()
            except BaseException:
                await claim.abandon()
                raise
            return claim

    async def _check_done(self) -> None:
        record = await self.done()
        if record is not None:
            raise DoneAlready(self.path, record)

    async def release(self, grant: ClaimGrant) -> None:
        """Leave the job to the next one."""
        await grant.give_back()

    async def done(self) -> Record | None:
        """The record, if the job was done."""
        return await _record_at(self.zk, self._record_path)

    async def wait_done(self, timeout_s: float | None = None) -> Record:
        """Wait until somebody has done it. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while True:
                changed = asyncio.Event()

                def wake(event: WatchEvent, changed: asyncio.Event = changed) -> None:
                    changed.set()

                try:
                    if await self.zk.exists(self._record_path, watch=wake) is None:
                        await changed.wait()
                finally:
                    self.zk.unwatch(self._record_path, wake)
                record = await self.done()
                if record is not None:
                    return record


async def _record_at(zk: Client, path: str) -> Record | None:
    try:
        data, _ = await zk.get(path)
    except NoNodeError:
        return None
    head, _, result = data.partition(b"\n")
    try:
        told = json.loads(head)
        return Record(int(told["token"]), bytes.fromhex(told["by"]), result)
    except (ValueError, KeyError, TypeError):
        raise MarshallingError(path, "read the record") from None


def _encoded(token: int, by: bytes, result: bytes) -> bytes:
    """A line of JSON, and then the result as it is."""
    return json.dumps({"token": token, "by": by.hex()}).encode() + b"\n" + result
