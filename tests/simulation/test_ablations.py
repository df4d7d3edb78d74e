"""The simulator has teeth: each safety rule is taken away, and some seed must notice.

A run of the simulator proves only as much as it would find. So each test here breaks one rule of
the server and looks for a seed, among few, that a checker ends.
"""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

import pytest

from coterie.core.answer import Answers
from coterie.core.authority import Authority
from coterie.core.connection import Connection
from coterie.core.prepare import Prepare, Write
from coterie.core.server import Server
from coterie.core.sessions import Session, Sessions
from coterie.core.standalone import Standalone
from coterie.core.tree import Event, Tree
from coterie.core.watches import Table
from coterie.core.znode import Node
from coterie.errors import ZooKeeperError
from coterie.storage import segment, snapshot, txnlog
from coterie.storage.segment import Segment
from coterie.storage.snapshot import SnapshotReader, SnapshotWriter
from coterie.storage.txnlog import TxnLog
from coterie.testing.faults import Plan
from coterie.testing.files import FakeFiles
from coterie.testing.history import Violation
from coterie.testing.simulator import Simulation
from coterie.wire.requests import REPLY_HEADER, PathRequest
from coterie.wire.txns import DeleteTxn

Patch = pytest.MonkeyPatch
SEEDS = 120


def found(faults: str, *, seeds: int = SEEDS, first: int = 0, **sizes: Any) -> str:
    """What the first seed to fail fails with, when only these faults happen."""
    for seed in range(first, first + seeds):
        plan = Plan.draw(Random(f"{seed}:plan"))
        chosen = frozenset(faults.split())
        plan = dataclasses.replace(plan, faults=chosen, **sizes)
        try:
            Simulation(seed, plan).run()
        except Violation as violation:
            return str(violation)
        except AssertionError as error:
            return f"an assertion: {error!r}"
    pytest.fail(f"{seeds} seeds saw nothing")


FUZZY: dict[str, Any] = {"snap_count": 8, "slice_nodes": 1, "slice_pause_ms": 10.0}
"""Sizes that let a snapshot take long while much happens."""


# The log


def test_a_write_counts_only_after_its_sync(monkeypatch: Patch) -> None:
    def sync_later(log: TxnLog) -> int:
        return log._last_zxid

    monkeypatch.setattr(TxnLog, "sync", sync_later)
    assert "promised" in found("power")


def test_what_the_kernel_syncs_counts_only_after_that(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FakeFiles, "sync", lambda files, descriptor: None)
    assert "promised" in found("power")


def test_what_the_kernel_could_not_sync_does_not_count(monkeypatch: Patch) -> None:
    synced = TxnLog.synced
    monkeypatch.setattr(TxnLog, "synced", lambda log, error: synced(log, None))
    message = found("power sync", retry_ms=1000.0)
    assert "promised" in message or "txns are missing" in message


def test_without_syncs_acknowledged_writes_are_lost(monkeypatch: Patch) -> None:
    config = Plan.config
    monkeypatch.setattr(
        Plan, "config", lambda plan, id: dataclasses.replace(config(plan, id), force_sync=False)
    )
    message = found("power")
    assert "promised" in message or "txns are missing" in message


def test_a_file_is_there_only_when_its_directory_was_synced(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FakeFiles, "sync_directory", lambda files, path: None)
    assert "promised" in found("power")


def test_after_a_failed_sync_the_whole_batch_is_written_again(monkeypatch: Patch) -> None:
    def sync_again(log: TxnLog) -> int:
        log._failure = None
        if log._file is None or log._written_count < len(log._unsynced):
            return retry(log)
        return log.sync()

    retry = TxnLog.retry
    monkeypatch.setattr(TxnLog, "retry", sync_again)
    message = found("power sync", retry_ms=20.0, fault_every_ms=30.0)
    assert "promised" in message or "does not start" in message


def test_what_a_killed_process_left_in_the_cache_is_made_durable(monkeypatch: Patch) -> None:
    def cut_only(log: TxnLog, tail: Segment) -> None:
        log._cut(tail.path, tail.end)

    monkeypatch.setattr(TxnLog, "_settle", cut_only)
    message = found("kill power sync", seeds=400, fault_every_ms=30.0, faults_max=16)
    assert "promised" in message or "does not start" in message


def test_a_torn_tail_is_no_damage(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Segment, "_torn", lambda part, written: False)
    assert "does not start" in found("power fuse", value_bytes=1200)


def test_damage_is_no_torn_tail(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Segment, "_torn", lambda part, written: True)
    assert "promised" in found("flip")


def test_a_flipped_length_is_no_torn_tail(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Segment, "_length_flipped", lambda part, written: False)
    assert "promised" in found("flip", seeds=600, faults_max=16, snap_count=100_000)


def test_the_checksum_of_a_record_is_compared(monkeypatch: Patch) -> None:
    monkeypatch.setattr(segment, "adler32", lambda data, start=1: 0)
    monkeypatch.setattr(txnlog, "adler32", lambda data, start=1: 0)
    assert " is Fields(" in found("flip", value_bytes=1200)


def test_txns_that_are_missing_are_missed(monkeypatch: Patch) -> None:
    def scan(log: TxnLog, after_zxid: int) -> object:
        for path in txnlog.segments(log._files, log._directory).values():
            part = log._tail = Segment(log._files, path)
            for txn in part.txns(after_zxid):
                if txn.zxid > after_zxid:
                    after_zxid = txn.zxid
                    yield txn
        log._last_zxid = log._synced_zxid = after_zxid

    monkeypatch.setattr(TxnLog, "scan", scan)
    assert "the sessions are" in found("flip", faults_max=16)


# Snapshots


def test_a_snapshot_is_not_seen_before_it_is_whole(monkeypatch: Patch) -> None:
    init = SnapshotWriter.__init__

    def in_place(writer: SnapshotWriter, *arguments: object) -> None:
        init(writer, *arguments)  # type: ignore[arg-type]
        writer._path = f"{writer._directory}/{snapshot.name(writer.zxid)}"

    monkeypatch.setattr(SnapshotWriter, "__init__", in_place)
    assert "no snapshot can be read" in found("fuse", faults_max=16)


def test_a_snapshot_is_durable_before_it_gets_its_name(monkeypatch: Patch) -> None:
    def finish(writer: SnapshotWriter) -> str:
        path = f"{writer._directory}/{snapshot.name(writer.zxid)}"
        file = writer._files.open(writer._path)
        file.truncate(0)
        with monkeypatch.context() as patch:
            patch.setattr("coterie.testing.files.FakeFile.sync", lambda file: None)
            writer._assemble(file)
        file.close()
        writer._drop_nodes()
        writer._files.rename(writer._path, path)
        writer._files.sync_directory(writer._directory)
        return path

    monkeypatch.setattr(SnapshotWriter, "finish", finish)
    assert "no snapshot can be read" in found("power", faults_max=16)


def test_the_seals_of_a_snapshot_are_compared(monkeypatch: Patch) -> None:
    monkeypatch.setattr(SnapshotReader, "_verify", lambda reader, checksum, seal: None)
    message = found("flip", snap_count=2, faults_max=16)
    assert " is Fields(" in message or "the sessions are" in message


def test_the_log_is_replayed_from_where_a_snapshot_began(monkeypatch: Patch) -> None:
    finish = SnapshotWriter.finish

    def later(writer: SnapshotWriter) -> str:
        writer.zxid = writer.end_zxid
        return finish(writer)

    monkeypatch.setattr(SnapshotWriter, "finish", later)
    assert "do not belong together" in found("kill", **FUZZY)


def test_logs_that_the_oldest_snapshot_needs_are_kept(monkeypatch: Patch) -> None:
    monkeypatch.setattr(txnlog, "needed", lambda zxids, after_zxid: list(zxids)[-1:])
    purging: dict[str, Any] = {"purge_ms": 100.0, "snap_count": 8, "log_bytes_max": 1}
    assert "does not start" in found("kill", **purging)


# Replaying


def test_a_create_says_what_the_cversion_of_the_parent_becomes(monkeypatch: Patch) -> None:
    create = Tree._create

    def one_more(tree: Tree, *arguments: Any) -> None:
        create(tree, *(*arguments[:-1], -1))

    monkeypatch.setattr(Tree, "_create", one_more)
    assert "do not belong together" in found("kill", **FUZZY)


def test_deleting_a_parent_of_old_does_not_keep_the_children_of_a_later_one(
    monkeypatch: Patch,
) -> None:
    monkeypatch.setattr(Tree, "_delete_below", lambda tree, zxid, node: None)
    assert " is Fields(" in found("kill", first=520, think_ms=2.0, **FUZZY)


def test_the_end_of_a_session_names_what_it_deletes() -> None:
    short: dict[str, Any] = {"tick_ms": 50, "timeout_ticks": 2, "close_session_paths": False}
    assert " is Fields(" in found("kill mute", first=50, **short, **FUZZY)


# Order


def test_a_log_that_failed_acknowledges_nothing(monkeypatch: Patch) -> None:
    def log_failed(member: Standalone, reason: str) -> None:
        member.synced(2**63 - 1, member.now_ms)

    monkeypatch.setattr(Standalone, "log_failed", log_failed)
    assert "promised" in found("sync power", retry_ms=1000.0)


def test_txns_are_committed_in_their_order(monkeypatch: Patch) -> None:
    synced = Standalone.synced

    def backwards(member: Standalone, zxid: int, now_ms: float) -> None:
        member._in_flight.reverse()
        synced(member, zxid, now_ms)

    monkeypatch.setattr(Standalone, "synced", backwards)
    assert "assertion" in found("cut")


def test_a_read_waits_for_the_writes_before_it(monkeypatch: Patch) -> None:
    dispatch = Server._dispatch

    def at_once(
        server: Server, connection: Connection, xid: int, op: int, chunk: bytes, *span: int
    ) -> None:
        fifo, connection.fifo = connection.fifo, type(connection.fifo)()
        dispatch(server, connection, xid, op, chunk, *span)
        fifo.extend(connection.fifo)
        connection.fifo = fifo

    monkeypatch.setattr(Server, "_dispatch", at_once)
    assert "got a reply to" in found("cut", window=16)


def test_a_write_sees_the_changes_in_flight(monkeypatch: Patch) -> None:
    put = Prepare._put

    def forget(
        prepare: Prepare, path: bytes, node: Node | None, children: int, before: int
    ) -> None:
        put(prepare, path, node, children, before)
        prepare._changes.pop(path)

    monkeypatch.setattr(Prepare, "_put", forget)
    assert "should be done" in found("cut")


def test_a_multi_that_fails_leaves_no_trace(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Prepare, "_roll_back", lambda prepare, digest: None)
    assert "bears digest" in found("cut")


def test_the_end_of_a_session_spares_what_was_made_again(monkeypatch: Patch) -> None:
    def ephemerals(prepare: Prepare, session_id: int) -> list[bytes]:
        owned = dict.fromkeys(sorted(prepare._tree.ephemerals.get(session_id, ())))
        for path, change in prepare._changes.items():
            if change.node is None:
                owned.pop(path, None)
            elif change.node.owner == session_id:
                owned[path] = None
        return list(owned)

    monkeypatch.setattr(Prepare, "_ephemerals", ephemerals)
    assert "should delete" in found("slow", window=16, sync_ms=20.0, operations=120)


def test_a_refusal_bears_the_zxid_of_its_turn(monkeypatch: Patch) -> None:
    def at_once(server: Server, write: Write, error: ZooKeeperError) -> None:
        connection = write.connection
        if connection is None or connection.gone or write.op < 0:
            refuse(server, write, error)
            return
        answer = REPLY_HEADER.pack(16, write.cxid, server.tree.zxid, error.code)
        connection.fifo[connection.fifo.index(write)] = answer
        server._drain(connection)

    refuse = Server.refuse
    monkeypatch.setattr(Server, "refuse", at_once)
    assert "it was told" in found("sync", seeds=300, window=16, retry_ms=200.0)


# Watches and sessions


def test_a_watch_event_comes_before_the_reply_that_shows_the_change(monkeypatch: Patch) -> None:
    held: list[tuple[Connection, bytes]] = []
    fire, committed = Server._fire, Server.committed

    def later(server: Server, events: list[Event], zxid: int) -> None:
        before = {watcher: len(watcher.out) for watcher in server.connections}
        fire(server, events, zxid)
        for watcher, count in before.items():
            held.extend((watcher, frame) for frame in watcher.out[count:])
            del watcher.out[count:]

    def at_last(server: Server) -> None:
        committed(server)
        for watcher, frame in held:
            watcher.out.append(frame)
        held.clear()

    monkeypatch.setattr(Server, "_fire", later)
    monkeypatch.setattr(Server, "committed", at_last)
    assert "is shown before" in found("cut", window=16)


def test_a_one_shot_watch_is_used_up_when_it_fires(monkeypatch: Patch) -> None:
    def fire(table: Table, path: bytes) -> dict[Connection, None]:
        return dict.fromkeys(table.by_path.get(path, {}))

    monkeypatch.setattr(Table, "fire", fire)
    assert "it does not watch" in found("cut")


def test_watches_that_are_set_again_tell_what_was_missed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Answers, "_missed", lambda answers, connection, event, path: None)
    assert "missed events" in found("cut", first=40)


def test_a_session_does_not_end_too_early(monkeypatch: Patch) -> None:
    def due_ms(sessions: Sessions, session: Session) -> int:
        return int(session.heard_ms + session.timeout_ms / 2)

    monkeypatch.setattr(Sessions, "_due_ms", due_ms)
    assert "expired" in found("slow mute")


def test_a_session_does_not_end_too_late(monkeypatch: Patch) -> None:
    def due_ms(sessions: Sessions, session: Session) -> int:
        return int(session.heard_ms + session.timeout_ms * 3)

    monkeypatch.setattr(Sessions, "_due_ms", due_ms)
    assert "should have ended" in found("mute", tick_ms=50, timeout_ticks=2)


def test_time_in_which_a_server_was_late_is_no_silence(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Authority, "_allow_for_lateness", lambda authority, now_ms, effects: None)
    assert "after it spoke" in found("pause")


def test_lateness_counts_once(monkeypatch: Patch) -> None:
    def thrice(sessions: Sessions, since_ms: float, late_ms: float, now_ms: float) -> None:
        lengthen(sessions, since_ms, late_ms, now_ms)
        for session in sessions.by_id.values():
            session.heard_ms += 3 * late_ms

    lengthen = Sessions.lengthen
    monkeypatch.setattr(Sessions, "lengthen", thrice)
    assert "should have ended" in found("pause mute", tick_ms=50, timeout_ticks=2)


def test_who_is_not_read_from_for_the_log_is_not_silent(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Session, "held", False)
    sizes: dict[str, Any] = {"tick_ms": 50, "timeout_ticks": 2, "sync_ms": 20.0}
    assert "after it spoke" in found("slow", outstanding_max=2, **sizes)


def test_a_znode_that_was_changed_is_not_reaped(monkeypatch: Patch) -> None:
    def any_age(prepare: Prepare, op: int, request: PathRequest) -> DeleteTxn:
        prepare._look(request.path)
        prepare._remove(request.path)
        return DeleteTxn(request.path)

    monkeypatch.setattr(Prepare, "_delete_container", any_age)
    message = found("slow", seeds=600, tick_ms=50, sync_ms=20.0, operations=120)
    assert "should stay" in message or "too early" in message
