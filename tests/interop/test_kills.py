"""The leader of a mixed ensemble is killed ten times under load, and nothing is lost."""

from __future__ import annotations

import random

import pytest

from tests.interop.conftest import Gather
from tests.interop.crowd import Crowd, kill_leaders
from tests.interop.ensembles import MIXES

_KILLS = 10


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mix", MIXES)
def test_ten_leaders_are_killed(mix: str, gather: Gather) -> None:
    ensemble = gather(MIXES[mix]).start()
    with Crowd(ensemble) as crowd:
        led = kill_leaders(ensemble, crowd, _KILLS, random.Random(mix))
        told = crowd.judge()
    assert {ensemble.kind(number) for number in led} == {"coterie", "apache"}, led
    acknowledged = sum(each.acknowledged for each in told)
    assert acknowledged > 100 * _KILLS, "too little was written to show anything"
    assert sum(each.attachments for each in told) > _KILLS
