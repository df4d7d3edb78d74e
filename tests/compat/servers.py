"""The servers under comparison: Coterie from this checkout, Apache's from Debian's package.

Rules: both read a zoo.cfg of the same keys, on loopback, on a port that was free a moment ago. A
server is ready when it answers a handshake, which is asked in a way that costs no zxid. It is
ended by its own handle. Nothing here imports what is under test of coterie: only where free ports
are found.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from coterie.testing.ports import free_port

PROJECT: Final = Path(__file__).resolve().parent.parent.parent
START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
TOOL_S_MAX: Final = 60.0

_RETRY_S: Final = 0.02
_DEBIAN_ENVIRONMENT: Final = Path("/etc/zookeeper/conf/environment")
_DEBIAN_JAR: Final = "/usr/share/java/zookeeper.jar"
_DEBIAN_LOGGER: Final = "/usr/share/java/slf4j-simple.jar"
_DEBIAN_NETTY: Final = [f"/usr/share/java/netty-{part}.jar" for part in ("codec", "resolver")]
"""Of the files that Netty needs for TLS, those that are not on Debian's class path."""
_APACHE_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
# Apache reads these from the command line of the JVM alone, without its prefix.
_JVM_ONLY: Final = frozenset(
    {
        "jute.maxbuffer",
        "znode.container.checkIntervalMs",
        "znode.container.maxPerMinute",
        "znode.container.maxNeverUsedIntervalMs",
    }
)

Settings = Mapping[str, str | int]


class StartError(Exception):
    """A server did not start, with what it said last."""


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server serves: asked to re-attach to a session that never was, which no txn is."""
    stranger = struct.pack(">iqiqi16s?", 0, 0, 10_000, 1, 16, bytes(16), False)
    try:
        with socket.create_connection((host, port), timeout=5) as sock:
            sock.sendall(struct.pack(">i", len(stranger)) + stranger)
            return bool(sock.recv(4))
    except OSError:
        return False


class Server:
    """One server process over a data directory; killed at the end of a `with` block."""

    name: str
    host: str = "127.0.0.1"

    def __init__(self, directory: Path, settings: Settings | None = None) -> None:
        """Serve `directory`/data: another server may have written it."""
        self.port = free_port()
        self.within: list[str] = []
        """A command to run the server's by, as `ip netns exec ...`."""
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.config = directory / f"{self.name}.cfg"
        self.settings: dict[str, str | int] = {
            "dataDir": str(self.data),
            "clientPort": self.port,
            "clientPortAddress": self.host,
            "tickTime": 2000,
            "maxClientCnxns": 0,
            "4lw.commands.whitelist": "*",
            "admin.enableServer": "false",
            "extendedTypesEnabled": "true",
            "preAllocSize": 64,
            **(settings or {}),
        }
        self._said = directory / f"{self.name}.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why this server cannot be run here, or None."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        """Start the process and wait until it serves."""
        self.spawn()
        return self.await_serving()

    def spawn(self) -> None:
        """Start the process."""
        assert self._process is None, "it runs already"
        self.config.write_text("".join(f"{key}={v}\n" for key, v in self.settings.items()))
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [*self.within, *self.command()],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def await_serving(self) -> Self:
        assert self._process is not None, "it was not started"
        give_up_at = time.monotonic() + START_S_MAX
        while not answers(self.port, self.host):
            if self._process.poll() is not None:
                self._process = None
                raise StartError(f"{self.name} ended at its start:\n{self.said()}")
            if time.monotonic() > give_up_at:
                self.kill()
                raise StartError(f"{self.name} does not serve:\n{self.said()}")
            time.sleep(_RETRY_S)
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: the process stands still, its connections stay open."""
        assert self._process is not None
        self.tell(signal.SIGSTOP)
        # Reported when the last of its threads stands.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        self.tell(signal.SIGCONT)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end; what does not listen is killed."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def said(self, lines_max: int = 20) -> str:
        """The end of what it wrote to its output."""
        return "\n".join(self.lines()[-lines_max:]) or "(nothing)"

    def lines(self) -> list[str]:
        """All that it wrote to its output, in all its lives."""
        with suppress(FileNotFoundError):
            return self._said.read_text(errors="replace").splitlines()
        return []

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *failure: object) -> None:
        if self.running:
            self.kill()


class Coterie(Server):
    """This checkout's server, in this interpreter's environment."""

    name = "coterie"

    @classmethod
    def missing(cls) -> str | None:
        return None

    def command(self) -> list[str]:
        return [sys.executable, "-m", "coterie", "serve", str(self.config)]


class Apache(Server):
    """Apache ZooKeeper where Debian's package puts it, with a small heap and a quick start."""

    name = "apache"
    log_level = "warn"

    @classmethod
    def missing(cls) -> str | None:
        java, class_path = _debian_java()
        jars = [entry for entry in class_path.split(":") if entry.endswith(".jar")]
        if shutil.which(java) and jars and all(map(os.path.exists, jars)):
            return None
        return "Apache ZooKeeper is not installed here (Debian: apt-get install zookeeper)"

    def command(self) -> list[str]:
        given = sorted(_JVM_ONLY & set(self.settings))
        defines = [f"-D{key}={self.settings[key]}" for key in given]
        return [*java_command(self.log_level), *defines, _APACHE_MAIN, str(self.config)]


SERVERS: Final[Mapping[str, type[Server]]] = {"coterie": Coterie, "apache": Apache}


def java_command(log_level: str = "warn") -> list[str]:
    """The start of a command line for a class of Apache's: JVM, its options, the class path."""
    java, class_path = _debian_java()
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-Dfile.encoding=UTF-8"]
    log = [f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}"]
    for jar in (_DEBIAN_LOGGER, *_DEBIAN_NETTY):
        if os.path.exists(jar):
            class_path = f"{class_path}:{jar}"
    return [java, *quick, *log, "-cp", class_path]


def java_tool(name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a class of Apache's to its end, without its log."""
    return subprocess.run(
        [*java_command("off"), name, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TOOL_S_MAX,
        check=False,
    )


def _debian_java() -> tuple[str, str]:
    """The java command and the class path that Debian's scripts use."""
    settings = {"JAVA": "java", "CLASSPATH": _DEBIAN_JAR}
    with suppress(OSError):
        for word in shlex.split(_DEBIAN_ENVIRONMENT.read_text(), comments=True):
            key, _, value = word.partition("=")
            if key in settings and value:
                settings[key] = value
    return settings["JAVA"], settings["CLASSPATH"]
