"""What a client may be told: each rule with something that breaks it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from coterie.testing.checkers import ClientView, Leases
from coterie.testing.history import History, Multi, Violation
from coterie.values import OPEN_ACL, EventType
from coterie.wire import requests
from coterie.wire.cursor import Reader, write_buffer
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import CreateRequest, Op, PathWatchRequest, SetDataRequest
from coterie.wire.txns import CreateSessionTxn, CreateTxn, ErrorTxn, MultiTxn, SetDataTxn

SESSION = 7
CREATED, DELETED, CHANGED, CHILDREN = (
    EventType.NODE_CREATED,
    EventType.NODE_DELETED,
    EventType.NODE_DATA_CHANGED,
    EventType.NODE_CHILDREN_CHANGED,
)


class World:
    """A history and one client that is told of it. zxid 1 makes its session."""

    def __init__(self) -> None:
        self.history = History(digest=False)
        self.view = ClientView("c1", self.history)
        self._follow(Op.CREATE_SESSION, CreateSessionTxn(1000), None)

    def _follow(self, type: int, body: Record, asked: tuple[int, Record] | None) -> int:
        zxid = self.history.zxid + 1
        self.history.follow(Txn(SESSION, zxid, zxid, 0, type, body), asked)
        return zxid

    def create(self, path: bytes, data: bytes = b"") -> int:
        """A create by somebody; its zxid, which is its cxid too."""
        parent = self.history.at(path[: path.rindex(b"/")] or b"/", self.history.zxid)
        cversion = parent.cversion + 1 if parent is not None else 1
        body = CreateTxn(path, data, OPEN_ACL, False, cversion)
        return self._follow(Op.CREATE, body, (Op.CREATE, CreateRequest(path, data, OPEN_ACL, 0)))

    def set(self, path: bytes, data: bytes) -> int:
        node = self.history.at(path, self.history.zxid)
        if node is None:
            body: Record = ErrorTxn(-101)
            return self._follow(Op.ERROR, body, (Op.SET_DATA, SetDataRequest(path, data, -1)))
        body = SetDataTxn(path, data, node.version + 1)
        return self._follow(Op.SET_DATA, body, (Op.SET_DATA, SetDataRequest(path, data, -1)))

    def told(
        self,
        op: int,
        request: Record | None,
        zxid: int,
        error: int = 0,
        body: bytes = b"",
        xid: int = 99,
    ) -> None:
        frame = Reader(struct.pack(">qi", zxid, error) + body)
        self.view.reply(SESSION, xid, op, request, frame)
        assert frame.at_end()

    def stat(self, path: bytes, zxid: int) -> bytes:
        fields = self.history.at(path, zxid)
        assert fields is not None
        return fields.stat()

    def gets(
        self, path: bytes, zxid: int, *, watch: bool = False, data: bytes | None = None
    ) -> None:
        """The client is told what a znode holds; the truth, unless `data` says otherwise."""
        fields = self.history.at(path, zxid)
        request = PathWatchRequest(path, watch)
        if fields is None:
            self.told(Op.GET_DATA, request, zxid, -101)
            return
        out = bytearray()
        write_buffer(out, fields.data if data is None else data)
        self.told(Op.GET_DATA, request, zxid, 0, bytes(out) + fields.stat())

    def looks(self, path: bytes, zxid: int, *, watch: bool = True) -> None:
        there = self.history.at(path, zxid) is not None
        body = self.stat(path, zxid) if there else b""
        self.told(Op.EXISTS, PathWatchRequest(path, watch), zxid, 0 if there else -101, body)

    def lists(self, path: bytes, zxid: int, names: list[bytes]) -> None:
        out = bytearray(struct.pack(">i", len(names)))
        for name in names:
            write_buffer(out, name)
        body = bytes(out) + self.stat(path, zxid)
        self.told(Op.GET_CHILDREN2, PathWatchRequest(path, True), zxid, 0, body)


def test_zxids_never_go_back() -> None:
    world = World()
    old, new = world.create(b"/a"), world.create(b"/b")
    world.told(Op.PING, None, new)
    with pytest.raises(Violation, match="was told 0x2 after 0x3"):
        world.told(Op.PING, None, old)


def test_a_zxid_that_nothing_has_is_not_told() -> None:
    with pytest.raises(Violation, match="which nothing has"):
        World().told(Op.PING, None, 2)


def test_what_is_told_is_promised() -> None:
    world = World()
    world.told(Op.PING, None, world.create(b"/a"))
    with pytest.raises(Violation, match="promised"):
        world.history.cut(1)


def test_a_read_shows_the_tree_of_its_zxid() -> None:
    world = World()
    old = world.create(b"/a", b"old")
    new = world.set(b"/a", b"new")
    world.gets(b"/a", old, data=b"old")
    world.gets(b"/a", new)
    with pytest.raises(Violation, match="holds b'new', not b'old'"):
        world.gets(b"/a", new, data=b"old")


def test_a_znode_that_is_there_is_found_with_its_stat() -> None:
    world = World()
    zxid = world.create(b"/a")
    with pytest.raises(Violation, match="met -101"):
        world.told(Op.EXISTS, PathWatchRequest(b"/a", False), zxid, -101)
    with pytest.raises(Violation, match="b'/a' at 0x2 is"):
        world.told(Op.EXISTS, PathWatchRequest(b"/a", False), zxid, 0, bytes(68))
    world.looks(b"/a", zxid)


def test_children_are_all_there_once() -> None:
    world = World()
    zxid = world.create(b"/a")
    world.lists(b"/", zxid, [b"a", b"zookeeper"])
    with pytest.raises(Violation, match="has"):
        world.lists(b"/", zxid, [b"zookeeper"])
    with pytest.raises(Violation, match="has"):
        world.lists(b"/", zxid, [b"a", b"a", b"zookeeper"])


def test_a_write_that_was_acknowledged_is_the_txn_of_its_zxid() -> None:
    world = World()
    first, second = world.create(b"/a"), world.set(b"/a", b"1")
    request = SetDataRequest(b"/a", b"1", -1)
    with pytest.raises(Violation, match="is said to be 0x2"):
        world.told(Op.SET_DATA, request, first, xid=second)
    with pytest.raises(Violation, match="met -101, not 0"):
        world.told(Op.SET_DATA, request, second, -101, xid=second)
    world.told(Op.SET_DATA, request, second, 0, world.stat(b"/a", second), xid=second)


def test_a_write_that_met_an_error_is_told_so() -> None:
    world = World()
    zxid = world.set(b"/no", b"")
    with pytest.raises(Violation, match="met 0, not -101"):
        world.told(Op.SET_DATA, SetDataRequest(b"/no", b"", -1), zxid, 0, bytes(68), xid=zxid)


def test_a_create_tells_the_path_that_it_made() -> None:
    world = World()
    zxid = world.create(b"/a")
    request = CreateRequest(b"/a", b"", OPEN_ACL, 0)
    with pytest.raises(Violation, match="another path"):
        world.told(Op.CREATE, request, zxid, 0, b"\0\0\0\x02/b", xid=zxid)


def test_a_write_that_was_refused_is_not_done() -> None:
    world = World()
    request = CreateRequest(b"/a", b"", OPEN_ACL, 0)
    world.told(Op.CREATE, request, 1, -1, xid=50)
    assert (SESSION, 50) in world.view.refused
    zxid = world.create(b"/a")
    with pytest.raises(Violation, match="refused and done"):
        world.told(Op.CREATE, request, zxid, -1, xid=zxid)


def test_the_end_of_a_session_is_told_when_it_has_ended() -> None:
    with pytest.raises(Violation, match="the end of its session"):
        World().told(Op.CLOSE_SESSION, requests.Empty(), 1, xid=3)


def test_a_multi_is_told_part_by_part() -> None:
    world = World()
    create = CreateRequest(b"/a", b"", OPEN_ACL, 0)
    asked = Multi([(Op.CREATE, create), (Op.CREATE, create)])
    done: list[tuple[int, Record]] = [
        (Op.CREATE, CreateTxn(b"/a", b"", OPEN_ACL, False, 1)),
        (Op.ERROR, ErrorTxn(-110)),
    ]
    zxid = world._follow(Op.MULTI, MultiTxn(done), (Op.MULTI, asked))
    right = requests.error_result(0) + requests.error_result(-110)
    world.told(Op.MULTI, asked, zxid, 0, right + requests.MULTI_END, xid=zxid)
    wrong = requests.error_result(0) + requests.error_result(-101)
    with pytest.raises(Violation, match="a multi's part"):
        world.told(Op.MULTI, asked, zxid, 0, wrong + requests.MULTI_END, xid=zxid)


def test_the_event_of_a_watch_comes_before_what_shows_the_change() -> None:
    world = World()
    world.gets(b"/a", world.create(b"/a"), watch=True)
    zxid = world.set(b"/a", b"1")
    with pytest.raises(Violation, match="is shown before"):
        world.told(Op.PING, None, zxid)


def test_after_the_event_all_is_well_and_the_watch_is_used_up() -> None:
    world = World()
    world.gets(b"/a", world.create(b"/a"), watch=True)
    zxid = world.set(b"/a", b"1")
    world.view.event(CHANGED, zxid, b"/a")
    later = world.set(b"/a", b"2")
    world.gets(b"/a", later)
    with pytest.raises(Violation, match="does not watch"):
        world.view.event(CHANGED, later, b"/a")


def test_an_event_needs_a_cause() -> None:
    world = World()
    zxid = world.create(b"/a")
    world.gets(b"/a", zxid, watch=True)
    world.set(b"/b", b"")
    with pytest.raises(Violation, match="nothing caused"):
        world.view.event(CHANGED, zxid + 1, b"/a")


def test_exists_watches_what_is_not_there_and_get_does_not() -> None:
    world = World()
    world.looks(b"/a", 1)
    world.gets(b"/b", 1, watch=True)
    world.view.event(CREATED, world.create(b"/a"), b"/a")
    world.told(Op.PING, None, world.create(b"/b"))


def test_watches_of_children_do_not_see_data() -> None:
    world = World()
    world.lists(b"/", world.create(b"/a"), [b"a", b"zookeeper"])
    world.told(Op.PING, None, world.set(b"/a", b"1"))
    zxid = world.create(b"/b")
    with pytest.raises(Violation, match="is shown before"):
        world.told(Op.PING, None, zxid)


def test_a_persistent_watch_goes_on_and_a_recursive_one_goes_deep() -> None:
    for mode, path, seen in ((0, b"/a", b"/a"), (1, b"/", b"/a")):
        world = World()
        since = world.create(b"/a")
        request = requests.WatchesRequest(path, mode)
        world.told(Op.ADD_WATCH, request, since, 0, bytes(4))
        for value in (b"1", b"2"):
            zxid = world.set(b"/a", value)
            world.view.event(CHANGED, zxid, seen)
            world.told(Op.PING, None, zxid)
        zxid = world.set(b"/a", b"3")
        with pytest.raises(Violation, match="is shown before"):
            world.told(Op.PING, None, zxid)


def test_a_recursive_watch_does_not_tell_of_children() -> None:
    world = World()
    world.told(Op.ADD_WATCH, requests.WatchesRequest(b"/", 1), 1, 0, bytes(4))
    zxid = world.create(b"/a")
    world.view.event(CREATED, zxid, b"/a")
    world.told(Op.PING, None, zxid)
    with pytest.raises(Violation, match="does not watch"):
        world.view.event(CHILDREN, zxid, b"/")


def test_watches_that_are_set_again_tell_all_that_was_missed_and_only_that() -> None:
    def again(told: Sequence[tuple[int, bytes]]) -> ClientView:
        world = World()
        for path in (b"/a", b"/b"):
            world.gets(path, world.create(path), watch=True)
        world.looks(b"/c", world.history.zxid)
        world.view.connected()
        request = world.view.watches_to_set()
        world.set(b"/a", b"1")
        zxid = world.create(b"/c")
        for event, path in told:
            world.view.event(event, -1, path)
        world.told(Op.SET_WATCHES2, request, zxid)
        return world.view

    view = again([(CHANGED, b"/a"), (CREATED, b"/c")])
    assert list(view.watched) == [("data", b"/b")]
    for wrong in ([], [(CHANGED, b"/a")], [(CHANGED, b"/a"), (CREATED, b"/c"), (DELETED, b"/b")]):
        with pytest.raises(Violation, match="missed events"):
            again(wrong)


def test_a_session_may_be_silent_for_its_time_out() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.grant(1, 1000, now_ms=0)
    leases.answered(1, sent_ms=500)
    leases.heard(1, now_ms=510)
    leases.check(now_ms=1600)
    leases.ends(1, now_ms=1600, asked=False)
    leases.check(now_ms=9999)


def test_a_session_that_ends_too_early_or_not_at_all_is_found() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.grant(1, 1000, now_ms=0)
    leases.answered(1, sent_ms=500)
    leases.heard(1, now_ms=510)
    with pytest.raises(Violation, match="should have ended at 1611"):
        leases.check(now_ms=1612)
    with pytest.raises(Violation, match="expired 900 ms after it spoke"):
        leases.ends(1, now_ms=1400, asked=False)


def test_a_client_may_end_its_session_at_any_time() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.grant(1, 1000, now_ms=0)
    leases.answered(1, sent_ms=500)
    leases.ends(1, now_ms=501, asked=True)


def test_after_a_start_every_session_gets_its_time_anew() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.grant(1, 1000, now_ms=0)
    leases.forget_all(now_ms=5000)
    leases.check(now_ms=5000)
    leases.grant(1, 1000, now_ms=5000)
    leases.check(now_ms=6100)


def test_a_session_may_last_longer_by_as_long_as_a_server_was_late() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.turns(now_ms=0)
    leases.grant(1, 1000, now_ms=0)
    for now_ms in (50, 100, 3000, 3050):
        leases.turns(now_ms)
    leases.check(now_ms=4001)
    with pytest.raises(Violation, match="should have ended at 4001"):
        leases.check(now_ms=4002)
    # What it was late before the session was heard of makes no difference.
    leases.heard(1, now_ms=3050)
    with pytest.raises(Violation, match="should have ended at 4151"):
        leases.check(now_ms=4152)


def test_what_came_in_good_time_counts_though_it_was_not_read() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.grant(1, 1000, now_ms=0)
    for now_ms in (900, 1800, 2700):
        leases.unread(1, now_ms)
    with pytest.raises(Violation, match="expired 300 ms after it spoke"):
        leases.ends(1, now_ms=3000, asked=False)


def test_what_came_too_late_does_not_count_unless_it_is_read() -> None:
    leases = Leases(tick_ms=100, slack_ms=1)
    leases.grant(1, 1000, now_ms=0)
    leases.unread(1, now_ms=980)
    leases.ends(1, now_ms=1101, asked=False)
