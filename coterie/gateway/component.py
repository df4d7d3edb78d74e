"""A process as a component of a gateway: settings, partners, load and health, and a way to go.

    @dataclass(frozen=True)
    class Settings:
        slots: int = 4

    identity = Identity("worker", "2.1", "10.0.0.7", 8080, flavor="gpu", speaks={"store": "~=1.4"})
    async with Component(zk, identity, Settings) as me:
        store = await me.partner("store", timeout_s=60)
        await me.report(load=0.5)
        await me.wait_asked_to_drain()

Rules:
- it is registered before it looks who is there, and nobody finds it before it has looked: of two
  that do not fit and come at the same moment, the later one is refused, and not both;
- what it tells of itself is told again in a new session, the newest of it: one that drains comes
  back draining;
- settings that are not valid never hold, and `problem` in its metadata tells everybody of them;
- nothing that it does in the middle of its work waits for the ensemble, but what says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar, overload

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import SessionExpiredError, ZooKeeperError
from coterie.gateway.admission import admit, misfits
from coterie.gateway.announcement import Announcement, as_stored
from coterie.gateway.compatibility import SPEAKS, Mismatch, check_ranges
from coterie.gateway.directory import DRAINING, SERVING, STARTING, Directory
from coterie.gateway.draining import DrainRequest, ask_to_drain
from coterie.recipes.configuration import Configuration
from coterie.recipes.discovery import Choice, Discovery, Instance, Registration
from coterie.recipes.names import znode_name
from coterie.recipes.recipe import PASSING, Recipe

__all__ = ["Component", "Identity", "ask_to_drain"]

S = TypeVar("S")
M = TypeVar("M")
R = TypeVar("R")

_KEPT: Final = frozenset({"state", "load", "healthy", "zone", "problem", SPEAKS})
"""Keys of the metadata that mean something to the kit."""
_PAUSE_S: Final = 0.1
_REPORT_EVERY_S: Final = 1.0
_LEAVE_S_MAX: Final = 5.0


@dataclass(frozen=True)
class Identity:
    """Who a component is. Raises `ValueError` for what cannot be registered."""

    kind: str
    version: str
    host: str
    port: int
    flavor: str = ""
    zone: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    speaks: Mapping[str, str] = field(default_factory=dict)
    """Which versions of its partners' kinds it speaks, as ranges of PEP 440."""
    id: str | None = None
    """One that nobody has, unless it is given. Two with the same one are never there together:
    the second waits."""

    def __post_init__(self) -> None:
        check_ranges(self.speaks)
        _refuse_kept(self.metadata)


class Component(Recipe["Component[S]"], Generic[S]):
    """One process among the components below `root`, for the time of a block."""

    @overload
    def __init__(
        self: Component[None],
        zk: Client | BlockingClient,
        identity: Identity,
        *,
        root: str = ...,
        serve: bool = ...,
        report_every_s: float = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        zk: Client | BlockingClient,
        identity: Identity,
        settings: type[S],
        *,
        root: str = ...,
        default: S | None = ...,
        serve: bool = ...,
        report_every_s: float = ...,
    ) -> None: ...

    def __init__(
        self,
        zk: Client | BlockingClient,
        identity: Identity,
        settings: type[S] | None = None,
        *,
        root: str = "/gateway",
        default: S | None = None,
        serve: bool = True,
        report_every_s: float = _REPORT_EVERY_S,
    ) -> None:
        """`settings` is the class of its kind's settings, as for `Configuration`, and so is
        `default`. Without `serve` it is found by nobody until `serve()`. Reports are written
        every `report_every_s` at most."""
        super().__init__(zk, root)
        self._client = zk
        self._serves = serve
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._registration = _registration(zk, identity, self._below("services"))
        self.identity = replace(identity, id=self._registration.instance.id)
        self.directory = Directory(
            zk,
            root,
            speaks=identity.speaks,
            zone=identity.zone,
            kind=identity.kind,
            version=identity.version,
        )
        self._configuration: Configuration[S] | None = None
        if settings is not None:
            path = self._below(f"config/{znode_name(identity.kind)}")
            self._configuration = Configuration(zk, path, settings, default=default)
        self._announcement = Announcement(self._registration, report_every_s)
        self._asked = False
        self._request = DrainRequest(self.zk, self.path, identity.kind, self.id)

    def _below(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    # Coming

    async def enter(self) -> Component[S]:
        """Follow the settings, be registered, and serve if everybody fits.

        Waits for whatever is passing: an ensemble that does not answer yet, an earlier session
        with the same id. Raises `IncompatibleError` for partners that do not fit, in either
        direction, and what else keeps it from being there; then nothing of it stays.
        """
        self._asked = False
        self._announcement.change({"state": STARTING})
        await self._announcement.write()
        async with AsyncExitStack() as stack:
            if self._configuration is not None:
                await self._patiently(self._configuration.enter)
                stack.push_async_exit(self._configuration)
            await self._patiently(self.directory.enter)
            stack.push_async_exit(self.directory)
            await self._patiently(self._registration.enter)
            stack.push_async_callback(self._unregister)
            services, mine = self.directory.services, self._registration
            born = await self._patiently(lambda: admit(services, mine))
            await self._patiently(lambda: self._request.open(born))
            stack.push_async_callback(self._request.close)
            self._announcement.open()
            stack.push_async_callback(self._announcement.close)
            self._follow(self._follow_requests())
            if self._configuration is not None:
                self._follow(self._follow_settings(self._configuration))
            stack.push_async_callback(self._follow_no_more)
            if self._serves:
                await self.serve()
            self._stack = stack.pop_all()
        return self

    async def _patiently(self, step: Callable[[], Awaitable[R]]) -> R:
        """Take a step, again and again while what hinders it is passing."""
        while True:
            try:
                return await step()
            except PASSING:
                if self.zk.over:
                    raise
                await asyncio.sleep(_PAUSE_S)

    async def serve(self) -> None:
        """Be found from now on. One that was asked to drain drains on."""
        if not self._asked:
            await self._show(SERVING)

    async def _show(self, state: str) -> None:
        self._announcement.change({"state": state}, urgent=True)
        await self.published()

    # Working

    @property
    def id(self) -> str:
        """Who this is among those of its kind."""
        return self._registration.instance.id

    @property
    def state(self) -> str:
        """`starting`, `serving` or `draining`."""
        state: str = self._announcement.metadata["state"]
        return state

    @property
    def present(self) -> bool:
        """Whether it is registered as far as is known; not between two sessions."""
        return self._registration.present

    @property
    def settings(self) -> Configuration[S]:
        """Those of its kind. Raises `RuntimeError` if it was made without."""
        if self._configuration is None:
            raise RuntimeError(f"{self.identity.kind} was made without a class of settings")
        return self._configuration

    @property
    def mismatches(self) -> list[Mismatch]:
        """Why others that are there now do not fit: some may have come between two sessions."""
        found = misfits(self.directory.services, self._registration.instance)
        return [reason for _, reasons in found for reason in reasons]

    async def configuration(
        self, kind: str, model: type[M], *, default: M | None = None
    ) -> Configuration[M]:
        """The settings of another kind, followed until this component leaves."""
        path = self._below(f"config/{znode_name(kind)}")
        made = Configuration(self._client, path, model, default=default)
        await self._patiently(made.enter)
        self._stack.push_async_exit(made)
        return made

    async def partner(
        self,
        kind: str,
        versions: str = "",
        *,
        flavor: str | None = None,
        by: Choice | None = None,
        timeout_s: float | None = None,
    ) -> Instance:
        """One to work with, waited for if there is none: `Directory.wait_for`."""
        return await self.directory.wait_for(
            kind, versions, flavor=flavor, by=by, timeout_s=timeout_s
        )

    async def report(
        self, *, load: float | None = None, healthy: bool | None = None, **metadata: Any
    ) -> None:
        """Tell others: 0 is idle. Waits for nothing, and many reports cost few writes.

        More metadata is what JSON can say; None takes a key away. Raises `ValueError`.
        """
        _refuse_kept(metadata)
        if load is not None:
            metadata["load"] = load
        if healthy is not None:
            metadata["healthy"] = healthy
        self._announcement.change(metadata)

    async def published(self) -> None:
        """Wait until what was reported so far can be read by others."""
        wanted = self._announcement.wanted

        def look() -> Instance | None:
            told = self._registration.instance
            if self._announcement.told < wanted:
                return None
            everyone = self.directory.everyone(told.name)
            return next((one for one in everyone if one == told), None)

        await self.directory.until(look)

    async def _follow_settings(self, settings: Configuration[S]) -> None:
        self._announcement.change({"problem": settings.problem})
        async for _ in settings.changes():
            self._announcement.change({"problem": settings.problem})

    # Going

    @property
    def asked_to_drain(self) -> bool:
        """Whether an operator has asked this one to go: it drains then, and ends when it can."""
        return self._asked

    async def wait_asked_to_drain(self) -> None:
        """Wait until it is. Raises `SessionExpiredError` when the client is closed meanwhile."""
        if not self._asked:
            await self._request.wait()

    async def _follow_requests(self) -> None:
        with suppress(SessionExpiredError):
            await self._request.wait()
            self._asked = True
            self._announcement.change({"state": DRAINING}, urgent=True)

    async def drain(self) -> None:
        """Be found by nobody any more, and stay registered; returns when others can know it."""
        await self._show(DRAINING)

    async def leave(self, error: BaseException | None) -> None:
        """Drain, and be registered no more. What cannot be undone now goes with the session."""
        self._announcement.change({"state": DRAINING}, urgent=True)
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _unregister(self) -> None:
        with suppress(TimeoutError, ZooKeeperError):
            async with asyncio.timeout(_LEAVE_S_MAX):
                await self._registration.leave(None)
                await self._request.forget()

    def _follow(self, step: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(step))

    async def _follow_no_more(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _refuse_kept(metadata: Mapping[str, Any]) -> None:
    kept = sorted(_KEPT & metadata.keys())
    if kept:
        raise ValueError(f"metadata: {kept[0]} has a meaning of its own")
    as_stored(metadata)


def _registration(zk: Client | BlockingClient, identity: Identity, services: str) -> Registration:
    metadata: dict[str, Any] = {"state": STARTING, "load": 0}
    if identity.zone:
        metadata["zone"] = identity.zone
    if identity.speaks:
        metadata[SPEAKS] = dict(identity.speaks)
    return Discovery(zk, services).register(
        identity.kind,
        identity.version,
        host=identity.host,
        port=identity.port,
        flavor=identity.flavor,
        metadata=as_stored(metadata | dict(identity.metadata)),
        id=identity.id,
    )
