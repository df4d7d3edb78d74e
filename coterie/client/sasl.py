"""SASL DIGEST-MD5 (RFC 2831) as ZooKeeper's client protocol carries it: one side, pure.

The tokens travel in requests of type 102, with ordinary xids, once the session is there:

    client                       server
    ""                       ->
                             <-  realm, nonce, what it can do
    proof of the password    ->
                             <-  rspauth: the server's proof that it knows the password, too

Rules:
- a machine is for one connection; the next connection begins with another `Sasl`;
- nothing else is sent until it is `done`, not even a ping or a setWatches: a server that demands
  authentication refuses them and closes, and Apache's own client holds them back;
- a refused password is no token but an error in the reply's header (-115, or -124 where the server
  demands authentication), after which the server closes. Without an error a null token is as much
  a refusal: Apache's server sends it when it has no users (no JAAS section), and when it is to
  keep clients that it could not authenticate (`zookeeper.allowSaslFailedClients`);
- every server is called zookeeper/zk-sasl-md5, whatever its host is: Apache's has that built in;
- whoever looks on can try passwords against what they saw, for MD5 is fast: use TLS around it.
"""

from __future__ import annotations

import hmac
import re
import string
from hashlib import md5
from typing import TYPE_CHECKING, Final

from coterie.errors import AuthFailedError

if TYPE_CHECKING:
    from random import Random

SERVER_NAME: Final = "zookeeper/zk-sasl-md5"
"""The service and the host, as the digest-uri has them."""

_CHALLENGE_BYTES_MAX: Final = 2048
_NONCE_LETTERS: Final = string.ascii_letters + string.digits
_NONCE_LENGTH: Final = 22
"""131 bits."""
_ONCE: Final = frozenset({"nonce", "algorithm", "charset", "rspauth"})
_DIRECTIVE: Final = re.compile(
    rb"""[\s,]* ([\w-]+) \s*=\s* (?: "((?:[^"\\]|\\.)*)" | ([^\s,"]+) ) \s* (?=,|$)""",
    re.VERBOSE | re.DOTALL,
)
_REST: Final = re.compile(rb"[\s,]*")


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
        given = _directives(challenge)
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
            secret = _md5(b":".join(_narrow(s) for s in (self._user, realm, self._password)))
        except UnicodeError:
            raise _refusal(f"user, password or realm cannot be written in {encoding}") from None

        cnonce = "".join(self._dice.choices(_NONCE_LETTERS, k=_NONCE_LENGTH)).encode()
        uri = self._server_name.encode()
        key = _hex(secret + b":" + nonce + b":" + cnonce)
        between = b":".join((b"", nonce, b"00000001", cnonce, b"auth", b""))
        self._expected = _hex(key + between + _hex(b":" + uri))
        directives = [
            b"charset=utf-8" if charset else b"",
            b"username=" + _quoted(user),
            b"realm=" + _quoted(given["realm"]) if "realm" in given else b"",
            b"nonce=" + _quoted(nonce),
            b"nc=00000001",
            b"cnonce=" + _quoted(cnonce),
            b"digest-uri=" + _quoted(uri),
            b"response=" + _hex(key + between + _hex(b"AUTHENTICATE:" + uri)),
            b"qop=auth",
        ]
        return b",".join(filter(None, directives))


def _refusal(why: str) -> AuthFailedError:
    return AuthFailedError(operation=f"sasl ({why})")


def _directives(token: bytes) -> dict[str, bytes]:
    """The values by name: of several realms the first, of several lists of qop all."""
    given: dict[str, bytes] = {}
    at = 0
    while found := _DIRECTIVE.match(token, at):
        at = found.end()
        name = found[1].decode().lower()
        value = found[3] if found[2] is None else re.sub(rb"(?s)\\(.)", rb"\1", found[2])
        if name in _ONCE and name in given:
            raise _refusal(f"the server gives {name} twice")
        if name == "qop" and name in given:
            value = given[name] + b"," + value
        if name != "realm" or name not in given:
            given[name] = value
    if not _REST.fullmatch(token, at):
        raise _refusal("the server's token is no list of directives")
    return given


def _quoted(value: bytes) -> bytes:
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def _narrow(text: str) -> bytes:
    """What is hashed is in ISO 8859-1 where that can be, also when the tokens are in UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _md5(data: bytes) -> bytes:
    try:
        return md5(data).digest()
    except ValueError as error:  # a Python for FIPS 140 has no MD5
        raise _refusal(f"this Python cannot do MD5: {error}") from None


def _hex(data: bytes) -> bytes:
    return _md5(data).hex().encode()
