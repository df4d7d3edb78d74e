"""The blocking twins of what a client gives away: watches, caches and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from coterie.client.cache import Cache, Change
from coterie.client.portal import Portal
from coterie.client.transaction import Transaction
from coterie.client.watch import Watch
from coterie.values import WatchEvent, Znode


class BlockingTransaction(Transaction):
    """`Transaction` for a plain `with`: it commits at the end of the block."""

    def __init__(self, transaction: Transaction, portal: Portal) -> None:
        super().__init__(transaction._place, transaction._shown, transaction._send)
        self._portal = portal

    def run(self) -> list[Any]:
        """`commit`, waited for."""
        return self._portal.call(self.commit())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.run()


class BlockingWatch:
    """`Watch` for plain threads: iterate over it within `with`."""

    def __init__(self, watch: Watch, portal: Portal) -> None:
        self.path = watch.path
        self._watch = watch
        self._portal = portal

    def __enter__(self) -> Self:
        self._portal.call(self._watch.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal.call(self._watch.__aexit__(kind, error, traceback))

    def next(self, timeout_s: float | None = None) -> WatchEvent | None:
        """The next event; None once the watch is closed. Raises `TimeoutError`."""
        return self._portal.call(_within(self._watch, timeout_s))

    def __iter__(self) -> Iterator[WatchEvent]:
        while (event := self.next()) is not None:
            yield event


async def _within(watch: Watch, timeout_s: float | None) -> WatchEvent | None:
    async with asyncio.timeout(timeout_s):
        return await watch.next()


class BlockingCache(Mapping[str, Znode]):
    """`Cache` for plain threads: a mapping within `with`, read without a round trip."""

    def __init__(self, cache: Cache, portal: Portal) -> None:
        self.path = cache.path
        self._cache = cache
        self._portal = portal

    def __enter__(self) -> Self:
        self._portal.call(self._cache.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal.call(self._cache.__aexit__(kind, error, traceback))

    def __getitem__(self, path: str) -> Znode:
        return self._cache[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._portal.call(self._paths()))

    async def _paths(self) -> list[str]:
        return list(self._cache)

    def __len__(self) -> int:
        return len(self._cache)

    def children(self, path: str) -> list[str]:
        """The names of a cached znode's cached children, sorted."""
        return self._portal.call(self._children(path))

    async def _children(self, path: str) -> list[str]:
        return self._cache.children(path)

    @property
    def fresh(self) -> bool:
        """Whether the copy is as new as what this client's server has told of."""
        return self._cache.fresh

    def at_least(self, zxid: int) -> Self:
        """Wait until the copy shows that txn, for example one's own write."""
        self._portal.call(self._cache.at_least(zxid))
        return self

    def changes(self) -> Iterator[Change]:
        """Every change from now on, until the cache is closed."""
        changes = self._cache.changes()
        while (change := self._portal.call(_next(changes))) is not None:
            yield change


async def _next(changes: Any) -> Change | None:
    change: Change | None = await anext(changes, None)
    return change
