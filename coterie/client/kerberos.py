"""SASL GSSAPI as a client has it: `Kerberos` says who it is, `TicketExchange` is one handshake.

    client                        server
    a ticket for the server   ->
                              <-  the server's proof
    ""                        ->
                              <-  wrapped: nothing protects what follows
    wrapped: so be it         ->
                              <-  null

Rules:
- each server has its own ticket, by the name that the connect string has for it, unless another is
  given: krb5.conf says whether that name is looked up first (`dns_canonicalize_hostname`);
- the server proves itself before it is told anything but the ticket;
- the KDC may be asked, so a handshake runs in a thread, one step at a time;
- a server with `allowSaslFailedClients` sends a null to whom it refuses, too: whether one is known
  shows in `who_am_i`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from coterie.errors import AuthFailedError, NotConnectedError
from coterie.system import kerberos
from coterie.wire.digest_md5 import SERVICE
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
_CHOSEN: Final = 2


@dataclass(frozen=True, slots=True)
class Kerberos:
    """Who a client is to Kerberos, and what its servers are called there.

    Without a `keytab` its tickets are those that `kinit` got, and `user` may choose between
    several. `host` is the servers' host if it is not that of the connect string; `principal` a
    whole name, `zookeeper/host@REALM`, in place of `service` and host. Needs the extra
    `kerberos`. Raises `KerberosError`, a `ValueError`, where that is missing or the keytab.
    """

    keytab: str | None = None
    user: str | None = None
    service: str = SERVICE
    host: str | None = None
    principal: str | None = None

    def __post_init__(self) -> None:
        kerberos.check(self.keytab)

    def exchange(self, host: str) -> TicketExchange:
        """A handshake with the server of this host."""
        name = self.principal or f"{self.service}@{self.host or host}"
        return TicketExchange(lambda: kerberos.initiate(name, self.user, self.keytab))


class TicketExchange:
    """The client's side of one handshake: send `first`, then each `answer` until it is `done`.

    Both may take seconds. They raise `AuthFailedError`, and `NotConnectedError` when no KDC could
    be asked.
    """

    __slots__ = ("_begin", "_context", "_phase", "_rounds", "done")

    def __init__(self, begin: Callable[[], Context]) -> None:
        self._begin = begin
        self._context: Context | None = None
        self._phase = _BEGUN
        self._rounds = 0
        self.done = False
        """Each side has proved itself to the other; nothing is left to send."""

    def first(self) -> bytes:
        """The ticket."""
        try:
            self._context = self._begin()
            return self._context.step(b"")
        except ContextError as error:
            raise _failure(error) from None

    def answer(self, challenge: bytes | None) -> bytes:
        """The next token to send, unless it is `done` now."""
        assert not self.done, "the handshake is over"
        assert self._context is not None, "it has not begun"
        if self._phase == _CHOSEN:
            if challenge:
                raise AuthFailedError(operation="sasl (the server says more than there is)")
            self.done = True
            return b""
        if challenge is None:
            raise AuthFailedError(operation="sasl (the server has no Kerberos, or refuses)")
        if len(challenge) > TOKEN_BYTES_MAX:
            raise AuthFailedError(operation="sasl (the server's token is too long)")
        try:
            if self._phase == _BEGUN:
                return self._step(self._context, challenge)
            return self._choose(self._context, challenge)
        except ContextError as error:
            raise _failure(error) from None

    def _step(self, context: Context, challenge: bytes) -> bytes:
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise AuthFailedError(operation="sasl (the server comes to no end)")
        said = context.step(challenge)
        if context.stands():
            self._phase = _STANDS
        return said

    def _choose(self, context: Context, challenge: bytes) -> bytes:
        offer = context.unwrap(challenge)
        if len(offer) != len(OFFER) or not offer[0] & NO_LAYER:
            raise AuthFailedError(operation="sasl (the server wants all that follows protected)")
        self._phase = _CHOSEN
        return context.wrap(OFFER)


def _failure(error: ContextError) -> AuthFailedError | NotConnectedError:
    if error.passing:
        return NotConnectedError(operation=f"sasl ({error})")
    return AuthFailedError(operation=f"sasl ({error})")
