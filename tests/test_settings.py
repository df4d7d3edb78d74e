"""The table of settings: one for every attribute, and defaults that can be written in a file."""

from __future__ import annotations

from dataclasses import fields

import pytest

from coterie.ensemble import Ensemble
from coterie.settings import SETTINGS, Config


def test_every_attribute_has_one_setting() -> None:
    attributes = [attribute for attribute, _ in SETTINGS.values()]
    not_written = ["ensemble", "server_id"]
    assert [*attributes, *not_written] == [field.name for field in fields(Config)]
    assert len(set(attributes)) == len(attributes)


@pytest.mark.parametrize("key", SETTINGS)
def test_a_default_is_read_back_as_it_is_shown(key: str) -> None:
    attribute, one = SETTINGS[key]
    default = getattr(Config(data_dir="/data"), attribute)
    if default not in ("", None):
        assert one.kind.read(one.kind.show(default)) == default


def test_times_in_ticks() -> None:
    config = Config(data_dir="/data", tick_time_ms=200, init_limit=3, sync_limit=2)
    assert (config.min_session_timeout_ms, config.max_session_timeout_ms) == (400, 4000)
    assert (config.init_limit_ms, config.sync_limit_ms) == (600, 400)
    assert config.connect_limit_ms == 600


def test_a_member_has_a_seat() -> None:
    ensemble = Ensemble.parse("server.7=a:1:2")
    config = Config(data_dir="/data", ensemble=ensemble, server_id=7)
    assert config.seat is ensemble.seats[7]
