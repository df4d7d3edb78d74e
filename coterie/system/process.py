"""Facts of this process and this machine that operators ask for."""

from __future__ import annotations

import os
import platform
import pwd
import resource
import socket
import sys
from contextlib import suppress


class _Forks:
    """How often this process is a copy of another."""

    count = 0


def _forked() -> None:
    _Forks.count += 1


os.register_at_fork(after_in_child=_forked)


def forks() -> int:
    """A number that is another one in a forked child."""
    return _Forks.count


def user_name() -> str:
    """Whom this process runs as; the number where there is no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def environment() -> dict[str, str]:
    """What the `envi` command tells, by Apache's keys where ours mean the same."""
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "host.name": socket.gethostname(),
        "python.version": platform.python_version(),
        "python.implementation": platform.python_implementation(),
        "python.executable": sys.executable,
        "os.name": platform.system(),
        "os.arch": platform.machine(),
        "os.version": platform.release(),
        "user.dir": os.getcwd(),
        "os.memory.max": f"{memory_kib // 1024}MB",
    }


def allow_files() -> None:
    """Let this process open as many files as it ever may: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Refused where the system has lowered what any process may have.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _open_files() -> int:
    """Linux 6.2 and later knows the number. Listing 10,000 of them takes 20 to 50 ms, for which
    a server that is asked how it is would answer nobody."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))


def numbers() -> dict[str, float]:
    """Open files, their limit, resident memory in bytes; what cannot be read is left out."""
    found: dict[str, float] = {
        "max_file_descriptor_count": resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    }
    try:
        found["open_file_descriptor_count"] = _open_files()
        with open("/proc/self/statm", encoding="ascii") as file:
            found["resident_memory_bytes"] = int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        pass
    return found
