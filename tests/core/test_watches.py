"""Who an event reaches, how often, and what is left of the watches afterwards."""

from __future__ import annotations

import pytest

from coterie.core.connection import Connection
from coterie.core.watches import ONE_SHOT, PERSISTENT, RECURSIVE, Table, Watches
from coterie.errors import ThrottledError
from coterie.values import EventType, WatcherType

CREATED, DELETED = EventType.NODE_CREATED, EventType.NODE_DELETED
CHANGED, CHILDREN = EventType.NODE_DATA_CHANGED, EventType.NODE_CHILDREN_CHANGED


def connection(number: int) -> Connection:
    return Connection(number, "127.0.0.1", 4000 + number, 1024, 0, 0)


ANN, BOB = connection(1), connection(2)


@pytest.fixture
def watches() -> Watches:
    return Watches()


def test_a_one_shot_watch_fires_once(watches: Watches) -> None:
    watches.data.add(b"/a", ANN, ONE_SHOT)
    watches.data.add(b"/a", ANN, ONE_SHOT)
    assert watches.data.count() == 1
    assert watches.fire(CHANGED, b"/b") == []
    assert watches.fire(CHILDREN, b"/a") == []
    assert watches.fire(CHANGED, b"/a") == [ANN]
    assert watches.fire(CHANGED, b"/a") == []
    assert (watches.data.by_path, watches.data.by_watcher) == ({}, {})


def test_watchers_are_met_in_the_order_in_which_they_came(watches: Watches) -> None:
    for watcher in (BOB, ANN):
        watches.data.add(b"/a", watcher, ONE_SHOT)
    assert watches.fire(CREATED, b"/a") == [BOB, ANN]


def test_a_child_watch_hears_of_children_and_of_the_end(watches: Watches) -> None:
    watches.children.add(b"/a", ANN, ONE_SHOT)
    assert watches.fire(CHANGED, b"/a") == watches.fire(CREATED, b"/a") == []
    assert watches.fire(CHILDREN, b"/a") == [ANN]
    watches.children.add(b"/a", ANN, ONE_SHOT)
    assert watches.fire(DELETED, b"/a") == [ANN]
    assert watches.children.count() == 0


def test_a_deleted_znode_is_told_once_to_who_watches_both(watches: Watches) -> None:
    for table in (watches.data, watches.children):
        table.add(b"/a", ANN, ONE_SHOT)
    watches.children.add(b"/a", BOB, ONE_SHOT)
    assert watches.fire(DELETED, b"/a") == [ANN, BOB]
    assert watches.data.count() == watches.children.count() == 0


def test_a_persistent_watch_stays_and_hears_all(watches: Watches) -> None:
    watches.add(b"/a", ANN, PERSISTENT)
    for event in (CREATED, CHANGED, CHILDREN, DELETED, CREATED):
        assert watches.fire(event, b"/a") == [ANN]
    assert watches.fire(CHANGED, b"/a/b") == []


def test_a_recursive_watch_is_of_the_subtree_but_not_of_children(watches: Watches) -> None:
    watches.add(b"/a", ANN, RECURSIVE)
    for path in (b"/a", b"/a/b", b"/a/b/c"):
        for event in (CREATED, CHANGED, DELETED):
            assert watches.fire(event, path) == [ANN]
        assert watches.fire(CHILDREN, path) == []
    for path in (b"/", b"/ab", b"/b"):
        assert watches.fire(CHANGED, path) == []
    watches.add(b"/", BOB, RECURSIVE)
    assert watches.fire(CHANGED, b"/x/y/z") == [BOB]
    assert watches.fire(CHANGED, b"/") == [BOB]
    assert watches.fire(CHANGED, b"/a/b") == [ANN, BOB]


def test_many_watches_that_match_tell_once(watches: Watches) -> None:
    watches.data.add(b"/a/b", ANN, ONE_SHOT)
    watches.add(b"/a/b", ANN, PERSISTENT)
    watches.add(b"/a", ANN, RECURSIVE)
    watches.add(b"/", ANN, RECURSIVE)
    assert watches.fire(CHANGED, b"/a/b") == [ANN]
    # The one-shot is used up, the others are there.
    assert not watches.has(b"/a/b", ANN, WatcherType.DATA)
    assert watches.fire(CHANGED, b"/a/b") == [ANN]


def test_only_a_recursive_watch_hears_from_below(watches: Watches) -> None:
    watches.data.add(b"/a", ANN, ONE_SHOT)
    watches.add(b"/a", ANN, PERSISTENT)
    watches.add(b"/", BOB, RECURSIVE)
    assert watches.fire(CHANGED, b"/a/b") == [BOB]
    assert watches.has(b"/a", ANN, WatcherType.DATA)


KINDS = list(WatcherType)


@pytest.mark.parametrize(
    ("setting", "kinds"),
    [
        ("data", {WatcherType.DATA, WatcherType.ANY}),
        ("children", {WatcherType.CHILDREN, WatcherType.ANY}),
        ("persistent", {WatcherType.PERSISTENT, WatcherType.ANY}),
        ("recursive", {WatcherType.PERSISTENT_RECURSIVE, WatcherType.ANY}),
    ],
)
def test_each_kind_of_watch_is_found_and_removed_by_its_own(
    watches: Watches, setting: str, kinds: set[WatcherType]
) -> None:
    def arm() -> None:
        if setting in ("data", "children"):
            table = watches.data if setting == "data" else watches.children
            table.add(b"/a", ANN, ONE_SHOT)
        else:
            watches.add(b"/a", ANN, PERSISTENT if setting == "persistent" else RECURSIVE)

    for kind in KINDS:
        arm()
        assert watches.has(b"/a", ANN, kind) is (kind in kinds)
        assert not watches.has(b"/a", BOB, kind)
        assert not watches.has(b"/b", ANN, kind)
        assert watches.remove(b"/a", ANN, kind) is (kind in kinds)
        assert watches.remove(b"/a", ANN, kind) is False
        assert watches.has(b"/a", ANN, WatcherType.ANY) is (kind not in kinds)


def test_any_removes_all_and_one_kind_leaves_the_others(watches: Watches) -> None:
    def arm() -> None:
        watches.data.add(b"/a", ANN, ONE_SHOT)
        watches.children.add(b"/a", ANN, ONE_SHOT)
        watches.add(b"/a", ANN, PERSISTENT)
        watches.add(b"/a", ANN, RECURSIVE)

    arm()
    assert watches.remove(b"/a", ANN, WatcherType.DATA)
    assert watches.has(b"/a", ANN, WatcherType.PERSISTENT)
    assert watches.remove(b"/a", ANN, WatcherType.PERSISTENT)
    assert watches.has(b"/a", ANN, WatcherType.PERSISTENT_RECURSIVE)
    assert watches.has(b"/a", ANN, WatcherType.CHILDREN)
    arm()
    assert watches.remove(b"/a", ANN, WatcherType.ANY)
    assert watches.data.count() == watches.children.count() == watches.data.recursive == 0


def test_what_is_no_kind_is_refused(watches: Watches) -> None:
    for kind in (0, 6, -1):
        with pytest.raises(ValueError, match=str(kind)):
            watches.has(b"/a", ANN, kind)
        with pytest.raises(ValueError, match=str(kind)):
            watches.remove(b"/a", ANN, kind)


def test_the_recursive_are_counted(watches: Watches) -> None:
    table = watches.data
    for _ in range(2):
        watches.add(b"/a", ANN, RECURSIVE)
    watches.add(b"/b", ANN, RECURSIVE)
    watches.add(b"/b", BOB, RECURSIVE)
    watches.data.add(b"/b", BOB, ONE_SHOT)
    assert table.recursive == 3
    watches.remove(b"/b", BOB, WatcherType.PERSISTENT_RECURSIVE)
    assert (table.recursive, table.count()) == (2, 3)
    watches.forget(ANN)
    assert (table.recursive, table.count()) == (0, 1)


def test_a_connection_goes_with_its_watches_and_no_others(watches: Watches) -> None:
    for watcher in (ANN, BOB):
        watches.data.add(b"/a", watcher, ONE_SHOT)
        watches.add(b"/b", watcher, PERSISTENT)
    watches.forget(ANN)
    watches.forget(ANN)
    assert watches.fire(CHANGED, b"/a") == watches.fire(CHILDREN, b"/b") == [BOB]
    assert ANN not in watches.data.by_watcher
    assert ANN not in watches.children.by_watcher


def test_a_table_removes_only_what_there_is() -> None:
    table = Table()
    assert not table.remove(b"/a", ANN, ONE_SHOT)
    table.add(b"/a", ANN, ONE_SHOT)
    assert not table.remove(b"/a", ANN, PERSISTENT)
    assert not table.remove(b"/a", BOB, ONE_SHOT)
    assert table.remove(b"/a", ANN, ONE_SHOT | PERSISTENT)
    assert table.count() == 0


# As many as one may have


def test_who_has_all_its_watches_gets_no_more_and_others_do() -> None:
    watches = Watches(2)
    for path in (b"/a", b"/b"):
        watches.data.add(path, ANN, ONE_SHOT)
    with pytest.raises(ThrottledError):
        watches.data.add(b"/c", ANN, ONE_SHOT)
    # Nothing of it stays; what is there may be watched in another way, and children are counted
    # by themselves.
    assert b"/c" not in watches.data.by_path
    watches.data.add(b"/b", ANN, PERSISTENT)
    watches.children.add(b"/c", ANN, ONE_SHOT)
    watches.data.add(b"/c", BOB, ONE_SHOT)
    assert watches.fire(CHANGED, b"/a") == [ANN]
    watches.data.add(b"/c", ANN, ONE_SHOT)
    assert watches.fire(CHANGED, b"/c") == [BOB, ANN]


def test_a_persistent_watch_is_in_both_tables_or_in_none() -> None:
    watches = Watches(1)
    watches.children.add(b"/a", ANN, ONE_SHOT)
    with pytest.raises(ThrottledError):
        watches.add(b"/b", ANN, PERSISTENT)
    assert watches.data.count() == 0
    watches.add(b"/b", ANN, RECURSIVE)
