"""SASL between two members: who dials proves a password, then either proves it to the other.

It stands between a connection and the machines of a member, which see nothing of it. Rules:
- on an election link the initial message goes first, on a quorum link nothing does;
- who dials speaks of SASL first, or not at all; who hears can tell by the first bytes, and lets
  those without it in unless they are refused by `demanded`;
- who tried and failed is told so, and is then as one who did not try, as with Apache's server;
- so much is kept of what comes before the proof is done: one initial message, one token, and what
  came in the same piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.core.link import ELECTION
from coterie.errors import AuthFailedError, MarshallingError
from coterie.wire.peers import (
    PROOF_MAGIC,
    Proof,
    proof_packet,
    read_initial,
    read_proof,
)

if TYPE_CHECKING:
    from coterie.core.sasl import Handshake, Users
    from coterie.wire.digest_client import Sasl

_TOKEN_BYTES_MAX: Final = 4096


class Introduction:
    """What both ends have in common: feed what is heard, send `out`, until `done` or `failure`."""

    __slots__ = ("done", "failure", "out", "rest")

    def __init__(self) -> None:
        self.out: list[bytes] = []
        """What is to be sent now."""
        self.done = False
        """What comes from now on is for the member."""
        self.rest = b""
        """What was heard and is for the member; all of it, once this is `done`."""
        self.failure: str | None = None
        """Why no proof was given or taken; unless it is `done` the link is to be closed."""

    def heard(self, data: bytes) -> None:
        """Bytes have come."""
        assert not self.done
        self.rest += data
        try:
            self._go_on()
        except MarshallingError:
            self.failure = "it sent what is no packet of SASL"
        except AuthFailedError as error:
            self.failure = error.operation or "wrong user or password"

    def silent(self) -> None:
        """Nothing has come for a while, or nothing will."""

    def _go_on(self) -> None:
        raise NotImplementedError

    def _packet(self) -> tuple[int, bytes | None] | None:
        """Take the packet of SASL that `rest` begins with."""
        found = read_proof(self.rest, _TOKEN_BYTES_MAX)
        if found is None:
            return None
        status, token, length = found
        self.rest = self.rest[length:]
        return status, token


class Proving(Introduction):
    """The end that dialled. On an election link the initial message is to be sent first."""

    __slots__ = ("_sasl",)

    def __init__(self, sasl: Sasl) -> None:
        super().__init__()
        self._sasl = sasl
        self.out.append(proof_packet(Proof.IN_PROGRESS, sasl.first()))

    def _go_on(self) -> None:
        while not self.done and (packet := self._packet()) is not None:
            status, token = packet
            if status == Proof.ERROR:
                raise AuthFailedError
            if self._sasl.done:
                raise MarshallingError
            answer = self._sasl.answer(token)
            if status == Proof.IN_PROGRESS:
                self.out.append(proof_packet(Proof.IN_PROGRESS, answer))
            elif self._sasl.done:
                self.done = True
            else:
                raise MarshallingError


class Hearing(Introduction):
    """The end that was dialled."""

    __slots__ = ("_demanded", "_handshake", "_initial", "_users", "_waits", "user")

    def __init__(self, kind: str, users: Users, demanded: bool) -> None:
        super().__init__()
        self._users = users
        self._demanded = demanded
        self._initial = b""
        self._waits = kind == ELECTION
        """For the initial message."""
        self._handshake: Handshake | None = None
        self.user: str | None = None
        """As whom the other end has proved itself."""

    def _go_on(self) -> None:
        if self._waits:
            found = read_initial(self.rest)
            if found is None:
                return
            length = found[1]
            self._initial, self.rest = self.rest[:length], self.rest[length:]
            self._waits = False
        if self._handshake is None:
            if not PROOF_MAGIC.startswith(self.rest[:8]):
                self._without()
                return
            if len(self.rest) < 8:
                return
            self._handshake = self._users.handshake()
        while not self.done and (packet := self._packet()) is not None:
            self._answer(self._handshake, packet[1] or b"")

    def _answer(self, handshake: Handshake, token: bytes) -> None:
        try:
            answer = handshake.answer(token)
        except AuthFailedError:
            self.out.append(proof_packet(Proof.ERROR, b""))
            self.failure = "wrong user or password"
            if self._demanded:
                raise
            self._let_in()
            return
        self.user = handshake.user
        if self.user is None:
            self.out.append(proof_packet(Proof.IN_PROGRESS, answer))
        else:
            self.out.append(proof_packet(Proof.SUCCESS, answer))
            self._let_in()

    def silent(self) -> None:
        """Who is to have no more than said by now is let in, if that needs no proof."""
        if not (self.done or self._waits or self._handshake or self._demanded):
            self._let_in()

    def _without(self) -> None:
        if self._demanded:
            self.failure = "it does not prove who it is, and serverRequireSasl is true"
        else:
            self._let_in()

    def _let_in(self) -> None:
        self.rest = self._initial + self.rest
        self.done = True
