"""`python -m benchmarks.propagation`: how long a changed setting is on its way to all components.

Three servers of each kind; 200 clients with the recipe `Configuration`, in one process that also
writes; and the host agent, a process of its own, which keeps the same setting as a file. A moment
is counted from before the write is sent until a component has the new settings as an object, or
the file has the new content: the commit is part of it. Changes come one by one, with a pause.
All clients share one event loop, so that the last of them waits for the others' turns: components
of their own would be faster, if they had processors of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import coterie
from benchmarks.ensembles import Ensemble
from benchmarks.generator import quantile_ms
from benchmarks.servers import PROJECT, STOP_S_MAX, Apache, Coterie, Server
from coterie.client.client import Client
from coterie.recipes.configuration import Configuration
from coterie.system.transport import new_event_loop

COMPONENTS: Final = 200
CHANGES: Final = 20
ZNODE: Final = "/gateway/config/api"
AIM_S: Final = 1.0
"""What 99 of 100 have to keep to."""

_READY: Final = -1
_PAUSE_S: Final = 0.1
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.001
_AGENT: Final = f"""
[[settings]]
znode = "{ZNODE}"
file = "api.json"
"""


@dataclass(frozen=True)
class Settings:
    """About 1 KiB, as what a component is told is."""

    number: int = 0
    text: str = "x" * 1000


class Found(NamedTuple):
    """Seconds from before a write until it was there."""

    components: list[float]
    """One for each component and change."""
    file: list[float]
    """One for each change, if an agent has kept a file."""


class Moments:
    """When each change was seen, by the monotonic clock."""

    def __init__(self) -> None:
        self.seen: dict[int, list[float]] = {}
        self._more = asyncio.Event()

    def add(self, number: int) -> None:
        self.seen.setdefault(number, []).append(time.monotonic())
        self._more.set()

    async def wait(self, number: int, count: int) -> None:
        """Until so many have seen a change."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(self.seen.get(number, ())) < count:
                self._more.clear()
                await self._more.wait()


class Watched(threading.Thread):
    """Looks again and again at what a file says, until it is stopped."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, float] = {}
        self._path = path
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        last = b""
        while not self._stopping.wait(_POLL_S):
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                continue
            if content != last:
                last = content
                self.seen.setdefault(_number_in(content), time.monotonic())

    async def wait(self, number: int) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while number not in self.seen:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)


def _number_in(content: bytes) -> int:
    return int(json.loads(content)["number"])


async def measure(hosts: str, components: int, changes: int, watched: Watched | None) -> Found:
    """Change the settings so often, and see when everybody has them."""
    found = Found([], [])
    moments = Moments()
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(coterie.connect(hosts))
        mine = await stack.enter_async_context(Configuration(writer, ZNODE, Settings))
        for _ in range(components):
            client = await stack.enter_async_context(coterie.connect(hosts))
            stack.push_async_callback(_end, asyncio.create_task(_follow(client, moments)))
        await moments.wait(_READY, components)
        for number in range(changes + 1):
            begun = time.monotonic()
            await mine.update(number=number, text="x" * 1000 + str(number))
            await moments.wait(number, components)
            if watched is not None:
                await watched.wait(number)
            if number > 0:  # The first is for warming up.
                found.components.extend(seen - begun for seen in moments.seen[number])
                if watched is not None:
                    found.file.append(watched.seen[number] - begun)
            await asyncio.sleep(_PAUSE_S)
    return found


async def _follow(client: Client, moments: Moments) -> None:
    """One component: tells when it has each settings."""
    async with Configuration(client, ZNODE, Settings) as settings:
        moments.add(_READY)
        async for current in settings.changes():
            moments.add(current.number)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextmanager
def agent(hosts: str, folder: Path) -> Iterator[Watched]:
    """A host agent that keeps the settings as a file, and who looks at that."""
    (folder / "agent.toml").write_text(_AGENT)
    command = [sys.executable, "-m", "coterie", "agent", str(folder / "agent.toml")]
    with (folder / "agent.txt").open("wb") as said:
        process = subprocess.Popen(
            [*command, "--hosts", hosts], cwd=PROJECT, stdout=said, stderr=said
        )
    try:
        with Watched(folder / "api.json") as watched:
            yield watched
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def row(name: str, seconds: Sequence[float]) -> str:
    """A line of the table: half, 99 of 100, and all are not slower than this."""
    ordered = sorted(seconds)
    median_ms, p99_ms = quantile_ms(ordered, 0.5), quantile_ms(ordered, 0.99)
    assert median_ms is not None
    assert p99_ms is not None
    cells = f"{median_ms:.1f} | {p99_ms:.1f} | {1000 * ordered[-1]:.1f}"
    verdict = "reached" if p99_ms < 1000 * AIM_S else "SHORT"
    return f"| {name} | {len(seconds)} | {cells} | {verdict} |"


def _run(kind: type[Server], components: int, changes: int) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="coterie-propagation-") as folder:
        place = Path(folder)
        with Ensemble(kind, place) as ensemble:
            ensemble.leader()
            hosts = ",".join(f"127.0.0.1:{port}" for port in ensemble.ports)
            with (
                agent(hosts, place) as watched,
                asyncio.Runner(loop_factory=new_event_loop) as runner,
            ):
                found = runner.run(measure(hosts, components, changes, watched))
    title = f"three of {kind.title}'s"
    return [
        row(f"{title}: {components} components", found.components),
        row(f"{title}: the agent's file", found.file),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.propagation", description=__doc__)
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    options = parser.parse_args()
    print("| until it is there, ms | figures | median | p99 | max | p99 < 1 s |")
    print("|---|---:|---:|---:|---:|---|")
    for kind in (Coterie, Apache):
        if missing := kind.missing():
            print(missing, file=sys.stderr)
            continue
        for line in _run(kind, options.components, options.changes):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
