"""RFC 2831's own example, and what is no token."""

from __future__ import annotations

import pytest

from coterie.wire.digest_md5 import DirectivesError, directives, proofs, quoted, secret

_NONCE, _CNONCE = b"OA6MG9tEQGm2hh", b"OA6MHXh6VqTrRk"
_URI = b"imap/elwood.innosoft.com"


def test_the_example_of_the_rfc() -> None:
    known = secret("chris", "elwood.innosoft.com", "secret")
    assert proofs(known, _NONCE, _CNONCE, _URI) == (
        b"d388dad90d4bbd760a152321f2143af7",
        b"ea40f60335c427b5527b84dbabcdfffd",
    )


def test_whom_one_acts_for_is_part_of_both_proofs() -> None:
    known = secret("chris", "", "secret")
    alone = proofs(known, _NONCE, _CNONCE, _URI)
    assert not set(alone) & set(proofs(known, _NONCE, _CNONCE, _URI, b"root"))


def test_directives_are_read_as_they_are_written() -> None:
    value = b'a "quoted", \\ value'
    token = b"one=" + quoted(value) + b",, Two = 2 ,realm=a,realm=b,qop=auth,qop=auth-int"
    assert directives(token, ()) == {
        "one": value,
        "two": b"2",
        "realm": b"a",
        "qop": b"auth,auth-int",
    }


@pytest.mark.parametrize("token", [b"nonce", b'a="b', b"a=1 b=2", b"a=1,a=2"])
def test_what_is_no_token(token: bytes) -> None:
    with pytest.raises(DirectivesError):
        directives(token, {"a"})
