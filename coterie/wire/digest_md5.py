"""DIGEST-MD5 (RFC 2831) as both ends have to know it: directives, and the proofs of a password.

A token is a list of `name=value`. What each end makes of one is its own matter
(`digest_client.py`, `core/sasl.py`). ZooKeeper calls every server by the same service and host.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection
from hashlib import md5
from typing import Final

SERVICE: Final = "zookeeper"
HOST: Final = "zk-sasl-md5"
SERVER_NAME: Final = f"{SERVICE}/{HOST}"
"""The service and the host, as the digest-uri has them."""
NONCE_LETTERS: Final = string.ascii_letters + string.digits
NONCE_LENGTH: Final = 22
"""131 bits."""

_DIRECTIVE: Final = re.compile(
    rb"""[\s,]* ([\w-]+) \s*=\s* (?: "((?:[^"\\]|\\.)*)" | ([^\s,"]+) ) \s* (?=,|$)""",
    re.VERBOSE | re.DOTALL,
)
_REST: Final = re.compile(rb"[\s,]*")


class DirectivesError(ValueError):
    """This is no token; the message says what the other end `gives` or `sends`."""


def directives(token: bytes, once: Collection[str]) -> dict[str, bytes]:
    """The values by name: of several realms the first, of several lists of qop all.

    Raises `DirectivesError` where one of `once` is given twice.
    """
    given: dict[str, bytes] = {}
    at = 0
    while found := _DIRECTIVE.match(token, at):
        at = found.end()
        name = found[1].decode().lower()
        value = found[3] if found[2] is None else re.sub(rb"(?s)\\(.)", rb"\1", found[2])
        if name in once and name in given:
            raise DirectivesError(f"gives {name} twice")
        if name == "qop" and name in given:
            value = given[name] + b"," + value
        if name != "realm" or name not in given:
            given[name] = value
    if not _REST.fullmatch(token, at):
        raise DirectivesError("sends what is no list of directives")
    return given


def quoted(value: bytes) -> bytes:
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def secret(user: str, realm: str, password: str) -> bytes:
    """What stands for a password in a realm."""
    return _md5(b":".join(_narrow(s) for s in (user, realm, password)))


def proofs(
    secret: bytes, nonce: bytes, cnonce: bytes, uri: bytes, as_whom: bytes | None = None
) -> tuple[bytes, bytes]:
    """The client's proof and the server's, of the first use of these nonces.

    Raises `ValueError` in a Python that cannot do MD5.
    """
    key = secret + b":" + nonce + b":" + cnonce
    key = _hex(key if as_whom is None else key + b":" + as_whom)
    between = b":".join((b"", nonce, b"00000001", cnonce, b"auth", b""))
    of_client = _hex(key + between + _hex(b"AUTHENTICATE:" + uri))
    return of_client, _hex(key + between + _hex(b":" + uri))


def _narrow(text: str) -> bytes:
    """What is hashed is in ISO 8859-1 where that can be, also when the tokens are in UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _md5(data: bytes) -> bytes:
    return md5(data).digest()


def _hex(data: bytes) -> bytes:
    return md5(data).hexdigest().encode()
