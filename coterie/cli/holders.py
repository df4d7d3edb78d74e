"""What `coterie lock`, `elect` and `register` are held by: each is a recipe."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from coterie.cli import guarded
from coterie.cli.guarded import Held, Holder, Wishes
from coterie.cli.session import connection
from coterie.client.client import Client
from coterie.values import SessionState

if TYPE_CHECKING:
    from coterie.recipes.discovery import Registration


def run(name: str, given: dict[str, Any]) -> int:
    """Run the command that was given under what `name` says; returns the exit status."""
    make = _MAKERS[name]
    wishes = Wishes(
        connection=connection(given),
        timeout_s=given["timeout_s"],
        session_timeout_s=given["session_timeout_s"],
        wait_s=given.get("wait_s"),
        grace_s=given["grace_s"],
        on_lost=given["on_lost"],
        command=given["command"],
        quiet=given["quiet"],
    )

    async def make_holder(zk: Client) -> Holder:
        return await make(zk, given)

    return guarded.run(name, wishes, make_holder)


def _identifier(given: dict[str, Any]) -> bytes:
    name: str = given["name"] or guarded.default_name()
    return name.encode("utf-8", "surrogateescape")


async def _lock(zk: Client, given: dict[str, Any]) -> Holder:
    from coterie.recipes.lock import Lock

    lock = Lock(zk, given["path"], identifier=_identifier(given))
    return cast(Holder, lock)


async def _elect(zk: Client, given: dict[str, Any]) -> Holder:
    from coterie.recipes.election import Election

    election = Election(zk, given["path"], identifier=_identifier(given))
    return cast(Holder, election)


class _Registered:
    """A registration as something that is held: for as long as its session lives.

    With `forever` it is lost with the client alone: the recipe registers it again.
    """

    token = None

    def __init__(self, zk: Client, registration: Registration, forever: bool) -> None:
        self.registration = registration
        self.path = registration.path
        self._zk = zk
        self._forever = forever
        self._session_id = zk.session_id

    @property
    def lost(self) -> bool:
        zk = self._zk
        return zk.over or (not self._forever and zk.session_id != self._session_id)

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        def follow(state: SessionState) -> None:
            if self.lost or (state == SessionState.LOST and not self._forever):
                callback()

        return self._zk.on_state(follow)


class _Registry:
    """Registers a service, each time anew."""

    def __init__(self, zk: Client, make: Callable[[], Registration], forever: bool) -> None:
        self._zk = zk
        self._make = make
        self._forever = forever

    async def acquire(self, timeout_s: float | None = None) -> Held:
        async with asyncio.timeout(timeout_s):
            registration = await self._make().enter()
        return _Registered(self._zk, registration, self._forever)

    async def release(self, held: Held, /) -> None:
        assert isinstance(held, _Registered)
        await held.registration.leave(None)


async def _register(zk: Client, given: dict[str, Any]) -> Holder:
    from coterie.recipes.discovery import Discovery

    discovery = Discovery(zk, given["root"])
    metadata = dict(pair.split("=", 1) for pair in given["meta"])

    def make() -> Registration:
        return discovery.register(
            given["service"],
            given["version"],
            host=given["host"] or socket.gethostname(),
            port=given["port"],
            flavor=given["flavor"],
            metadata=metadata,
        )

    return _Registry(zk, make, given["on_lost"] == "keep")


_MAKERS: dict[str, Callable[[Client, dict[str, Any]], Awaitable[Holder]]] = {
    "lock": _lock,
    "elect": _elect,
    "register": _register,
}
