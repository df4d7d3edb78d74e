"""`coterie ensemble`: an ensemble on this machine, every server a process of its own.

It is for trying things and for tests of what has to survive the loss of a server. Rules:
- all of it is in one directory: in `server-N` the zoo.cfg of server N, its data, its log, what it
  says (`server.log`) and the number of its process (`pid`);
- servers listen at 127.0.0.1 only;
- a number in a `pid` file is believed only of a process that serves that very zoo.cfg;
- every wait has an end.

Exit status 1 says that the ensemble does not do what it should, 2 that the command is to be
changed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from coterie.config import ConfigError, parse
from coterie.ensemble import Ensemble, EnsembleError

HOST: Final = "127.0.0.1"
PORT: Final = 2181
SERVERS: Final = 3
STOP_S_MAX: Final = 10.0

_QUORUM_PORTS: Final = 2888 - PORT
_ELECTION_PORTS: Final = 3888 - PORT
_PAGES_PORTS: Final = 8081 - PORT
_PORT_STEP: Final = 10
_PORT_TRIES: Final = 50
_POLL_S: Final = 0.1
_ANSWER_S_MAX: Final = 2.0
_ANSWER_BYTES_MAX: Final = 65_536
_KILL_S_MAX: Final = 5.0
_LOG_LINES: Final = 15
_VOTING: Final = ("leader", "follower")
_SERVING: Final = ("leader", "follower", "observer", "standalone")


class CommandError(Exception):
    """The command cannot be carried out; the message is one line, `status` what to exit with."""

    def __init__(self, reason: str, status: int = 2) -> None:
        super().__init__(reason)
        self.status = status


class Answer(NamedTuple):
    """What a server says of itself."""

    mode: str
    zxid: str


@dataclass(frozen=True)
class Server:
    """One server: its number, its directory, its port for clients and that of its pages."""

    id: int
    directory: Path
    port: int
    pages_port: int | None = None

    @property
    def file(self) -> Path:
        return self.directory / "zoo.cfg"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / "pid"

    def pid(self) -> int | None:
        """The number of its process, if that is running."""
        try:
            pid = int(self.pid_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if pid > 1 and serves(pid, str(self.file)) else None


def serves(pid: int, file: str) -> bool:
    """Whether this is a process that serves that zoo.cfg. Numbers of processes come again."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        if Path("/proc/self/cmdline").exists():
            return False
        shown = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
        )
        return os.fsencode(f"serve {file}") in shown.stdout
    return b"serve" in words and os.fsencode(file) in words


def ask(port: int, word: str = "srvr") -> str | None:
    """What the server at a port answers to a four-letter word; None if nobody does."""
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_S_MAX) as connection:
            connection.sendall(word.encode())
            answer = b""
            while len(answer) < _ANSWER_BYTES_MAX:
                part = connection.recv(4096)
                if not part:
                    break
                answer += part
    except OSError:
        return None
    return answer.decode("utf-8", "replace")


def read_answer(text: str | None) -> Answer:
    """What an answer to `srvr` says."""
    if text is None:
        return Answer("no answer", "")
    mode = re.search(r"^Mode: (\S+)", text, re.MULTILINE)
    zxid = re.search(r"^Zxid: (\S+)", text, re.MULTILINE)
    if mode is None:
        return Answer("not serving", "")
    return Answer(mode[1], zxid[1] if zxid else "")


# The directory


def lay_out(directory: Path, servers: int, observers: int, port: int) -> None:
    """Make the directories of an ensemble whose servers have consecutive ports from `port` on."""
    count = servers + observers
    lines: list[str] = []
    for number in range(count):
        role = ":observer" if number >= servers else ""
        quorum, election = port + _QUORUM_PORTS + number, port + _ELECTION_PORTS + number
        lines.append(f"server.{number + 1}={HOST}:{quorum}:{election}{role}\n")
    if servers == 1:
        lines.append("standaloneEnabled=false\n")
    for number in range(count):
        place = directory / f"server-{number + 1}"
        for name in ("data", "log"):
            (place / name).mkdir(parents=True, exist_ok=True)
        (place / "data" / "myid").write_text(f"{number + 1}\n", encoding="ascii")
        settings = {
            "tickTime": 2000,
            "initLimit": 10,
            "syncLimit": 5,
            "dataDir": _escaped(place / "data"),
            "dataLogDir": _escaped(place / "log"),
            "clientPort": port + number,
            "clientPortAddress": HOST,
            "maxClientCnxns": 0,
            "admin.serverPort": port + _PAGES_PORTS + number,
            "extendedTypesEnabled": "true",
            "4lw.commands.whitelist": "*",
        }
        if number >= servers:
            settings["peerType"] = "observer"
        text = "".join(f"{key}={value}\n" for key, value in settings.items()) + "".join(lines)
        (place / "zoo.cfg").write_text(text, encoding="utf-8")


def _escaped(path: Path) -> str:
    """A path as the value of a Java property."""
    return str(path).replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def find(directory: Path) -> tuple[list[Server], Ensemble]:
    """The servers that are laid out in a directory, and the ensemble that they are."""
    servers: list[Server] = []
    ensemble: Ensemble | None = None
    for place in sorted(directory.glob("server-*")):
        try:
            config, _ = parse((place / "zoo.cfg").read_text(encoding="utf-8"))
            id = int((place / "data" / "myid").read_text(encoding="ascii"))
        except (OSError, ValueError, ConfigError) as error:
            raise CommandError(f"{place}: {error}") from None
        ensemble = config.ensemble
        servers.append(Server(id, place, config.client_port, config.admin_port_given))
    if ensemble is None:
        raise CommandError(f"{directory} has no ensemble in it: there is no server-1")
    ids = sorted(server.id for server in servers)
    if ids != list(ensemble.seats):
        raise CommandError(f"{directory} is not whole: it has server {ids} of {ensemble.text()!r}")
    return sorted(servers, key=lambda server: server.id), ensemble


def free_ports(count: int, port: int | None) -> int:
    """The first client port of `count` servers none of whose ports is taken."""
    for candidate in [port] if port else _candidates(count):
        taken = next((one for one in _ports(candidate, count) if not _is_free(one)), None)
        if taken is None:
            return candidate
        if port:
            raise CommandError(f"port {taken} is in use or cannot be had; choose another --port")
    raise CommandError(f"no {count} consecutive free ports were found; choose a --port")


def _candidates(count: int) -> Iterable[int]:
    step = max(_PORT_STEP, count)
    return range(PORT, PORT + _PORT_TRIES * step, step)


def _ports(port: int, count: int) -> list[int]:
    blocks = (port, port + _QUORUM_PORTS, port + _ELECTION_PORTS, port + _PAGES_PORTS)
    return [first + number for first in blocks for number in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def connect_string(servers: Iterable[Server]) -> str:
    return ",".join(f"{HOST}:{server.port}" for server in servers)


# Starting


def start(
    directory: str, servers: int | None, observers: int | None, port: int | None, timeout_s: float
) -> int:
    """Start what is not running, and wait until all serve. What is None was not asked for."""
    place = Path(directory).resolve()
    try:
        if any(place.glob("server-*")):
            known, ensemble = find(place)
            _check_same(known, ensemble, servers, observers, port)
        else:
            counts = (SERVERS if servers is None else servers, observers or 0)
            lay_out(place, *counts, free_ports(sum(counts), port))
            known, ensemble = find(place)
        _start(known, timeout_s)
    except (CommandError, EnsembleError, OSError) as error:
        print(f"coterie ensemble: {error}", file=sys.stderr)
        return error.status if isinstance(error, CommandError) else 2
    print(f"connect    {connect_string(known)}")
    if known[0].pages_port is not None:
        print(f"console    http://{HOST}:{known[0].pages_port}/")
    print(f"stop       coterie ensemble stop {directory}", flush=True)
    return 0


def _check_same(
    known: list[Server],
    ensemble: Ensemble,
    servers: int | None,
    observers: int | None,
    port: int | None,
) -> None:
    """An ensemble that is there is what it is."""
    asked = (servers, observers, port)
    there = (len(ensemble.voters), len(ensemble.observers), known[0].port)
    if any(one not in (None, other) for one, other in zip(asked, there, strict=True)):
        raise CommandError(
            f"there is an ensemble already, of {there[0]} servers and {there[1]} observers from "
            f"port {there[2]} on; use another directory"
        )


class Start(NamedTuple):
    """A process that was just started, and how long its log was before."""

    process: subprocess.Popen[bytes]
    log_bytes: int


def _start(servers: list[Server], timeout_s: float) -> None:
    """Start what is not running. If that fails, what was started is stopped again."""
    started: dict[int, Start] = {}
    try:
        for server in servers:
            if server.pid() is None:
                started[server.id] = _spawn(server)
        _await(servers, started, time.monotonic() + timeout_s)
    except CommandError as error:
        if error.status == 1:
            _stop([server for server in servers if server.id in started], STOP_S_MAX)
        raise
    finally:
        for begun in started.values():
            if begun.process.poll() is None:
                # It outlives this command; `Popen` would warn of that.
                begun.process.returncode = 0


def command(file: str) -> list[str]:
    """What a server's process is started by."""
    return [sys.executable, "-m", "coterie", "serve", file]


def _spawn(server: Server) -> Start:
    size = server.log.stat().st_size if server.log.exists() else 0
    with server.log.open("ab") as log:
        process = subprocess.Popen(
            command(str(server.file)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server.pid_file.write_text(f"{process.pid}\n", encoding="ascii")
    return Start(process, size)


def _await(servers: list[Server], started: dict[int, Start], deadline: float) -> None:
    """Wait until every server serves and one of them leads, and say what each has become."""
    modes: dict[int, str] = {}
    while True:
        for server in servers:
            begun = started.get(server.id)
            if begun is not None and begun.process.poll() is not None:
                raise CommandError(_obituary(server, begun), 1)
            mode = read_answer(ask(server.port)).mode
            if mode in _SERVING and modes.get(server.id) != mode:
                where = f"{HOST}:{server.port}"
                print(
                    f"server {server.id}   {mode}, at {where}, process {server.pid()}", flush=True
                )
            modes[server.id] = mode
        if all(mode in _SERVING for mode in modes.values()) and "leader" in modes.values():
            return
        if time.monotonic() >= deadline:
            late = ", ".join(f"server {id} is {mode}" for id, mode in modes.items())
            logs = servers[0].directory.parent / "server-*" / "server.log"
            raise CommandError(f"it takes too long: {late}; see {logs}", 1)
        time.sleep(_POLL_S)


def _obituary(server: Server, begun: Start) -> str:
    """Why a server ended, in its own words."""
    with server.log.open("rb") as log:
        log.seek(begun.log_bytes)
        said = log.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
    status = begun.process.returncode
    return "\n  ".join([f"server {server.id} ended with status {status}; it said:", *said])


# Asking and stopping


def status(directory: str, as_json: bool) -> int:
    """Show what every server is doing. Exit status 1 where there is no quorum."""
    try:
        servers, ensemble = find(Path(directory).resolve())
    except CommandError as error:
        print(f"coterie ensemble: {error}", file=sys.stderr)
        return error.status
    rows: list[dict[str, object]] = []
    modes: dict[int, str] = {}
    for server in servers:
        pid = server.pid()
        answer = Answer("down", "") if pid is None else read_answer(ask(server.port))
        modes[server.id] = answer.mode
        rows.append(
            {
                "id": server.id,
                "role": ensemble.seats[server.id].role.value,
                "mode": answer.mode,
                "pid": pid,
                "zxid": answer.zxid or None,
                "client": f"{HOST}:{server.port}",
            }
        )
    voting = [id for id, mode in modes.items() if mode in _VOTING]
    has_quorum = "leader" in modes.values() and ensemble.is_quorum(voting)
    if as_json:
        whole = {"quorum": has_quorum, "connect": connect_string(servers), "servers": rows}
        print(json.dumps(whole, indent=2))
    else:
        _show(rows)
        print("quorum     yes" if has_quorum else "quorum     no")
        print(f"connect    {connect_string(servers)}")
    return 0 if has_quorum else 1


def _show(rows: list[dict[str, object]]) -> None:
    names = ("id", "mode", "pid", "zxid", "client")
    lines = [["server", *names[1:]]]
    lines += [["-" if row[name] is None else str(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


def stop(directory: str, stop_s_max: float = STOP_S_MAX) -> int:
    """Ask every server to end, and wait for it; who does not is killed."""
    try:
        servers, _ = find(Path(directory).resolve())
    except CommandError as error:
        print(f"coterie ensemble: {error}", file=sys.stderr)
        return error.status
    for server, how in _stop(servers, stop_s_max):
        print(f"server {server.id}   {how}")
    return 0


def _stop(servers: list[Server], stop_s_max: float) -> list[tuple[Server, str]]:
    said = {server.id: "was not running" for server in servers}
    for server in _signal(servers, signal.SIGTERM):
        said[server.id] = "stopped"
    for server in _signal(_wait(servers, stop_s_max), signal.SIGKILL):
        said[server.id] = f"killed: it had not ended after {stop_s_max:g} s"
    for server in _wait(servers, _KILL_S_MAX):
        said[server.id] = f"process {server.pid()} does not end"
    for server in servers:
        if server.pid() is None:
            server.pid_file.unlink(missing_ok=True)
    return [(server, said[server.id]) for server in servers]


def _signal(servers: list[Server], number: signal.Signals) -> list[Server]:
    """Signal those that are running."""
    running: list[Server] = []
    for server in servers:
        pid = server.pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            running.append(server)
    return running


def _wait(servers: list[Server], seconds: float) -> list[Server]:
    """Wait until none is running; those that still are."""
    deadline = time.monotonic() + seconds
    while running := [server for server in servers if server.pid() is not None]:
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    return running
