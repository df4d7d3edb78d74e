"""What all recipes share: each is entered by `async with`, or by `with` over a blocking client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.client.portal import Portal
from coterie.errors import (
    NoNodeError,
    OperationTimeoutError,
    OutcomeUnknown,
    SessionExpiredError,
    ZooKeeperError,
)

T = TypeVar("T")
R = TypeVar("R")

_SEQUENCE_DIGITS = 10
_PAUSE_S = 0.1


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


def sequence_of(name: str) -> int:
    """The number that a server has put behind the name of a sequential znode."""
    return int(name[-_SEQUENCE_DIGITS:])


def is_sequential(name: str) -> bool:
    """Whether a name ends as the server ends those that it numbers.

    It counts in 31 bits under each parent. Names that it made after that have a minus in them and
    are not in order any more: recipes refuse to go on there.
    """
    return len(name) >= _SEQUENCE_DIGITS and name[-_SEQUENCE_DIGITS:].isdigit()


async def discard(zk: Client, path: str) -> None:
    """Delete an ephemeral of this session's, however long it takes, or until the session ends.

    For the ends of recipes: it goes on in the background when the caller is cancelled.
    """
    session_id = zk.session_id
    task = asyncio.get_running_loop().create_task(_discard(zk, path, session_id))
    _discarding.add(task)
    task.add_done_callback(_discarding.discard)
    await asyncio.shield(task)


_discarding: set[asyncio.Task[None]] = set()
"""The event loop itself holds tasks only weakly."""


async def _discard(zk: Client, path: str, session_id: int) -> None:
    while not zk.over and zk.session_id in (session_id, 0):
        try:
            await zk.delete(path)
        except (NoNodeError, SessionExpiredError):
            return
        except (OutcomeUnknown, OperationTimeoutError):
            await asyncio.sleep(_PAUSE_S)
        except ZooKeeperError:
            return
        else:
            return
