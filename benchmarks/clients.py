"""`python -m benchmarks.clients`: Coterie's clients beside kazoo's, against the same server.

Each round runs every load with each client, one after the other, in an order that turns from round
to round; what is told is the median of the rounds' ratios to kazoo. Higher is better. The server
is one of Coterie's, a process of its own. It does not wait for its disk (`forceSync=no`): with a
sync behind every write these would be figures of the disk, which is the same for all clients.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, Protocol, Self

from kazoo.client import KazooClient

import coterie
from benchmarks.servers import Coterie
from coterie.recipes.lock import Lock

GETS: Final = 2000
PIPELINED: Final = 1000
CREATES: Final = 500
WAITERS: Final = 50
TURNS: Final = 4

LOADS: Final = {
    "sequential gets": GETS,
    "1,000 pipelined gets": PIPELINED,
    "sequential creates": CREATES,
    "1,000 pipelined creates": PIPELINED,
    "lock hand-overs, 50 waiters": WAITERS * TURNS,
}
AIMS: Final = {"asyncio": 2.0, "blocking": 1.0}


class Subject(Protocol):
    """A client under test: each method does a whole load once."""

    def sequential_gets(self) -> None: ...

    def pipelined_gets(self) -> None: ...

    def sequential_creates(self) -> None: ...

    def pipelined_creates(self) -> None: ...

    def hand_overs(self) -> None: ...


class Kazoo:
    """kazoo, by threads."""

    def __init__(self, hosts: str) -> None:
        self.zk = KazooClient(hosts)
        self.zk.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.zk.stop()
        self.zk.close()

    def sequential_gets(self) -> None:
        for _ in range(GETS):
            self.zk.get("/data")

    def pipelined_gets(self) -> None:
        for answer in [self.zk.get_async("/data") for _ in range(PIPELINED)]:
            answer.get()

    def sequential_creates(self) -> None:
        for _ in range(CREATES):
            self.zk.create("/made/k-", b"x", sequence=True)

    def pipelined_creates(self) -> None:
        answers = [self.zk.create_async("/made/k-", b"x", sequence=True) for _ in range(PIPELINED)]
        for answer in answers:
            answer.get()

    def hand_overs(self) -> None:
        def contend() -> None:
            for _ in range(TURNS):
                with self.zk.Lock("/lock-kazoo"):
                    pass

        _in_threads(contend)


class Blocking:
    """Coterie's blocking client, by threads."""

    def __init__(self, hosts: str) -> None:
        self.zk = coterie.connect_blocking(hosts)

    def __enter__(self) -> Self:
        self.zk.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.zk.close()

    def sequential_gets(self) -> None:
        for _ in range(GETS):
            self.zk.get("/data")

    def pipelined_gets(self) -> None:
        async def gets() -> None:
            await asyncio.gather(*[self.zk.client.get("/data") for _ in range(PIPELINED)])

        self.zk.run(gets())

    def sequential_creates(self) -> None:
        for _ in range(CREATES):
            self.zk.create("/made/b-", b"x", sequential=True)

    def pipelined_creates(self) -> None:
        async def creates() -> None:
            await asyncio.gather(
                *[
                    self.zk.client.create("/made/b-", b"x", sequential=True)
                    for _ in range(PIPELINED)
                ]
            )

        self.zk.run(creates())

    def hand_overs(self) -> None:
        def contend() -> None:
            for _ in range(TURNS):
                with Lock(self.zk, "/lock-blocking"):
                    pass

        _in_threads(contend)


def _in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(WAITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Asyncio:
    """Coterie's client in one event loop."""

    def __init__(self, hosts: str) -> None:
        from coterie.system.transport import new_event_loop

        self.zk = coterie.connect(hosts)
        self.runner = asyncio.Runner(loop_factory=new_event_loop)

    def __enter__(self) -> Self:
        self.runner.__enter__()
        self.runner.run(self.zk.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.zk.close())
        self.runner.close()

    def _run(self, load: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.runner.run(load())

    def sequential_gets(self) -> None:
        async def load() -> None:
            for _ in range(GETS):
                await self.zk.get("/data")

        self._run(load)

    def pipelined_gets(self) -> None:
        async def load() -> None:
            await asyncio.gather(*[self.zk.get("/data") for _ in range(PIPELINED)])

        self._run(load)

    def sequential_creates(self) -> None:
        async def load() -> None:
            for _ in range(CREATES):
                await self.zk.create("/made/a-", b"x", sequential=True)

        self._run(load)

    def pipelined_creates(self) -> None:
        async def load() -> None:
            creates = [self.zk.create("/made/a-", b"x", sequential=True) for _ in range(PIPELINED)]
            await asyncio.gather(*creates)

        self._run(load)

    def hand_overs(self) -> None:
        async def contend() -> None:
            for _ in range(TURNS):
                async with Lock(self.zk, "/lock-asyncio"):
                    pass

        async def load() -> None:
            await asyncio.gather(*[contend() for _ in range(WAITERS)])

        self._run(load)


_STEPS: Final[list[Callable[[Subject], None]]] = [
    lambda subject: subject.sequential_gets(),
    lambda subject: subject.pipelined_gets(),
    lambda subject: subject.sequential_creates(),
    lambda subject: subject.pipelined_creates(),
    lambda subject: subject.hand_overs(),
]


def measure(hosts: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """For each load and client the operations a second, round by round."""
    makers: dict[str, Callable[[str], AbstractContextManager[Subject]]] = {
        "kazoo": Kazoo,
        "blocking": Blocking,
        "asyncio": Asyncio,
    }
    found: dict[str, dict[str, list[float]]] = {
        load: {name: [] for name in makers} for load in LOADS
    }
    with ExitStack() as stack:
        subjects = {name: stack.enter_context(make(hosts)) for name, make in makers.items()}
        names = list(subjects)
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            for (load, count), step in zip(LOADS.items(), _STEPS, strict=True):
                for name in names:
                    started_s = time.perf_counter()
                    step(subjects[name])
                    found[load][name].append(count / (time.perf_counter() - started_s))
            names.append(names.pop(0))
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The medians of the ratios, as a table of Markdown."""
    lines = ["| load | asyncio / kazoo | blocking / kazoo |", "|---|---|---|"]
    for load, by_client in found.items():
        cells = []
        for name in AIMS:
            ratios = [
                ours / theirs
                for ours, theirs in zip(by_client[name], by_client["kazoo"], strict=True)
            ]
            low, high = min(ratios), max(ratios)
            cells.append(f"{statistics.median(ratios):.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {load} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how many (default: 7)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coterie-clients-") as folder:
        server = Coterie(Path(folder))
        server.configure({"forceSync": "no"})
        with server:
            hosts = f"127.0.0.1:{server.port}"
            with coterie.connect_blocking(hosts) as zk:
                zk.create("/data", bytes(100))
                zk.create("/made")
            print(table(measure(hosts, options.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
