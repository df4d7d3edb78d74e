"""One connection between two members as the machines see it: bytes in, bytes out, who is there.

There are two kinds: `election` links carry notifications, `quorum` links the packets between a
leader and its learners. A machine that wants one makes it and puts it among the effects' `dials`;
one that another member opened is made by the driver. Either is handed to every event about it.
"""

from __future__ import annotations

from typing import Final

ELECTION: Final = "election"
QUORUM: Final = "quorum"

Endpoint = tuple[str, int]
"""Host and port."""


class Link:
    """What a member keeps of a connection to another. Compared and hashed by identity."""

    __slots__ = (
        "addresses",
        "closing",
        "dialled",
        "gone",
        "kind",
        "open",
        "out",
        "peer",
        "streaming",
        "touched",
    )

    def __init__(self, kind: str, peer: int = 0, addresses: tuple[Endpoint, ...] = ()) -> None:
        self.kind = kind
        self.peer = peer
        """The id of the member at the other end; 0 until one that dialled us has said it."""
        self.addresses = addresses
        """Where to dial, in order until one answers; empty where the other end dialled."""
        self.dialled = bool(addresses)
        self.open = not addresses
        self.out: list[bytes] = []
        """What is to be sent, in order."""
        self.touched = False
        """Already among the outputs of this turn."""
        self.closing = False
        """Nothing is read from it any more."""
        self.gone = False
        self.streaming = False
        """There is more than is in `out`: `drained_link` is waited for."""

    def __repr__(self) -> str:
        way = "to" if self.dialled else "from"
        return f"<{self.kind} link {way} {self.peer or 'somebody'}>"
