"""Medians, ratios and aims, and the machine's description."""

from __future__ import annotations

import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.results import Result, describe_machine


def _result(coterie: list[float], apache: list[float], **more: object) -> Result:
    result = Result("reads", "getData", "1x1", "/s", more_is_better=True)
    for name, value in more.items():
        setattr(result, name, value)
    for server, values in (("coterie", coterie), ("apache", apache)):
        for each in values:
            result.add(server, each, p50_ms=1 / each, p99_ms=None)
    return result


def test_ratio_is_of_medians_and_spread_of_rounds() -> None:
    result = _result([10, 40, 20], [10, 10, 5])
    assert result.value("coterie") == 20
    assert result.ratio == 2.0
    assert result.spread == (1.0, 4.0)
    assert result.detail("apache", "p50_ms") == 0.1
    assert result.detail("apache", "p99_ms") is None


def test_without_one_server_there_is_no_ratio() -> None:
    result = _result([10], [], aim=2.0)
    assert result.ratio is None
    assert result.spread is None
    assert result.reached is None
    assert result.value("apache") is None


@pytest.mark.parametrize(
    ("more_is_better", "aim", "reached"),
    [(True, 2.0, True), (True, 2.1, False), (False, 2.0, True), (False, 1.9, False)],
)
def test_aim(more_is_better: bool, aim: float, reached: bool) -> None:
    result = _result([20], [10], more_is_better=more_is_better, aim=aim)
    assert result.reached is reached


def test_limit_judges_the_value_itself() -> None:
    assert _result([20], [100], limit=20.0).reached is True
    assert _result([20], [100], limit=19.0).reached is False
    assert _result([], [100], limit=19.0).reached is None


def test_machine_has_no_name(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert machine.cores >= 1
    assert machine.sync_ms > 0
    assert machine.file_system != "unknown"
    assert socket.gethostname() not in map(str, asdict(machine).values())
    assert not list(tmp_path.iterdir())
