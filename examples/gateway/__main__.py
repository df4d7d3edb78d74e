"""`python -m examples.gateway`: the whole gateway on this machine, and what to do with it.

Three Coterie servers, then every component as a process of its own, all at once: they find each
other, whatever is there first. Rules: everything listens at the loopback address; everything ends
with this process; what is kept is in one folder (`--data`), which one gateway at a time uses.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import coterie
from coterie.cli import ensemble
from coterie.gateway.directory import Directory
from examples.gateway.check import check
from examples.gateway.control import control
from examples.gateway.ports import Ports
from examples.gateway.process import HOST, ROOT, VERSION, serving
from examples.gateway.supervisor import Child, Spec, Supervisor, python

PORT: Final = 8080
COUNTS: Final[Sequence[tuple[str, str, int]]] = (
    ("metadata", "", 2),
    ("api", "", 2),
    ("scheduler", "", 2),
    ("manager", "local", 2),
    ("manager", "dask", 1),
    ("portal", "", 1),
)
"""The kind, the flavor and how many there are."""

_PORTS: Final = {"api": 9101, "metadata": 9121, "scheduler": 9141, "manager": 9161}
_ENSEMBLE_STEP: Final = 10
_READY_S_MAX: Final = 60.0
_POLL_S: Final = 0.1

log = logging.getLogger("gateway.launcher")


class LaunchError(Exception):
    """The gateway cannot be started; the message is for whoever has tried."""


@dataclass(frozen=True)
class Plan:
    """What is to be started."""

    data: Path
    port: int = PORT
    hosts: str = ""
    """An ensemble that is there; without it, three servers are started."""
    root: str = ROOT
    version: str = VERSION
    counts: Sequence[tuple[str, str, int]] = COUNTS
    control: int = 0


class Gateway:
    """All of it, between `async with`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.hosts = plan.hosts
        self.supervisor = Supervisor(plan.data / "logs")
        self.control_port = 0
        self._stack = AsyncExitStack()
        self._ports = Ports()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            plan = self.plan
            plan.data.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_alone(plan.data / "lock"))
            stack.enter_context(self._ports)
            await stack.enter_async_context(self.supervisor)
            app = control(self.supervisor, self.add)
            self.control_port = await stack.enter_async_context(serving(app, HOST, plan.control))
            if not self.hosts:
                self._start_servers()
            for kind, flavor, count in plan.counts:
                for _ in range(count):
                    self.add(kind, flavor, plan.version)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()

    def _start_servers(self) -> None:
        place = self.plan.data / "ensemble"
        try:
            if any(place.glob("server-*")):
                servers, _ = ensemble.find(place)
                self._hold(servers[0].port, len(servers))
            else:
                count = ensemble.SERVERS
                port = self._ports.take(ensemble.PORT, _ENSEMBLE_STEP, count)
                ensemble.lay_out(place, count, 0, ensemble.free_ports(count, port))
                servers, _ = ensemble.find(place)
        except ensemble.CommandError as error:
            raise LaunchError(str(error)) from None
        for server in servers:
            address = f"{HOST}:{server.port}"
            command = tuple(ensemble.command(str(server.file)))
            name = f"coterie-{server.id}"
            self.supervisor.add(
                Spec(name, "coterie", command, version=coterie.__version__, address=address)
            )
        self.hosts = ensemble.connect_string(servers)

    def _hold(self, port: int, count: int) -> None:
        """Have the ports of an ensemble that was laid out before.

        Raises `LaunchError`: its components would talk to the ensemble that is there.
        """
        if not self._ports.hold(port):
            raise LaunchError(f"another gateway has the port {port}, which is of this data, too")
        ensemble.free_ports(count, port)

    def add(self, kind: str, flavor: str = "", version: str = "") -> Child:
        """Start one more of a kind. Raises `ValueError` for a kind that is not known."""
        if (kind, flavor) not in [(known, its) for known, its, _ in COUNTS]:
            raise ValueError(f"there is no kind {kind!r} of flavor {flavor!r}")
        number = 1
        stem = "-".join(part for part in (kind, flavor) if part)
        while f"{stem}-{number}" in self.supervisor.children:
            number += 1
        name = f"{stem}-{number}"
        first = self.plan.port if kind == "portal" else _PORTS[kind]
        port = self._ports.take(first)
        version = version or self.plan.version
        words = ["--hosts", self.hosts, "--host", HOST, "--port", str(port), "--name", name]
        words += ["--data", str(self.plan.data), "--version", version, "--root", self.plan.root]
        words += ["--control", str(self.control_port)]
        if flavor:
            words += ["--flavor", flavor]
        command = python(f"examples.gateway.{kind}", *words)
        return self.supervisor.add(Spec(name, kind, command, flavor, version, f"{HOST}:{port}"))

    # What is there

    def of_kind(self, kind: str) -> list[Child]:
        return [child for child in self.supervisor.children.values() if child.spec.kind == kind]

    def urls(self) -> list[str]:
        """Where the API servers are."""
        return [f"http://{child.spec.address}" for child in self.of_kind("api")]

    async def ready(self, seconds: float = _READY_S_MAX) -> None:
        """Wait until every component is found by the others. Raises `LaunchError`."""
        names = {n for n, c in self.supervisor.children.items() if c.spec.kind != "coterie"}
        missing = names
        try:
            async with (
                asyncio.timeout(seconds),
                coterie.connect(self.hosts) as zk,
                Directory(zk, self.plan.root) as directory,
            ):
                while missing:
                    kinds = {kind for kind, _, _ in self.plan.counts}
                    found = {one.id for kind in kinds for one in directory.find(kind)}
                    missing = names - found
                    self._refuse_refused()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            words = "\n".join(f"{n}: {self.supervisor[n].last_words()[-400:]}" for n in missing)
            what = ", ".join(sorted(missing)) or "the ensemble"
            raise LaunchError(f"not ready after {seconds:g} s: {what}\n{words}") from None

    def _refuse_refused(self) -> None:
        for name, child in self.supervisor.children.items():
            if child.refused:
                raise LaunchError(f"{name} is refused: {child.last_words()[-400:]}")

    def summary(self) -> str:
        portal = self.of_kind("portal")
        lines = [f"page      http://{child.spec.address}/" for child in portal]
        lines += [f"API       {url}/" for url in self.urls()]
        lines += [f"ensemble  {self.hosts}", f"data      {self.plan.data}"]
        lines += [f"control   http://{HOST}:{self.control_port}/processes"]
        base = f"http://{portal[0].spec.address}" if portal else self.urls()[0]
        lines += [
            "",
            "With curl:",
            f"  URL={base}/api/v1",
            "  TOKEN=$(curl -s $URL/sign-in -H 'Content-Type: application/json' \\",
            '    -d \'{"user": "ada"}\' | sed \'s/.*"token":"\\([^"]*\\).*/\\1/\')',
            '  AS="Authorization: Bearer $TOKEN"',
            "  IN=examples/gateway/applications/samples",
            '  curl -s $URL/experiments -H "$AS" -H "Idempotency-Key: 1" \\',
            "    -F application=align -F first=@$IN/P69905.fasta -F second=@$IN/P68871.fasta",
            '  curl -s $URL/experiments -H "$AS"',
        ]
        return "\n".join(lines)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only gateway with this folder. Raises `LaunchError`."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LaunchError(f"another gateway runs with {path.parent}") from None
        yield


# The command


async def run(plan: Plan, say: Callable[[str], None], *, checks: bool = False) -> int:
    """Run the gateway until Ctrl-C, or until it is checked; the exit status."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    began_s = time.monotonic()
    async with Gateway(plan) as gateway:
        say(f"starting {len(gateway.supervisor.children)} processes ...")
        work = asyncio.ensure_future(_work(gateway, say, began_s, checks=checks))
        told = asyncio.ensure_future(ending.wait())
        await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
        status = 0
        if work.done():
            status = work.result()
            if not checks:
                await told
        work.cancel()
        told.cancel()
        with suppress(asyncio.CancelledError):
            await work
        say("\nending all processes ...")
    return status


async def _work(
    gateway: Gateway, say: Callable[[str], None], began_s: float, *, checks: bool
) -> int:
    await gateway.ready()
    say(f"everything is up after {time.monotonic() - began_s:.1f} s\n")
    if not checks:
        say(gateway.summary())
        say("\nCtrl-C ends it.")
        return 0
    return 0 if await check(gateway.urls(), say) else 1


def main(argv: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.gateway", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/gateway"), help="%(default)s")
    parser.add_argument("--port", type=int, default=PORT, help="of the page (%(default)s)")
    parser.add_argument("--hosts", default="", help="use this ensemble and start none")
    parser.add_argument("--root", default=ROOT, help="the znode of the gateway (%(default)s)")
    parser.add_argument("--version", default=VERSION, help="of the components (%(default)s)")
    parser.add_argument("--control", type=int, default=0, help="the launcher's own port")
    parser.add_argument("--no-portal", action="store_true", help="without the pages")
    parser.add_argument(
        "--check", action="store_true", help="run a sample of each application, and end"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "coterie"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    plan = Plan(
        data=given.data.resolve(),
        port=given.port,
        hosts=given.hosts,
        root=given.root,
        version=given.version,
        counts=[one for one in COUNTS if not (given.no_portal and one[0] == "portal")],
        control=given.control,
    )

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        return coterie.run(run(plan, say, checks=given.check))
    except (LaunchError, OSError, coterie.ZooKeeperError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
