"""What `coterie lock`, `elect` and `register` are held by: each is a recipe."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from coterie.cli import guarded
from coterie.cli.guarded import Held, Holder, Wishes
from coterie.cli.program import CannotRunError
from coterie.cli.session import connection
from coterie.client.client import Client
from coterie.values import SessionState

if TYPE_CHECKING:
    from coterie.gateway.draining import DrainRequest
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
        drain_s=given.get("drain_s"),
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

    def __init__(
        self,
        zk: Client,
        registration: Registration,
        forever: bool,
        request: DrainRequest | None,
    ) -> None:
        self.registration = registration
        self.path = registration.path
        self._zk = zk
        self._forever = forever
        self._session_id = zk.session_id
        self._request = request

    @property
    def lost(self) -> bool:
        zk = self._zk
        return zk.over or (not self._forever and zk.session_id != self._session_id)

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        def follow(state: SessionState) -> None:
            if self.lost or (state == SessionState.LOST and not self._forever):
                callback()

        return self._zk.on_state(follow)

    async def drain(self) -> None:
        await self.registration.update(state="draining")

    async def wait_asked(self) -> None:
        if self._request is None:
            await asyncio.Event().wait()
        else:
            await self._request.wait()
            await self._request.forget()

    async def leave(self) -> None:
        await self.registration.leave(None)
        if self._request is not None:
            await self._request.close()


class _Registry:
    """Registers a service, each time anew."""

    def __init__(self, zk: Client, given: dict[str, Any]) -> None:
        from coterie.recipes.discovery import Discovery

        self._zk = zk
        self._given = given
        self._services = Discovery(zk, given["root"])
        root, is_gateway, _ = given["root"].rpartition("/services")
        follows = given["drain_s"] is not None and is_gateway
        self._root: str | None = (root or "/") if follows else None
        """Below which it is asked to drain, if it is to be."""

    async def acquire(self, timeout_s: float | None = None) -> Held:
        async with asyncio.timeout(timeout_s):
            registration = await self._make().enter()
            try:
                return await self._admitted(registration)
            except BaseException:
                await registration.leave(None)
                raise

    def _make(self) -> Registration:
        given = self._given
        metadata: dict[str, Any] = dict(pair.split("=", 1) for pair in given["meta"])
        if given["zone"]:
            metadata["zone"] = given["zone"]
        if given["speaks"]:
            metadata["speaks"] = given["speaks"]
        if given["check"]:
            metadata["state"] = "starting"
        return self._services.register(
            given["service"],
            given["version"],
            host=given["host"] or socket.gethostname(),
            port=given["port"],
            flavor=given["flavor"],
            metadata=metadata,
        )

    async def _admitted(self, registration: Registration) -> Held:
        born = 0
        if self._given["check"]:
            born = await self._check(registration)
        request: DrainRequest | None = None
        if self._root is not None:
            from coterie.gateway.draining import DrainRequest

            request = DrainRequest(
                self._zk, self._root, registration.instance.name, registration.instance.id
            )
            # No other has had its id.
            await request.open(born)
        forever = self._given["on_lost"] == "keep"
        return _Registered(self._zk, registration, forever, request)

    async def _check(self, registration: Registration) -> int:
        """Serve, if everybody fits. Raises `CannotRunError`."""
        from coterie.gateway.admission import admit
        from coterie.gateway.directory import IncompatibleError

        try:
            async with self._services:
                born = await admit(self._services, registration)
        except IncompatibleError as error:
            raise CannotRunError(str(error), guarded.FAILED) from None
        await registration.update(state="serving")
        return born

    async def release(self, held: Held, /) -> None:
        assert isinstance(held, _Registered)
        await held.leave()


async def _register(zk: Client, given: dict[str, Any]) -> Holder:
    return _Registry(zk, given)


_MAKERS: dict[str, Callable[[Client, dict[str, Any]], Awaitable[Holder]]] = {
    "lock": _lock,
    "elect": _elect,
    "register": _register,
}
