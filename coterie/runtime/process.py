"""Start and stop one server: config, storage, driver, four-letter words, signals.

What can go wrong before it serves is a `StartError` of one line. Once it serves it goes on until
`stop` is called (SIGTERM and SIGINT do), which lets a write that is under way become durable.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from coterie.admin.audit import Auditor
from coterie.admin.commands import Status
from coterie.admin.words import Words
from coterie.config import Config
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.ensemble import Seat
from coterie.runtime import doors, tls
from coterie.runtime.audit import AuditLog
from coterie.runtime.clients import ClientPort
from coterie.runtime.driver import Driver
from coterie.runtime.kerberos import tickets
from coterie.runtime.users import KnownUsers, known
from coterie.storage.errors import StorageError
from coterie.storage.lines import Lines
from coterie.storage.store import Store
from coterie.system import process, transport
from coterie.system.clock import SystemClock, dice, show_instant, show_time
from coterie.system.files import OSFiles, changed_ms
from coterie.system.notify import ALIVE, READY, STOPPING, Supervisor, status
from coterie.system.tls import TLSError
from coterie.users import UsersError

if TYPE_CHECKING:
    from socket import socket

    from coterie.core.connection import Connection
    from coterie.runtime.sasl import MemberSasl

log = logging.getLogger("coterie.server")

_STATUS_S: Final = 5.0
"""Time between two words to systemd about what this server is."""


class StartError(Exception):
    """The server cannot be started; the message is one line for the operator."""


class ServerProcess:
    """One server in this process. `start` it within a running event loop.

    One that is `alone` in its process tunes that process to its own needs. `pages` makes what
    answers over HTTP; without it there are no HTTP ports.
    """

    def __init__(
        self, config: Config, *, alone: bool = False, pages: doors.MakePages | None = None
    ) -> None:
        if not __debug__:
            raise StartError("Coterie does not run under python -O: it needs its assertions")
        self.config = config
        self._alone = alone
        self.port = 0
        """The client port that was bound (of use when the config says 0)."""
        self.secure_port: int | None = None
        """That for clients with TLS, if there is one."""
        self._clock = SystemClock()
        self._started_ms = self._clock.monotonic_ms()
        self._store: Store | None = None
        self._driver: Driver | None = None
        self._listeners: list[transport.Listening] = []
        self._pages = pages
        self.doors: list[doors.Door] = []
        """The HTTP ports: that of the pages, if there is one, then those for metrics alone."""
        self._timer: asyncio.TimerHandle | None = None
        self._users: KnownUsers | None = None

    async def start(self) -> None:
        """Recover the data, then listen. Raises `StartError`, leaving nothing behind."""
        config = self.config
        bound: list[socket] = []
        try:
            member_tls = tls.of_members(config)
            member_sasl = self._member_sasl()
            by_ticket = tickets(config)
            users = known(config) if by_ticket is None else None
            places = tls.client_ports(config)
            clients = len(places)
            secure = None if member_tls is None else member_tls.secure
            places += [(host, port, secure) for host, port in self._member_ports()]
            for host, port, _ in places:
                self._bind(bound, host, port)
            if self._pages is not None:
                self._bind_doors(self._pages)
            store, tree = self._recover()
            for note in store.notes:
                log.warning(note)
            lines = self._audit_lines(store)
        except (transport.PortTakenError, StorageError, TLSError, UsersError) as error:
            for taken in bound:
                taken.close()
            for door in self.doors:
                door.shut()
            raise StartError(str(error)) from None
        self._store = store
        if self._alone:
            process.allow_files()
            _spare_collections()
        driver = self._driver = self._make_driver(store, tree)
        driver.member.server.gate.users = by_ticket
        if users is not None:
            driver.member.server.gate.users = users.users
            users.follow()
            self._users = users
        driver.member.server.throttle.chance = dice().random
        if lines is not None:
            driver.audit = _audit_log(lines)
            driver.audit.say("serverStart", "success", self._clock.wall_ms())
        driver.member.server.words = Words(self._status, config.four_letter_words).answer
        self.port = bound[0].getsockname()[1]
        if config.secure_port is not None:
            self.secure_port = bound[clients - 1].getsockname()[1]
        protocols = [self._client_protocol(driver)] * clients
        if driver.peers is not None:
            driver.peers.tls, driver.peers.sasl = member_tls, member_sasl
            elections = len(self._seat().election)
            protocols += [driver.peers.election] * elections
            protocols += [driver.peers.quorum] * (len(bound) - len(protocols))
        for taken, protocol, (_, _, secure) in zip(bound, protocols, places, strict=True):
            self._listeners.append(
                await transport.serve(taken, protocol, config.client_port_backlog, secure)
            )
        for door in self.doors:
            door.open()
        if config.purge_interval_ms > 0:
            self._purge_later()

    def _bind_doors(self, pages: doors.MakePages) -> None:
        config, own = self.config, tls.of_itself(self.config)
        for bound in doors.bind(config, tls.of_pages(config), tls.of_metrics(config)):
            inside = doors.Inside(
                config,
                self._status,
                self._unready,
                lambda: self.port,
                bound.metrics_only,
                own,
                self._shed,
            )
            make = partial(pages, inside)
            self.doors.append(
                doors.Door(bound.listener, make, bound.secure, metrics_only=bound.metrics_only)
            )

    def _shed(self, connections: Sequence[Connection]) -> None:
        assert self._driver is not None
        self._driver.begin()
        self._driver.member.shed(connections)

    def _unready(self) -> str | None:
        """Why clients cannot read and write here, or None if they can."""
        assert self._driver is not None
        member = self._driver.member
        if not member.server.serving:
            return f"there is no quorum: this server is {member.mode}"
        if member.server.read_only:
            return "there is no quorum: this server is read-only"
        return None if member.failure is None else f"nothing can be written: {member.failure}"

    def standing(self) -> str:
        """What this server is now, in a few words: its role, or why clients cannot write here."""
        assert self._driver is not None
        return self._unready() or f"serving, {self._driver.member.mode}"

    def _bind(self, bound: list[socket], host: str, port: int) -> socket:
        listener = transport.bind(host, port, self.config.client_port_backlog)
        bound.append(listener)
        return listener

    def _seat(self) -> Seat:
        assert self.config.ensemble is not None
        return self.config.ensemble.seats[self.config.server_id]

    def _member_ports(self) -> list[tuple[str, int]]:
        """Where other members reach this one: election ports first, then quorum ports.

        The quorum port is open while others lead as well: who connects too early waits for the
        end of the election.
        """
        if self.config.ensemble is None:
            return []
        seat = self._seat()
        everywhere = self.config.quorum_listen_on_all_ips
        return [
            ("" if everywhere else host, port) for host, port in (*seat.election, *seat.quorum)
        ]

    def _member_sasl(self) -> MemberSasl | None:
        """How links between members begin, if there is SASL. Raises `UsersError`."""
        if self.config.ensemble is None or not self.config.quorum_sasl:
            return None
        from coterie.runtime.sasl import MemberSasl

        return MemberSasl(self.config)

    def _audit_lines(self, store: Store) -> Lines | None:
        """The file of the audit log, open. Raises `StorageError`, with the data let go again."""
        config = self.config
        if not config.audit_enabled:
            return None
        kept = config.audit_files_kept
        lines = Lines(OSFiles(), config.audit_file, config.audit_bytes_max, kept)
        try:
            lines.open()
        except OSError as error:
            store.close()
            reason = f"{config.audit_file} cannot be written: {error.strerror}"
            raise StorageError(reason) from None
        return lines

    def _make_driver(self, store: Store, tree: Tree) -> Driver:
        """The machine that this server is, alone or one of several, and what runs it."""
        config, clock, loop = self.config, self._clock, asyncio.get_running_loop()
        now_ms, wall_ms = clock.monotonic_ms(), clock.wall_ms()
        if config.ensemble is None:
            # Not for members: three on two processors made fewer writes with it than with threads.
            from coterie.system.kernel_sync import KernelSync

            driver = Driver(Standalone(config, tree, now_ms, wall_ms), store, clock, loop)
            driver.log.kernel = KernelSync.open(loop)
            return driver
        # Who serves alone need not wait for these, nor have room for them.
        from coterie.core.member import Member
        from coterie.runtime.peers import PeerPorts

        member = Member(config, tree, store.logged_zxid, store.epochs, now_ms, wall_ms, dice())
        driver = Driver(member, store, clock, loop)
        driver.peers = PeerPorts(driver, member)
        return driver

    def _client_protocol(self, driver: Driver) -> Callable[[], asyncio.Protocol]:
        """What makes a protocol for each connection to the client port."""
        config = self.config
        limits = config.connections_per_ip_max, config.connections_max
        return ClientPort(driver, *limits, config.own_unread_bytes_bound).protocol

    def _recover(self) -> tuple[Store, Tree]:
        """Open the data directory. Raises `StorageError`, with the directory let go again."""
        store = Store(OSFiles(), self.config, dice())
        try:
            return store, store.recover()
        except BaseException:
            store.close()
            raise

    def _status(self) -> Status:
        """What an admin command may look at, as it is now."""
        driver, store = self._driver, self._store
        assert driver is not None
        assert store is not None
        return Status(
            member=driver.member,
            config=self.config,
            port=self.port,
            now_ms=self._clock.monotonic_ms(),
            wall_ms=self._clock.wall_ms(),
            started_ms=self._started_ms,
            environment=process.environment(),
            process={**process.numbers(), **driver.numbers()},
            sizes=store.sizes,
            show_time=show_time,
            snapshots=lambda: [
                (zxid, size, changed_ms(path)) for zxid, size, path in store.snapshot_files()
            ],
        )

    def _purge_later(self) -> None:
        assert self._driver is not None
        self._driver.purge(self.config.purge_retain_count)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.config.purge_interval_ms / 1000, self._purge_later)

    async def stop(self) -> None:
        """Stop listening, let the write that is under way become durable, close everything."""
        if self._timer is not None:
            self._timer.cancel()
        if self._users is not None:
            self._users.close()
        for listener in self._listeners:
            listener.close()
        for door in self.doors:
            await door.close()
        if self._driver is not None:
            if self._driver.peers is not None:
                self._driver.peers.close_all()
            await self._driver.stop()
            if self._driver.audit is not None:
                self._driver.audit.say("serverStop", "invoked", self._clock.wall_ms())
                self._driver.audit.close()
            for protocol in list(self._driver.protocols.values()):
                protocol.close()
        if self._store is not None:
            self._store.close()

    def abandon(self) -> None:
        """End at once, as if the process were killed: nothing more is sent, nothing more is
        begun, and every connection is reset. Only a write that the disk has already is finished.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._users is not None:
            self._users.close()
        for listener in self._listeners:
            listener.close()
        for door in self.doors:
            door.shut()
        driver = self._driver
        if driver is not None:
            if driver.peers is not None:
                driver.peers.abort_all()
            for protocol in list(driver.protocols.values()):
                protocol.abort()
            driver.abandon()
            if driver.audit is not None:
                driver.audit.close()
        if self._store is not None:
            self._store.close()


def _audit_log(lines: Lines) -> AuditLog:
    auditor = Auditor(process.user_name(), show_instant)
    return AuditLog(lines, auditor, asyncio.get_running_loop())


def _spare_collections() -> None:
    """What was recovered stays: the collector need not look at it, and need not look often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(2000, 10, 10**9)


def run(
    config: Config,
    ready: Callable[[ServerProcess], None],
    pages: doors.MakePages | None = None,
) -> None:
    """Serve in this thread until SIGTERM or SIGINT; `ready` is called once it listens.

    Raises `StartError`.
    """
    loop = transport.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(config, ready, pages))
    finally:
        loop.close()


async def _serve(
    config: Config, ready: Callable[[ServerProcess], None], pages: doors.MakePages | None
) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = ServerProcess(config, alone=True, pages=pages)
    supervisor = Supervisor()
    supervisor.tell(status("recovering the data"))
    await server.start()
    ready(server)
    supervisor.tell(READY, status(server.standing()))
    telling = loop.create_task(_tell(supervisor, server.standing))
    await stopping.wait()
    log.info("stopping")
    telling.cancel()
    supervisor.tell(STOPPING, status("stopping"))
    await server.stop()


async def _tell(supervisor: Supervisor, standing: Callable[[], str]) -> None:
    """Tell who started this process how it is: that this is told says that the loop turns.

    A member without a quorum is told of as well as one with it, and a disk that does not answer
    is no reason to be silent: to start this server again would mend neither.
    """
    pause_s = min(_STATUS_S, (supervisor.watchdog_s or _STATUS_S) / 3)
    while supervisor.listens:
        supervisor.tell(ALIVE, status(standing()))
        await asyncio.sleep(pause_s)
