"""Several writers at one ensemble: kept going while a test does its worst, and judged at its end.

What is checked at the end: every acknowledged write is there with its zxid, every session that
came back in time was let in, and every member shows the same tree with the same Stats.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final, Self

from tests.interop.ensembles import ALL_WELL, TICK_MS, Ensemble, until
from tests.interop.writers import Told, Writer, faults, prepare

NAMES: Final = ("ann", "ben", "cat", "dan")
TIMEOUT_MS: Final = 8000
_SHOWN: Final = 20


class Crowd:
    """The writers, who work within a `with` block until they are told to finish."""

    def __init__(self, ensemble: Ensemble, timeout_ms: int = TIMEOUT_MS) -> None:
        self.ensemble = ensemble
        self.writers = [
            Writer(name, ensemble.addresses(), timeout_ms=timeout_ms, tick_ms=TICK_MS)
            for name in NAMES
        ]

    def __enter__(self) -> Self:
        with self.ensemble.client(self.ensemble.leader()) as client:
            prepare(client, NAMES)
            client.close_session()
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *failure: object) -> None:
        for writer in self.writers:
            writer.finish()

    def go_on(self) -> None:
        """Wait until every writer has had another write acknowledged."""
        before = {writer.name: writer.told.acknowledged for writer in self.writers}
        until(
            lambda: all(w.told.acknowledged > before[w.name] for w in self.writers),
            lambda: f"no writes get through\n{self.ensemble.said()}",
        )

    def judge(self) -> Sequence[Told]:
        """Finish, and find nothing wrong."""
        told = [writer.finish() for writer in self.writers]
        tree = self.ensemble.same_tree()
        assert not (found := faults(tree, told)), "\n".join(found[:_SHOWN])
        return told


def kill_leaders(ensemble: Ensemble, crowd: Crowd, kills: int, dice: random.Random) -> list[int]:
    """One after the other; who is killed comes back at once, or when the others have gone on.

    In that case, half of the times, it has lost its disk: the others know all.
    """
    led = []
    for _ in range(kills):
        crowd.go_on()
        led.append(ensemble.leader())
        time.sleep(dice.uniform(0.0, 0.5))
        ensemble.kill(led[-1])
        if dice.random() < 0.5:
            crowd.go_on()
            if dice.random() < 0.5:
                ensemble.empty(led[-1])
        ensemble.start()
    crowd.go_on()
    return led


def bad_day(ensemble: Ensemble, crowd: Crowd, steps: int, dice: random.Random) -> None:
    """Members are killed, one or several at once, or stand still, whoever leads."""
    for _ in range(steps):
        crowd.go_on()
        time.sleep(dice.uniform(0.0, 0.3))
        count = dice.choice((1, 1, 2, 3))
        for number in dice.sample(sorted(ensemble.members), count):
            if dice.random() < 0.4:
                ensemble.pause(number)
            else:
                ensemble.kill(number)
        time.sleep(dice.choice((0.0, 0.5, 2.0, 5.0)))
        for number in dice.sample(sorted(ensemble.members), len(ensemble.members)):
            if number in ensemble.paused:
                ensemble.resume(number)
            elif not ensemble[number].running:
                ensemble.spawn(number)
            time.sleep(dice.choice((0.0, 0.0, 0.3)))
        until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
    crowd.go_on()
