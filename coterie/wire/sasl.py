"""SASL at the server, whatever its mechanism: who takes proofs, and one handshake of it.

Rules: a handshake is for one connection and one try. A token of None is a null in the reply, which
says that the handshake is over where the mechanism has nothing more to say.
"""

from __future__ import annotations

from typing import Protocol


class Handshake(Protocol):
    """The server's side: `answer` what comes until `user` says who it is."""

    user: str | None
    """Who is at the other end, once that is proved."""

    def answer(self, token: bytes) -> bytes | None:
        """The token that answers this one. Raises `AuthFailedError`, whose `operation` is for the
        operator."""


class Mechanism(Protocol):
    """A way to prove who one is."""

    def handshake(self) -> Handshake:
        """One for a connection that is about to prove who it is."""
