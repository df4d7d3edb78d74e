"""The servers under measurement: how each is started, found ready, weighed and stopped.

Rules: both get the same zoo.cfg on the same disk; each is stopped by its own handle, and killed if
it does not go. Apache's is started with the class path of Debian's `zookeeper` package and without
what would only slow it down here: no JMX agent, no log file (no SLF4J binding: nothing is logged).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from benchmarks.protocol import ProtocolError, Session
from coterie.testing.ports import free_port

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
PROJECT: Final = Path(__file__).resolve().parent.parent

_RETRY_S: Final = 0.002
_HANDSHAKE_S_MIN: Final = 0.05
_DEBIAN_ENVIRONMENT: Final = Path("/etc/zookeeper/conf/environment")
_DEBIAN_JAR: Final = "/usr/share/java/zookeeper.jar"
_APACHE_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


class StartError(Exception):
    """A server did not start, with what it said last."""


def zoo_cfg(data: Path, port: int, snap_count: int | None) -> str:
    """The settings that both servers get; fsync is on, as it is unless it is switched off."""
    settings = {
        "tickTime": 2000,
        "dataDir": data,
        "clientPort": port,
        "clientPortAddress": "127.0.0.1",
        "maxClientCnxns": 0,
        "admin.enableServer": "false",
    }
    if snap_count is not None:
        settings["snapCount"] = snap_count
    return "".join(f"{key}={value}\n" for key, value in settings.items())


class Server:
    """One server process on loopback over a directory of its own; a context manager."""

    name: str
    title: str

    def __init__(self, directory: Path, snap_count: int | None = None) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = directory / "zoo.cfg"
        self._config.write_text(zoo_cfg(self.data, self.port, snap_count))
        self._said = directory / "output.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why this server cannot be run here, or None."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        raise NotImplementedError

    def command(self, config: Path) -> list[str]:
        raise NotImplementedError

    def join(self, number: int, members: Mapping[str, str]) -> None:
        """Be a member of an ensemble, by its number and the lines that all members share."""
        (self.data / "myid").write_text(f"{number}\n")
        self.configure(members)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add lines to its zoo.cfg, before it is started."""
        with self._config.open("a") as config:
            config.writelines(f"{key}={value}\n" for key, value in settings.items())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until a session opens."""
        self.spawn()
        try:
            self.when_ready().close()
        except BaseException:
            self.stop()
            raise

    def spawn(self) -> None:
        assert self._process is None, "a server is started once at a time"
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                self.command(self._config),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def when_ready(self) -> Session:
        """A session, as soon as one opens.

        Apache's server may take a connection before it serves and then never answer it, so an
        attempt is given up soon and the next one later: that costs its start at most 50 ms.
        """
        assert self._process is not None
        give_up_at = time.monotonic() + START_S_MAX
        patience_s = _HANDSHAKE_S_MIN
        while time.monotonic() < give_up_at:
            if self._process.poll() is not None:
                raise StartError(f"{self.title} ended at its start: {self._last_words()}")
            try:
                return Session(self.port, handshake_s=patience_s)
            except TimeoutError:
                patience_s *= 2
            except (OSError, ProtocolError):
                time.sleep(_RETRY_S)
        raise StartError(f"{self.title} opened no session in {START_S_MAX:.0f} s")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def resident_bytes(self) -> int:
        """Of the process and all that it has started."""
        assert self._process is not None
        return sum(_resident_bytes(pid) for pid in _family(self._process.pid))

    def files(self) -> dict[str, int]:
        """The files of its data directory and their sizes."""
        sizes = {}
        for path in self.data.rglob("*"):
            with suppress(FileNotFoundError):
                sizes[str(path.relative_to(self.data))] = path.stat().st_size
        return sizes

    def discard(self) -> None:
        """Delete what it has stored."""
        assert self._process is None, "a running server's data is not deleted"
        shutil.rmtree(self.directory)

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


class Coterie(Server):
    """This project's server, from this checkout: compiled where `make fast` has made that, or as
    it stands, in this interpreter's environment, where `COTERIE_PURE` is set or nothing was made.
    """

    name = "coterie"
    title = "Coterie"
    compiled = PROJECT / ".fast" / "bin" / "coterie"

    @classmethod
    def is_compiled(cls) -> bool:
        return cls.compiled.exists() and not os.environ.get("COTERIE_PURE")

    @classmethod
    def missing(cls) -> str | None:
        if (PROJECT / "coterie" / "__main__.py").exists():
            return None
        return "Coterie is not beside the benchmarks: run them from a checkout"

    @classmethod
    def version(cls) -> str:
        text = (PROJECT / "coterie" / "__init__.py").read_text()
        found = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
        build = "compiled" if cls.is_compiled() else "pure Python"
        return f"{found[1] if found else 'unknown'} ({build})"

    def command(self, config: Path) -> list[str]:
        if self.is_compiled():
            return [str(self.compiled), "serve", str(config)]
        return [sys.executable, "-m", "coterie", "serve", str(config)]


class Apache(Server):
    """Apache ZooKeeper, where Debian's package puts it, with the JVM's default heap."""

    name = "apache"
    title = "Apache"

    @classmethod
    def missing(cls) -> str | None:
        java, class_path = _debian_java()
        jars = [entry for entry in class_path.split(":") if entry.endswith(".jar")]
        if shutil.which(java) and jars and all(map(os.path.exists, jars)):
            return None
        return "Apache ZooKeeper is not installed here (on Debian: apt-get install zookeeper)"

    @classmethod
    def version(cls) -> str:
        """Debian keeps the jar under a name with the version and one without."""
        _, class_path = _debian_java()
        for entry in class_path.split(":"):
            for jar in Path(entry).parent.glob("zookeeper-[0-9]*.jar"):
                return jar.stem.removeprefix("zookeeper-")
        return "unknown"

    def command(self, config: Path) -> list[str]:
        java, class_path = _debian_java()
        return [java, "-cp", class_path, _APACHE_MAIN, str(config)]


SERVERS: Final[tuple[type[Server], ...]] = (Coterie, Apache)


def _debian_java() -> tuple[str, str]:
    """The java command and the class path that Debian's scripts use."""
    settings = {"JAVA": "java", "CLASSPATH": _DEBIAN_JAR}
    with suppress(OSError):
        for word in shlex.split(_DEBIAN_ENVIRONMENT.read_text(), comments=True):
            key, _, value = word.partition("=")
            if key in settings and value:
                settings[key] = value
    return settings["JAVA"], settings["CLASSPATH"]


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def _resident_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
