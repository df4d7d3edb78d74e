"""The clocks of this machine, and times as Java's `Date` prints them."""

from __future__ import annotations

import re
import time
from random import Random

import pytest

from coterie.system.clock import SystemClock, dice, secret_dice, show_instant, show_time
from tests.golden.packets import HERE


def test_monotonic_time_only_goes_forward_in_milliseconds() -> None:
    clock = SystemClock()
    seen = [clock.monotonic_ms() for _ in range(1000)]
    assert seen == sorted(seen)
    assert clock.monotonic_ms() == pytest.approx(time.monotonic() * 1000, abs=1000)


def test_wall_time_is_milliseconds_since_1970() -> None:
    assert SystemClock().wall_ms() == pytest.approx(time.time() * 1000, abs=1000)


@pytest.mark.parametrize(
    ("wall_ms", "shown"),
    [
        (0, "Thu Jan 01 00:00:00 UTC 1970"),
        (999, "Thu Jan 01 00:00:00 UTC 1970"),
        (1_709_210_096_123, "Thu Feb 29 12:34:56 UTC 2024"),
    ],
)
def test_a_time_is_shown_as_java_shows_it(wall_ms: int, shown: str) -> None:
    assert show_time(wall_ms) == shown


def test_a_time_has_the_shape_that_apache_prints() -> None:
    printed = re.findall(r"expire at (.*):\n", (HERE / "dump.txt").read_text())
    assert printed
    for text in printed:
        seconds = time.strptime(text.replace(" UTC", ""), "%a %b %d %H:%M:%S %Y")
        assert show_time(_since_1970(seconds) * 1000) == text


def _since_1970(seconds: time.struct_time) -> int:
    days = (seconds.tm_year - 1970) * 365 + (seconds.tm_year - 1969) // 4 + seconds.tm_yday - 1
    return ((days * 24 + seconds.tm_hour) * 60 + seconds.tm_min) * 60 + seconds.tm_sec


def test_dice_are_not_the_same_twice() -> None:
    one, two = dice(), dice()
    assert isinstance(one, Random)
    assert one.getrandbits(128) != two.getrandbits(128)


def test_a_seed_is_nothing_to_the_secret_dice() -> None:
    throws = []
    for _ in range(2):
        secret = secret_dice()
        secret.seed(1)
        throws.append(secret.getrandbits(64))
    assert throws[0] != throws[1]


def test_instants_are_in_utc_to_the_millisecond() -> None:
    assert show_instant(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
