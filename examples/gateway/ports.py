"""Ports of this machine, each held by one launcher: also while nobody listens at it.

    with Ports() as ports:
        port = ports.take(9101)

A process that is killed and started again finds its port as it was, and no other launcher gives
that port to a process of its own meanwhile: it would answer those who look for the first one. What
is held is the UDP port of the same number, which nobody needs: that is one's own as soon as it is
bound, and another's when its holder is no more.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"

_TRIES_MAX: Final = 200


class Ports:
    """Those that this process holds, between `with`."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for port in list(self._held):
            self.give_back(port)

    def take(self, first: int, step: int = 1, count: int = 1) -> int:
        """Hold the first port from `first` on that nobody has; of `count` in a row it is the one
        that stands for all. Raises `OSError`."""
        for port in range(first, first + _TRIES_MAX * step, step):
            if self.hold(port):
                if all(_is_free(each) for each in range(port, port + count)):
                    return port
                self.give_back(port)
        raise OSError(f"no port from {first} on is free")

    def hold(self, port: int) -> bool:
        """Hold a port; whether it is nobody else's. Nothing is said of who listens there."""
        guard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            guard.bind((HOST, port))
        except OSError:
            guard.close()
            return False
        self._held[port] = guard
        return True

    def give_back(self, port: int) -> None:
        self._held.pop(port).close()


def _is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
