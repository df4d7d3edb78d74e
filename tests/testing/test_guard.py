"""What holders promise each other: every rule lets the right pass and ends a run for the wrong."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from coterie.testing.clock import Time
from coterie.testing.guard import Guard, Sessions
from coterie.testing.history import Violation


class Holder:
    """A program of which a test says everything."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ran_ms = 0.0
        self.running = True
        self.own_ms: float | None = 1e9

    def expires_ms(self, session_id: int) -> float | None:
        return self.own_ms


class World:
    """A resource and what is told of it."""

    def __init__(self, room: int = 1) -> None:
        self.time = Time()
        self.marks: Counter[str] = Counter()
        self.sessions = Sessions()
        self.guard = Guard("r", self, self.sessions, Random(1), room)
        self.a, self.b = Holder("a"), Holder("b")

    def note(self, kind: str, *facts: object) -> None:
        assert kind in {"holds", "lets go", "refuses"}

    def mark(self, name: str) -> None:
        self.marks[name] += 1

    def at(self, now_ms: float) -> None:
        self.time.run(now_ms)


def test_one_after_the_other_may_hold() -> None:
    world = World()
    first = world.guard.granted(world.a, 3, 1)
    world.guard.let_go(first)
    world.guard.granted(world.b, 5, 2)
    assert world.guard.grants == 2


def test_nobody_holds_beside_another_whose_session_lives() -> None:
    world = World()
    world.guard.granted(world.a, 3, 1)
    with pytest.raises(Violation, match=r"b \(0x5\) holds what a \(0x3\) hold"):
        world.guard.granted(world.b, 5, 2)


def test_who_follows_on_a_session_that_has_ended_may_hold() -> None:
    world = World()
    world.guard.granted(world.a, 3, 1)
    world.sessions.ended(1, world.time.now_ms)
    world.guard.granted(world.b, 5, 2)


def test_so_many_may_hold_as_there_is_room_for() -> None:
    world = World(room=2)
    world.guard.granted(world.a, 5, 1)
    world.guard.granted(world.b, 3, 2)
    with pytest.raises(Violation, match="hold"):
        world.guard.granted(Holder("c"), 7, 3)


def test_some_share_and_exclude_others() -> None:
    world = World()
    world.guard.granted(world.a, 5, 1, shared=True)
    world.guard.granted(world.b, 3, 2, shared=True)
    with pytest.raises(Violation, match="hold"):
        world.guard.granted(Holder("c"), 7, 3)


def test_no_token_is_given_twice() -> None:
    world = World()
    world.guard.let_go(world.guard.granted(world.a, 3, 1))
    with pytest.raises(Violation, match="as a had"):
        world.guard.granted(world.b, 3, 2)


def test_tokens_grow_unless_the_session_is_over() -> None:
    world = World()
    world.guard.let_go(world.guard.granted(world.a, 5, 1))
    world.sessions.ended(2, world.time.now_ms)
    world.guard.let_go(world.guard.granted(world.b, 4, 2))
    with pytest.raises(Violation, match="after a bigger one"):
        world.guard.granted(world.b, 3, 3)


def test_a_stale_token_is_refused() -> None:
    world = World()
    old = world.guard.granted(world.a, 3, 1)
    world.sessions.ended(1, world.time.now_ms)
    new = world.guard.granted(world.b, 5, 2)
    said: list[tuple[str, bool]] = []
    for name, holding in (("old", old), ("new", new), ("old", old)):
        world.guard.use(holding, 1.0, lambda done, name=name: said.append((name, done)))  # type: ignore[misc]
        world.at(world.time.now_ms + 1000)
    assert said == [("old", True), ("new", True), ("old", False)]
    assert world.marks["a stale token was refused"] == 1


def test_readers_are_stale_only_after_a_writer() -> None:
    world = World()
    readers = [world.guard.granted(world.a, token, 1, shared=True) for token in (4, 3)]
    for reader in readers:
        world.guard.let_go(reader)
    writer = world.guard.granted(world.b, 5, 2)
    said: list[bool] = []
    for holding in (*readers, writer, readers[0]):
        world.guard.use(holding, 1.0, said.append)
        world.at(world.time.now_ms + 1000)
    assert said == [True, True, True, False]


def test_a_holder_lets_go_when_its_session_has_ended() -> None:
    world = World()
    holding = world.guard.granted(world.a, 3, 1)
    world.at(100)
    world.sessions.ended(1, world.time.now_ms)
    world.sessions.ended(1, 200)
    world.guard.look()
    world.at(102)
    with pytest.raises(Violation, match="its session has ended"):
        world.guard.look()
    world.guard.let_go(holding)
    world.guard.look()


def test_a_holder_lets_go_when_its_own_clock_says_so() -> None:
    world = World()
    world.a.own_ms = 100.0
    world.guard.granted(world.a, 3, 1)
    world.at(100)
    world.guard.look()
    world.at(102)
    # Its client has another session by now: what was known of the one before is what counts.
    world.a.own_ms = None
    with pytest.raises(Violation, match="own clock"):
        world.guard.look()


def test_who_does_not_run_cannot_be_told() -> None:
    world = World()
    world.guard.granted(world.a, 3, 1)
    world.sessions.ended(1, 0.0)
    world.a.running = False
    world.at(100)
    world.guard.look()
    world.a.running, world.a.ran_ms = True, 99.5
    world.guard.look()
    world.at(101)
    with pytest.raises(Violation, match="ended"):
        world.guard.look()
