"""What tests of recipes have in common: waiting for a line to be as it should be, and letting a
create's answer be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from coterie.client.client import Client
from coterie.client.transaction import Transaction
from coterie.errors import OutcomeUnknown
from coterie.values import WatchEvent

T = TypeVar("T")
Undone = Callable[[], Awaitable[None]]


async def children_until(zk: Client, path: str, done: Callable[[list[str]], bool]) -> list[str]:
    """The names of a znode's children, once they are as they should be."""
    while True:
        changed: asyncio.Queue[WatchEvent] = asyncio.Queue()
        names = await zk.children(path, watch=changed.put_nowait)
        if done(names):
            return names
        await changed.get()


async def crowd(zk: Client, path: str, count: int) -> list[str]:
    """Wait until so many stand at a znode."""
    return await children_until(zk, path, lambda names: len(names) == count)


async def settled(*clients: Client) -> None:
    """Let whoever has got his place go on to where he waits: that takes him fewer requests."""
    for _ in range(6):
        for zk in clients:
            await zk.exists("/")


async def cancelled_at(zk: Client, number: int, step: Coroutine[Any, Any, T]) -> T | None:
    """Cancel a step while its so-manyth request is on its way; what it came to if it had fewer."""
    client: Any = zk
    ask, count = client._ask, 0
    task = asyncio.create_task(step)

    def counted(call: Any) -> Any:
        nonlocal count
        asked = ask(call)
        count += 1
        if count == number:
            asyncio.get_running_loop().call_soon(task.cancel)
        return asked

    client._ask = counted
    try:
        return await task
    except asyncio.CancelledError:
        return None
    finally:
        client._ask = ask


def lose_answers(zk: Client, count: int = 1, *, then: Undone | None = None) -> None:
    """Let the next creates be carried out, and their answers be lost."""
    client: Any = zk
    create = client._create
    left = count

    async def carried_out(*arguments: Any) -> Any:
        nonlocal left
        made = await create(*arguments)
        if not left:
            return made
        left -= 1
        if then is not None:
            await then()
        raise OutcomeUnknown(made.path, "create")

    client._create = carried_out


def lose_commits(zk: Client, *carried_out: bool) -> None:
    """Let the answers to the next transactions be lost, whether they are carried out or not."""
    client: Any = zk
    transaction, left = client.transaction, list(carried_out)

    def unsure() -> Transaction:
        change: Transaction = transaction()
        commit = change.commit

        async def committed() -> list[Any]:
            if not left:
                return await commit()
            if left.pop(0):
                await commit()
            raise OutcomeUnknown(None, "commit")

        change.commit = committed  # type: ignore[method-assign]
        return change

    client.transaction = unsure
