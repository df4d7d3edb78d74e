"""Tokens: what is let in, and all that is not."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie.recipes.key_store import KeyStore, StaleError, key_id
from examples.gateway.tokens import (
    STALE_S_MAX,
    Checker,
    Issuer,
    TokenError,
    is_user,
    private_key,
    public_pem,
)
from tests.conftest import Connect

pytestmark = pytest.mark.gateway


def test_a_key_is_made_once_and_is_its_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "api-1.pem"
    made = private_key(path)
    assert public_pem(private_key(path)) == public_pem(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["api-1.pem"]


@pytest.mark.parametrize(
    ("name", "fits"),
    [("ada", True), ("a-1_b", True), ("gateway", False), ("Ada", False), ("", False), (7, False)],
)
def test_users_have_short_names(name: object, fits: bool) -> None:
    assert is_user(name) is fits


async def test_every_server_checks_what_another_has_signed(connect: Connect) -> None:
    key = Ed25519PrivateKey.generate()
    async with (
        connect() as one,
        connect() as other,
        KeyStore(one, "/keys") as keys,
        KeyStore(other, "/keys") as seen,
    ):
        issuer = Issuer(keys, "api-1", key)
        await issuer.publish()
        await seen.look()
        signed = issuer.issue("ada", 60)
        assert Checker(seen).user(signed.token) == "ada"
        with pytest.raises(TokenError):
            issuer.issue("no user", 60)


async def test_a_revoked_key_ends_its_tokens(connect: Connect) -> None:
    key = Ed25519PrivateKey.generate()
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        issuer = Issuer(keys, "api-1", key)
        await issuer.publish()
        token = issuer.issue("ada", 60).token
        await keys.revoke("sign-in.api-1", key_id(public_pem(key).encode()))
        await keys.look()
        with pytest.raises(TokenError, match="revoked"):
            Checker(keys).user(token)


def is_let_in(checker: Checker, token: str) -> bool:
    try:
        checker.user(token)
    except TokenError:
        return False
    return True


async def test_forgeries_are_not_let_in(connect: Connect) -> None:
    key, foreign = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    pem = public_pem(key).encode()
    kid = {"kid": key_id(pem)}
    good = {"iss": "sign-in.api-1", "sub": "ada", "aud": "gateway", "exp": time.time() + 60}

    def unsigned(header: dict[str, str]) -> str:
        parts = [json.dumps(header | kid).encode(), json.dumps(good).encode()]
        return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts) + "."

    forgeries = {
        "another key's": jwt.encode(good, foreign, algorithm="EdDSA", headers=kid),
        "no algorithm": unsigned({"alg": "none", "typ": "JWT"}),
        "over": jwt.encode(good | {"exp": 1}, key, algorithm="EdDSA", headers=kid),
        "for ever": jwt.encode(
            {k: v for k, v in good.items() if k != "exp"}, key, algorithm="EdDSA", headers=kid
        ),
        "for others": jwt.encode(good | {"aud": "x"}, key, algorithm="EdDSA", headers=kid),
        "a user's key": jwt.encode(good | {"iss": "mallory"}, key, algorithm="EdDSA", headers=kid),
        "of nobody": jwt.encode(good | {"sub": "No One"}, key, algorithm="EdDSA", headers=kid),
        "without a key": jwt.encode(good, key, algorithm="EdDSA"),
        "no token": "nonsense",
    }
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        await Issuer(keys, "api-1", key).publish()
        await keys.add("mallory", pem)
        checker = Checker(keys)
        assert checker.user(jwt.encode(good, key, algorithm="EdDSA", headers=kid)) == "ada"
        assert [what for what, token in forgeries.items() if is_let_in(checker, token)] == []


async def test_old_knowledge_lets_nobody_in(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as zk, KeyStore(zk, "/keys") as keys:
        issuer = Issuer(keys, "api-1", Ed25519PrivateKey.generate())
        await issuer.publish()
        monkeypatch.setattr(KeyStore, "stale_s", STALE_S_MAX + 1)
        with pytest.raises(StaleError):
            Checker(keys).user(issuer.issue("ada", 60).token)
