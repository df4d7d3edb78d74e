"""Three servers of one kind as one ensemble on loopback, each over a directory of its own.

Rules: the limits are those of the sample that comes with Apache's server. Who leads is asked by
`srvr`, the one word that Apache answers unless told otherwise.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from benchmarks.servers import START_S_MAX, Server, StartError
from coterie.testing.ports import free_port

MEMBERS: Final = 3
_LIMITS: Final = {"initLimit": "10", "syncLimit": "5"}
_RETRY_S: Final = 0.02
_WORD_S_MAX: Final = 1.0
_CHUNK_BYTES: Final = 1 << 16


class Ensemble:
    """A context manager, as a server is."""

    def __init__(self, kind: type[Server], directory: Path) -> None:
        self.name = kind.name
        self.title = kind.title
        self.directory = directory
        self.members = [kind(directory / str(number)) for number in range(1, MEMBERS + 1)]
        lines = dict(_LIMITS)
        for number in range(1, MEMBERS + 1):
            lines[f"server.{number}"] = f"127.0.0.1:{free_port()}:{free_port()}"
        for number, member in enumerate(self.members, 1):
            member.join(number, lines)

    @property
    def ports(self) -> list[int]:
        return [member.port for member in self.members]

    def __enter__(self) -> Self:
        try:
            for member in self.members:
                member.spawn()
            for member in self.members:
                member.when_ready().close()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def discard(self) -> None:
        """Delete what they have stored."""
        for member in self.members:
            member.discard()

    def leader(self) -> Server:
        """The member that says that it leads."""
        give_up_at = time.monotonic() + START_S_MAX
        while time.monotonic() < give_up_at:
            for member in self.members:
                if "Mode: leader" in _status(member.port):
                    return member
            time.sleep(_RETRY_S)
        raise StartError(f"no member of {self.title} leads within {START_S_MAX:.0f} s")


def _status(port: int) -> str:
    """What a member says of itself; nothing if it does not answer."""
    parts = []
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=_WORD_S_MAX) as connection,
    ):
        connection.sendall(b"srvr")
        while part := connection.recv(_CHUNK_BYTES):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")
