"""When a sync waits for more writes, and when it does not."""

from __future__ import annotations

from coterie.runtime.gathering import Gathering


def test_a_sync_waits_a_moment_for_who_just_got_an_answer() -> None:
    """48 clients in two groups become one: a sync for all instead of one for each half."""
    gathering = Gathering()
    assert gathering.wait_ms(1, 0.0) == 0
    for _ in range(2):
        gathering.begins(24)
        gathering.ends(10.0, 4.0)
    assert gathering.wait_ms(1, 10.0) == 2.0
    assert gathering.wait_ms(1, 11.5) == 0.5
    assert gathering.wait_ms(1, 12.5) == 0
    assert gathering.wait_ms(42, 10.0) == 0


def test_a_lone_writer_never_waits() -> None:
    gathering = Gathering()
    for now_ms in range(100):
        assert gathering.wait_ms(1, now_ms) == 0
        gathering.begins(1)
        gathering.ends(now_ms + 0.5, 0.5)


def test_who_waits_in_vain_stops_that_for_a_while() -> None:
    """Writes that do not wait for answers come when they come."""
    gathering = Gathering()
    waits = []
    for now_ms in range(0, 2000, 10):
        waits.append(gathering.wait_ms(3, float(now_ms)) > 0)
        gathering.begins(3)
        gathering.ends(float(now_ms) + 9.5, 4.0)
    assert 5 <= sum(waits) <= 20
