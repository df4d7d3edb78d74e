"""SASL DIGEST-MD5 as the server has it: who knows the password of one of its users.

Rules:
- a handshake is for one connection and one try: after it failed, it refuses whatever comes;
- an unknown user fails as a wrong password does, after the same work;
- whom the client says it acts for is part of its proof and gives it nothing: it is its user.
`client/sasl.py` has the other side, and says how the tokens travel.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from coterie.errors import AuthFailedError
from coterie.wire.digest_md5 import (
    NONCE_LENGTH,
    NONCE_LETTERS,
    SERVER_NAME,
    directives,
    proofs,
    quoted,
    secret,
)

if TYPE_CHECKING:
    from random import Random

_TOKEN_BYTES_MAX: Final = 4096
_ONCE: Final = frozenset(
    {
        "username",
        "realm",
        "nonce",
        "cnonce",
        "nc",
        "qop",
        "digest-uri",
        "response",
        "charset",
        "authzid",
    }
)


class Users:
    """Who may come in by a password. `dice` must be such that nobody can foresee them.

    `server_name` is the service and the host that every server is called.
    """

    def __init__(
        self, passwords: Mapping[str, str], dice: Random, server_name: str = SERVER_NAME
    ) -> None:
        self._passwords = dict(passwords)
        self._dice = dice
        self._server_name = server_name

    def replace(self, passwords: Mapping[str, str]) -> None:
        """These may come in from now on; who is in stays, and who is about to come in as well."""
        self._passwords = dict(passwords)

    def handshake(self) -> Handshake:
        """One for a connection that is about to prove who it is."""
        nonce = "".join(self._dice.choices(NONCE_LETTERS, k=NONCE_LENGTH))
        return Handshake(self._passwords, nonce.encode(), self._server_name)


class Handshake:
    """The server's side: `answer` what comes until `user` says who it is."""

    __slots__ = ("_nonce", "_over", "_passwords", "_realm", "_server_name", "_told", "user")

    def __init__(
        self, passwords: dict[str, str], nonce: bytes, server_name: str = SERVER_NAME
    ) -> None:
        self._passwords = passwords
        self._nonce = nonce
        self._server_name = server_name
        self._realm = server_name.partition("/")[2]
        self._told = False
        self._over = False
        self.user: str | None = None
        """Who is at the other end, once that is proved."""

    def answer(self, token: bytes) -> bytes:
        """The token that answers this one. Raises `AuthFailedError`."""
        if self._over or len(token) > _TOKEN_BYTES_MAX:
            raise AuthFailedError
        if not self._told:
            self._told = True
            return self._challenge()
        self._over = True
        try:
            return self._check(directives(token, _ONCE))
        except ValueError:  # no directives, no text, or no MD5 in this Python
            raise AuthFailedError from None

    def _challenge(self) -> bytes:
        return b",".join(
            (
                b"realm=" + quoted(self._realm.encode()),
                b"nonce=" + quoted(self._nonce),
                b'qop="auth"',
                b"charset=utf-8",
                b"algorithm=md5-sess",
            )
        )

    def _check(self, given: dict[str, bytes]) -> bytes:
        charset = given.get("charset")
        encoding = "utf-8" if charset == b"utf-8" else "latin-1"
        uri, cnonce = given.get("digest-uri", b""), given.get("cnonce", b"")
        sound = (
            charset in (None, b"utf-8")
            and given.get("realm") == self._realm.encode()
            and given.get("nonce") == self._nonce
            and re.fullmatch(b"0*1", given.get("nc", b"")) is not None
            and given.get("qop", b"auth") == b"auth"
            and self._is_ours(uri)
            and cnonce
        )
        user = given.get("username", b"").decode(encoding)
        password = self._passwords.get(user)
        known = secret(user, self._realm, password or "")
        proof, own = proofs(known, self._nonce, cnonce, uri, given.get("authzid"))
        proved = hmac.compare_digest(given.get("response", b""), proof)
        if not sound or password is None or not proved:
            raise AuthFailedError
        self.user = user
        return b"rspauth=" + own

    def _is_ours(self, uri: bytes) -> bool:
        """Whether this is the service and the host of every server; a host may follow."""
        ours = self._server_name.encode()
        return uri.lower() == ours or uri.lower().startswith(ours + b"/")
