"""Who works on a job: one at a time, while the truth about the job is in the user's own store.

    async with JobClaim(zk, "job-42", identifier=b"host-7:8001") as claim:
        if not await store.is_done("job-42"):
            result = await run_job()
            await claim.settle(lambda token: store.finish("job-42", result, token))

The tree holds a claim for as long as somebody works on the job, and no longer; that the job has
ended, and how, is recorded in the store alone. So whoever has got a claim looks there first: the
one before may have settled it. Rules:
- who dies, or leaves without settling, is succeeded by the next in line, with a bigger token;
- what records the end takes the token along, and the store refuses one that is older than another
  was (`StaleTokenError`): so the end is recorded by one who had the claim last;
- to record may be tried again: an answer that is lost is found out by asking once more, until it
  is known;
- what is left in the tree of a job that is settled tells those who wait (`DoneAlready`), and the
  last of them clears it away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    GrantLostError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OutcomeUnknown,
)
from coterie.recipes.claim import Claim, ClaimGrant, DoneAlready
from coterie.recipes.lock import standing
from coterie.recipes.names import text_of, znode_name
from coterie.recipes.recipe import PASSING, Recipe, go_on

Step = Callable[[int], Awaitable[object]]
"""Records the end of a job in the store, under a token; may be run again."""

UNKNOWN: Final[tuple[type[Exception], ...]] = (OSError, TimeoutError, *PASSING)
"""What a step may raise when it is not known whether the end was recorded: `TimeoutError` and
`ConnectionError` are among them."""

_ROOT: Final = "/gateway"
_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 5.0
_SETTLE_S: Final = 60.0
_TRIES: Final = 20


class Holder(NamedTuple):
    """Who works on a job, as others see it."""

    identifier: bytes
    token: int


class JobClaim(Recipe["JobClaim"]):
    """One who wants to work on a job; with `patience_s` of 0 only if nobody else does."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        job_id: str,
        *,
        root: str = _ROOT,
        identifier: bytes = b"",
        patience_s: float | None = None,
    ) -> None:
        """`identifier` is what others read of who works on it; `patience_s` is how long it waits
        for others: for ever unless it is said."""
        super().__init__(zk, _path(root, job_id))
        self.job_id = job_id
        self.settled = False
        """Whether the store has said that the end is recorded."""
        self._claim = _Patient(zk, self.path, identifier, patience_s)
        self._grant: ClaimGrant | None = None

    async def enter(self) -> JobClaim:
        """Wait until nobody else works on it.

        Raises `DoneAlready` when it was settled while this one waited, and `TimeoutError` when the
        patience is over. Nothing is left behind then.
        """
        try:
            self._grant = await self._claim.enter()
        except DoneAlready:
            go_on(_tidy(self.zk, self.path))
            raise
        return self

    async def leave(self, error: BaseException | None) -> None:
        """Let the next one work on it, unless it is settled."""
        await self._claim.leave(error)

    @property
    def grant(self) -> ClaimGrant:
        """What it is held by. Raises `RuntimeError` before that."""
        if self._grant is None:
            raise RuntimeError("the job is not claimed yet: use `async with` or `with`")
        return self._grant

    @property
    def token(self) -> int:
        """The fencing token: it goes with everything that is written for the job."""
        return self.grant.token

    @property
    def lost(self) -> bool:
        """Whether another may have it now; also when it is settled."""
        return self.grant.lost

    def check(self) -> None:
        """Raises `GrantLostError` if it is, or may be, lost. Costs no round trip."""
        self.grant.check()

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back, in the event loop, when it is lost; at once if it is. Returns the undoing."""
        return self.grant.on_lost(callback)

    async def settle(
        self,
        step: Step,
        *,
        timeout_s: float = _SETTLE_S,
        unknown: tuple[type[Exception], ...] = UNKNOWN,
    ) -> None:
        """Record the end by `step(token)`, until it is known to be recorded; then give the claim
        up, and leave nothing of it in the tree.

        `unknown` are the errors after which the step is tried again. Any other ends it, and so do
        `StaleTokenError`; `GrantLostError`, when the claim is lost meanwhile; and `TimeoutError`:
        then it is not known whether the end is recorded, and who claims the job next finds out.
        """
        grant = self.grant
        async with asyncio.timeout(timeout_s):
            await self._record(step, unknown)
        self.settled = True
        # It is nothing to be lost any more: the store has it.
        grant.released()
        clearing = go_on(_give_up(self.zk, grant, self.path))
        # An ensemble that is away is waited for by the task, not by who has other jobs to do.
        await asyncio.wait([clearing], timeout=timeout_s)

    async def _record(self, step: Step, unknown: tuple[type[Exception], ...]) -> None:
        pause_s = _PAUSE_S
        while True:
            self.check()
            try:
                await step(self.token)
                return
            except GrantLostError:
                raise
            except unknown:
                # Not all at once: what many wait for has just come back.
                await asyncio.sleep(pause_s * (0.5 + self.zk.dice.random()))
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)


class _Patient(Claim):
    """A claim that is waited for so long and not longer."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        path: str,
        identifier: bytes,
        patience_s: float | None,
    ) -> None:
        super().__init__(zk, path, identifier=identifier)
        self._patience_s = patience_s

    async def acquire(self, timeout_s: float | None = None) -> ClaimGrant:
        patience_s = self._patience_s if timeout_s is None else timeout_s
        for _ in range(_TRIES):
            with suppress(NoNodeError):
                # A container goes by itself after the last claim below it, also after one that
                # died.
                with suppress(NodeExistsError, OutcomeUnknown):
                    await self.zk.create(self.path, container=True, parents=True)
                return await super().acquire(patience_s)
            # Whoever left before this one's place was made has cleared it away.
        raise NoNodeError(self.path, "claim")

    async def release(self, grant: ClaimGrant) -> None:
        await super().release(grant)
        # As soon as may be, if nobody waits.
        with suppress(NoNodeError, NotEmptyError, *PASSING):
            await self.zk.delete(self.path)


# What others ask


async def holder(zk: Client, job_id: str, *, root: str = _ROOT) -> Holder | None:
    """Who works on a job; None if nobody does."""
    path = _path(root, job_id)
    while True:
        names = await standing(zk, path)
        if not names:
            return None
        try:
            data, stat = await zk.get(f"{path}/{names[0]}")
        except NoNodeError:
            continue
        return Holder(data, stat.czxid)


async def claimed(zk: Client, *, root: str = _ROOT) -> list[str]:
    """The jobs that somebody works on, or has not cleared away yet."""
    try:
        return sorted(text_of(name) for name in await zk.children(_path(root)))
    except NoNodeError:
        return []


async def forget(zk: Client, job_id: str, *, root: str = _ROOT) -> bool:
    """Clear away what a crash between two steps has left of a job; whether nothing is left. Who
    works on it, or waits, is left in peace."""
    return await _clear(zk, _path(root, job_id))


def _path(root: str, job_id: str | None = None) -> str:
    above = f"{root.rstrip('/')}/claims"
    return above if job_id is None else f"{above}/{znode_name(job_id)}"


async def _give_up(zk: Client, grant: ClaimGrant, path: str) -> None:
    """Let a claim end whose job is settled."""
    while not zk.over:
        change = zk.transaction()
        change.delete(grant.path).delete(path)
        try:
            await change.commit()
            return
        except NotEmptyError:
            break
        except NoNodeError:
            # It was lost, or an earlier try was told to nobody.
            return
        except PASSING:
            await asyncio.sleep(_PAUSE_S)
    # Somebody waits for it.
    try:
        await grant.complete()
    except GrantLostError:
        return
    await _clear(zk, path)


async def _tidy(zk: Client, path: str) -> None:
    """Of all who have waited the last one leaves nothing."""
    await _clear(zk, path)


async def _clear(zk: Client, path: str) -> bool:
    """Whether nothing is left: of the record, and of the znode where nobody stands."""
    recorded = True
    while not zk.over:
        change = zk.transaction()
        if recorded:
            change.delete(f"{path}/done")
        change.delete(path)
        try:
            await change.commit()
            return True
        except NotEmptyError:
            return False
        except NoNodeError:
            if not recorded:
                return True
            recorded = False
        except PASSING:
            await asyncio.sleep(_PAUSE_S)
    return False
