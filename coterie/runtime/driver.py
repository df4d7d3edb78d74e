"""The loop: events in, step, one fsync, effects out; the twin of `testing/simulator.py`.

A turn begins with the first event that the event loop hands over: the clocks are read once and
time stands still until the turn ends, when everything that was there has been handed to the
machine. Then the effects are taken once and carried out. All writes of a turn, and all that come
while a sync is under way, make one append and one fdatasync (`LogSync`). Clients that wait for
their answers before they write again come back together after a sync; a moment is waited for all
of them (`Gathering`), or they would fall apart into two groups, each with a sync of its own.
A change that thousands watch is told to some of them at a time, so that others are served between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from coterie.core.connection import Connection
from coterie.core.effects import Effects
from coterie.core.link import Link
from coterie.runtime.clients import ClientProtocol
from coterie.runtime.gathering import Gathering
from coterie.runtime.log_sync import LogSync
from coterie.storage.errors import StorageError, StorageFailedError
from coterie.storage.snapshot import SnapshotWriter
from coterie.storage.store import Store
from coterie.system.clock import Clock
from coterie.system.worker import Worker
from coterie.wire.numbered import Txn

if TYPE_CHECKING:
    from coterie.core.member import Member
    from coterie.core.standalone import Standalone
    from coterie.core.tree import Tree
    from coterie.runtime.audit import AuditLog
    from coterie.runtime.peers import PeerPorts

log = logging.getLogger("coterie.server")

_RETRY_S: Final = 1.0
_SENDS_MAX: Final = 100
"""How many clients one turn, or one go after it, sends to: that takes a millisecond or two."""
_SLICE_NODES: Final = 600
_SLICE_PAUSE_S: Final = 0.001
_TICK_S_MAX: Final = 1.0
_TICK_S_MIN: Final = 0.01


class Driver:
    """Runs one member over real sockets, a real clock and a real disk."""

    def __init__(
        self,
        member: Standalone | Member,
        store: Store,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.member = member
        self.now_ms = clock.monotonic_ms()
        self.turning = False
        """Within a turn: `now_ms` is the time, and what happens is carried out at its end."""
        self.chunks = 0
        """What came in this turn, to tell a lone write from traffic."""
        self.protocols: dict[Connection, ClientProtocol] = {}
        self.peers: PeerPorts | None = None
        """The links to other members, where there are any."""
        self.audit: AuditLog | None = None
        """Where changes are told, if they are to be."""
        self.snapshots_taken = 0
        self._store = store
        self._clock = clock
        self.loop = loop
        self.log = LogSync(loop, store, clock)
        self._snapshotter = Worker(loop, "coterie-snapshot")
        self._writer: SnapshotWriter | None = None
        self._finishing = False
        """A snapshot is written and waits for the log to have all that is in it."""
        self._unsent: dict[Connection, None] = {}
        """Those whose time to be sent to has not come."""
        self._waiting: list[Txn] = []
        self._syncing = False
        self._gathering = Gathering()
        self._gather_handle: asyncio.TimerHandle | None = None
        self._synced_zxid = 0
        self._failing = False
        self._stopping: asyncio.Future[None] | None = None
        self._ended = False
        """The disk is let go: whatever still happens on connections is not carried out."""
        self._tick_handle = loop.call_later(_TICK_S_MIN, self._tick)

    def begin(self) -> None:
        """Open a turn, if none is open: read the clocks and tick."""
        if self.turning:
            return
        self.turning = True
        self.chunks = 0
        self.now_ms = self._clock.monotonic_ms()
        self.member.tick(self.now_ms, self._clock.wall_ms())
        self.loop.call_soon(self._end)

    def _end(self) -> None:
        self.turning = False
        self._carry_out()

    def _tick(self) -> None:
        self.begin()
        due_s = (self.member.next_due_ms() - self.now_ms) / 1000
        delay_s = min(max(due_s, _TICK_S_MIN), _TICK_S_MAX)
        self._tick_handle = self.loop.call_later(delay_s, self._tick)

    def _carry_out(self) -> None:
        while self.member.effects and not self._ended:
            effects = self.member.take()
            for note in effects.notes:
                log.info(note)
            if effects.audits and self.audit is not None:
                self.audit.take(effects.audits, self.member.wall_ms)
            # Proposals leave before the own disk is waited for.
            if self.peers is not None:
                self._carry_out_links(self.peers, effects)
            if effects.appends:
                self._waiting += effects.appends
                self._sync()
            outputs = effects.outputs
            if len(outputs) > _SENDS_MAX:
                # Whoever wrote was touched behind those who watch, and is answered first.
                if not self._unsent:
                    self.loop.call_soon(self._send_some)
                self._unsent.update(dict.fromkeys(outputs[:-_SENDS_MAX]))
                outputs = outputs[-_SENDS_MAX:]
            self._send(outputs)
            for connection in effects.closes:
                protocol = self.protocols.get(connection)
                if protocol is not None:
                    protocol.close()
            for connection in effects.resumes:
                protocol = self.protocols.get(connection)
                if protocol is not None:
                    protocol.resume()

    def _send(self, connections: list[Connection]) -> None:
        for connection in connections:
            protocol = self.protocols.get(connection)
            if protocol is not None:
                protocol.send()

    def _send_some(self) -> None:
        some = list(islice(self._unsent, _SENDS_MAX))
        for connection in some:
            del self._unsent[connection]
        if self._unsent:
            self.loop.call_soon(self._send_some)
        self._send(some)

    def _carry_out_links(self, ports: PeerPorts, effects: Effects) -> None:
        member = ports.member
        for link in effects.dials:
            ports.dial(link)
        for link in effects.link_outputs:
            ports.send(link)
        for link in effects.link_closes:
            ports.close(link)
        store = self._store
        if effects.save_epochs is not None:
            epochs = effects.save_epochs
            self._settle(lambda: store.save_epochs(epochs), lambda _: member.epochs_saved())
        if effects.truncate_after is not None:
            zxid = effects.truncate_after
            self._settle(lambda: self._truncate(zxid), lambda tree: member.truncated(zxid, tree))
        if effects.install is not None:
            tree = effects.install
            self._settle(lambda: store.install(tree), lambda _: member.installed())
        for link, after_zxid, until_zxid in effects.log_reads:
            self._read_log(member, link, after_zxid, until_zxid)

    def _settle(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Have the disk do more than append; when it fails, try again after a while.

        The snapshot that is being written belongs to a tree that may be about to go.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            self._snapshotter.submit(writer.abort, _aborted)

        def ended(result: Any, error: BaseException | None) -> None:
            self.begin()
            if error is None:
                done(result)
            elif isinstance(error, StorageFailedError):
                self.member.log_failed(str(error))
                if self._stopping is None:
                    self.loop.call_later(_RETRY_S, self._settle, job, done)
            else:
                raise error

        self._snapshotter.submit(job, ended)

    def _truncate(self, zxid: int) -> Tree | None:
        """The tree of a log that was cut off, or None where what is here cannot give it: then the
        leader's takes its place."""
        try:
            return self._store.truncate_after(zxid)
        except StorageFailedError:
            raise
        except StorageError as error:
            log.error("the log is not cut off: %s", error)
            return None

    def _read_log(self, member: Member, link: Link, after_zxid: int, until_zxid: int) -> None:
        def ended(txns: list[Txn] | None, error: BaseException | None) -> None:
            self.begin()
            if error is not None:
                log.warning("the log cannot be read for another server: %s", error)
            member.log_read(link, txns)

        bytes_max = self._store.log_bytes_worth_sending()
        self._snapshotter.submit(
            lambda: self._store.log_since(after_zxid, until_zxid, bytes_max), ended
        )

    def _sync(self) -> None:
        if self._syncing or self._failing or not self._waiting:
            return
        wait_ms = self._gathering.wait_ms(len(self._waiting), self._clock.monotonic_ms())
        if wait_ms > 0:
            if self._gather_handle is None:
                self._gather_handle = self.loop.call_later(wait_ms / 1000, self._gathered)
            return
        batch, self._waiting = self._waiting, []
        self._gathering.begins(len(batch))
        calm = self._writer is None
        if len(batch) == 1 and self.chunks <= 1 and calm and self.log.is_quick:
            # It is all that there was to do.
            try:
                zxid = self.log.log(batch)
            except StorageFailedError as error:
                self._failed(error)
            else:
                self.now_ms = self._clock.monotonic_ms()
                self._synced(zxid)
            return
        self._syncing = True
        self.log.begin(batch, self._done, calm)

    def _gathered(self) -> None:
        self._gather_handle = None
        if not self._ended:
            self.begin()
            self._sync()

    def _done(self, zxid: int, error: BaseException | None) -> None:
        self._syncing = False
        self.begin()
        if isinstance(error, StorageFailedError):
            self._failed(error)
        elif error is not None:
            raise error
        else:
            self._synced(zxid)
        stopping = self._stopping
        if stopping is not None and not (stopping.done() or self._waiting or self._syncing):
            stopping.set_result(None)

    def _synced(self, zxid: int) -> None:
        self._failing = False
        self._synced_zxid = zxid
        self._gathering.ends(self._clock.monotonic_ms(), self.log.ms)
        self.member.synced(zxid, self.now_ms)
        self._sync()
        if self._writer is None and self._store.wants_snapshot:
            self.snapshot()
        elif self._finishing:
            self._finish_snapshot()

    def _failed(self, error: StorageFailedError) -> None:
        self._failing = True
        self.member.log_failed(str(error))
        if self._stopping is None:
            self.loop.call_later(_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._syncing = True
        self.log.retry(self._done)

    def snapshot(self) -> None:
        """Start to write a snapshot, in slices between which clients are served.

        While nobody is served it is not certain that what is in the tree will stay.
        """
        if self._writer is None and self.member.server.serving:
            self._writer = self._store.begin_snapshot(self.member.tree)
            self._slice()

    def _slice(self) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            complete = writer.step(_SLICE_NODES)
        except StorageFailedError as error:
            self._snapshot_done(writer, error)
            return
        if complete:
            self._finishing = True
            self._finish_snapshot()
        elif writer.wants_settling:
            self._snapshotter.submit(
                writer.settle, lambda result, error: self._settled(writer, error)
            )
        else:
            self.loop.call_later(_SLICE_PAUSE_S, self._slice)

    def _finish_snapshot(self) -> None:
        """Give the snapshot its name once the log has all that is in it: others may have
        committed what this disk does not have yet."""
        writer = self._writer
        if writer is None:
            self._finishing = False
        elif self._synced_zxid >= writer.end_zxid or (not self._waiting and not self._syncing):
            self._finishing = False
            self._snapshotter.submit(
                writer.finish, lambda result, error: self._snapshot_done(writer, error)
            )

    def _settled(self, writer: SnapshotWriter, error: BaseException | None) -> None:
        if self._writer is not writer:
            return
        if error is None:
            self._slice()
        else:
            self._snapshot_done(writer, error)

    def _snapshot_done(self, writer: SnapshotWriter, error: BaseException | None) -> None:
        if self._writer is writer:
            self._writer = None
        if error is None:
            self.snapshots_taken += 1
            return
        if not isinstance(error, StorageFailedError):
            raise error
        log.error("no snapshot was taken: %s", error)
        writer.abort()

    def numbers(self) -> dict[str, float]:
        """What the log and the snapshots took, by Apache's metric names."""
        syncs = self.log
        return {
            "cnt_fsynctime": syncs.count,
            "avg_fsynctime": round(syncs.ms_total / syncs.count, 4) if syncs.count else 0.0,
            "max_fsynctime": round(syncs.ms_max, 4),
            "cnt_snapshottime": self.snapshots_taken,
        }

    def purge(self, retain: int) -> None:
        """Delete snapshots but the newest `retain`, and the logs that only they needed."""
        self._snapshotter.submit(lambda: self._store.purge(retain), _purged)

    async def stop(self) -> None:
        """Let the write that is under way become durable, then end the threads."""
        self._tick_handle.cancel()
        self._gathering = Gathering()
        self._sync()
        if self._syncing:
            self._stopping = self.loop.create_future()
            await asyncio.wait([self._stopping], timeout=10)
        self._carry_out()
        while self._unsent:
            self._send_some()
        self._end_threads()

    def abandon(self) -> None:
        """End at once: what the disk has is finished there, what waits for it is lost."""
        self._tick_handle.cancel()
        self._waiting.clear()
        self._end_threads()

    def _end_threads(self) -> None:
        self._ended = True
        writer, self._writer = self._writer, None
        self.log.close()
        self._snapshotter.close()
        if writer is not None:
            writer.abort()


def _aborted(result: object, error: BaseException | None) -> None:
    if error is not None:
        raise error


def _purged(result: list[str] | None, error: BaseException | None) -> None:
    if error is not None:
        log.error("purge failed: %s", error)
    for name in result or ():
        log.info("purged %s", name)
