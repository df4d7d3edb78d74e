"""A client's standing: connected, followed, closed; and how its calls are carried.

It is what `Client` has its operations on. Rules: a client lives in the event loop in which it was
started; every call that it carries ends, with an answer or an error, by its deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from coterie import paths
from coterie.client.calls import Call
from coterie.client.connection import Connection
from coterie.client.hosts import ConnectString
from coterie.client.session import Session, Settings
from coterie.client.watch import Watch
from coterie.client.watches import Watcher
from coterie.errors import (
    AuthFailedError,
    BadArgumentsError,
    NotConnectedError,
    ZooKeeperError,
)
from coterie.system.transport import Network
from coterie.values import Created, EventType, KeeperState, SessionState, WatchEvent

if TYPE_CHECKING:
    from random import Random
    from ssl import SSLContext

OnEvent = Callable[[WatchEvent], None]


class Carrier:
    """A session with an ensemble, without the operations."""

    def __init__(
        self,
        hosts: str,
        settings: Settings,
        *,
        call_timeout_s: float,
        tls: SSLContext | None,
        network: Network,
        dice: Random,
    ) -> None:
        self._where = ConnectString.parse(hosts)
        self.chroot = self._where.chroot
        self._root = self.chroot.encode()
        self._settings = settings
        self._call_ms = call_timeout_s * 1000.0
        self._tls = tls
        self._network = network
        self.dice = dice
        """Where recipes draw from, too: a simulation hands its own down."""
        self.on_call: Callable[[Call, asyncio.Future[Any]], None] | None = None
        """Who wants to know of each request as it is asked for (`tracing.py`)."""
        self._connection: Connection | None = None
        self._changed: asyncio.Future[SessionState] | None = None
        self._callbacks: list[Callable[[SessionState], None]] = []
        self._watchers: dict[tuple[str, OnEvent], Watcher] = {}
        self._removing: set[asyncio.Task[None]] = set()
        """What is being deleted that may have been made; the loop holds tasks only weakly."""
        self.watching: set[Watch] = set()
        """The watches that are open."""

    # The connection

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect, and wait until a server has taken the session.

        Raises `NotConnectedError` when none has within the time-out of a call, and
        `AuthFailedError` when one refuses who this is.
        """
        if self._connection is not None:
            raise RuntimeError("a client is started once")
        hosts = self._where.hosts
        loop = asyncio.get_running_loop()
        session = Session(hosts, self._settings, self.dice, loop.time() * 1000.0)
        self._connection = Connection(
            session, hosts, self._network, self._tls, self.dice, self._follow
        )
        try:
            async with asyncio.timeout(self._call_ms / 1000.0):
                while not self.state.connected:
                    if self.over:
                        raise AuthFailedError(None, f"connect ({session.failure})")
                    await self._change()
        except TimeoutError:
            failure = session.failure
            await self.close()
            raise NotConnectedError(None, f"connect to {self._where} ({failure})") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the session, with its ephemerals and watches. To close twice does nothing."""
        connection = self._connection
        if connection is None:
            return
        connection.begin()
        connection.session.close()
        connection.soon()
        while not self.over:
            await self._change()
        connection.release()

    @property
    def _running(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the client is not started: use `async with` or `start`")
        return self._connection

    @property
    def session(self) -> Session:
        """The machine behind this client. Raises `RuntimeError` before `start`."""
        return self._running.session

    @property
    def state(self) -> SessionState:
        connection = self._connection
        return connection.session.state if connection is not None else SessionState.CONNECTING

    @property
    def over(self) -> bool:
        """Whether the client will never be connected again."""
        return self.state in (SessionState.CLOSED, SessionState.AUTH_FAILED)

    @property
    def session_id(self) -> int:
        """The session's number; 0 while there is none."""
        return self.session.id

    @property
    def session_timeout_ms(self) -> int:
        """How long the session outlives its connection, as the server has granted it."""
        return self.session.timeout_ms

    @property
    def last_zxid(self) -> int:
        """The newest txn that this client has seen any sign of."""
        return self.session.last_zxid

    @property
    def expires_ms(self) -> float | None:
        """When the session is over by this client's own clock, unless a server answers before.

        Milliseconds of the event loop's clock (`loop.time() * 1000`); None without a session.
        """
        session = self.session
        return session.expires_ms if session.id else None

    def now_ms(self) -> float:
        """The clock of `expires_ms`."""
        return self._running.now_ms()

    def _follow(self, state: SessionState) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(state)
        if self.over:
            for watch in self.watching:
                watch.wake()
        for callback in list(self._callbacks):
            callback(state)

    async def _change(self) -> SessionState:
        """Wait for the next change of state."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._changed)

    def on_state(self, callback: Callable[[SessionState], None]) -> Callable[[], None]:
        """Call back at every change of state, in the event loop. Gives what undoes it."""
        self._callbacks.append(callback)

        def undo() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return undo

    async def states(self) -> AsyncIterator[SessionState]:
        """The state as it is, and every one after it; ends when the client is closed."""
        queue: asyncio.Queue[SessionState] = asyncio.Queue()
        undo = self.on_state(queue.put_nowait)
        try:
            yield self.state
            while not (self.over and queue.empty()):
                yield await queue.get()
        finally:
            undo()

    # Carrying a call

    def _ask(self, call: Call) -> asyncio.Future[Any]:
        connection = self._running
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        call.deadline_ms = loop.time() * 1000.0 + self._call_ms
        call.settle = partial(_settle, future)
        call.cancelled = future.cancelled
        if self.on_call is not None:
            self.on_call(call, future)
        connection.submit(call)
        return future

    def _place(self, path: str, name: str, sequential: bool = False) -> bytes:
        """The server's path. Raises `BadArgumentsError` for one that no znode can have."""
        try:
            place = path.encode()
        except (UnicodeEncodeError, AttributeError):
            raise BadArgumentsError(repr(path), name) from None
        if not paths.valid(place + b"1" if sequential else place):
            raise BadArgumentsError(path, name)
        if not self._root:
            return place
        return self._root if place == b"/" else self._root + place

    def _shown(self, place: str) -> str:
        """A path of the server's as the caller has it."""
        return place[len(self.chroot) :] or "/" if self.chroot else place

    def _result(self, result: Any) -> Any:
        """What one operation of a transaction came to; some servers add no Stat to a create."""
        place = result.path if isinstance(result, Created) else result
        return self._shown(place) if isinstance(place, str) else result

    def _watcher(self, watch: OnEvent) -> Watcher:
        return _Told(self, watch)


class _Told:
    """Hands what the session tells to a callback; two of the same callback are equal."""

    __slots__ = ("_carrier", "_watch")

    def __init__(self, carrier: Carrier, watch: OnEvent) -> None:
        self._carrier = carrier
        self._watch = watch

    def __call__(self, event: EventType, place: bytes) -> None:
        path = self._carrier._shown(place.decode("utf-8", "surrogatepass"))
        self._watch(WatchEvent(event, KeeperState.SYNC_CONNECTED, path))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Told) and self._watch == other._watch

    def __hash__(self) -> int:
        return hash(self._watch)


def _settle(future: asyncio.Future[Any], result: Any, error: ZooKeeperError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
