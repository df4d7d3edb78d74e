"""One server machine of a simulation: the driver on virtual time, twin of `runtime/driver.py`.

A `Host` has a name, a disk and a clock and is started and stopped; a `Life` is what runs between.
Rules:
- the turn is the real driver's: read the clocks once and tick, hand over what is there, take
  once, carry out. All else that the real one leaves to threads, timers and sockets is an event;
- the effects of a turn need no order among themselves, so they are carried out in a random one;
- what a life has asked for does not happen once it is over;
- a machine may be frozen, as a process is that is stopped, swapped out or starved: its clock goes
  on, and what was due or has come meanwhile happens when it thaws.
What this does not do: let two threads write at once. Each call on the store is one step, though
the machine may halt within it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, Protocol, cast

from coterie.config import Config
from coterie.core.connection import HOLD_OUTPUT, HOLD_OUTSTANDING, Connection
from coterie.core.leader import Leader
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.storage.errors import StorageError, StorageFailedError
from coterie.storage.snapshot import SnapshotWriter
from coterie.storage.store import Store
from coterie.testing.agreement import Agreement
from coterie.testing.clock import Time, VirtualClock
from coterie.testing.faults import Plan
from coterie.testing.files import Disk, FakeFiles, Flip, HaltedError
from coterie.testing.membership import Links, Watched
from coterie.testing.transport import End, Network
from coterie.wire.numbered import Txn

if TYPE_CHECKING:
    from coterie.core.effects import Effects

CLIENT_PORT: Final = 2181
_TICK_MS_MAX: Final = 1000.0
_TICK_MS_MIN: Final = 10.0


class Witness(Protocol):
    """Who is told what happens in a machine, and says when it must not."""

    def recovered(self, host: Host, tree: Tree, notes: list[str]) -> None: ...

    def not_recovered(self, host: Host, error: StorageError) -> None: ...

    def stopped(self, host: Host, applied_zxid: int) -> None: ...

    def numbered(self, host: Host, txns: list[Txn]) -> None: ...

    def heard(self, host: Host, session_id: int, timeout_ms: int) -> None: ...

    def unread(self, host: Host, session_id: int) -> None: ...

    def turns(self, host: Host) -> None: ...

    def ticked(self, host: Host) -> None: ...

    def leads(self, host: Host) -> None: ...

    def entered(self, epoch: int) -> None: ...

    def note(self, kind: str, *facts: object) -> None: ...

    def mark(self, name: str) -> None: ...


class Host:
    """A machine with a server on it, and what is left of it while the server is down."""

    def __init__(
        self,
        name: str,
        time: Time,
        network: Network,
        config: Config,
        plan: Plan,
        dice: Callable[[str], Random],
        witness: Witness,
        agreement: Agreement | None = None,
    ) -> None:
        self.name = name
        self.time = time
        self.network = network
        self.config = config
        self.plan = plan
        self.witness = witness
        self.agreement = agreement
        """What the members of its ensemble agree on, if it is one of several."""
        self.disk = Disk(name, dice("disk"))
        self.clock = VirtualClock(time, plan.clock_rate, 1000.0)
        self.sync_ms = plan.sync_ms
        self.life: Life | None = None
        self._kept: list[Callable[[], None]] | None = None
        """What was due while the process stood still; None while it does not."""
        self.flips: list[Flip] = []
        """What has rotted, one bit at a time."""
        self.dice = dice("turns")
        self._store_dice = dice("snapshots")

    def start(self) -> None:
        """Recover, and serve; to do nothing if it does already."""
        if self.life is not None:
            return
        self.network.machine_started(self.name)
        files = self.disk.mount()
        store = Store(files, self.config, self._store_dice)
        try:
            tree = store.recover()
        except StorageError as error:
            store.close()
            self.witness.note("does not start", self.name, str(error))
            self.witness.not_recovered(self, error)
            self.time.after(self.plan.retry_ms, self.start)
            return
        self.witness.recovered(self, tree, store.notes)
        self.life = Life(self, files, store, tree)
        self.witness.note("starts", self.name, tree.zxid)

    @property
    def leads(self) -> bool:
        """Whether its server believes that it is the leader of an ensemble."""
        member = self.life.member if self.life is not None else None
        return isinstance(member, Watched) and isinstance(member.role, Leader)

    def rot(self, dice: Random) -> None:
        """Let one bit that was durable change; what rotted before is restored.

        The files of the epochs are spared: ZooKeeper's format has no checksum in them.
        """
        self.restore()
        paths = [
            path
            for path in self.disk.paths()
            if self.disk.durable(path) and not path.endswith("Epoch")
        ]
        if paths:
            path = dice.choice(paths)
            bit = dice.randrange(len(self.disk.durable(path)) * 8)
            self.witness.note("flip", self.name, path, bit)
            self.flips.append(self.disk.flip(path, bit))

    def restore(self) -> None:
        """Bring back from a backup what rotted."""
        for flip in self.flips:
            flip.restore()
        self.flips.clear()

    def power_lost(self) -> None:
        """The power fails: nothing goes on, and what was not synced is there only in part."""
        self.witness.note("power lost", self.name)
        self._interrupt()
        self.disk.crash()
        self.clock.reboot()
        self._over(powerless=True)

    def kill(self) -> None:
        """The process ends without warning; its system goes on."""
        self.witness.note("killed", self.name)
        self._interrupt()
        self.disk.kill()
        self._over(powerless=False)

    def _interrupt(self) -> None:
        """What a thread was about to do was half done when the end came."""
        jobs = list(self.life.jobs.values()) if self.life is not None else []
        if jobs and not self.disk.halted:
            self.disk.fuse = self.dice.randrange(12)
            with suppress(StorageFailedError, HaltedError):
                self.dice.choice(jobs)()

    def stop(self) -> None:
        """Ask the process to end."""
        if self.life is not None:
            self.witness.note("asked to stop", self.name)
            self.life.hears(self.life.stop)

    def freeze(self) -> bool:
        """The process stands still until `thaw`; False if there is none, or if it does already."""
        if self.life is None or self._kept is not None:
            return False
        self.witness.note("freezes", self.name)
        self._kept = []
        self.network.freeze(self.name)
        return True

    def thaw(self) -> None:
        """The process goes on: timers come first or sockets do, each all at once."""
        if self._kept is None:
            return
        self.witness.note("thaws", self.name)
        kept, self._kept = self._kept, None
        halves = [partial(self._catch_up, kept), partial(self.network.thaw, self.name)]
        for half in halves if self.dice.random() < 0.5 else halves[::-1]:
            self.time.after(0, half)

    def _catch_up(self, kept: list[Callable[[], None]]) -> None:
        for action in kept:
            action()

    def keep(self, action: Callable[[], None]) -> bool:
        """Do something later, if the process stands still; whether it does."""
        if self._kept is None:
            return False
        self._kept.append(action)
        return True

    def stopped(self) -> None:
        """The process has ended by itself; it will be started again."""
        self.witness.note("stopped", self.name)
        self.disk.kill()
        self._over(powerless=False)
        self.time.after(self.plan.retry_ms, self.start)

    def _over(self, *, powerless: bool) -> None:
        life, self.life = self.life, None
        self._kept = None
        self.network.machine_stopped(self.name, powerless=powerless)
        if life is not None:
            life.over = True
            self.witness.stopped(self, life.member.tree.zxid)


class Life:
    """What one process does: the twin of the real `Driver`."""

    def __init__(self, host: Host, files: FakeFiles, store: Store, tree: Tree) -> None:
        clock = host.clock
        self.host = host
        self.over = False
        self.member, self.links = self._make_member(store, tree)
        self.now_ms = clock.monotonic_ms()
        self.turning = False
        self.chunks = 0
        self._told = 0
        """How many of the txns that wait to be taken were told of."""
        self.jobs: dict[str, Callable[[], object]] = {}
        """What the threads of the log and of snapshots have to do and have not done."""
        self.clients: dict[Connection, ClientEnd] = {}
        self.store = store
        self._files = files
        self._dice = host.dice
        self._writer: SnapshotWriter | None = None
        self._waiting: list[Txn] = []
        self._synced_zxid = 0
        self._syncing = False
        self._failing = False
        self._stopping = False
        host.network.listen((host.name, CLIENT_PORT), self._accept)
        self.after(0, self._tick)
        if host.plan.purge_ms:
            self.after(host.plan.purge_ms, self._purge)

    def _make_member(self, store: Store, tree: Tree) -> tuple[Standalone | Watched, Links | None]:
        host = self.host
        now_ms, wall_ms = host.clock.monotonic_ms(), host.clock.wall_ms()
        if host.agreement is None:
            return Standalone(host.config, tree, now_ms, wall_ms), None
        member = Watched(
            host.config, tree, store.logged_zxid, store.epochs, now_ms, wall_ms, host.dice
        )
        member.host, member.agreement = host, host.agreement
        return member, Links(self, member)

    def after(self, delay_ms: float, action: Callable[[], None]) -> None:
        self.host.clock.after(delay_ms, partial(self.hears, action))

    def hears(self, action: Callable[[], None]) -> None:
        """Something is due: it happens now, or when the process goes on, or never."""
        if not self.over and not self.host.keep(partial(self.hears, action)):
            action()

    def _accept(self, end: End) -> ClientEnd:
        self.begin()
        connection = self.member.connected(end.machine, end.number, self.now_ms)
        client = self.clients[connection] = ClientEnd(self, connection, end)
        return client

    def begin(self) -> None:
        """Open a turn, if none is open: read the clocks and tick."""
        if self.turning:
            return
        self.turning = True
        self.chunks = 0
        clock = self.host.clock
        self.now_ms = clock.monotonic_ms()
        self.host.witness.turns(self.host)
        self.member.tick(self.now_ms, clock.wall_ms())
        self.tell()
        turn_ms = self.host.plan.turn_ms
        self.after(self._dice.random() * turn_ms if turn_ms else 0, self._end)

    def tell(self) -> None:
        """Tell of what a server alone has numbered, before anybody can hear of it."""
        if self.links is not None:
            return
        txns = self.member.effects.appends[self._told :]
        if txns:
            self._told += len(txns)
            self.host.witness.numbered(self.host, txns)

    def _end(self) -> None:
        self.turning = False
        self._carry_out()

    def _tick(self) -> None:
        # One that was open at a standstill has the time of then: nobody has looked yet.
        looks = not self.turning
        self.begin()
        for client in self.clients.values():
            client.is_held()
        if looks:
            self.host.witness.ticked(self.host)
        delay_ms = min(max(self.member.next_due_ms() - self.now_ms, _TICK_MS_MIN), _TICK_MS_MAX)
        self.after(delay_ms, self._tick)

    def _carry_out(self) -> None:
        while self.member.effects:
            self.tell()
            self._told = 0
            effects = self.member.take()
            for note in effects.notes:
                self.host.witness.note("says", self.host.name, note)
            steps = [self._append, self._send, self._close, self._resume]
            if self.links is not None:
                steps.append(self.links.carry_out)
            while steps:
                steps.pop(self._dice.randrange(len(steps)) if len(steps) > 1 else 0)(effects)

    def _append(self, effects: Effects) -> None:
        if effects.appends:
            self._waiting += effects.appends
            self._sync()

    def _send(self, effects: Effects) -> None:
        for connection in effects.outputs:
            client = self.clients.get(connection)
            if client is not None:
                client.send()

    def _close(self, effects: Effects) -> None:
        for connection in effects.closes:
            client = self.clients.get(connection)
            if client is not None:
                client.close()

    def _resume(self, effects: Effects) -> None:
        for connection in effects.resumes:
            client = self.clients.get(connection)
            if client is not None:
                client.resume()

    def _sync(self) -> None:
        if self._syncing or self._failing or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        if len(batch) == 1 and self.chunks <= 1 and self._writer is None:
            try:
                zxid = self.store.append_and_sync(batch)
            except StorageFailedError as error:
                self._failed(error)
            else:
                self._synced(zxid)
            return
        self._syncing = True
        descriptor = self.store.log_descriptor
        if descriptor is None or self._writer is not None:
            self._submit(partial(self.store.append_and_sync, batch))
            return
        try:
            self.store.append(batch)
        except StorageFailedError as error:
            self._done(0, error)
            return
        self._submit(partial(self._sync_by_kernel, descriptor))

    def _sync_by_kernel(self, descriptor: int) -> int:
        failure: OSError | None = None
        try:
            self._files.sync(descriptor)
        except OSError as error:
            failure = error
        return self.store.synced(failure)

    def pause_ms(self) -> float:
        """How long a thread takes for a call on the disk, or the news of it."""
        return self._dice.random() * self.host.sync_ms

    def _submit(self, job: Callable[[], int]) -> None:
        """What the thread of the log does: it takes a while, and so does the news of it."""
        self.jobs["log"] = job
        self.after(self.pause_ms(), self._work)

    def _work(self) -> None:
        zxid, error = 0, None
        job = self.jobs["log"]
        try:
            zxid = cast(int, job())
        except StorageFailedError as failure:
            error = failure
        del self.jobs["log"]
        self.after(self.pause_ms(), partial(self._done, zxid, error))

    def _done(self, zxid: int, error: StorageFailedError | None) -> None:
        self._syncing = False
        self.begin()
        if error is not None:
            self._failed(error)
        else:
            self._synced(zxid)
        if self._stopping and not self._syncing:
            self._ended()

    def _synced(self, zxid: int) -> None:
        if self._failing:
            self.host.witness.mark("the log could be written again")
        self._failing = False
        self.host.witness.note("synced", self.host.name, zxid)
        self._synced_zxid = zxid
        self.member.synced(zxid, self.now_ms)
        self._sync()
        if self._writer is None and self.store.wants_snapshot and self.member.server.serving:
            self._snapshot()

    def _failed(self, error: StorageFailedError) -> None:
        self._failing = True
        self.host.witness.note("log failed", self.host.name, str(error))
        self.host.witness.mark("the log could not be written")
        self.member.log_failed(str(error))
        if not self._stopping:
            self.after(self.host.plan.retry_ms, self._retry)

    def _retry(self) -> None:
        self._syncing = True
        self._submit(self.store.retry)

    def _snapshot(self) -> None:
        self._writer = self.store.begin_snapshot(self.member.tree)
        self._slice()

    def _slice(self) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            complete = writer.step(self.host.plan.slice_nodes)
        except StorageFailedError as error:
            self._snapshot_failed(error)
            return
        if complete:
            self.jobs["snapshot"] = writer.finish
            self.after(self.pause_ms(), self._finish)
        else:
            self.after(self.host.plan.slice_pause_ms, self._slice)

    def _finish(self) -> None:
        writer = self._writer
        if writer is None:
            return
        if writer.end_zxid > self._synced_zxid and (self._waiting or self._syncing):
            # Others have committed what this disk does not have yet.
            self.after(self.host.plan.slice_pause_ms, self._finish)
            return
        try:
            path = writer.finish()
        except StorageFailedError as error:
            self._snapshot_failed(error)
            return
        del self.jobs["snapshot"]
        self._writer = None
        self.host.witness.note("snapshot", self.host.name, path)
        self.host.witness.mark("a snapshot was taken")
        if writer.end_zxid > writer.zxid:
            self.host.witness.mark("a snapshot was taken while the tree changed")

    def drop_snapshot(self) -> None:
        """Give up the snapshot that is being written, if there is one."""
        writer, self._writer = self._writer, None
        self.jobs.pop("snapshot", None)
        if writer is not None:
            writer.abort()

    def _snapshot_failed(self, error: StorageFailedError) -> None:
        self.host.witness.note("no snapshot", self.host.name, str(error))
        self.host.witness.mark("a snapshot could not be written")
        self.drop_snapshot()

    def _purge(self) -> None:
        try:
            gone = self.store.purge(self.host.config.purge_retain_count)
        except OSError as error:
            self.host.witness.note("purge failed", self.host.name, str(error))
        else:
            if gone:
                self.host.witness.note("purged", self.host.name, *gone)
                self.host.witness.mark("files were purged")
        self.after(self.host.plan.purge_ms, self._purge)

    def stop(self) -> None:
        """Let the write that is under way become durable, then end."""
        if not self._stopping:
            self._stopping = True
            if not self._syncing:
                self._ended()

    def _ended(self) -> None:
        self._carry_out()
        self.drop_snapshot()
        self.store.close()
        self.host.stopped()


class ClientEnd:
    """The server's end of one client connection; twin of the real `ClientProtocol`."""

    __slots__ = ("_connection", "_end", "_life")

    def __init__(self, life: Life, connection: Connection, end: End) -> None:
        self._life = life
        self._connection = connection
        self._end = end

    def opened(self) -> None:
        raise AssertionError("it was not asked for")

    def is_held(self) -> None:
        """While it is not read from because of the log, its session is not judged."""
        session = self._connection.session
        if session is not None and session.held:
            self._life.host.witness.heard(self._life.host, session.id, session.timeout_ms)

    def unread(self) -> None:
        """Something of this client has come, and waits to be read."""
        session = self._connection.session
        if session is not None:
            self._life.host.witness.unread(self._life.host, session.id)

    def received(self, data: bytes) -> None:
        life, connection = self._life, self._connection
        life.begin()
        life.chunks += 1
        if not connection.hold and connection.session is not None:
            session = connection.session
            life.host.witness.heard(life.host, session.id, session.timeout_ms)
        life.member.receive(connection, data, life.now_ms)
        life.tell()
        self.send()
        if connection.hold:
            self._end.pause()
            if connection.hold & HOLD_OUTSTANDING:
                life.host.witness.mark("a client had to wait for the log")

    def send(self) -> None:
        connection = self._connection
        if connection.out:
            self._end.send(b"".join(connection.out))
            connection.out.clear()
        if connection.hold & HOLD_OUTPUT:
            self._life.after(0, self._drained)

    def _drained(self) -> None:
        self._life.begin()
        self._life.member.drained(self._connection, self._life.now_ms)
        self._life.tell()
        self._go_on()

    def resume(self) -> None:
        """The machine will have more of this client."""
        if not self._connection.hold:
            session = self._connection.session
            if session is not None:
                self._life.host.witness.heard(self._life.host, session.id, session.timeout_ms)
            self._life.begin()
            self._life.member.resume(self._connection, self._life.now_ms)
            self._life.tell()
            self._go_on()

    def _go_on(self) -> None:
        if self._connection.out:
            self.send()
        if not self._connection.hold:
            self._end.resume()

    def close(self) -> None:
        self.send()
        self._end.close()

    def lost(self) -> None:
        life = self._life
        if not life.over and life.clients.pop(self._connection, None) is not None:
            life.begin()
            life.member.disconnected(self._connection)
