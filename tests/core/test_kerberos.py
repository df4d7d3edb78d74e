"""The server's side of GSSAPI: what comes in which order, and who is believed to be who."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.kerberos import TicketHandshake, Tickets
from coterie.errors import AuthFailedError
from coterie.principals import PrincipalError
from coterie.values import Id
from coterie.wire.gssapi import OFFER
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client
from tests.core.contexts import FakeContext


def _called(name: str) -> str:
    if name == "nobody@A":
        raise PrincipalError("nothing is left of nobody@A")
    return name.removesuffix("@A")


def _handshake(mutual: bool = True) -> TicketHandshake:
    return Tickets(lambda: FakeContext(mutual=mutual), _called).handshake()


def _offered(name: str) -> tuple[FakeContext, TicketHandshake]:
    """A handshake of which all is done but the client's choice."""
    client, server = FakeContext(name), _handshake()
    proof = server.answer(client.step(b""))
    assert proof == b"proof"
    assert client.step(proof) == b""
    offer = server.answer(b"")
    assert offer is not None
    assert client.unwrap(offer) == OFFER == b"\1\0\0\0", "RFC 4752: no layer, nothing is taken"
    return client, server


def test_who_has_a_ticket_is_who_the_ticket_says() -> None:
    client, server = _offered("bob@A")
    assert server.user is None
    assert server.answer(client.wrap(OFFER + b"alice@A")) is None, "Apache's client waits for null"
    assert server.user == "bob", "and not whom it says it acts for"


def test_the_offer_comes_at_once_where_the_client_wants_no_proof() -> None:
    client, server = FakeContext("bob@A", mutual=False), _handshake(mutual=False)
    assert server.answer(client.step(b"")) == server_says(OFFER)
    assert server.answer(client.wrap(OFFER)) is None
    assert server.user == "bob"


def server_says(message: bytes) -> bytes:
    return FakeContext().wrap(message)


def test_who_has_nothing_to_say_first_is_asked_once() -> None:
    server = _handshake()
    assert server.answer(b"") == b""
    assert server.answer(FakeContext("bob@A").step(b"")) == b"proof"
    server = _handshake()
    server.answer(b"")
    with pytest.raises(AuthFailedError, match="no ticket"):
        server.answer(b"")


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (b"\2\0\0\0bob@A", "protected"),
        (b"\1", "protected"),
        (b"", "protected"),
    ],
)
def test_a_client_that_wants_more_than_there_is_is_refused(chosen: bytes, why: str) -> None:
    client, server = _offered("bob@A")
    with pytest.raises(AuthFailedError, match=why):
        server.answer(client.wrap(chosen))
    assert server.user is None


def test_a_choice_of_another_key_is_refused_as_is_whoever_has_no_name() -> None:
    _, server = _offered("bob@A")
    with pytest.raises(AuthFailedError, match="of another key"):
        server.answer(OFFER)
    client, server = _offered("nobody@A")
    with pytest.raises(AuthFailedError, match="nothing is left"):
        server.answer(client.wrap(OFFER))
    assert server.user is None


def test_something_in_place_of_the_empty_token_is_refused() -> None:
    client, server = FakeContext("bob@A"), _handshake()
    server.answer(client.step(b""))
    with pytest.raises(AuthFailedError):
        server.answer(client.wrap(OFFER))


_TOKENS = st.sampled_from([b"", b"ticket of bob@A", b"1:" + OFFER, b"proof", bytes(200_000)])


@given(st.lists(_TOKENS, max_size=6))
def test_only_the_whole_handshake_makes_anybody_known(tokens: list[bytes]) -> None:
    server = _handshake()
    with suppress(AuthFailedError):
        for token in tokens:
            server.answer(token)
    right = [b"ticket of bob@A", b"", b"1:" + OFFER]
    begun = tokens[tokens[:1] == [b""] :]
    assert (server.user == "bob") == (begun[:3] == right)


def _say(client: Client, token: bytes) -> tuple[int, bytes]:
    reply = client.call(Op.SASL, len(token).to_bytes(4, "big") + token)
    return reply.error, reply.body


def test_a_server_serves_whom_a_ticket_has_proved() -> None:
    alone = Alone(sasl_keytab="k", sasl_demanded=True, sasl_super_user="root")
    alone.member.server.gate.users = Tickets(FakeContext, _called)
    client, context = alone.client(), FakeContext("root@A")
    assert _say(client, context.step(b"")) == (0, b"\0\0\0\5proof")
    assert _say(client, b"") == (0, b"\0\0\0\6" + server_says(OFFER))
    assert _say(client, context.wrap(OFFER)) == (0, b"\xff" * 4)
    said = client.call(Op.WHO_AM_I).body
    assert all(each.encode() in said for each in Id("sasl", "root"))
    assert b"super" in said


def test_why_somebody_was_refused_is_told_to_the_operator() -> None:
    alone = Alone(sasl_keytab="k")
    alone.member.server.gate.users = Tickets(FakeContext, _called)
    assert _say(alone.client(), b"x") == (-115, b"\xff" * 4)
    assert any("SASL failed: no ticket" in note for note in alone.notes)
