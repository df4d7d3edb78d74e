"""The second driver: turns, the log on another thread, halts in the middle of a call."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

from coterie.core.tree import Tree
from coterie.storage.errors import StorageError
from coterie.testing.clock import Time
from coterie.testing.faults import Plan
from coterie.testing.files import HaltedError
from coterie.testing.host import CLIENT_PORT, Host
from coterie.testing.transport import End, Network, Weather
from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.framing import LENGTH, Framing, frames
from coterie.wire.numbered import Txn
from coterie.wire.requests import CreateRequest, Op, RequestHeader


class Witness:
    """Remembers what a host tells."""

    def __init__(self) -> None:
        self.trees: list[Tree] = []
        self.errors: list[str] = []
        self.txns: list[Txn] = []
        self.marks: list[str] = []
        self.notes: list[str] = []

    def recovered(self, host: Host, tree: Tree, notes: list[str]) -> None:
        self.trees.append(tree)

    def not_recovered(self, host: Host, error: StorageError) -> None:
        self.errors.append(str(error))

    def stopped(self, host: Host, applied_zxid: int) -> None:
        self.notes.append(f"stopped at {applied_zxid}")

    def numbered(self, host: Host, txns: list[Txn]) -> None:
        self.txns += txns

    def leads(self, host: Host) -> None:
        raise AssertionError("it is alone")

    def entered(self, epoch: int) -> None:
        raise AssertionError("it is alone")

    def heard(self, host: Host, session_id: int, timeout_ms: int) -> None:
        self.notes.append("heard")

    def unread(self, host: Host, session_id: int) -> None:
        self.notes.append("unread")

    def turns(self, host: Host) -> None:
        pass

    def ticked(self, host: Host) -> None:
        pass

    def note(self, kind: str, *facts: object) -> None:
        self.notes.append(kind)

    def mark(self, name: str) -> None:
        self.marks.append(name)


class Peer:
    """A client that sends bytes and keeps the frames that come."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.end: End
        self.is_lost = False
        self._framing = Framing(2**20)

    def opened(self) -> None:
        body = requests.ConnectRequest(0, 0, 10_000, 0, bytes(16)).encode()
        self.end.send(LENGTH.pack(len(body)) + body)

    def received(self, data: bytes) -> None:
        self.frames += frames(self._framing, data)

    def lost(self) -> None:
        self.is_lost = True

    def create(self, *paths: bytes) -> None:
        """Creates that arrive together."""
        sent = b""
        for path in paths:
            body = RequestHeader(1, Op.CREATE).encode()
            body += CreateRequest(path, b"", OPEN_ACL, 0).encode()
            sent += LENGTH.pack(len(body)) + body
        self.end.send(sent)


class World:
    """One server and one client on a quiet network."""

    def __init__(self, **sizes: Any) -> None:
        plan = dataclasses.replace(
            Plan.draw(Random(1)),
            clock_rate=1.0,
            sync_ms=5.0,
            turn_ms=0.0,
            purge_ms=0.0,
            retry_ms=50.0,
            snap_count=100_000,
            snap_log_bytes=0,
            tick_ms=1000,
            outstanding_max=1000,
        )
        plan = dataclasses.replace(plan, **sizes)
        self.time = Time()
        self.network = Network(self.time, Random(1), Weather(0.1))
        self.witness = Witness()
        self.host = Host("s1", self.time, self.network, plan.config(), plan, Random, self.witness)
        self.host.start()
        self.client = self.connect()
        self.go_on(100)

    def connect(self) -> Peer:
        client = Peer()
        client.end = self.network.connect("c1", ("s1", CLIENT_PORT), client)
        return client

    def go_on(self, ms: float) -> None:
        self.time.run(self.time.now_ms + ms)

    @property
    def replies(self) -> int:
        """How many creates were answered; the first frame is the greeting."""
        return len(self.client.frames) - 1


def test_a_lone_write_is_synced_in_its_turn() -> None:
    world = World(sync_ms=1000.0)
    world.client.create(b"/a")
    world.go_on(10)
    assert world.replies == 1
    assert b"/a" in world.host.life.member.tree.nodes  # type: ignore[union-attr]


def test_writes_that_come_together_make_one_sync_later() -> None:
    world = World()
    before = world.host.disk.syncs
    world.client.create(b"/a", b"/b", b"/c")
    world.go_on(1)
    assert (world.replies, len(world.witness.txns)) == (0, 4)
    world.go_on(50)
    assert world.replies == 3
    assert world.host.disk.syncs == before + 1


def test_what_was_acknowledged_is_there_after_the_power_failed() -> None:
    world = World()
    world.client.create(b"/a", b"/b")
    world.go_on(50)
    world.host.power_lost()
    assert world.host.life is None
    world.host.start()
    assert {b"/a", b"/b"} < world.witness.trees[-1].nodes.keys()
    assert "stopped at 3" in world.witness.notes


def test_a_write_under_way_may_be_half_done_when_the_power_fails() -> None:
    outcomes = set()
    for seed in range(40):
        world = World(sync_ms=1000.0)
        world.host.dice.seed(seed)
        world.client.create(b"/a", b"/b")
        world.go_on(1)
        world.host.power_lost()
        world.host.start()
        outcomes.add(len(world.witness.trees[-1].nodes.keys() & {b"/a", b"/b"}))
    assert outcomes > {0}


def test_nothing_that_a_life_asked_for_happens_after_it() -> None:
    world = World(sync_ms=1000.0)
    world.client.create(b"/a", b"/b")
    world.go_on(1)
    world.host.kill()
    noted = len(world.witness.notes)
    world.go_on(10_000)
    assert len(world.witness.notes) == noted
    assert world.client.is_lost


def test_a_process_that_stops_finishes_its_write_and_is_started_again() -> None:
    world = World(retry_ms=500.0)
    world.client.create(b"/a", b"/b")
    world.go_on(1)
    world.host.stop()
    world.go_on(100)
    assert world.host.life is None
    world.go_on(1000)
    assert world.host.life is not None
    assert {b"/a", b"/b"} < world.witness.trees[-1].nodes.keys()


def test_a_process_that_stands_still_does_nothing_and_then_all() -> None:
    for seed in range(4):
        world = World()
        world.host.dice.seed(seed)
        assert world.host.freeze()
        assert not world.host.freeze()
        world.client.create(b"/a", b"/b")
        noted = len(world.witness.notes)
        world.go_on(60_000)
        assert len(world.witness.notes) == noted
        world.host.thaw()
        world.go_on(100)
        assert world.replies == 2
        assert not any(txn.type == Op.CLOSE_SESSION for txn in world.witness.txns)


def test_a_process_may_be_killed_while_it_stands_still() -> None:
    world = World()
    world.host.freeze()
    world.host.stop()
    world.go_on(100)
    assert world.host.life is not None
    world.host.kill()
    world.host.start()
    world.host.thaw()
    world.client = world.connect()
    world.go_on(10)
    world.client.create(b"/a")
    world.go_on(100)
    assert world.replies == 1


def test_a_log_that_failed_is_tried_again() -> None:
    world = World()
    world.host.disk.sync_fails = True
    world.client.create(b"/a")
    world.go_on(200)
    assert world.replies == 0
    world.client.create(b"/b")
    world.go_on(1)
    world.host.disk.sync_fails = False
    world.go_on(200)
    assert world.replies == 2
    assert world.client.frames[2][12:16] == (-1).to_bytes(4, "big", signed=True)
    assert "the log could be written again" in world.witness.marks


def test_snapshots_are_taken_in_slices_and_old_files_purged() -> None:
    world = World(snap_count=4, slice_nodes=1, slice_pause_ms=1.0, purge_ms=500.0)
    for number in range(40):
        world.client.create(b"/n%d" % number)
        world.go_on(100)
    names = world.host.disk.mount().names("data/version-2")
    assert len([name for name in names if name.startswith("snapshot.")]) <= 4
    assert {"a snapshot was taken", "files were purged"} <= set(world.witness.marks)


def test_a_disk_that_fails_at_the_start_is_tried_again() -> None:
    world = World()
    world.host.power_lost()
    world.host.disk.sync_fails = True
    world.host.start()
    assert world.host.life is None
    assert "cannot be used" in world.witness.errors[0]
    world.host.disk.sync_fails = False
    world.go_on(100)
    assert world.host.life is not None


def test_a_machine_may_halt_in_the_middle_of_a_recovery() -> None:
    halted = 0
    for calls in range(30):
        world = World()
        world.host.kill()
        world.host.disk.fuse = calls
        try:
            world.host.start()
        except HaltedError:
            halted += 1
            world.host.power_lost()
            world.host.start()
        assert world.host.life is not None
    assert halted > 5


def test_a_bit_rots_one_at_a_time_and_is_restored() -> None:
    world = World()
    world.client.create(b"/a")
    world.go_on(50)
    world.host.kill()
    files = {path: world.host.disk.durable(path) for path in world.host.disk.paths()}
    for seed in range(20):
        world.host.rot(Random(seed))
        changed = [path for path in files if world.host.disk.durable(path) != files[path]]
        assert len(changed) == len(world.host.flips) == 1
    world.host.restore()
    assert all(world.host.disk.durable(path) == files[path] for path in files)


def test_a_client_that_leaves_is_told_to_the_machine() -> None:
    world = World()
    assert len(world.host.life.clients) == 1  # type: ignore[union-attr]
    world.client.end.close()
    world.go_on(10)
    assert not world.host.life.clients  # type: ignore[union-attr]


def test_too_many_requests_at_a_time_wait() -> None:
    world = World(outstanding_max=2)
    world.client.create(*(b"/n%d" % number for number in range(20)))
    world.go_on(2000)
    assert world.replies == 20
    assert "a client had to wait for the log" in world.witness.marks
