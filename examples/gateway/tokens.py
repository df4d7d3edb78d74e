"""Who signed in: tokens that one API server signs and every other can check.

Each API server has a key of its own (Ed25519). The private half is a file that only its user can
read; the public half is in the tree, in the key store, under the server's name. A token (a JWT)
names both, so whoever checks it needs no other server, and no secret is shared. Rules:
- the algorithm is ours to say, never the token's;
- a key that was revoked in the tree ends all tokens that it has signed, as soon as it is heard of;
- what is known of the keys may be old by `STALE_S_MAX` and not more: then nobody is let in.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Final, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie.recipes.key_store import KeyStore, key_id

STALE_S_MAX: Final = 300.0

_ALGORITHM: Final = "EdDSA"
_PREFIX: Final = "sign-in."
_AUDIENCE: Final = "gateway"
_USER: Final = re.compile(r"(?!gateway$)[a-z][a-z0-9_-]{0,31}")


class TokenError(ValueError):
    """A token that proves nothing; the message is for the one who has sent it."""


class Signed(NamedTuple):
    """A token, and the second since 1970 when it is over."""

    token: str
    expires_s: float


def is_user(name: object) -> bool:
    """Whether this can be the name of a user."""
    return isinstance(name, str) and _USER.fullmatch(name) is not None


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file, which is made if it is not there, for no other user to read."""
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as target:
            target.write(pem)
        beside.replace(path)
        return made
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError(f"{path} is no Ed25519 key")
    return found


def public_pem(key: Ed25519PrivateKey) -> str:
    """Its public half, as it is stored in the tree."""
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode()


class Issuer:
    """Signs tokens."""

    def __init__(self, keys: KeyStore, name: str, key: Ed25519PrivateKey) -> None:
        self._keys = keys
        self._name = _PREFIX + name
        self._key = key

    async def publish(self) -> None:
        """Let everybody know the public half. Raises `KeyRevokedError` if it was revoked."""
        await self._keys.add(self._name, public_pem(self._key))

    def issue(self, user: str, ttl_s: float) -> Signed:
        """A token for this user. Raises `TokenError` for a name that no user can have."""
        if not is_user(user):
            raise TokenError("a user has a short name of small letters, digits, - and _")
        now_s = time.time()
        claims = {
            "iss": self._name,
            "sub": user,
            "aud": _AUDIENCE,
            "iat": int(now_s),
            "exp": int(now_s + ttl_s),
        }
        headers = {"kid": key_id(public_pem(self._key).encode())}
        token = jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers=headers)
        return Signed(token, now_s + ttl_s)


class Checker:
    """Checks tokens, whichever server has signed them."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    def user(self, token: str) -> str:
        """Whose token it is.

        Raises `TokenError`, and `StaleError` when the keys were not heard of for too long.
        """
        try:
            told = jwt.decode_complete(token, options={"verify_signature": False})
            issuer, kid = str(told["payload"]["iss"]), str(told["header"]["kid"])
        except (jwt.InvalidTokenError, KeyError):
            raise TokenError("this is no token of this gateway") from None
        if not issuer.startswith(_PREFIX):
            raise TokenError("who has signed this token signs for nobody here")
        for key in self._keys.valid(issuer, stale_s_max=STALE_S_MAX):
            if key.id == kid:
                return _checked(token, key.data)
        raise TokenError("the key of this token is not known, or was revoked: sign in again")


def _checked(token: str, pem: bytes) -> str:
    try:
        claims = jwt.decode(
            token,
            serialization.load_pem_public_key(pem),  # type: ignore[arg-type]
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["exp", "sub", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenError("this token is over: sign in again") from None
    except (jwt.InvalidTokenError, ValueError):
        raise TokenError("this token is not what its server has signed") from None
    user = claims["sub"]
    if not is_user(user):
        raise TokenError("this token names no user")
    return str(user)
