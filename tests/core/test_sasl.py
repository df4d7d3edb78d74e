"""The server's side of DIGEST-MD5, against the client's and by hand."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.client.sasl import Sasl
from coterie.core.sasl import Handshake, Users
from coterie.errors import AuthFailedError
from coterie.wire.digest_md5 import proofs, secret

_PASSWORDS = {"ann": "secret", "zoë": 'пароль "1\\', "q": "é", 'an"n\\': "x"}


def _users() -> Users:
    return Users(_PASSWORDS, Random(1))


def _met(user: str, password: str) -> Handshake:
    """What a server thinks of a client of that password, which believes the server."""
    client, server = Sasl(user, password, Random(2)), _users().handshake()
    token = client.first()
    while not client.done:
        token = client.answer(server.answer(token))
    return server


@pytest.mark.parametrize(("user", "password"), _PASSWORDS.items())
def test_each_end_proves_itself_to_the_other(user: str, password: str) -> None:
    assert _met(user, password).user == user


@pytest.mark.parametrize(
    ("user", "password"), [("ann", "Secret"), ("nobody", "secret"), ("nobody", ""), ("", "")]
)
def test_who_does_not_know_a_password_is_nobody(user: str, password: str) -> None:
    with pytest.raises(AuthFailedError):
        _met(user, password)


def test_every_handshake_has_a_challenge_of_its_own() -> None:
    users = _users()
    assert users.handshake().answer(b"") != users.handshake().answer(b"")


def _answered(**changed: bytes | None) -> Handshake:
    """A handshake that was answered rightly but for what is changed; None leaves it out."""
    server = _users().handshake()
    challenge = server.answer(b"")
    found = re.search(rb'nonce="(\w+)"', challenge)
    assert found
    uri = changed.get("digest_uri", b"zookeeper/zk-sasl-md5") or b""
    known = secret("ann", "zk-sasl-md5", "secret")
    proof, _ = proofs(known, found[1], b"c", uri, changed.get("authzid"))
    values: dict[str, bytes | None] = {
        "username": b'"ann"',
        "realm": b'"zk-sasl-md5"',
        "nonce": b'"%s"' % found[1],
        "cnonce": b'"c"',
        "nc": b"00000001",
        "qop": b"auth",
        "digest_uri": uri,
        "response": proof,
        **changed,
    }
    token = b",".join(
        name.replace("_", "-").encode() + b"=" + value
        for name, value in values.items()
        if value is not None
    )
    server.answer(token)
    return server


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"qop": None},
        {"charset": b"utf-8"},
        {"digest_uri": b"ZooKeeper/zk-sasl-md5"},
        {"digest_uri": b"zookeeper/zk-sasl-md5/host"},
    ],
)
def test_what_may_be_left_out_or_written_otherwise(changed: dict[str, bytes | None]) -> None:
    assert _answered(**changed).user == "ann"


def test_who_acts_for_another_is_still_who_he_is() -> None:
    assert _answered(authzid=b"root").user == "ann"


@pytest.mark.parametrize(
    "changed",
    [
        {"realm": None},
        {"realm": b'"elsewhere"'},
        {"nonce": b'"of another time"'},
        {"cnonce": None},
        {"nc": b"00000002"},
        {"nc": None},
        {"qop": b"auth-int"},
        {"digest_uri": b"imap/zk-sasl-md5"},
        {"response": None},
        {"response": b""},
        {"charset": b"ebcdic"},
        {"username": b'"ann",username="ann"'},
        {"username": b'"\xff",charset=utf-8'},
    ],
)
def test_what_is_no_proof(changed: dict[str, bytes | None]) -> None:
    with pytest.raises(AuthFailedError):
        _answered(**changed)


def test_one_try_is_all_there_is() -> None:
    server = _users().handshake()
    server.answer(b"")
    for _ in range(2):
        with pytest.raises(AuthFailedError):
            server.answer(b"username=ann")
    done = _met("ann", "secret")
    with pytest.raises(AuthFailedError):
        done.answer(b"")


@given(st.binary(max_size=200) | st.just(bytes(5000)))
def test_no_token_is_more_than_refused(token: bytes) -> None:
    server = _users().handshake()
    server.answer(b"")
    with pytest.raises(AuthFailedError):
        server.answer(token)
    assert server.user is None
