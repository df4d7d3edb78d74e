"""Confines one command: a script of the standard library alone, run between a manager and a job.

    python -I -S confine.py LIMITS PROGRAM WORD...     # LIMITS is JSON, see `sandbox.Limits`

Its standard input is a pipe that the manager holds, and says nothing: when it ends, for the
manager wants to stop the job or is no more itself, the job is killed, with all that it has
started. The exit status is the command's, 128 and a signal's number if one killed it, or one of
those below. Where Linux is not, limits and the process group are all there is.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

OUT_OF_TIME: Final = 124
STOPPED: Final = 125
NOT_RUN: Final = 127
BY_SIGNAL: Final = 128

_SET_PARENT_DEATH_SIGNAL: Final = 1
_SET_CHILD_SUBREAPER: Final = 36
_SET_NO_NEW_PRIVILEGES: Final = 38
_NEW_NETWORK: Final = 0x40000000
_NEW_USER: Final = 0x10000000
_SWEEPS_MAX: Final = 1000
_SWEEP_PAUSE_S: Final = 0.005
_NICE: Final = 5


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _fence(limits: dict[str, Any], libc: Any) -> None:
    """What is done in the child, before it becomes the command."""
    os.setpgid(0, 0)
    os.umask(0o077)
    os.nice(_NICE)
    if libc is not None:
        libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if not limits["network"] and not _leave_network(libc):
            print("confine: the network cannot be taken away here", file=sys.stderr, flush=True)
    memory, size = limits["memory_mb"] << 20, limits["file_mb"] << 20
    for what, soft, hard in (
        (resource.RLIMIT_CPU, limits["cpu_s"], limits["cpu_s"] + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, size, size),
        (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))


def _leave_network(libc: Any) -> bool:
    """Be in a network that has nothing in it; whether that is so."""
    if libc.unshare(_NEW_NETWORK) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    # Be the same user in there as outside.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with suppress(OSError):
            Path("/proc/self", name).write_text(text, encoding="ascii")
    return True


def _become(limits: dict[str, Any], command: list[str], libc: Any) -> None:
    """Become the command. Does not return."""
    try:
        _fence(limits, libc)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.execvp(command[0], command)
    except (OSError, ValueError) as error:
        print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(NOT_RUN)


def _wait(child: int, bell: int, wall_s: float) -> int:
    """Wait for the child, the end of the pipe, or that of its time; the status."""
    deadline = time.monotonic() + wall_s
    while True:
        left_s = deadline - time.monotonic()
        ready, _, _ = select.select([0, bell], [], [], max(0.0, left_s))
        # The child first: what it has come to counts, when both have happened.
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else BY_SIGNAL - code
        if bell in ready:
            os.read(bell, 100)
            _reap(child)
        if 0 in ready and not os.read(0, 100):
            return STOPPED
        if left_s <= 0:
            return OUT_OF_TIME


def _reap(child: int) -> None:
    """Orphans that have come to us and ended: not the child itself."""
    for orphan in _children():
        if orphan != child:
            with suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)


def _children() -> list[int]:
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(number) for number in listed.split()]


def _sweep(child: int) -> None:
    """Kill the child's group, and whoever has left it: orphans become children of ours."""
    for _ in range(_SWEEPS_MAX):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        for other in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(other, signal.SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(_SWEEP_PAUSE_S)
        except ChildProcessError:
            return


def main() -> int:
    limits: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    libc = _libc()
    if libc is not None:
        libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        _become(limits, command, libc)
    status = _wait(child, bell, limits["wall_s"])
    _sweep(child)
    return status


if __name__ == "__main__":
    sys.exit(main())
