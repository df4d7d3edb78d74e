"""Who is told of which event, and how watches are armed again."""

from __future__ import annotations

from coterie.client.watches import CHILD, DATA, EXIST, Watcher, Watches
from coterie.values import AddWatchMode, EventType
from coterie.wire.requests import Op, SetWatches, SetWatches2


class Ear:
    """Remembers under which names it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, name: str) -> Watcher:
        def told(event: EventType, path: bytes) -> None:
            self.heard.append(name)

        return told


def fire(watches: Watches, event: EventType, path: bytes) -> None:
    for watcher in watches.fired(event, path):
        watcher(event, path)


def test_a_one_shot_watch_is_told_once() -> None:
    watches, ear = Watches(), Ear()
    watches.once(DATA, b"/a", ear("data"))
    fire(watches, EventType.NODE_DATA_CHANGED, b"/b")
    assert ear.heard == []
    fire(watches, EventType.NODE_DATA_CHANGED, b"/a")
    fire(watches, EventType.NODE_DATA_CHANGED, b"/a")
    assert ear.heard == ["data"]


def test_a_deletion_ends_the_watches_of_all_kinds() -> None:
    watches, ear = Watches(), Ear()
    for kind, name in ((DATA, "data"), (EXIST, "exist"), (CHILD, "child")):
        watches.once(kind, b"/a", ear(name))
    fire(watches, EventType.NODE_DELETED, b"/a")
    assert sorted(ear.heard) == ["child", "data", "exist"]
    assert list(watches.arm(0)) == []


def test_children_are_no_matter_of_data_watches() -> None:
    watches, ear = Watches(), Ear()
    watches.once(DATA, b"/a", ear("data"))
    watches.once(CHILD, b"/a", ear("child"))
    fire(watches, EventType.NODE_CHILDREN_CHANGED, b"/a")
    assert ear.heard == ["child"]


def test_a_subtree_is_watched_from_all_above_but_not_its_children_events() -> None:
    watches, ear = Watches(), Ear()
    watches.add(AddWatchMode.PERSISTENT_RECURSIVE, b"/", ear("root"))
    watches.add(AddWatchMode.PERSISTENT_RECURSIVE, b"/a", ear("a"))
    watches.add(AddWatchMode.PERSISTENT, b"/a/b", ear("b"))
    fire(watches, EventType.NODE_CREATED, b"/a/b")
    assert sorted(ear.heard) == ["a", "b", "root"]
    fire(watches, EventType.NODE_CHILDREN_CHANGED, b"/a/b")
    assert sorted(ear.heard) == ["a", "b", "b", "root"]
    fire(watches, EventType.NODE_CREATED, b"/ab")
    assert ear.heard[-1] == "root"


def test_the_server_may_forget_a_path_when_nobody_watches_it_in_any_way() -> None:
    watches, ear = Watches(), Ear()
    one, other = ear("one"), ear("other")
    mode = AddWatchMode.PERSISTENT
    watches.add(mode, b"/a", one)
    watches.add(mode, b"/a", other)
    assert not watches.drop(mode, b"/a", one)
    watches.once(CHILD, b"/a", ear("child"))
    assert not watches.drop(mode, b"/a", other)
    watches.fired(EventType.NODE_CHILDREN_CHANGED, b"/a")
    watches.add(mode, b"/a", one)
    assert watches.drop(mode, b"/a", one)


def test_all_are_armed_again_and_old_servers_get_the_packet_that_they_know() -> None:
    watches, ear = Watches(), Ear()
    watches.once(DATA, b"/d", ear(""))
    watches.once(EXIST, b"/e", ear(""))
    watches.once(CHILD, b"/c", ear(""))
    ((op, body),) = watches.arm(7)
    assert op == Op.SET_WATCHES
    assert SetWatches.decode(body) == SetWatches(7, [b"/d"], [b"/e"], [b"/c"])
    watches.add(AddWatchMode.PERSISTENT, b"/p", ear(""))
    watches.add(AddWatchMode.PERSISTENT_RECURSIVE, b"/r", ear(""))
    ((op, body),) = watches.arm(7)
    assert op == Op.SET_WATCHES2
    assert SetWatches2.decode(body) == SetWatches2(7, [b"/d"], [b"/e"], [b"/c"], [b"/p"], [b"/r"])


def test_many_watches_are_armed_in_packets_that_fit_zookeeper_706() -> None:
    watches, ear = Watches(), Ear()
    paths = [b"/%06d-" % number + b"x" * 1000 for number in range(2000)]
    for path in paths:
        watches.once(DATA, path, ear(""))
    packets = [body for _, body in watches.arm(1)]
    assert max(map(len, packets)) < 0xFFFFF
    assert [path for body in packets for path in SetWatches.decode(body).data_watches] == paths


def test_a_gap_is_told_to_the_lasting_ones_alone() -> None:
    watches, ear = Watches(), Ear()
    watches.once(DATA, b"/a", ear("once"))
    watches.add(AddWatchMode.PERSISTENT, b"/a", ear("lasting"))
    assert [path for path, _ in watches.gap()] == [b"/a"]


def test_a_watch_that_is_forgotten_is_neither_told_nor_armed_again() -> None:
    watches, ear = Watches(), Ear()
    forgotten = ear("forgotten")
    for kind in (DATA, EXIST, CHILD):
        watches.once(kind, b"/a", forgotten)
    watches.once(DATA, b"/a", ear("data"))
    watches.forget(b"/a", forgotten)
    watches.forget(b"/a", forgotten)
    assert [op for op, _ in watches.arm(0)] == [Op.SET_WATCHES]
    fire(watches, EventType.NODE_DELETED, b"/a")
    assert ear.heard == ["data"]
    assert list(watches.arm(0)) == []
