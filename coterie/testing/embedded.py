"""One life of a real server in this process: a thread, a loop and a `ServerProcess` that can fail.

Rules:
- every server has a thread and a loop of its own, so that one can stand still while others go on;
- faults are where the operating system would have them: connections are reset and refused, the
  thread stands still, the process is abandoned. The machines know nothing of it;
- between two members it is the one who dials that is cut off: so both are, whoever dials;
- nothing of the process that the servers live in is changed, but that the logger of servers
  tells everything to the lines kept here, and to others what they had heard without that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar, cast

from coterie.runtime.process import ServerProcess
from coterie.system import transport

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.config import Config
    from coterie.core.connection import Connection
    from coterie.core.link import Endpoint, Link
    from coterie.core.tree import Tree
    from coterie.runtime.driver import Driver
    from coterie.runtime.peers import PeerPorts
    from coterie.storage.store import Store

T = TypeVar("T")

LINES_MAX: Final = 500
_CALL_S_MAX: Final = 20.0
_QUIET_S_MAX: Final = 0.3
_POLL_S: Final = 0.002

log = logging.getLogger("coterie.server")


class _Refusal(asyncio.Protocol):
    """Resets a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class _Links:
    """The links of a member that cannot reach some of the others.

    It is in front of the ports and not one of them: compiled, those have no subclasses.
    """

    def __init__(self, ports: PeerPorts, cut_off: frozenset[int]) -> None:
        self._ports = ports
        self._cut_off = cut_off
        ports.reach = self._reach

    async def _reach(
        self,
        link: Link,
        address: Endpoint,
        protocol: Callable[[], asyncio.Protocol],
        tls: SSLContext | None,
    ) -> None:
        if link.peer in self._cut_off:
            raise OSError(f"server {link.peer} is cut off")
        await transport.dial(address, protocol, tls)
        if link.peer in self._cut_off:
            self._ports.protocols[link].abort()

    def cut(self, ids: frozenset[int]) -> None:
        self._cut_off = ids
        for link, protocol in list(self._ports.protocols.items()):
            if link.dialled and link.peer in ids:
                protocol.abort()


class EmbeddedProcess(ServerProcess):
    """A server with what a test may do to it. All of this in its own loop's thread."""

    def __init__(self, config: Config, cut_off: frozenset[int], refuses: bool) -> None:
        super().__init__(config)
        self._cut_off = cut_off
        self._links: _Links | None = None
        self.refuses = refuses
        """Whether clients are turned away at once."""

    def _client_protocol(self, driver: Driver) -> Callable[[], asyncio.Protocol]:
        admitted = super()._client_protocol(driver)
        return lambda: _Refusal() if self.refuses else admitted()

    def _make_driver(self, store: Store, tree: Tree) -> Driver:
        driver = super()._make_driver(store, tree)
        if driver.peers is not None:
            self._links = _Links(driver.peers, self._cut_off)
        return driver

    @property
    def _running(self) -> Driver:
        assert self._driver is not None
        return self._driver

    @property
    def mode(self) -> str:
        """`standalone`, `leader`, `follower`, `observer`, `looking` or `read-only`."""
        return self._running.member.mode

    @property
    def serves(self) -> bool:
        return self._running.member.server.serving

    @property
    def sessions(self) -> set[int]:
        """The ids of all sessions of the ensemble, as far as this server has heard."""
        return set(self._running.member.tree.sessions)

    @property
    def quiet(self) -> bool:
        """Whether all connections are gone."""
        driver = self._running
        return not driver.protocols and (driver.peers is None or not driver.peers.busy)

    def cut(self, ids: frozenset[int]) -> None:
        """Reset all links to these members, and make no more until they are not among `ids`."""
        if self._links is not None:
            self._links.cut(ids)

    def reset_all(self) -> None:
        """Reset every connection, those to other members too."""
        self.disconnect(None)
        if self._running.peers is not None:
            self._running.peers.abort_all()

    def disconnect(self, session_id: int | None) -> bool:
        """Reset the connection of one session, or of all clients; whether there was any."""
        protocols = self._running.protocols
        if session_id is None:
            found = list(protocols)
        else:
            connection = self.connection_of(session_id)
            found = [] if connection is None else [connection]
        for connection in found:
            protocols[connection].abort()
        return bool(found)

    def connection_of(self, session_id: int) -> Connection | None:
        """The connection by which the client of this session is here, if it is."""
        for connection in self._running.protocols:
            if connection.session is not None and connection.session.id == session_id:
                return connection
        return None

    def expire(self, session_id: int) -> None:
        """Have a session end now, as if nothing had been heard of it for its time-out.

        Only who numbers the writes can do that. It looks at once: a ping that came in between
        would give the session another life.
        """
        driver = self._running
        driver.begin()
        member, now_ms = driver.member, driver.now_ms
        session = member.sessions.by_id[session_id]
        log.info("session %#x is made to expire", session_id)
        silent_ms = session.timeout_ms + self.config.tick_time_ms
        member.sessions.retime(session, session.timeout_ms, now_ms - silent_ms)
        member.tick(now_ms, self._clock.wall_ms())


class Life:
    """A server from one start to its end."""

    def __init__(
        self,
        config: Config,
        name: str,
        lines: deque[str],
        *,
        cut_off: frozenset[int] = frozenset(),
        refuses: bool = False,
    ) -> None:
        self.name = name
        self.paused = False
        self.process = EmbeddedProcess(config, cut_off, refuses)
        self._lines = lines
        self._ready: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._killed = False
        self._goes_on = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"coterie-{name}", daemon=True)

    def begin(self) -> None:
        """Start without waiting."""
        self._thread.start()

    def await_ready(self) -> None:
        """Wait until it listens. Raises what kept it from starting: `StartError`."""
        try:
            self._ready.result(_CALL_S_MAX)
        except BaseException:
            self._thread.join(_CALL_S_MAX)
            raise

    def _run(self) -> None:
        with _Listening(self._lines):
            loop = self._loop = transport.new_event_loop()
            try:
                loop.run_until_complete(self._live())
            except BaseException as error:
                if self._ready.done():
                    log.exception("the server has broken down")
                else:
                    self._ready.set_exception(error)
            finally:
                loop.close()

    async def _live(self) -> None:
        self._ending = asyncio.Event()
        await self.process.start()
        self._ready.set_result(None)
        await self._ending.wait()
        if not self._killed:
            await self.process.stop()
        await self._settle()

    async def _settle(self) -> None:
        """Let the connections go, and reset those that do not."""
        for _ in range(int(_QUIET_S_MAX / _POLL_S)):
            if self.process.quiet:
                break
            await asyncio.sleep(_POLL_S)
        else:
            self.process.reset_all()
        await asyncio.sleep(_POLL_S)

    def call(self, job: Callable[[EmbeddedProcess], T]) -> T:
        """Do something in the server's thread, and wait for it."""
        if self.paused:
            raise RuntimeError(f"{self.name} is paused: resume it first")
        assert self._loop is not None
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(job(self.process))
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(_CALL_S_MAX)

    def pause(self) -> None:
        """Let the server's thread stand still, as SIGSTOP would, until `resume`."""
        if self.paused:
            return
        assert self._loop is not None
        self._goes_on.clear()
        stands: Future[None] = Future()

        def stand_still() -> None:
            stands.set_result(None)
            self._goes_on.wait()
            if self._killed:
                self._abandon()

        self._loop.call_soon_threadsafe(stand_still)
        stands.result(_CALL_S_MAX)
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._goes_on.set()

    def end(self, *, kill: bool = False) -> None:
        """Stop and wait for it; or `kill`: without letting anything come to its end."""
        assert self._loop is not None
        assert self._ending is not None
        if kill:
            self._killed = True
            if not self.paused:
                self._loop.call_soon_threadsafe(self._abandon)
        else:
            self._loop.call_soon_threadsafe(self._ending.set)
        self.resume()
        self._thread.join(_CALL_S_MAX)
        if self._thread.is_alive():
            raise TimeoutError(f"{self.name} does not end")

    def _abandon(self) -> None:
        assert self._ending is not None
        self.process.abandon()
        self._ending.set()


class _Listening(logging.Filter):
    """While it is entered, what this thread logs goes to `lines` too.

    The logger has to be told to let everything through for that; who else listens to it gets
    only what would have come without that.
    """

    _lock: ClassVar = threading.Lock()
    _count: ClassVar = 0
    _level_before: ClassVar = logging.NOTSET

    def __init__(self, lines: deque[str]) -> None:
        super().__init__()
        self._lines = lines
        self._thread = 0
        self._format = logging.Formatter("%(asctime)s %(levelname)s %(message)s")

    def __enter__(self) -> None:
        self._thread = threading.get_ident()
        kind = _Listening
        with kind._lock:
            if kind._count == 0:
                kind._level_before = log.level
                if log.getEffectiveLevel() > logging.INFO:
                    log.setLevel(logging.INFO)
                log.addFilter(_as_before)
            kind._count += 1
            # Before the filter that drops; others may be going through the list.
            log.filters = [self, *log.filters]

    def __exit__(self, *exc: object) -> None:
        kind = _Listening
        with kind._lock:
            log.filters = [other for other in log.filters if other is not self]
            kind._count -= 1
            if kind._count == 0:
                log.removeFilter(_as_before)
                if log.level == logging.INFO:
                    log.setLevel(kind._level_before)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread == self._thread:
            self._lines.append(self._format.format(record))
        return True


def _as_before(record: logging.LogRecord) -> bool:
    """Whether a record would have been logged if nobody listened here."""
    level = log.level if log.level != logging.INFO else _Listening._level_before
    if level == logging.NOTSET:
        assert log.parent is not None
        level = log.parent.getEffectiveLevel()
    return record.levelno >= level
