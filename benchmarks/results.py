"""What a run found: one `Result` for each line of the table, and the machine it was found on.

A ratio is Coterie's median by Apache's. What a ratio should be (`aim`) stands with the result that
it judges, so that a table says by itself where Coterie falls short.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

AIMED: Final = "coterie"
BASE: Final = "apache"

_SYNC_TRIES: Final = 100
_SYNC_BYTES: Final = 1200


@dataclass(slots=True)
class Result:
    """One measured quantity: a value of each server for each round."""

    group: str
    label: str
    case: str
    unit: str
    more_is_better: bool
    aim: float | None = None
    """The ratio that Coterie should reach, or should stay below if less is better."""
    limit: float | None = None
    """What Coterie's value itself should stay below."""
    values: dict[str, list[float]] = field(default_factory=dict)
    ceilings: list[float] = field(default_factory=list)
    """What the load generator reached against canned replies, each round."""
    details: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By server and name, further figures of each round: p50_ms, p99_ms, busy ..."""

    def add(self, server: str, value: float, **details: float | None) -> None:
        self.values.setdefault(server, []).append(value)
        kept = self.details.setdefault(server, {})
        for name, detail in details.items():
            if detail is not None:
                kept.setdefault(name, []).append(detail)

    def value(self, server: str) -> float | None:
        values = self.values.get(server)
        return statistics.median(values) if values else None

    def detail(self, server: str, name: str) -> float | None:
        values = self.details.get(server, {}).get(name)
        return statistics.median(values) if values else None

    @property
    def ceiling(self) -> float | None:
        return statistics.median(self.ceilings) if self.ceilings else None

    @property
    def ratio(self) -> float | None:
        aimed, base = self.value(AIMED), self.value(BASE)
        return aimed / base if aimed is not None and base else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the greatest ratio of any round: two servers' turns follow each other."""
        rounds = zip(self.values.get(AIMED, []), self.values.get(BASE, []), strict=False)
        ratios = [aimed / base for aimed, base in rounds if base]
        return (min(ratios), max(ratios)) if ratios else None

    @property
    def reached(self) -> bool | None:
        """Whether Coterie does what it aims at; None if there is no aim or no ratio."""
        if self.limit is not None:
            value = self.value(AIMED)
            return None if value is None else value <= self.limit
        if self.aim is None or self.ratio is None:
            return None
        return self.ratio >= self.aim if self.more_is_better else self.ratio <= self.aim


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured, without any name of it."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    file_system: str
    sync_ms: float
    load_average: float


def describe_machine(directory: Path) -> Machine:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        memory_gib=round(pages / 2**30, 1),
        kernel=f"{platform.system()} {platform.release().split('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        file_system=_file_system(directory),
        sync_ms=round(_sync_ms(directory), 3),
        load_average=round(os.getloadavg()[0], 2),
    )


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the file system that holds the directory: the longest mount point above it."""
    found = ("", "unknown")
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, kind, *_ = line.split()
            if directory.is_relative_to(mount):
                found = max(found, (mount, kind), key=lambda each: len(each[0]))
    return found[1]


def _sync_ms(directory: Path) -> float:
    """The median time of one append and fdatasync: what a lone write cannot go below."""
    path = directory / "sync"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNC_TRIES):
            started = time.perf_counter()
            file.write(bytes(_SYNC_BYTES))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return 1000 * statistics.median(times)
