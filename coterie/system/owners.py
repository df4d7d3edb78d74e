"""Whose files are, who may read them, and which processes use them.

Our server locks its directories; Apache's does not, so its open files are looked for. That can be
seen on Linux alone, and only of processes that this one may look at.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress


def is_for_all(path: str) -> bool:
    """Whether every user of this machine may read a file. Raises `OSError`."""
    return bool(os.stat(path).st_mode & stat.S_IROTH)


def users(directory: str) -> list[int]:
    """The processes, but for this one, that have a directory open, or a file in it."""
    top = os.path.realpath(directory)
    found: list[int] = []
    with suppress(OSError):
        numbers = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        found = [pid for pid in numbers if pid != os.getpid() and _uses(pid, top)]
    return found


def _uses(pid: int, top: str) -> bool:
    descriptors = f"/proc/{pid}/fd"
    try:
        names = os.listdir(descriptors)
    except OSError:
        return False
    for name in names:
        with suppress(OSError):
            path = os.readlink(f"{descriptors}/{name}")
            if path == top or path.startswith(f"{top}/"):
                return True
    return False


def give(path: str, like: str) -> None:
    """Let a file, or a directory with all in it, belong to whom another belongs: root's tools
    leave nothing behind that a server cannot write. Does nothing for anyone else than root."""
    if os.geteuid() != 0:
        return
    wanted = os.stat(like)
    paths = [path]
    for above, directories, files in os.walk(path):
        paths += [os.path.join(above, name) for name in (*directories, *files)]
    for each in paths:
        os.chown(each, wanted.st_uid, wanted.st_gid, follow_symlinks=False)
