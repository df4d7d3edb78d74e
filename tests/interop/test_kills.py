"""The leader of a mixed ensemble is killed ten times under load, and nothing is lost.

What is checked at the end: every acknowledged write is there with its zxid, every session that
came back in time was let in, and every member shows the same tree with the same Stats.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest

from tests.interop.conftest import Gather
from tests.interop.ensembles import MIXES, TICK_MS, Ensemble, until
from tests.interop.writers import Writer, faults, prepare

_WRITERS = ("ann", "ben", "cat", "dan")
_KILLS = 10
_TIMEOUT_MS = 8000

pytestmark = pytest.mark.timeout(400)


def _go_on(writers: Sequence[Writer], ensemble: Ensemble) -> None:
    """Wait until every writer has had another write acknowledged."""
    before = {writer.name: writer.told.acknowledged for writer in writers}
    until(
        lambda: all(writer.told.acknowledged > before[writer.name] for writer in writers),
        lambda: f"no writes get through\n{ensemble.said()}",
    )


def _kill_leaders(ensemble: Ensemble, writers: Sequence[Writer], dice: random.Random) -> list[int]:
    """Ten times; the killed one comes back at once, or after the others went on without it."""
    led = []
    for _ in range(_KILLS):
        _go_on(writers, ensemble)
        led.append(ensemble.leader())
        time.sleep(dice.uniform(0.0, 0.5))
        ensemble.kill(led[-1])
        if dice.random() < 0.5:
            _go_on(writers, ensemble)
        ensemble.start()
    _go_on(writers, ensemble)
    return led


@pytest.mark.parametrize("mix", MIXES)
def test_ten_leaders_are_killed(mix: str, gather: Gather) -> None:
    ensemble = gather(MIXES[mix]).start()
    with ensemble.client(1) as client:
        prepare(client, _WRITERS)
        client.close_session()
    writers = [
        Writer(name, ensemble.addresses(), timeout_ms=_TIMEOUT_MS, tick_ms=TICK_MS)
        for name in _WRITERS
    ]
    for writer in writers:
        writer.start()
    led = _kill_leaders(ensemble, writers, random.Random(mix))
    told = [writer.finish() for writer in writers]
    tree = ensemble.same_tree()
    assert not (found := faults(tree, told)), "\n".join(found[:20])
    assert {ensemble.kind(number) for number in led} == {"coterie", "apache"}, led
    acknowledged = sum(each.acknowledged for each in told)
    assert acknowledged > 100 * _KILLS, "too little was written to show anything"
    assert sum(each.attachments for each in told) > _KILLS
