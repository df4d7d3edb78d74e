"""A run as a table for the terminal, as a page of Markdown, and as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.results import AIMED, BASE, Machine, Result

_HEADINGS: Final = ("what", "case", "Coterie", "Apache", "ratio", "of rounds", "aim", "")
_LATENCY_HEADINGS: Final = ("what", "case", "Coterie p50 / p99", "Apache p50 / p99")
_GENERATOR_HEADINGS: Final = ("what", "case", "at most", "busy with Coterie", "busy with Apache")
_PAUSE_HEADINGS: Final = (
    "server",
    "case",
    "longest",
    "p99",
    "longest before it",
    "timer late by",
    "snapshot took",
)


@dataclass(frozen=True, slots=True)
class Run:
    """All that one run is: when, of which commit, where, of what, and what it found."""

    date: str
    commit: str
    quick: bool
    versions: dict[str, str]
    machine: Machine
    results: list[Result]

    def as_json(self) -> str:
        return json.dumps(_rounded(asdict(self)))


def _rounded(value: object) -> object:
    """Four significant digits say all that a noisy machine knows."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value


def terminal(run: Run) -> str:
    """Every table as aligned text."""
    parts = [_machine_line(run)]
    for title, headings, rows in _tables(run.results):
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if number < 2 else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [headings, tuple("-" * width for width in widths), *rows]
        ]
        parts.append("\n".join([title, "", *lines]))
    return "\n\n".join(parts)


def markdown(run: Run, chart: str, command: str) -> str:
    """The page for docs/: the chart, how it was measured, and every table."""
    amount = " (quick: one short round, figures are rough)" if run.quick else ""
    parts = [
        "# Benchmarks",
        f"Written by `{command}`{amount}; do not edit. {_machine_line(run)}",
        f"![Coterie's figures by Apache ZooKeeper's]({chart})",
        _METHOD,
    ]
    for title, headings, rows in _tables(run.results):
        rule = ("---", "---", *["---:"] * (len(headings) - 2))
        lines = ["| " + " | ".join(row) + " |" for row in [headings, rule, *rows]]
        parts.append("\n".join([f"## {title}", "", *lines]))
    return "\n\n".join(parts) + "\n"


_METHOD: Final = """\
Both servers run on this machine on loopback over the same disk, with the same zoo.cfg: fsync on,
tickTime 2000, no connection limit, no admin server, snapCount at its default; Apache with the
JVM's default heap and without JMX and log files. Both are under load for 15 s or more before the
first figure. Loads are closed loops and take turns, round by round; figures are medians of the
rounds, "of rounds" is the least and the greatest ratio of one round. 48x20 is 48 connections with
20 requests outstanding each, spread over all members where there are three. The load generator
shares the cores with the server: the last table shows what it reaches against ready-made replies,
and how much of its time it computed."""


def _machine_line(run: Run) -> str:
    machine = run.machine
    servers = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return (
        f"{run.date}, commit {run.commit}: {servers}; {machine.cores} cores of {machine.cpu}, "
        f"{machine.memory_gib:.0f} GiB, {machine.kernel}, {machine.python}, "
        f"{machine.file_system}, one fdatasync {machine.sync_ms:.2f} ms, "
        f"load average at the start {machine.load_average:.1f}"
    )


Row = tuple[str, ...]


def _tables(results: Sequence[Result]) -> list[tuple[str, Row, list[Row]]]:
    """The tables that have rows: title, headings, rows."""
    latencies = [each for each in results if any("p50_ms" in one for one in each.details.values())]
    pauses = [each for each in results if each.group == "pause"]
    tables: list[tuple[str, Row, list[Row]]] = [
        ("Results", _HEADINGS, [_result_row(each) for each in results]),
        (
            "Latency, ms",
            _LATENCY_HEADINGS,
            [_latency_row(each) for each in latencies],
        ),
        (
            "Pauses seen by a client during a snapshot, ms",
            _PAUSE_HEADINGS,
            [
                _pause_row(each, server)
                for server in (AIMED, BASE)
                for each in pauses
                if server in each.values
            ],
        ),
        (
            "The load generator's own ceiling",
            _GENERATOR_HEADINGS,
            [_generator_row(each) for each in results if each.ceiling is not None],
        ),
    ]
    return [(title, headings, rows) for title, headings, rows in tables if rows]


def _result_row(result: Result) -> Row:
    spread = result.spread
    return (
        result.label,
        result.case,
        _amount(result.value(AIMED), result.unit),
        _amount(result.value(BASE), result.unit),
        _times(result.ratio),
        f"{spread[0]:.2f} to {spread[1]:.2f}" if spread else "-",
        _aim(result),
        {True: "reached", False: "SHORT", None: ""}[result.reached],
    )


def _aim(result: Result) -> str:
    if result.limit is not None:
        return f"<= {_amount(result.limit, result.unit)}"
    if result.aim is None:
        return ""
    return f"{'>=' if result.more_is_better else '<='} {result.aim:g}"


def _latency_row(result: Result) -> Row:
    pairs = [
        f"{_ms(result.detail(server, 'p50_ms'))} / {_ms(result.detail(server, 'p99_ms'))}"
        for server in (AIMED, BASE)
    ]
    return (result.label, result.case, *pairs)


def _pause_row(result: Result, server: str) -> Row:
    snapshot_s = result.detail(server, "snapshot_s")
    return (
        server.capitalize(),
        result.case,
        _ms(result.value(server)),
        *(_ms(result.detail(server, name)) for name in ("p99_ms", "before_ms", "late_ms")),
        "-" if snapshot_s is None else f"{snapshot_s:.1f} s",
    )


def _generator_row(result: Result) -> Row:
    busy = [result.detail(server, "busy") for server in (AIMED, BASE)]
    shares = ["-" if share is None else f"{share:.0%}" for share in busy]
    return (result.label, result.case, _amount(result.ceiling, result.unit), *shares)


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
