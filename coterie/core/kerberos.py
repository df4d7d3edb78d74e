"""SASL GSSAPI as the server has it: who has a ticket of Kerberos for it, and what it calls them.

    client                            server
    a ticket for the server       ->
                                  <-  the server's proof
    ""                            ->
                                  <-  wrapped: nothing protects what follows
    wrapped: so be it             ->
                                  <-  null

Rules:
- a handshake is for one connection and one try: after it failed, it refuses whatever comes;
- whom the client says it acts for gives it nothing: it is who its ticket says, by the rules of
  `principals`;
- a context is made and asked by whoever is given here: no call of it waits for another machine.
Apache's client goes on only after a null, kazoo after any token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coterie.errors import AuthFailedError
from coterie.principals import PrincipalError
from coterie.wire.gssapi import (
    NO_LAYER,
    OFFER,
    ROUNDS_MAX,
    TOKEN_BYTES_MAX,
    Context,
    ContextError,
)

_BEGUN: Final = 0
_STANDS: Final = 1
"""The context stands, and the server's offer was not sent yet."""
_OFFERED: Final = 2
_OVER: Final = 3


class Tickets:
    """Who may come in by a ticket. `accept` makes the server's end of a context, `called` gives
    the name of a user for that which was proved, or raises `PrincipalError`."""

    def __init__(self, accept: Callable[[], Context], called: Callable[[str], str]) -> None:
        self._accept = accept
        self._called = called

    def handshake(self) -> TicketHandshake:
        """One for a connection that is about to prove who it is."""
        return TicketHandshake(self._accept, self._called)


class TicketHandshake:
    """The server's side: `answer` what comes until `user` says who it is."""

    __slots__ = ("_accept", "_called", "_context", "_phase", "_rounds", "user")

    def __init__(self, accept: Callable[[], Context], called: Callable[[str], str]) -> None:
        self._accept = accept
        self._called = called
        self._context: Context | None = None
        self._phase = _BEGUN
        self._rounds = 0
        self.user: str | None = None
        """Who is at the other end, once that is proved."""

    def answer(self, token: bytes) -> bytes | None:
        """The token that answers this one; None when it was the last. Raises `AuthFailedError`."""
        phase = self._phase
        self._phase = _OVER
        if phase == _OVER or len(token) > TOKEN_BYTES_MAX:
            raise AuthFailedError
        try:
            if self._context is None:
                if not token and not self._rounds:
                    self._rounds, self._phase = 1, _BEGUN
                    return b""  # Who has nothing to say first is asked for it.
                self._context = self._accept()
            if phase == _BEGUN:
                return self._step(self._context, token)
            if phase == _STANDS:
                return self._offer(self._context, token)
            self._conclude(self._context, token)
        except (ContextError, PrincipalError) as error:
            raise AuthFailedError(operation=str(error)) from None
        return None

    def _step(self, context: Context, token: bytes) -> bytes:
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise AuthFailedError
        said = context.step(token)
        if not context.stands():
            self._phase = _BEGUN
            return said
        if not said:  # The client wants no proof of the server, so it awaits the offer.
            return self._offer(context, b"")
        self._phase = _STANDS
        return said

    def _offer(self, context: Context, token: bytes) -> bytes:
        if token:
            raise AuthFailedError
        self._phase = _OFFERED
        return context.wrap(OFFER)

    def _conclude(self, context: Context, token: bytes) -> None:
        chosen = context.unwrap(token)
        if len(chosen) < len(OFFER) or chosen[0] != NO_LAYER:
            raise AuthFailedError(operation="the client wants all that follows protected")
        self.user = self._called(context.peer())
