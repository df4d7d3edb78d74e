"""Virtual time: order, timers, clocks that run fast, jump and begin anew."""

from __future__ import annotations

from coterie.system.clock import Clock
from coterie.testing.clock import EPOCH_MS, Time, VirtualClock


def test_events_come_by_time_and_those_of_one_time_in_order() -> None:
    time, seen = Time(), []
    for name, delay_ms in (("c", 5), ("a", 1), ("d", 5), ("b", 1)):
        time.after(delay_ms, lambda name=name: seen.append((name, time.now_ms)))  # type: ignore[misc]
    while time.step():
        pass
    assert seen == [("a", 1), ("b", 1), ("c", 5), ("d", 5)]
    assert not time.step()


def test_what_is_asked_for_meanwhile_comes_in_its_turn() -> None:
    time, seen = Time(), []

    def nest() -> None:
        time.after(1, lambda: seen.append("nested"))

    time.after(1, nest)
    time.after(3, lambda: seen.append("last"))
    while time.step():
        pass
    assert seen == ["nested", "last"]


def test_a_cancelled_timer_does_nothing() -> None:
    time, seen = Time(), []
    timer = time.after(1, lambda: seen.append("no"))
    time.after(2, lambda: seen.append("yes"))
    timer.cancel()
    assert time.step()
    assert seen == ["yes"]
    assert time.now_ms == 2


def test_running_until_a_time_leaves_what_is_later() -> None:
    time, seen = Time(), []
    time.after(1, lambda: seen.append(1))
    time.after(9, lambda: seen.append(9))
    time.run(5)
    assert (seen, time.now_ms) == ([1], 5)


def test_a_fast_clock_waits_less() -> None:
    time, seen = Time(), []
    clock: Clock = VirtualClock(time, rate=2.0)
    fast = VirtualClock(time, rate=2.0)
    fast.after(10, lambda: seen.append(time.now_ms))
    time.step()
    assert seen == [5]
    assert clock.monotonic_ms() == 10
    assert clock.wall_ms() == EPOCH_MS + 10


def test_the_wall_clock_jumps_and_the_other_does_not() -> None:
    clock = VirtualClock(Time())
    clock.jump(-500)
    assert (clock.monotonic_ms(), clock.wall_ms()) == (0, EPOCH_MS - 500)


def test_after_a_boot_the_monotonic_clock_begins_anew() -> None:
    time = Time()
    clock = VirtualClock(time, booted_ms=7)
    time.run(100)
    assert clock.monotonic_ms() == 107
    clock.reboot(3)
    assert clock.monotonic_ms() == 3
    assert clock.wall_ms() == EPOCH_MS + 100
