"""Several changes as one: all of them happen, or none.

    async with zk.transaction() as change:
        change.check("/config", version=3)
        change.set("/config/size", b"20")
        change.create("/config/by", b"me")

What each came to is then in `change.results`. Raises the error of the operation that failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from coterie import errors
from coterie.client import calls
from coterie.client.calls import Call, Operation
from coterie.errors import RuntimeInconsistencyError, UnknownError, ZooKeeperError
from coterie.values import ACL, OPEN_ACL, CreateMode
from coterie.wire import requests
from coterie.wire.requests import Op

_ANY_VERSION: Final = -1


class Transaction:
    """Collects changes; `commit` sends them. Each method gives the transaction back."""

    def __init__(
        self,
        place: Callable[[str, str, bool], bytes],
        shown: Callable[[Any], Any],
        send: Callable[[Call], Awaitable[list[Any]]],
    ) -> None:
        self.results: list[Any] = []
        """After the commit: the path of each create, a `Stat` for each set, else None."""
        self._place = place
        self._shown = shown
        self._send = send
        self._operations: list[Operation] = []

    def create(
        self,
        path: str,
        data: bytes = b"",
        mode: CreateMode = CreateMode.PERSISTENT,
        *,
        acl: Sequence[ACL] = OPEN_ACL,
        ttl_ms: int = 0,
    ) -> Self:
        """Make a znode."""
        place = self._place(path, "create", mode.sequential)
        op, record = calls.create_record(place, data, acl, mode, ttl_ms)
        self._operations.append((op, record, path, "create"))
        return self

    def set(self, path: str, data: bytes, version: int = _ANY_VERSION) -> Self:
        """Change what a znode holds."""
        record = requests.SetDataRequest(self._place(path, "set", False), data, version)
        self._operations.append((Op.SET_DATA, record, path, "set"))
        return self

    def delete(self, path: str, version: int = _ANY_VERSION) -> Self:
        """Delete a znode that has no children."""
        record = requests.DeleteRequest(self._place(path, "delete", False), version)
        self._operations.append((Op.DELETE, record, path, "delete"))
        return self

    def check(self, path: str, version: int = _ANY_VERSION) -> Self:
        """Let nothing happen unless the znode is there, with this version of its data."""
        record = requests.CheckVersionRequest(self._place(path, "check", False), version)
        self._operations.append((Op.CHECK, record, path, "check"))
        return self

    async def commit(self) -> list[Any]:
        """Carry it out, and say what each operation came to.

        Raises the error of the one that failed, with its path, or what any write raises.
        """
        operations, self._operations = self._operations, []
        results = await self._send(calls.multi(operations)) if operations else []
        for result in results:
            if isinstance(result, ZooKeeperError) and not _follows_from_another(result):
                raise result
        self.results = [self._shown(result) for result in results]
        return self.results

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.commit()


def _follows_from_another(error: ZooKeeperError) -> bool:
    """Operations before the one that failed are answered 0, those after it -2."""
    if isinstance(error, UnknownError):
        return error.unknown_code == errors.OK
    return isinstance(error, RuntimeInconsistencyError)
