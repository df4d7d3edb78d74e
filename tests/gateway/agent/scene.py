"""A host on virtual time: a fake disk, a tree that is what the test says, commands that note that
they were run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any, cast

import pytest

from coterie.client.client import Client
from coterie.errors import ConnectionLossError
from coterie.gateway.agent import kept
from coterie.gateway.agent.files import read
from coterie.gateway.agent.kept import Host, Kept
from coterie.gateway.agent.reload import Reload
from coterie.gateway.agent.source import Offer
from coterie.gateway.agent.subscriptions import Command, Subscription
from coterie.recipes.discovery import Instance
from coterie.system.command import Outcome
from coterie.testing.clock import Time, VirtualClock
from coterie.testing.files import Disk, FakeFiles
from coterie.testing.loop import VirtualLoop
from coterie.values import Stat, Znode

PLACE = "host"


class Tree:
    """What the tree says for one subscription; stands in for the view and for the client."""

    def __init__(self) -> None:
        self.number = 0
        self.value = Offer()
        self.fresh = False
        self.over = False
        self.reachable = True
        self.opened = 0
        self.last_zxid = 0
        self._news = asyncio.Event()

    def set(self, data: bytes | None, zxid: int) -> None:
        stat = Stat(zxid, zxid, 0, 0, 0, 0, 0, 0, len(data or b""), 0, zxid)
        self._tell(Offer(znode=None if data is None else Znode(data, stat)), zxid)

    def offer(self, *numbers: int, zxid: int = 1) -> None:
        """Servers, by their numbers."""
        found = tuple(Instance("web", "2.0", f"h{n}", 80, id=f"i{n}") for n in numbers)
        self._tell(Offer(found=found), zxid)

    def _tell(self, offer: Offer, zxid: int) -> None:
        self.value, self.last_zxid = offer, zxid
        self.number += 1
        self._news.set()

    async def open(self) -> None:
        if not self.reachable:
            raise ConnectionLossError(None, "open")
        self.opened += 1
        self.fresh = True

    async def close(self) -> None:
        self.fresh = False

    async def next(self, number: int) -> Offer:
        while self.number <= number:
            self._news.clear()
            await self._news.wait()
        return self.value

    async def at_least(self, zxid: int) -> Offer:
        return self.value

    async def exists(self, path: str) -> None:
        if not self.fresh:
            raise ConnectionLossError(path, "exists")


class Scene:
    """One host, and one file on it."""

    def __init__(self, one: Subscription, commands: Mapping[str, Command] | None = None) -> None:
        self.one = one
        self.time = Time()
        self.clock = VirtualClock(self.time)
        self.loop = VirtualLoop(self.time)
        self.disk = Disk(PLACE, Random(1))
        self.files: FakeFiles = self.disk.mount()
        self.tree = Tree()
        self.ran: list[tuple[tuple[str, ...], Mapping[str, str]]] = []
        self.outcome: Callable[[Sequence[str]], str] = lambda words: ""
        self.run_s = 0.0
        self.host = Host(
            files=self.files,
            clock=self.clock,
            dice=Random(1),
            run=self._run,
            directory=PLACE,
            root="/gateway",
            recheck_s=1800,
            commands=commands or {},
            reloads={},
            in_thread=_at_once,
        )
        self.host.reloads = {
            name: Reload(name, command, self._run) for name, command in (commands or {}).items()
        }
        self.kept = Kept(one, self.host)

    async def _run(
        self, words: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None
    ) -> Outcome:
        self.ran.append((tuple(words), dict(environment or {})))
        await asyncio.sleep(self.run_s)
        return Outcome(self.outcome(words), "")

    @property
    def held(self) -> bytes | None:
        return read(self.files, f"{PLACE}/{self.one.file}")

    def lines(self) -> list[str]:
        return (self.held or b"").decode().split()

    def play(
        self,
        monkeypatch: pytest.MonkeyPatch,
        play: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Run the agent's part for this file while a test goes on."""
        monkeypatch.setattr(kept, "view_of", lambda zk, one, root: self.tree)

        async def both() -> None:
            working = [
                asyncio.create_task(self.kept.run(cast("Client", self.tree))),
                *(asyncio.create_task(one.work()) for one in self.host.reloads.values()),
            ]
            try:
                await play()
            finally:
                for task in working:
                    task.cancel()
                results = await asyncio.gather(*working, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in results), results

        self.loop.run_until_complete(both())
        assert not self.loop.errors

    def restart(self) -> None:
        """Another agent takes over; it knows what is on the disk."""
        self.kept = Kept(self.one, self.host, self.kept.confirmed_wall_ms)
        self.tree = Tree()


async def _at_once(step: Callable[[], Any]) -> Any:
    return step()
