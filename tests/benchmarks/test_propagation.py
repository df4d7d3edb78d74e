"""Every component and the file are asked about every change; how fast they are is not tested."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import propagation
from benchmarks.propagation import Moments, Watched, agent, measure, row


async def test_each_component_and_the_file_are_told_of_each_change(
    hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagation, "_PAUSE_S", 0.0)
    with agent(hosts, tmp_path) as watched:
        found = await measure(hosts, 3, 2, watched)
    assert len(found.components) == 6
    assert len(found.file) == 2
    assert min(found.components + found.file) > 0.0


async def test_without_an_agent(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagation, "_PAUSE_S", 0.0)
    found = await measure(hosts, 1, 1, None)
    assert (len(found.components), found.file) == (1, [])


async def test_all_are_waited_for() -> None:
    moments = Moments()
    waiting = asyncio.create_task(moments.wait(1, 2))
    for number in (1, 2, 2):
        moments.add(number)
        await asyncio.sleep(0)
        assert not waiting.done()
    moments.add(1)
    await waiting


async def test_a_file_is_looked_at_until_it_says_something(tmp_path: Path) -> None:
    path = tmp_path / "api.json"
    with Watched(path) as watched:
        waiting = asyncio.create_task(watched.wait(7))
        path.with_suffix(".new").write_text('{"number": 7}')
        path.with_suffix(".new").replace(path)
        await waiting
    assert list(watched.seen) == [7]


def test_a_row_says_what_99_of_100_keep_to() -> None:
    seconds = [0.010] * 997 + [0.5] * 2 + [2.0]
    assert row("x", seconds) == "| x | 1000 | 10.0 | 10.0 | 2000.0 | reached |"
    assert row("x", [0.010] * 90 + [2.0] * 10).endswith("| 10.0 | 2000.0 | 2000.0 | SHORT |")
