"""What every mechanism does alike: nobody is known before the end, and one try is all."""

from __future__ import annotations

from random import Random

import pytest

from coterie.core.kerberos import Tickets
from coterie.core.sasl import Users
from coterie.errors import AuthFailedError
from coterie.wire.sasl import Mechanism
from tests.core.contexts import FakeContext


@pytest.mark.parametrize(
    "mechanism", [Users({"ann": "secret"}, Random(1)), Tickets(FakeContext, str)]
)
def test_a_handshake_that_failed_is_over(mechanism: Mechanism) -> None:
    handshake = mechanism.handshake()
    handshake.answer(b"")
    for token in (b"x", b"ticket of ann", b""):
        with pytest.raises(AuthFailedError):
            handshake.answer(token)
    assert handshake.user is None
    assert mechanism.handshake() is not handshake
