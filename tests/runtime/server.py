"""A real server in a process of its own, on a free loopback port, for tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

_START_S_MAX = 20.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Server:
    """`coterie serve` on a data directory; killed at the end of a `with` block."""

    def __init__(self, directory: Path, **settings: str | int) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / "zoo.cfg"
        lines = {
            "dataDir": directory / "data",
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "tickTime": 500,
            "maxClientCnxns": 0,
            "extendedTypesEnabled": "true",
            "4lw.commands.whitelist": "*",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        self.file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        self.log = directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "coterie", "serve", str(self.file)],
                stdout=log,
                stderr=log,
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
