"""The client's side of DIGEST-MD5: what it sends is RFC 2831's, and the server is not believed."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from coterie.errors import AuthFailedError
from coterie.wire.digest_client import Sasl

_CHALLENGE = b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",algorithm=md5-sess,charset=utf-8'


class _Saying(Random):
    """Dice that fall as those of the RFC's example did."""

    def choices(self, *args: Any, **kwargs: Any) -> list[Any]:
        return list("OA6MHXh6VqTrRk")


def test_the_example_of_the_rfc() -> None:
    sasl = Sasl("chris", "secret", _Saying(), "imap/elwood.innosoft.com")
    assert b"response=d388dad90d4bbd760a152321f2143af7" in sasl.answer(_CHALLENGE)
    sasl.answer(b"rspauth=ea40f60335c427b5527b84dbabcdfffd")
    assert sasl.done


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    sasl = Sasl("chris", "secret", _Saying(), "imap/elwood.innosoft.com")
    sasl.answer(_CHALLENGE)
    with pytest.raises(AuthFailedError, match="does not prove"):
        sasl.answer(b"rspauth=" + b"0" * 32)
    assert not sasl.done
