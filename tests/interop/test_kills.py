"""Members of a mixed ensemble are killed and stand still under load, and nothing is lost."""

from __future__ import annotations

import random

import pytest

from tests.interop.conftest import Gather
from tests.interop.crowd import Crowd, bad_day, kill_leaders
from tests.interop.ensembles import MIXES

_KILLS = 10
_STEPS = 5


pytestmark = [pytest.mark.timeout(400), pytest.mark.parametrize("mix", MIXES)]


def test_ten_leaders_are_killed(mix: str, gather: Gather) -> None:
    ensemble = gather(MIXES[mix]).start()
    with Crowd(ensemble) as crowd:
        led = kill_leaders(ensemble, crowd, _KILLS, random.Random(mix))
        told = crowd.judge()
    assert {ensemble.kind(number) for number in led} == {"coterie", "apache"}, led
    acknowledged = sum(each.acknowledged for each in told)
    assert acknowledged > 100 * _KILLS, "too little was written to show anything"
    assert sum(each.attachments for each in told) > _KILLS


def test_a_bad_day(mix: str, gather: Gather) -> None:
    ensemble = gather(MIXES[mix]).start()
    with Crowd(ensemble) as crowd:
        bad_day(ensemble, crowd, _STEPS, random.Random(mix))
        crowd.judge()
