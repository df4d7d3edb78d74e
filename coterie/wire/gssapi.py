"""SASL GSSAPI (RFC 4752) as both ends have to know it: a context of GSSAPI, and what follows it.

When the context stands, the server says which layers it has to protect what follows, and the
client says which of them it takes and whom it acts for. ZooKeeper has none: one byte 1 says so,
three of zero that no wrapped message follows. Both are wrapped, so each end shows that it has the
key.
"""

from __future__ import annotations

from typing import Final, Protocol

NO_LAYER: Final = 1
OFFER: Final = bytes((NO_LAYER, 0, 0, 0))
"""What a server of ZooKeeper has, and what a client takes; there, whom it acts for follows."""
TOKEN_BYTES_MAX: Final = 128 * 1024
"""A ticket of Active Directory has up to 64 KiB of groups in it."""
ROUNDS_MAX: Final = 5


class ContextError(Exception):
    """The context cannot go on; the message says why, in one line."""

    def __init__(self, why: str, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing
        """Whether it may go on at another time: nobody could be asked for a ticket."""


class Context(Protocol):
    """One end of a context. Every method raises `ContextError`."""

    def step(self, token: bytes) -> bytes:
        """The token that answers this one; empty if there is nothing to say."""

    def stands(self) -> bool:
        """Whether no token is awaited any more."""

    def peer(self) -> str:
        """The name that the other end has proved. Nobody in particular is an error."""

    def wrap(self, message: bytes) -> bytes: ...

    def unwrap(self, token: bytes) -> bytes: ...
