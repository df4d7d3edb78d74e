"""`core.watches` against the model, whose watches are one list that every event looks through."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coterie.core.connection import Connection
from coterie.core.watches import ONE_SHOT, PERSISTENT, RECURSIVE, Watches
from coterie.errors import NoWatcherError
from coterie.testing.model import CHILD, DATA, Model, Watch
from coterie.testing.model import PERSISTENT as STAYING
from coterie.testing.model import RECURSIVE as DEEP
from coterie.values import EventType, WatcherType

WATCHERS = [Connection(number, "127.0.0.1", number, 1024, 0, 0) for number in range(3)]
MODES = {DATA: ONE_SHOT, CHILD: ONE_SHOT, STAYING: PERSISTENT, DEEP: RECURSIVE}
EVENTS = [
    EventType.NODE_CREATED,
    EventType.NODE_DELETED,
    EventType.NODE_DATA_CHANGED,
    EventType.NODE_CHILDREN_CHANGED,
]

watchers = st.integers(0, len(WATCHERS) - 1)
paths = st.sampled_from([b"/", b"/a", b"/ab", b"/a/b", b"/a/b/c"])
kinds = st.sampled_from(list(MODES))


class WatchesMachine(RuleBasedStateMachine):
    """Sets, fires and removes watches in both."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = Watches()
        self.model = Model()

    @rule(several=st.lists(st.tuples(watchers, paths, kinds), min_size=1, max_size=4))
    def add(self, several: list[tuple[int, bytes, str]]) -> None:
        for who, path, kind in several:
            self.add_one(who, path, kind)

    def add_one(self, who: int, path: bytes, kind: str) -> None:
        watch = Watch(who, path, kind)
        if watch not in self.model.watches:
            self.model.watches.append(watch)
        if kind in (STAYING, DEEP):
            self.watches.add(path, WATCHERS[who], MODES[kind])
        else:
            table = self.watches.data if kind == DATA else self.watches.children
            table.add(path, WATCHERS[who], ONE_SHOT)

    @rule(event=st.sampled_from(EVENTS), path=paths)
    def fire(self, event: EventType, path: bytes) -> None:
        self.model.events.clear()
        self.model.fire(event, path)
        expected = sorted(each.watcher for each in self.model.events)
        assert sorted(each.number for each in self.watches.fire(event, path)) == expected

    @rule(who=watchers, path=paths, type=st.sampled_from(list(WatcherType)))
    def remove(self, who: int, path: bytes, type: WatcherType) -> None:
        try:
            self.model.remove_watches(who, path, type)
            had = True
        except NoWatcherError:
            had = False
        assert self.watches.has(path, WATCHERS[who], type) is had
        assert self.watches.remove(path, WATCHERS[who], type) is had

    @rule(who=st.integers(0, 12))
    def forget(self, who: int) -> None:
        """Seldom: else there are never many watches."""
        if who >= len(WATCHERS):
            return
        self.model.forget(who)
        self.watches.forget(WATCHERS[who])

    @invariant()
    def the_same_watches_are_there(self) -> None:
        kept = {
            (watcher.number, path, "data", mode)
            for path, watchers in self.watches.data.by_path.items()
            for watcher, modes in watchers.items()
            for mode in (ONE_SHOT, PERSISTENT, RECURSIVE)
            if modes & mode
        } | {
            (watcher.number, path, "children", mode)
            for path, watchers in self.watches.children.by_path.items()
            for watcher, modes in watchers.items()
            for mode in (ONE_SHOT, PERSISTENT, RECURSIVE)
            if modes & mode
        }
        expected: set[tuple[int, bytes, str, int]] = set()
        for who, path, kind in self.model.watches:
            if kind != CHILD:
                expected.add((who, path, "data", MODES[kind]))
            if kind in (CHILD, STAYING):
                expected.add((who, path, "children", MODES[kind]))
        assert kept == expected

    @invariant()
    def the_two_ways_of_looking_agree(self) -> None:
        for table in (self.watches.data, self.watches.children):
            pairs = {(path, each) for path, found in table.by_path.items() for each in found}
            assert pairs == {
                (path, each) for each, found in table.by_watcher.items() for path in found
            }
            assert all(table.by_path.values())
            assert all(table.by_watcher.values())
            assert table.count() == len(pairs)
        deep = [watch for watch in self.model.watches if watch.kind == DEEP]
        assert self.watches.data.recursive == len(deep)
        assert self.watches.children.recursive == 0


TestWatches = WatchesMachine.TestCase
TestWatches.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
