"""A real server in a process of its own, on a free loopback port, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from coterie.testing.ports import free_port

_START_S_MAX: Final = 20.0


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Server:
    """`coterie serve` on a data directory; killed at the end of a `with` block."""

    def __init__(
        self, directory: Path, environment: dict[str, str] | None = None, **settings: object
    ) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / "zoo.cfg"
        lines: dict[str, object] = {
            "dataDir": directory / "data",
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "tickTime": 500,
            "maxClientCnxns": 0,
            "extendedTypesEnabled": "true",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        self.file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        self.log = directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, **(environment or {})}

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "coterie", "serve", str(self.file)],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        deadline = time.monotonic() + _START_S_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended at once:\n{self.log.read_text()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return self
        raise AssertionError(f"it does not listen:\n{self.log.read_text()}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def memory_bytes(self) -> int:
        """What the process has in memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
