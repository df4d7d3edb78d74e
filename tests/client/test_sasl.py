"""The handshake: RFC 2831's examples, what Apache's server said and took, and what is refused."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from hashlib import md5
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.client import calls
from coterie.client.hosts import Host
from coterie.client.sasl import Sasl
from coterie.client.session import Session, Settings
from coterie.errors import AuthFailedError
from coterie.values import SessionState
from coterie.wire.requests import Op
from tests.compat.raw import buffer


class _Saying(Random):
    """Dice that fall as somebody else's did."""

    def __init__(self, cnonce: str) -> None:
        super().__init__(0)
        self._cnonce = cnonce

    def choices(self, *args: Any, **kwargs: Any) -> list[Any]:
        return list(self._cnonce)


# Service, nonce of the client, nonce of the server, the proofs of both.
_IMAP = (
    "imap",
    "OA6MHXh6VqTrRk",
    "OA6MG9tEQGm2hh",
    "d388dad90d4bbd760a152321f2143af7",
    "ea40f60335c427b5527b84dbabcdfffd",
)
_ACAP = (
    "acap",
    "OA9BSuZWMSpW8m",
    "OA9BSXrbuRhWay",
    "6084c6db3fede7352c551284490fd0fc",
    "2f0b3d7c3c2e486600ef710726aa2eae",
)


@pytest.mark.parametrize(("service", "cnonce", "nonce", "response", "rspauth"), [_IMAP, _ACAP])
def test_the_examples_of_the_rfc(
    service: str, cnonce: str, nonce: str, response: str, rspauth: str
) -> None:
    sasl = Sasl("chris", "secret", _Saying(cnonce), f"{service}/elwood.innosoft.com")
    assert sasl.first() == b""
    challenge = f'realm="elwood.innosoft.com",nonce="{nonce}",qop="auth",'
    assert (
        sasl.answer(f"{challenge}algorithm=md5-sess,charset=utf-8".encode())
        == (
            f'charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="{nonce}",'
            f'nc=00000001,cnonce="{cnonce}",digest-uri="{service}/elwood.innosoft.com",'
            f"response={response},qop=auth"
        ).encode()
    )
    assert not sasl.done
    sasl.answer(f"rspauth={rspauth}".encode())
    assert sasl.done


@pytest.mark.parametrize(
    ("user", "password", "nonce", "response", "rspauth"),
    [
        (
            "ann",
            "secret",
            b"sCDeHxEzfLzz7V5B4cm9rPitpgB57ZG58vCwDl0v",
            b"88510e82abc72adde9830c6dfa13fc24",
            b"b2782c25c72b33efb505b3910cb86632",
        ),
        (
            "zoë",
            'пароль "1\\',
            b"jb+8AeYSYAzUUQGXdmljmN1u6L18PbxbSAEMTIrk",
            b"6c59cb42f2a583ff2fa3134334bdf32b",
            b"8f02f7d74b1c157dcf90f2a87abb4b13",
        ),
        (
            "q",
            "é",
            b"vTQPgdmcguAMJ99gmmSCt+ZmVfR2ZahcpI9HzyGS",
            b"e5b3d8fdcffbc6a9d4bdaf5a42a26476",
            b"06fe0d4375955141941b585074874081",
        ),
    ],
)
def test_what_apaches_server_said_and_took(
    user: str, password: str, nonce: bytes, response: bytes, rspauth: bytes
) -> None:
    sasl = Sasl(user, password, _Saying("i0VpEBOWfbZAVaBSo63bbH"))
    challenge = b'realm="zk-sasl-md5",nonce="%b",charset=utf-8,algorithm=md5-sess' % nonce
    proof = sasl.answer(challenge)
    assert b"response=" + response + b"," in proof
    assert b'digest-uri="zookeeper/zk-sasl-md5"' in proof
    assert b'username="' + user.encode() + b'"' in proof
    sasl.answer(b"rspauth=" + rspauth)
    assert sasl.done


_CHALLENGE = b'realm="r",nonce="n",algorithm=md5-sess,charset=utf-8'


def _asked(challenge: bytes = _CHALLENGE, user: str = "ann", password: str = "secret") -> bytes:
    return Sasl(user, password, Random(1)).answer(challenge)


@pytest.mark.parametrize(
    ("challenge", "why"),
    [
        (b"", "the server has no users"),
        (None, "the server has no users"),
        (b'realm="r",algorithm=md5-sess', "no nonce"),
        (b'nonce="n"', "md5-sess"),
        (b'nonce="n",algorithm=md5', "md5-sess"),
        (b'nonce="n",nonce="m",algorithm=md5-sess', "nonce twice"),
        (b'nonce="n",algorithm=md5-sess,algorithm=md5-sess', "algorithm twice"),
        (b'nonce="n",algorithm=md5-sess,charset=koi8-r', "charset"),
        (b'nonce="n",algorithm=md5-sess,qop="auth-int,auth-conf"', "signed"),
        (b'nonce="n,algorithm=md5-sess', "no list"),
        (b'nonce="n" algorithm=md5-sess', "no list"),
        (b"nonce", "no list"),
        (b'nonce="n",algorithm="md5-sess"x', "no list"),
        (b'realm="\xff",nonce="n",algorithm=md5-sess,charset=utf-8', "utf-8"),
        (b'nonce="' + bytes(2048) + b'",algorithm=md5-sess', "too long"),
    ],
)
def test_a_challenge_that_is_none_is_refused(challenge: bytes | None, why: str) -> None:
    sasl = Sasl("ann", "secret", Random(1))
    with pytest.raises(AuthFailedError, match=why):
        sasl.answer(challenge)
    assert not sasl.done


@pytest.mark.parametrize(
    ("counterproof", "why"),
    [
        (None, "wrong user or password"),
        (b"", "wrong user or password"),
        (b"rspauth=" + b"0" * 32, "does not prove"),
        (b"rspauth=\xff", "does not prove"),
        (_CHALLENGE, "does not prove"),
    ],
)
def test_a_server_that_proves_nothing_is_refused(counterproof: bytes | None, why: str) -> None:
    sasl = Sasl("ann", "secret", Random(1))
    sasl.answer(_CHALLENGE)
    with pytest.raises(AuthFailedError, match=why):
        sasl.answer(counterproof)
    assert not sasl.done


def test_the_first_of_several_realms_is_taken_and_all_lists_of_qop_are_read() -> None:
    answer = _asked(b'realm="a",realm="b",qop="auth-int",qop="auth",nonce="n",algorithm=md5-sess,')
    assert b'realm="a"' in answer
    assert b"qop=auth" in answer


def test_without_a_realm_none_is_sent() -> None:
    assert b"realm" not in _asked(b'nonce="n",algorithm=md5-sess')


def test_quotes_are_read_and_written_as_pairs() -> None:
    answer = _asked(rb'nonce="a\"b\\c" , , algorithm = md5-sess', user='an"n\\')
    assert rb'nonce="a\"b\\c"' in answer
    assert rb'username="an\"n\\"' in answer


def test_a_server_without_utf_8_is_told_names_in_latin_1_or_not_at_all() -> None:
    answer = _asked(b'nonce="n",algorithm=md5-sess', user="zoë")
    assert b'username="zo\xeb"' in answer
    assert b"charset" not in answer
    for user, password in (("жук", "x"), ("x", "жук")):
        with pytest.raises(AuthFailedError, match="latin-1"):
            _asked(b'nonce="n",algorithm=md5-sess', user, password)


def test_the_nonce_is_of_the_dice() -> None:
    first, again, other = (
        Sasl("ann", "secret", Random(seed)).answer(_CHALLENGE) for seed in (1, 1, 2)
    )
    assert first == again != other


_WORDS = st.sampled_from(
    [b"nonce", b"realm", b"algorithm", b"md5-sess", b"=", b",", b'"', b"\\", b" ", b"rspauth"]
)


@given(st.lists(st.lists(_WORDS | st.binary(max_size=3)).map(b"".join), max_size=2))
def test_no_token_does_worse_than_a_refusal(tokens: list[bytes]) -> None:
    for each in (tokens, [_CHALLENGE, *tokens[:1]]):
        sasl = Sasl("ann", "secret", Random(1))
        with suppress(AuthFailedError):
            for token in each:
                sasl.answer(token)
        assert not sasl.done


class _Server:
    """A server of one session, by hand: it says what it is told to say."""

    def __init__(self) -> None:
        settings = Settings(1000, 300.0, auth=[("digest", b"a:b")], sasl=("ann", "secret"))
        self.session = Session((Host("a", 1),), settings, Random(1), 0.0)
        self.connect()

    def connect(self) -> None:
        self.now_ms = self.session.next_due_ms()
        self.session.tick(self.now_ms)
        assert self.session.take().dial
        self.session.opened()
        self.session.take()
        self.session.receive(buffer(struct.pack(">iiq", 0, 1000, 7) + buffer(bytes(16)) + b"\0"))

    def heard(self) -> list[tuple[int, int, bytes]]:
        """Xid, type and body of each request."""
        fields = struct.Struct(">4xii")
        return [(*fields.unpack_from(each), each[12:]) for each in self.session.take().output]

    def challenged(self) -> bytes:
        """Let the client begin; the answer to the challenge."""
        ((xid, op, token),) = self.heard()
        assert (op, token) == (Op.SASL, buffer(b""))
        self.says(xid, buffer(_CHALLENGE))
        ((_, op, token),) = self.heard()
        assert op == Op.SASL
        return token

    def says(self, xid: int, body: bytes, error: int = 0) -> None:
        self.session.receive(buffer(struct.pack(">iqi", xid, 0, error) + body))


def _counterproof(token: bytes) -> bytes:
    """What a server says that knows ann's password (RFC 2831, section 2.1.3)."""

    def digest(data: bytes) -> bytes:
        return md5(data).hexdigest().encode()

    found = re.search(rb'cnonce="(\w+)"', token)
    assert found is not None
    key = digest(md5(b"ann:r:secret").digest() + b":n:" + found[1])
    return digest(key + b":n:00000001:" + found[1] + b":auth:" + digest(b":zookeeper/zk-sasl-md5"))


def test_whatever_else_a_session_has_to_say_waits_for_the_handshake() -> None:
    server = _Server()
    server.session.submit(calls.get(b"/a", "/a"))
    token = server.challenged()
    for passed_ms in (100.0, 200.0, 290.0):
        server.session.tick(server.now_ms + passed_ms)
        assert not server.heard()
    assert not server.session.state.connected

    server.says(2, buffer(b"rspauth=" + _counterproof(token)))
    assert [op for _, op, _ in server.heard()] == [Op.AUTH, Op.GET_DATA]
    assert server.session.state.connected


def test_the_next_connection_begins_anew() -> None:
    server = _Server()
    token = server.challenged()
    server.session.lost("cut")
    server.connect()
    again = server.challenged()
    assert again != token
    server.says(4, buffer(b"rspauth=" + _counterproof(again)))
    assert server.session.state.connected


def test_a_refusal_ends_the_client_for_good_and_is_told() -> None:
    server = _Server()
    server.challenged()
    server.says(2, buffer(None), AuthFailedError.code)
    assert server.session.state == SessionState.AUTH_FAILED
    assert server.session.failure == "a:1: sasl (wrong user or password)"
    server.session.tick(10_000.0)
    assert not server.session.take().dial
