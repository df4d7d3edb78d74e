"""Who a client is, as far as it has proved it, and what is demanded before anything is served.

Rules:
- identities are of a connection, are added at once, and never go; nobody has more of them than
  every request may carry to a leader;
- a proof that failed is told in the place of its request, behind what was asked before it;
- where a proof is demanded, nothing else is taken from who has not given it, not even a ping.
The server cuts the frames and keeps the order of replies; `sasl.py` and `kerberos.py` have the
handshakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from coterie.config import Config
from coterie.core.acl import AccessControl
from coterie.core.connection import Connection
from coterie.errors import AuthenticationRequiredError, AuthFailedError
from coterie.values import Id
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import Op, reply
from coterie.wire.sasl import Mechanism

_NO_TOKEN: Final = b"\xff" * 4
_IDS_MAX: Final = 64
_IDS_LENGTH_MAX: Final = 64 * 1024


class Gate:
    """Takes the proofs of a server's clients. `say` takes a kind and a line for the operator."""

    def __init__(
        self, config: Config, access: AccessControl, say: Callable[[str, str], None]
    ) -> None:
        self.users: Mechanism | None = None
        """Who may come in by SASL, if anybody."""
        self.demanded = frozenset(config.demanded_schemes)
        """An identity of one of these is demanded of everybody, if there are any."""
        self._access = access
        self._say = say
        self._keeps_refused = config.sasl_failed_allowed and "sasl" not in self.demanded

    def proved(self, connection: Connection) -> bool:
        """Whether a client has given what is demanded."""
        return any(scheme in self.demanded for scheme, _ in connection.ids)

    def answer(
        self, connection: Connection, xid: int, op: int, reader: Reader
    ) -> tuple[bytes, bool]:
        """The reply to a proof, an `AUTH` or `SASL` packet, and whether it is the last one: then
        the connection ends with it."""
        if op == Op.SASL:
            return self._sasl(connection, xid, reader)
        request = requests.AuthPacket.read(reader)
        try:
            ids = self._access.authenticate(request.scheme, request.auth or b"", connection.ip)
        except AuthFailedError as error:
            return reply(xid, 0, error.code), True
        if not self._identify(connection, ids):
            return reply(xid, 0, AuthFailedError.code), True
        return reply(xid, 0, 0), False

    def _identify(self, connection: Connection, ids: Iterable[Id]) -> bool:
        """Add to who a client is; False if that would be too many, and nothing is added."""
        new = [one for one in ids if one not in connection.ids]
        if not new:
            return True
        merged = (*connection.ids, *new)
        length = sum(len(scheme) + len(name) for scheme, name in merged)
        if len(merged) > _IDS_MAX or length > _IDS_LENGTH_MAX:
            who = f"{connection.ip}:{connection.port}"
            self._say(f"{connection.ip} ids", f"closing {who}: it is too many identities")
            return False
        connection.ids = merged
        return True

    def refusal(self, connection: Connection, xid: int) -> bytes:
        """The last reply to who asks for something before the proof that is demanded."""
        self._say(
            f"{connection.ip} asks",
            f"closing {connection.ip}:{connection.port}: it asks for something before it "
            f"has authenticated by {' or '.join(sorted(self.demanded))}",
        )
        return reply(xid, 0, AuthenticationRequiredError.code)

    def _sasl(self, connection: Connection, xid: int, reader: Reader) -> tuple[bytes, bool]:
        """One round of a handshake; without users, or for who may fail, the token is null."""
        token = reader.buffer() or b""
        if self.users is None:
            return reply(xid, 0, 0, _NO_TOKEN), False
        if connection.handshake is None:
            connection.handshake = self.users.handshake()
        handshake = connection.handshake
        try:
            answer = handshake.answer(token)
        except AuthFailedError as error:
            why = f": {error.operation}" if error.operation else ""
            line = f"{connection.ip}:{connection.port}: SASL failed{why}"
            self._say(f"{connection.ip} SASL{why}", line)
            if self._keeps_refused:
                return reply(xid, 0, 0, _NO_TOKEN), False
            demanded = "sasl" in self.demanded
            code = AuthenticationRequiredError.code if demanded else error.code
            return reply(xid, 0, code, _NO_TOKEN), True
        ids = self._access.user(handshake.user) if handshake.user is not None else ()
        if not self._identify(connection, ids):
            return reply(xid, 0, AuthFailedError.code, _NO_TOKEN), True
        told = _NO_TOKEN if answer is None else len(answer).to_bytes(4, "big") + answer
        return reply(xid, 0, 0, told), False
