"""What all recipes share: each is entered by `async with`, or by `with` over a blocking client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.client.portal import Portal
from coterie.errors import (
    AuthFailedError,
    BadArgumentsError,
    ConnectionLossError,
    NoAuthError,
    NoNodeError,
    NotEmptyError,
    NotReadOnlyError,
    OperationTimeoutError,
    OutcomeUnknown,
    RequestTimeoutError,
    ServerFailureError,
    SessionExpiredError,
    SessionMovedError,
    ThrottledError,
    ZooKeeperError,
)
from coterie.values import Created

T = TypeVar("T")
R = TypeVar("R")

_SEQUENCE_DIGITS: Final = 10
_NAME_BITS: Final = 64
_PAUSE_S: Final = 0.1
PASSING: Final = (
    ConnectionLossError,
    OperationTimeoutError,
    SessionExpiredError,
    ServerFailureError,
    NotReadOnlyError,
    RequestTimeoutError,
    SessionMovedError,
    ThrottledError,
)
"""What is no fault of the request: the same may succeed a moment later."""
_FINAL: Final = (NoAuthError, AuthFailedError, BadArgumentsError, NotEmptyError)


class Recipe(Generic[T]):
    """A recipe over a client of either kind. What `enter` gives is what `with ... as` names."""

    def __init__(self, zk: Client | BlockingClient, path: str) -> None:
        self.zk = zk.client if isinstance(zk, BlockingClient) else zk
        self.path = path.rstrip("/") or "/"
        self.portal: Portal | None = zk.portal if isinstance(zk, BlockingClient) else None

    async def enter(self) -> T:
        """Begin. To be overridden."""
        raise NotImplementedError

    async def leave(self, error: BaseException | None) -> None:
        """End. To be overridden."""
        raise NotImplementedError

    async def __aenter__(self) -> T:
        return await self.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave(error)

    def __enter__(self) -> T:
        return self.wait(self.enter)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async def leave() -> None:
            await self.leave(error)

        self.wait(leave)

    def wait(self, step: Callable[[], Awaitable[R]]) -> R:
        """Run a step of this recipe in the blocking client's loop, and wait for it."""
        if self.portal is None:
            raise TypeError("a plain `with` takes a blocking client; here it is `async with`")

        async def run() -> R:
            return await step()

        return self.portal.call(run())


def name_by_chance(zk: Client) -> str:
    """A name that nobody else has, drawn from the client's dice: a simulation hands those down."""
    return f"{zk.dice.getrandbits(_NAME_BITS):0{_NAME_BITS // 4}x}"


def sequence_of(name: str) -> int:
    """The number that a server has put behind the name of a sequential znode."""
    return int(name[-_SEQUENCE_DIGITS:])


def is_sequential(name: str) -> bool:
    """Whether a name ends as the server ends those that it numbers.

    It counts in 31 bits under each parent. What it makes after that has a minus before its number
    and is not in order any more: recipes refuse to go on there (`is_number`).
    """
    return len(name) >= _SEQUENCE_DIGITS and name[-_SEQUENCE_DIGITS:].isdigit()


def is_number(suffix: str) -> bool:
    """Whether that which stands behind one's own name is a number that is in order."""
    return len(suffix) == _SEQUENCE_DIGITS and suffix.isdigit()


# Beginnings and ends that outlast their caller

_going_on: set[asyncio.Task[None]] = set()
"""The event loop itself holds tasks only weakly."""


def go_on(step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a step to its end, whatever becomes of the caller."""
    task = asyncio.get_running_loop().create_task(step)
    _going_on.add(task)
    task.add_done_callback(_going_on.discard)
    return task


async def take_place(
    zk: Client, path: str, data: bytes = b"", *, sequential: bool = True
) -> Created:
    """Make an ephemeral. If the caller is cancelled before it knows of it, it is deleted again."""
    making = asyncio.get_running_loop().create_task(
        zk.create_with_stat(
            path, data, ephemeral=True, sequential=sequential, protected=True, parents=True
        )
    )
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        go_on(_unmake(zk, making, "" if sequential else path))
        raise


async def _unmake(zk: Client, making: asyncio.Task[Created], path: str) -> None:
    try:
        made = await making
    except OutcomeUnknown:
        # The client sees to those that bear a mark of its own.
        if path:
            await _discard_unknown(zk, path, zk.session_id)
        return
    except (ZooKeeperError, asyncio.CancelledError):
        return
    await _discard(zk, made.path, made.stat.ephemeral_owner)


async def discard(zk: Client, path: str, session_id: int | None = None) -> None:
    """Delete an ephemeral of a session, this one's if no other is named; wait until it is gone.

    If the session ends first, it is gone with that. Goes on when the caller is cancelled. Raises
    `NoAuthError` and the like: what no other try would make good.
    """
    if session_id is None:
        session_id = zk.session_id
    await asyncio.shield(go_on(_discard(zk, path, session_id)))


def discard_later(zk: Client, path: str, session_id: int) -> None:
    """As `discard`, for who cannot wait: one who is cancelled, or whose time is over."""
    go_on(_discard(zk, path, session_id))


def discard_unknown_later(zk: Client, path: str, session_id: int) -> None:
    """As `discard_later`, for an ephemeral that may have been made, or be another session's."""
    go_on(_discard_unknown(zk, path, session_id))


async def _discard_unknown(zk: Client, path: str, session_id: int) -> None:
    while not zk.over and zk.session_id == session_id:
        try:
            # Behind a write: what makes it may be on its way.
            stat = await zk.exists(path, linearizable=True)
            if stat is not None and stat.ephemeral_owner == session_id:
                await zk.delete(path)
            return
        except (NoNodeError, SessionExpiredError, *_FINAL):
            return
        except ZooKeeperError:
            await asyncio.sleep(_PAUSE_S)


async def _discard(zk: Client, path: str, session_id: int) -> None:
    while not zk.over and zk.session_id == session_id:
        try:
            await zk.delete(path)
        except (NoNodeError, SessionExpiredError):
            return
        except _FINAL:
            raise
        except ZooKeeperError:
            # A server that is read-only or busy now, a lost connection: as long as the session
            # lives, others wait for this.
            await asyncio.sleep(_PAUSE_S)
        else:
            return
