"""The tables, the page and the line of JSON of one run."""

from __future__ import annotations

import json

import pytest

from benchmarks import report
from benchmarks.report import Run
from benchmarks.results import Machine, Result

MACHINE = Machine("A CPU", 2, 4.0, "Linux 6.1", "CPython 3.11.7", "ext4", 0.1, 0.5)


@pytest.fixture
def run() -> Run:
    reads = Result("reads", "getData, 1 KiB", "1x1", "/s", True, aim=1.6, ceilings=[30_000.0])
    reads.add("coterie", 12345.678, p50_ms=0.05, p99_ms=0.1, busy=0.4)
    reads.add("apache", 10000.0, p50_ms=0.1, p99_ms=0.2, busy=0.2)
    memory = Result("memory", "memory", "1 parent", "MiB", False, aim=0.65)
    memory.add("coterie", 300.0)
    memory.add("apache", 600.0)
    pause = Result("pause", "longest pause", "reads", "ms", False, limit=30.0)
    pause.add("coterie", 4.25, p99_ms=2.0, before_ms=3.0, late_ms=1.0, snapshot_s=6.0)
    versions = {"Coterie": "0.1", "Apache": "3.8.0"}
    return Run("2026-01-02", "abc1234", False, versions, MACHINE, [reads, memory, pause])


def _row(text: str, *beginning: str) -> str:
    """The words of the one line that begins so."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    (found,) = [line for line in lines if line.startswith(" ".join(beginning))]
    return found


def test_terminal_says_what_is_reached_and_what_is_short(run: Run) -> None:
    results, latencies, pauses, generator = report.terminal(run).split("\n\n")[2::2]
    assert _row(results, "getData, 1 KiB") == (
        "getData, 1 KiB 1x1 12,346/s 10,000/s 1.23 1.23 to 1.23 >= 1.6 SHORT"
    )
    assert _row(results, "memory").endswith("300 MiB 600 MiB 0.50 0.50 to 0.50 <= 0.65 reached")
    assert _row(results, "longest pause").endswith("reads 4.25 ms - - - <= 30.0 ms reached")
    assert _row(latencies, "getData").endswith("0.05 / 0.10 0.10 / 0.20")
    assert _row(pauses, "Coterie") == "Coterie reads 4.25 2.00 3.00 1.00 6.0 s"
    assert "Apache" not in pauses
    assert _row(generator, "getData").endswith("30,000/s 40% 20%")


def test_tables_without_rows_are_left_out(run: Run) -> None:
    del run.results[0], run.results[1]
    assert "Latency" not in report.terminal(run)
    assert "ceiling" not in report.terminal(run)


def test_markdown_has_the_chart_the_command_and_whole_tables(run: Run) -> None:
    page = report.markdown(run, "picture.svg", "a command")
    assert "](picture.svg)" in page
    assert (
        "`a command`; do not edit. 2026-01-02, commit abc1234: Coterie 0.1, Apache 3.8.0" in page
    )
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_json_is_one_line_of_rounded_figures(run: Run) -> None:
    line = run.as_json()
    assert "\n" not in line
    read = json.loads(line)
    assert read["results"][0]["values"] == {"coterie": [12350.0], "apache": [10000.0]}
    assert read["machine"]["cores"] == 2
