"""Real servers on loopback ports, in this process, for tests: one (`Server`) or some (`Cluster`).

Rules:
- what a method asks for has happened when it returns, and what does not happen is an error after
  a bounded time;
- a server keeps its data and its port from one start to the next; a directory that it made for
  itself goes when it is closed;
- the settings are made for tests: a tick of 200 ms, so that sessions may be as short as that and
  what is gone is noticed soon; no fsync, so a machine that stops may lose acknowledged writes;
  the user `SUPER` is above every ACL. Each setting can be given (`Server(force_sync=True)`).

In a coroutine, call what waits through `asyncio.to_thread`, or the client waits with the test.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from coterie.config import Config, embedded_default
from coterie.ensemble import Ensemble
from coterie.runtime.process import StartError
from coterie.testing.embedded import LINES_MAX, EmbeddedProcess, Life
from coterie.testing.ports import free_port, free_ports

SUPER: Final = ("digest", b"super:coterie")
"""The scheme and the credential of the user who is above every ACL of these servers."""

T = TypeVar("T")

_HOST: Final = "127.0.0.1"
_PORT_TRIES: Final = 5
_WAIT_S_MAX: Final = 20.0
_POLL_S: Final = 0.002

_FOR_TESTS: Final[dict[str, Any]] = {
    "tick_time_ms": 200,
    "min_session_timeout_given_ms": 100,
    "max_session_timeout_given_ms": 600_000,
    "init_limit": 50,
    "sync_limit": 25,
    "notification_interval_max_ms": 400,
    "force_sync": False,
    "prealloc_bytes": 0,
    "container_check_interval_ms": 1000,
    "super_digest": "super:AXGhtWwKpkK7b16VDFVbHg7gakI=",
}


class HasSession(Protocol):
    """A client."""

    @property
    def session_id(self) -> int: ...


def until(
    true: Callable[[], bool],
    what: str = "it",
    seconds: float = _WAIT_S_MAX,
    said: Callable[[], str] = str,
) -> None:
    """Wait until something is true. Raises `TimeoutError`, with what was `said` meanwhile."""
    give_up_s = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= give_up_s:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s\n{said()}".rstrip())
        time.sleep(_POLL_S)


def _id_of(session: int | HasSession) -> int:
    return session if isinstance(session, int) else session.session_id


class _Started:
    """What is started and closed, as a plain or an async context manager."""

    chroot = ""
    """Where clients that connect to `hosts` have their root."""

    @property
    def addresses(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def hosts(self) -> str:
        """The connect string for a client."""
        return ",".join(self.addresses) + self.chroot

    def start(self) -> Self:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)


class Server(_Started):
    """One server, alone or a member of a `Cluster`.

    `settings` are attributes of `coterie.config.Config`. Without `data_dir` it makes a directory,
    without `port` it takes a free one.
    """

    def __init__(
        self, data_dir: str | Path | None = None, *, port: int = 0, **settings: Any
    ) -> None:
        self._own_dir = data_dir is None
        self._data_dir = Path(data_dir) if data_dir is not None else None
        self._settings = {**_FOR_TESTS, **settings}
        self._port = port
        self._life: Life | None = None
        self._cut_off: frozenset[int] = frozenset()
        self._refuses = False
        self._cluster: Cluster | None = None
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self.id: int = self._settings.get("server_id", 0)
        """Its number in its ensemble; 0 for one that is alone."""
        self.name = f"server {self.id}" if self.id else "server"

    def __repr__(self) -> str:
        return f"<{self.name} at {self.address}: {self.mode or 'stopped'}>"

    # Where it is and what it does

    @property
    def port(self) -> int:
        if not self._port:
            self._port = free_port()
        return self._port

    @property
    def address(self) -> str:
        return f"{_HOST}:{self.port}"

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.address,)

    @property
    def data_dir(self) -> Path:
        if self._data_dir is None:
            self._data_dir = Path(tempfile.mkdtemp(prefix="coterie-"))
        return self._data_dir

    @property
    def running(self) -> bool:
        """Whether it is started; it may be paused."""
        return self._life is not None

    @property
    def paused(self) -> bool:
        return self._life is not None and self._life.paused

    @property
    def mode(self) -> str | None:
        """`standalone`, `leader`, `follower`, `observer`, `looking`, `read-only`; `paused`; None
        for one that is stopped."""
        if self._life is None:
            return None
        return "paused" if self._life.paused else self._life.process.mode

    @property
    def serves(self) -> bool:
        """Whether it would let a client in."""
        life = self._life
        return life is not None and not life.paused and not self._refuses and life.process.serves

    @property
    def sessions(self) -> set[int]:
        """The ids of the sessions that there are, as far as this server has heard."""
        return self._call(lambda process: process.sessions)

    @property
    def log_lines(self) -> list[str]:
        """The last that it has logged, over all its starts."""
        return list(self._lines)

    def forget_log_lines(self) -> None:
        self._lines.clear()

    # Starting and stopping

    def _config(self) -> Config:
        default = embedded_default(str(self.data_dir), host=_HOST, port=self.port)
        return replace(default, **self._settings)

    def begin(self) -> None:
        """Start without waiting."""
        if self._life is None:
            self._life = Life(
                self._config(),
                self.name,
                self._lines,
                cut_off=self._cut_off,
                refuses=self._refuses,
            )
            self._life.begin()

    def await_listening(self) -> None:
        """Wait until it listens. Raises `StartError`."""
        assert self._life is not None
        try:
            self._life.await_ready()
        except BaseException:
            self._life = None
            raise

    def start(self) -> Self:
        """Start, unless it runs, and wait until it serves; a member of an ensemble that lacks
        a majority listens and serves nobody yet. Raises `StartError`.
        """
        fresh = self._data_dir is None
        for tries_left in reversed(range(1 if self._port else _PORT_TRIES)):
            self.begin()
            try:
                self.await_listening()
                break
            except StartError:
                if not tries_left:
                    if fresh:
                        self.close()
                    raise
                self._port = 0
        if self._cluster is not None:
            self._cluster.wait()
        return self

    def stop(self) -> None:
        """Stop cleanly, if it runs; the data stays, and sessions live on in it."""
        self._end(kill=False)

    def kill(self) -> None:
        """Stop without any clean-up, as near to kill -9 as one process allows.

        Connections are reset, no answer is sent any more, and what waits to be written is lost. A
        write that was already with the disk is finished, as the kernel would finish it.
        """
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        life, self._life = self._life, None
        if life is not None:
            life.end(kill=kill)

    def restart(self) -> None:
        """Stop and start on the same data and port."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Lose all data; only while it is stopped."""
        if self._life is not None:
            raise RuntimeError(f"{self.name} runs: stop it first")
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def close(self) -> None:
        """Stop, and delete the directory that it made."""
        self.stop()
        if self._own_dir and self._data_dir is not None:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            self._data_dir = None

    # Faults

    def _call(self, job: Callable[[EmbeddedProcess], T]) -> T:
        if self._life is None:
            raise RuntimeError(f"{self.name} is stopped: start it first")
        return self._life.call(job)

    def pause(self) -> None:
        """Stand still, as after SIGSTOP, until `resume`: connections stay open, new ones are
        taken by the kernel, and nobody is answered."""
        if self._life is None:
            raise RuntimeError(f"{self.name} is stopped: start it first")
        self._life.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._life is not None:
            self._life.resume()

    def cut_clients(self) -> None:
        """Cut clients off: their connections are reset and new ones refused until `heal`."""
        self._refuse(True)
        self._call(lambda process: process.disconnect(None))

    def _refuse(self, refuses: bool) -> None:
        self._refuses = refuses
        if self._life is not None:
            self._life.process.refuses = refuses

    def disconnect(self, session: int | HasSession | None = None) -> bool:
        """Reset the connection of one session, or those of all clients, who may come back at
        once. Returns whether there was one."""
        session_id = None if session is None else _id_of(session)
        return self._call(lambda process: process.disconnect(session_id))

    def holds(self, session: int | HasSession) -> bool:
        """Whether the client of this session is connected to this server."""
        session_id = _id_of(session)
        return self._call(lambda process: process.connection_of(session_id) is not None)

    def cut_members(self, ids: Iterable[int]) -> None:
        """Have no connections with these members from now on, and only these."""
        cut_off = self._cut_off = frozenset(ids)
        if self._life is not None:
            self._life.call(lambda process: process.cut(cut_off))

    def heal(self) -> None:
        """Let clients in again."""
        self._refuse(False)

    def expire(self, session: int | HasSession) -> None:
        """End a session now, as if its client had been silent for too long.

        Raises `LookupError` if there is no such session.
        """
        if self._cluster is not None:
            self._cluster.expire(session)
        else:
            self._expire(_id_of(session))

    def _expire(self, session_id: int) -> None:
        if session_id not in self.sessions:
            raise LookupError(f"{self.name} knows no session {session_id:#x}")
        self._call(lambda process: process.expire(session_id))
        self._await_end_of(session_id)

    def _await_end_of(self, session_id: int) -> None:
        """Wait until a session is over here, with its ephemeral znodes and its connection."""
        until(
            lambda: session_id not in self.sessions and not self.holds(session_id),
            f"the end of session {session_id:#x}",
            said=self.last_lines,
        )

    def mend(self) -> None:
        """Undo every fault: it runs, and serves clients, when this returns."""
        self.resume()
        self.heal()
        self.start()

    def last_lines(self, count: int = 20) -> str:
        """What it logged last, to be shown."""
        return "\n".join(f"{self.name}: {line}" for line in self.log_lines[-count:])


class Cluster(_Started):
    """An ensemble of servers, numbered from 1; observers, if there are any, come last."""

    def __init__(
        self,
        members: int = 3,
        *,
        observers: int = 0,
        directory: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self._own_dir = directory is None
        self._directory = Path(directory) if directory is not None else None
        self._voters = members
        self._observers = observers
        self._settings = settings
        self._ensemble: Ensemble | None = None
        self.servers: list[Server] = []

    def __repr__(self) -> str:
        return f"<Cluster of {self.servers}>"

    def __getitem__(self, number: int) -> Server:
        """Server `number`, from 1 on."""
        if not 1 <= number <= len(self.servers):
            raise IndexError(f"there is no server {number} of {len(self.servers)}")
        return self.servers[number - 1]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(server.address for server in self.servers)

    # Starting and stopping

    def _lay_out(self) -> None:
        """Give every server its ports and its directory."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="coterie-"))
        count = self._voters + self._observers
        ports = free_ports(3 * count)
        lines = {
            f"server.{n}": f"{_HOST}:{ports[3 * n - 3]}:{ports[3 * n - 2]}:"
            f"{'participant' if n <= self._voters else 'observer'};{_HOST}:{ports[3 * n - 1]}"
            for n in range(1, count + 1)
        }
        self._ensemble = Ensemble.of(lines)
        self.servers = [
            Server(
                self._directory / str(n),
                port=ports[3 * n - 1],
                ensemble=self._ensemble,
                server_id=n,
                **self._settings,
            )
            for n in range(1, count + 1)
        ]
        for server in self.servers:
            server._cluster = self

    def start(self) -> Self:
        """Start all that do not run, and wait until all serve. Raises `StartError`."""
        fresh = not self.servers
        for tries_left in reversed(range(_PORT_TRIES if fresh else 1)):
            if fresh:
                self._lay_out()
            try:
                self._start_all()
                break
            except StartError:
                # Somebody was faster at one of the ports.
                if not tries_left:
                    if fresh:
                        self.close()
                    raise
        return self.wait()

    def _start_all(self) -> None:
        failure: StartError | None = None
        begun = [server for server in self.servers if not server.running]
        for server in begun:
            server.begin()
        for server in begun:
            try:
                server.await_listening()
            except StartError as error:
                failure = error
        if failure is not None:
            for server in begun:
                server.stop()
            raise failure

    def wait(self) -> Self:
        """Wait until every server that runs, and is not cut off or paused, serves its clients."""
        until(
            lambda: all(s.serves for s in self._able()) and self._settled(),
            "an ensemble that serves",
            said=self.last_lines,
        )
        return self

    def _settled(self) -> bool:
        """Whether nobody leads or follows who has not enough others for that."""
        return all(
            self._has_quorum(server) or server.mode not in ("leader", "follower", "observer")
            for server in self.servers
        )

    def _able(self) -> list[Server]:
        """The servers that can be expected to serve."""
        return [
            server
            for server in self.servers
            if server.running
            and not server.paused
            and not server._refuses
            and self._has_quorum(server)
        ]

    def _has_quorum(self, server: Server) -> bool:
        """Whether this server, if it is well, and those that it can reach are a quorum."""
        assert self._ensemble is not None
        reached = [
            other.id
            for other in self.servers
            if other.running
            and not other.paused
            and other.id not in server._cut_off
            and server.id not in other._cut_off
        ]
        return self._ensemble.is_quorum(reached)

    def stop(self) -> None:
        """Stop all, cleanly; their data stays."""
        for server in self.servers:
            server.stop()

    def kill(self) -> None:
        """Stop all without clean-up."""
        for server in self.servers:
            server.kill()

    def restart(self) -> None:
        """Stop all, and start them on the same data and ports."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop all, and delete the directory that was made for them."""
        # What is left of them would take an ensemble that loses members for a fault.
        self.kill()
        if self._own_dir and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
            self.servers = []

    # Roles and sessions

    def leader(self) -> Server:
        """The server that leads, once there is one that does."""
        found: list[Server] = []

        def leads() -> bool:
            found[:] = [s for s in self.servers if s.mode == "leader" and self._has_quorum(s)]
            return len(found) == 1

        until(leads, "a leader", said=self.last_lines)
        return found[0]

    def others(self, server: Server) -> list[Server]:
        """All servers but one."""
        return [other for other in self.servers if other is not server]

    def followers(self) -> list[Server]:
        """The servers that do not lead, once there is one that does."""
        return self.others(self.leader())

    def holder(self, session: int | HasSession) -> Server | None:
        """The server that has the connection of a session, if there is one."""
        session_id = _id_of(session)
        for server in self.servers:
            if server.running and not server.paused and server.holds(session_id):
                return server
        return None

    def expire(self, session: int | HasSession) -> None:
        """End a session now, as if its client had been silent for too long, and wait until every
        server that serves knows it. Raises `LookupError` if there is no such session."""
        session_id = _id_of(session)
        self.leader()._expire(session_id)
        for server in self._able():
            server._await_end_of(session_id)

    def disconnect(self, session: int | HasSession | None = None) -> bool:
        """Reset the connection of one session, or those of all clients."""
        found = [s.disconnect(session) for s in self.servers if s.running and not s.paused]
        return any(found)

    # Faults

    def partition(self, *groups: Server | Sequence[Server]) -> None:
        """Let members of different groups not reach each other; those not named are a group too.

        Their connections are reset and new ones refused, until `heal`. Clients are not cut off.
        When this returns, nobody leads or follows any more who has no majority.
        """
        sides = [{g.id} if isinstance(g, Server) else {s.id for s in g} for g in groups]
        named: set[int] = set().union(*sides)
        everybody = {server.id for server in self.servers}
        sides.append(everybody - named)
        for side in sides:
            for id in side:
                self[id].cut_members(everybody - side)
        self.wait()

    def heal(self) -> None:
        """Undo partitions, and let clients in everywhere; wait until all that run serve."""
        for server in self.servers:
            server.cut_members(())
            server.heal()
        self.wait()

    def resume(self) -> None:
        """Let every server that is paused go on."""
        for server in self.servers:
            server.resume()

    def mend(self) -> None:
        """Undo every fault: all run and serve when this returns."""
        self.resume()
        for server in self.servers:
            server.cut_members(())
            server.heal()
        self.start()

    # The log

    @property
    def log_lines(self) -> list[str]:
        """The last that the servers have logged, each line with the server's name, by time."""
        lines = [(line, server.name) for server in self.servers for line in server.log_lines]
        return [f"{name}: {line}" for line, name in sorted(lines)]

    def forget_log_lines(self) -> None:
        for server in self.servers:
            server.forget_log_lines()

    def last_lines(self, count: int = 40) -> str:
        """What they logged last, to be shown."""
        return "\n".join(self.log_lines[-count:])
