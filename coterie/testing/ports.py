"""Loopback ports for servers that are to be started.

Rules:
- a port that was given is not given again soon, though nobody listens at it yet: who lays out an
  ensemble asks more than once before its servers start;
- ports are below those that systems take for outgoing connections: one of these could have the
  port of a server that is stopped and started again, and who dials a port of that range where
  nobody listens may, once in a while, reach himself.

Another process may take a port before it is listened at: who can, tries again with others.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from contextlib import suppress
from typing import Final

_HOST: Final = "127.0.0.1"
_PORTS: Final = range(12_000, 32_000)
_TRIES_MAX: Final = 200

_given: Final = deque[int](maxlen=len(_PORTS) // 4)
"""By this process, the last ones."""


def free_port() -> int:
    """A port that nobody listens at now. Raises `OSError`."""
    for port in random.SystemRandom().sample(_PORTS, _TRIES_MAX):
        if port not in _given and _is_free(port):
            _given.append(port)
            return port
    raise OSError("there are no free ports")


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens at now, each another. Raises `OSError`."""
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with suppress(OSError):
        socket.create_server((_HOST, port)).close()
        return True
    return False
