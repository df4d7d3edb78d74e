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

_QUIET_MS: Final = 10_000.0
_KINDS_MAX: Final = 100


class Complaints:
    """What is said of strangers: one line of a kind in a while, and how many were like it.

    Whoever can connect may make a server complain; it must not fill the disk by that.
    """

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[float, int]] = {}
        """When each kind is due again, and how many were not told."""

    def line(self, kind: str, text: str, now_ms: float) -> str | None:
        """What to say of this one, if anything."""
        due_ms, untold = self._kinds.get(kind, (now_ms, 0))
        if now_ms < due_ms:
            self._kinds[kind] = due_ms, untold + 1
            return None
        if len(self._kinds) >= _KINDS_MAX:
            self._kinds.clear()
        self._kinds[kind] = now_ms + _QUIET_MS, 0
        return f"{text} (and {untold} more of that kind)" if untold else text


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
