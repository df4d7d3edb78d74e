"""The client's side of DIGEST-MD5 (RFC 2831): who proves a password and has the server prove it.

Clients prove themselves to servers by it (`client/sasl.py`), and members to each other
(`core/introduction.py`). Rules: a machine is for one connection; the server's proof is as much a
part of it as one's own. `core/sasl.py` has the other side.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Final

from coterie.errors import AuthFailedError
from coterie.wire.digest_md5 import (
    NONCE_LENGTH,
    NONCE_LETTERS,
    SERVER_NAME,
    DirectivesError,
    directives,
    proofs,
    quoted,
    secret,
)

if TYPE_CHECKING:
    from random import Random

_CHALLENGE_BYTES_MAX: Final = 2048
_ONCE: Final = frozenset({"nonce", "algorithm", "charset", "rspauth"})


class Sasl:
    """The client's side of one handshake: send `first`, then each `answer` until it is `done`."""

    __slots__ = ("_dice", "_expected", "_password", "_server_name", "_user", "done")

    def __init__(
        self, user: str, password: str, dice: Random, server_name: str = SERVER_NAME
    ) -> None:
        self._user = user
        self._password = password
        self._dice = dice
        self._server_name = server_name
        self._expected: bytes | None = None
        """What only a server that knows the password can say, once it was asked."""
        self.done = False
        """Each side has proved itself to the other; nothing is left to send."""

    def first(self) -> bytes:
        """The token that asks for a challenge."""
        return b""

    def answer(self, challenge: bytes | None) -> bytes:
        """The next token to send, unless it is `done` now. Raises `AuthFailedError`."""
        assert not self.done, "the handshake is over"
        if not challenge:
            proved = self._expected is not None
            raise _refusal("wrong user or password" if proved else "the server has no users")
        if len(challenge) > _CHALLENGE_BYTES_MAX:
            raise _refusal(f"the server's token is too long, {len(challenge)} bytes")
        try:
            given = directives(challenge, _ONCE)
        except DirectivesError as error:
            raise _refusal(f"the server {error}") from None
        if self._expected is None:
            return self._prove(given)
        if not hmac.compare_digest(given.get("rspauth", b""), self._expected):
            raise _refusal("the server does not prove that it knows the password")
        self.done = True
        return b""

    def _prove(self, given: dict[str, bytes]) -> bytes:
        nonce = given.get("nonce")
        if nonce is None:
            raise _refusal("the challenge has no nonce")
        if given.get("algorithm") != b"md5-sess":
            raise _refusal("the challenge is for another algorithm than md5-sess")
        if b"auth" not in re.split(rb"[\s,]+", given.get("qop", b"auth")):
            raise _refusal("the server wants all that follows signed, which ZooKeeper cannot")
        charset = given.get("charset")
        if charset not in (None, b"utf-8"):
            raise _refusal("the challenge is in another charset than utf-8")
        encoding = "utf-8" if charset else "latin-1"
        try:
            user = self._user.encode(encoding)
            self._password.encode(encoding)
            realm = given.get("realm", b"").decode(encoding)
        except UnicodeError:
            raise _refusal(f"user, password or realm cannot be written in {encoding}") from None

        cnonce = "".join(self._dice.choices(NONCE_LETTERS, k=NONCE_LENGTH)).encode()
        uri = self._server_name.encode()
        try:
            known = secret(self._user, realm, self._password)
            proof, self._expected = proofs(known, nonce, cnonce, uri)
        except ValueError as error:  # a Python for FIPS 140 has no MD5
            raise _refusal(f"this Python cannot do MD5: {error}") from None
        answers = [
            b"charset=utf-8" if charset else b"",
            b"username=" + quoted(user),
            b"realm=" + quoted(given["realm"]) if "realm" in given else b"",
            b"nonce=" + quoted(nonce),
            b"nc=00000001",
            b"cnonce=" + quoted(cnonce),
            b"digest-uri=" + quoted(uri),
            b"response=" + proof,
            b"qop=auth",
        ]
        return b",".join(filter(None, answers))


def _refusal(why: str) -> AuthFailedError:
    return AuthFailedError(operation=f"sasl ({why})")
