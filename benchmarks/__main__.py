"""`python -m benchmarks`: measure Coterie and Apache ZooKeeper, and say what was found."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import chart, report
from benchmarks.failover import FailoverError
from benchmarks.measure import FULL, QUICK, Bench, MeasureError
from benchmarks.protocol import ProtocolError
from benchmarks.report import Run
from benchmarks.results import AIMED, BASE, Result, describe_machine
from benchmarks.servers import PROJECT, SERVERS, Server, StartError

THROUGHPUT: Final = {
    "reads": ("reads",),
    "writes": ("writes",),
    "mix": ("mix",),
    "creates": ("creates-100", "creates-1k"),
}
OTHERS: Final = ("start", "memory", "pause")
ENSEMBLES: Final = ("members", "failover")
HISTORY: Final = PROJECT / "benchmarks" / "history.jsonl"
PAGE: Final = PROJECT / "docs" / "benchmarks.md"
PICTURE: Final = PROJECT / "docs" / "benchmarks.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    servers = []
    for kind in SERVERS:
        if options.server not in (kind.name, "both"):
            continue
        if why := kind.missing():
            print(f"benchmarks: {kind.title} is skipped: {why}", file=sys.stderr)
        else:
            servers.append(kind)
    if not servers:
        return 2
    if options.publish and len(servers) < 2:
        print("benchmarks: --publish needs both servers: it shows ratios", file=sys.stderr)
        return 2
    # An end by SIGTERM has to stop the servers, as one by Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        run = _run(options, servers)
    except (MeasureError, FailoverError, ProtocolError, StartError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report.terminal(run))
    _keep(run, options)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [*THROUGHPUT, *OTHERS, *ENSEMBLES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: under 90 s")
    parser.add_argument(
        "--only",
        type=lambda text: _chosen(text, names),
        default=[*THROUGHPUT, *OTHERS],
        metavar="NAME,...",
        help=f"some of: {', '.join(names)} (default: all but the last two, of three members)",
    )
    parser.add_argument(
        "--all",
        action="store_const",
        const=names,
        dest="only",
        help="the measurements of three members, too",
    )
    parser.add_argument(
        "--rounds", type=_positive, help="how many turns each load gets on each server"
    )
    parser.add_argument("--server", choices=[AIMED, BASE, "both"], default="both")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp"),
        help="where the servers keep their data meanwhile (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the run as JSON")
    parser.add_argument(
        "--record", action="store_true", help=f"append the run to {HISTORY.relative_to(PROJECT)}"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help=f"write {PAGE.relative_to(PROJECT)} and {PICTURE.relative_to(PROJECT)}",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _chosen(text: str, names: Sequence[str]) -> list[str]:
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in names]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(names)}")
    return chosen


def _run(options: argparse.Namespace, servers: Sequence[type[Server]]) -> Run:
    plan = QUICK if options.quick else FULL
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {line}", file=sys.stderr, flush=True)

    directory = Path(tempfile.mkdtemp(prefix="benchmarks-", dir=options.directory))
    try:
        machine = describe_machine(directory)
        if machine.file_system == "tmpfs":
            say(f"{options.directory} is in memory: an fsync there costs nothing")
        bench = Bench(servers, directory, plan, options.rounds or plan.rounds, say)
        loads = [load for name in THROUGHPUT if name in options.only for load in THROUGHPUT[name]]
        results: list[Result] = bench.throughput(loads) if loads else []
        measures = (bench.start, bench.memory, bench.pause, bench.members, bench.failover)
        for name, measure in zip((*OTHERS, *ENSEMBLES), measures, strict=True):
            if name in options.only:
                results += measure()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Run(
        date=datetime.now(UTC).date().isoformat(),
        commit=_commit(),
        quick=options.quick,
        versions={kind.title: kind.version() for kind in servers},
        machine=machine,
        results=results,
    )


def _commit() -> str:
    """The checkout's commit, with a plus sign if it has changes; unknown without git."""
    answers = []
    for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"]):
        try:
            done = subprocess.run(
                ["git", *command], cwd=PROJECT, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        answers.append(done.stdout.strip())
    return answers[0] + ("+" if answers[1] else "")


def _keep(run: Run, options: argparse.Namespace) -> None:
    """Write what was asked for."""
    if options.json is not None:
        options.json.write_text(run.as_json() + "\n")
    if options.record:
        with HISTORY.open("a") as history:
            history.write(run.as_json() + "\n")
    if options.publish:
        command = "python -m benchmarks --publish" + (" --quick" if options.quick else "")
        subtitle = " and ".join(f"{name} {version}" for name, version in run.versions.items())
        subtitle += f" on {run.machine.cores} cores of {run.machine.cpu}, {run.date}"
        PICTURE.write_text(chart.draw(run.results, subtitle))
        PAGE.write_text(report.markdown(run, os.path.relpath(PICTURE, PAGE.parent), command))


if __name__ == "__main__":
    sys.exit(main())
