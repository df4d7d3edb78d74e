"""The limits of clients: Apache's defaults where Apache has them, and none where none is set."""

from __future__ import annotations

import pytest

from coterie.config import SETTINGS, ConfigError, parse
from coterie.settings import Config

_FILE = "dataDir=/d\nclientPort=2181\nclientPortAddress=127.0.0.1\n"


@pytest.mark.parametrize(
    ("key", "default"),
    {
        "connection_throttle_tokens": 0,
        "connection_throttle_fill_time": 1,
        "connection_throttle_fill_count": 1,
        "connection_throttle_freeze_time": -1,
        "connection_throttle_drop_increase": 0.02,
        "connection_throttle_drop_decrease": 0.002,
        "connection_throttle_decrease_ratio": 0.0,
        "connection_throttle_weight_enabled": False,
        "connection_throttle_global_session_weight": 3,
        "connection_throttle_renew_session_weight": 2,
        "request_throttle_max_requests": 0,
    }.items(),
)
def test_defaults_are_apaches(key: str, default: object) -> None:
    config, notices = parse(_FILE)
    assert getattr(config, SETTINGS[key][0]) == default
    assert notices == []


def test_keys_may_bear_the_prefix_of_apaches_properties() -> None:
    config, _ = parse(_FILE + "zookeeper.connection_throttle_drop_increase=0.5\n")
    assert config.throttle_drop_increase == 0.5


@pytest.mark.parametrize("value", ["-0.1", "1.01", "", "x", "1e-3"])
def test_a_chance_is_a_number_from_0_to_1(value: str) -> None:
    with pytest.raises(ConfigError, match="is not a number from 0 to 1"):
        parse(_FILE + f"connection_throttle_drop_increase={value}\n")


def test_no_limit_is_a_bound_that_nobody_reaches() -> None:
    config = Config(
        data_dir="d",
        own_outstanding_max=0,
        own_outstanding_bytes_max=0,
        own_unread_bytes_max=0,
        own_watches_max=0,
    )
    assert config.own_outstanding_bound > 10**12
    assert config.own_outstanding_bytes_bound > 10**12
    assert config.own_unread_bytes_bound > 10**12
    assert config.own_watches_bound > 10**12
