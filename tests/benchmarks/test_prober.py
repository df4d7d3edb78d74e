"""The prober: it reads and writes in turn, and says what it waited."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks import prober
from benchmarks.prober import PACE_S, Prober
from benchmarks.protocol import Session


class SlowSession:
    """Answers on a clock of its own: reads take 1 ms, the third request 10 ms."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[str] = []
        self.prober: Prober | None = None

    def get(self, _path: bytes) -> None:
        self._answer("read", 0.010 if len(self.asked) == 2 else 0.001)

    def set(self, _path: bytes, _data: bytes) -> None:
        self._answer("write", 0.001)

    def _answer(self, kind: str, seconds: float) -> None:
        self.asked.append(kind)
        self.now += seconds
        if len(self.asked) == 4:
            assert self.prober is not None
            self.prober.stop()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_samples_say_when_what_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SlowSession()
    session.prober = Prober(cast(Session, session))
    clock = SimpleNamespace(monotonic=lambda: session.now, sleep=session.sleep)
    monkeypatch.setattr(prober, "time", clock)
    session.prober.run()
    sent = [100.0, 100.0 + PACE_S, 100.0 + 2 * PACE_S, 100.0 + 2 * PACE_S + 0.010]
    waited = [0.001, 0.001, 0.010, 0.001]
    samples = session.prober.samples
    assert [sample.kind for sample in samples] == ["read", "write"] * 2
    assert [sample.sent_at for sample in samples] == pytest.approx(sent)
    assert [sample.waited_s for sample in samples] == pytest.approx(waited)
    assert [sample.late_s for sample in samples] == pytest.approx([0] * 4)
