"""What a process tells systemd, or whoever started it in the same way: sd_notify, by hand.

Rules: a message is one datagram of KEY=VALUE lines to the socket that NOTIFY_SOCKET names. Nobody
waits for it and nothing depends on it: where there is no socket, and where it cannot be reached,
nothing happens. The watchdog is wanted only from the process that WATCHDOG_PID names.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def status(text: str) -> str:
    """One line for people, as `systemctl status` shows it."""
    return "STATUS=" + " ".join(text.split())


class Supervisor:
    """Who started this process and wants to hear from it; perhaps nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        # An `@` stands for the zero byte of the abstract namespace.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self.listens = bool(self._address)
        """Whether there is one."""
        self.watchdog_s = self._watchdog(environment)
        """After this time without `ALIVE` the process is taken for dead; None: it is not."""

    def _watchdog(self, environment: Mapping[str, str]) -> float | None:
        asked = environment.get("WATCHDOG_USEC", "")
        process = environment.get("WATCHDOG_PID", "")
        if not self.listens or not asked.isdecimal() or int(asked) == 0:
            return None
        return int(asked) / 1e6 if process in ("", str(os.getpid())) else None

    def tell(self, *lines: str) -> None:
        """Send one message."""
        if not self.listens:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            # A full queue is systemd's trouble: the next message comes soon.
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)
