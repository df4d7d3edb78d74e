"""Who a client has proved to be, and what nobody gets before the proof that is demanded."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from coterie.client.sasl import Sasl
from coterie.core.sasl import Users
from coterie.values import ACL, Id, Perms
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client, Reply, create, read


def with_users(**settings: Any) -> Alone:
    alone = Alone(sasl_users_file="users", **settings)
    alone.member.server.gate.users = Users({"ann": "secret", "root": "r"}, Random(1))
    return alone


def token(reply: Reply) -> bytes | None:
    return Reader(reply.body).buffer()


def prove(client: Client, user: str, password: str) -> Reply:
    """The handshake; the reply that ended it."""
    sasl = Sasl(user, password, Random(2))
    proof = sasl.answer(token(client.call(Op.SASL, bytes(4))))
    reply = client.call(Op.SASL, len(proof).to_bytes(4, "big") + proof)
    if not reply.error and token(reply) is not None:
        sasl.answer(token(reply))
        assert sasl.done
    assert reply.zxid == 0
    return reply


def who(client: Client) -> bytes:
    return client.call(Op.WHO_AM_I).body


def test_what_is_of_a_user_is_for_that_user_alone() -> None:
    alone = with_users(sasl_super_user="root")
    ann, root, nobody = alone.client(), alone.client(), alone.client()
    assert prove(ann, "ann", "secret").error == 0
    mine = create(b"/mine", acl=(ACL(Perms.ALL, Id("sasl", "ann")),))
    assert ann.call(Op.CREATE, mine).error == 0
    assert ann.call(Op.GET_DATA, read(b"/mine")).error == 0
    assert nobody.call(Op.GET_DATA, read(b"/mine")).error == -102
    assert prove(root, "root", "r").error == 0
    assert root.call(Op.GET_DATA, read(b"/mine")).error == 0


def test_a_failed_proof_is_told_and_ends_the_connection() -> None:
    client = with_users().client()
    reply = prove(client, "ann", "guessed")
    assert (reply.error, reply.body) == (-115, b"\xff" * 4)
    assert client.closed


def test_nobody_is_more_than_a_request_can_tell() -> None:
    alone = with_users()
    many, long = alone.client(), alone.client()

    def auth(client: Client, user: str) -> int:
        packet = requests.AuthPacket(0, "digest", f"{user}:x".encode()).encode()
        return client.call(Op.AUTH, packet).error

    assert [auth(many, f"user{number}") for number in range(63)] == [0] * 63
    assert auth(many, "user0") == 0, "it is that already"
    assert auth(many, "one too many") == -115
    assert auth(long, "x" * 70_000) == -115
    assert sum("too many identities" in note for note in alone.notes) == 1


def test_who_fails_may_stay_as_nobody_where_that_is_allowed() -> None:
    client = with_users(sasl_failed_allowed=True).client()
    reply = prove(client, "ann", "guessed")
    assert (reply.error, reply.body) == (0, b"\xff" * 4)
    assert b"sasl" not in who(client)
    again = client.call(Op.SASL, bytes(4))
    assert token(again) is None
    assert not client.closed


def test_a_server_without_users_has_no_challenge(alone: Alone) -> None:
    client = alone.client()
    reply = client.call(Op.SASL, bytes(4))
    assert (reply.zxid, reply.error, reply.body) == (0, 0, b"\xff" * 4)
    assert client.exists(b"/").error == 0


@pytest.mark.parametrize("op", [Op.PING, Op.EXISTS, Op.CREATE, Op.CLOSE_SESSION, Op.WHO_AM_I])
def test_nothing_is_served_before_the_proof_that_is_demanded(op: int) -> None:
    alone = with_users(sasl_demanded=True)
    client = alone.client()
    client.call(Op.SASL, bytes(4))
    body = {Op.EXISTS: read(b"/"), Op.CREATE: create(b"/a")}.get(op, b"")
    client.say(client.frame(op, body, 9) + client.frame(Op.CREATE, create(b"/b"), 10))
    alone.turn()
    assert [(reply.xid, reply.zxid, reply.error) for reply in client.heard] == [(9, 0, -124)]
    assert client.closed
    assert alone.tree.get(b"/a") is alone.tree.get(b"/b") is None


def test_who_has_proved_it_is_served_from_the_same_chunk_on() -> None:
    alone = with_users(auth_enforced=True, auth_schemes=("sasl", "digest"))
    client = alone.client()
    auth = client.frame(Op.AUTH, requests.AuthPacket(0, "digest", b"a:b"), requests.AUTH_XID)
    client.say(auth + client.frame(Op.CREATE, create(b"/a")) + client.frame(Op.PING, xid=-2)[:5])
    client.say(client.frame(Op.PING, xid=-2)[5:])
    alone.turn()
    assert client.answers() == [(-4, 0), (1, 0), (-2, 0)]


def test_another_proof_than_what_is_demanded_is_not_enough() -> None:
    client = with_users(sasl_demanded=True).client()
    assert client.call(Op.AUTH, requests.AuthPacket(0, "digest", b"a:b"), -4).error == 0
    assert client.call(Op.EXISTS, read(b"/")).error == -124


def test_a_failed_proof_where_it_is_demanded_is_told_by_that_error() -> None:
    client = with_users(sasl_demanded=True, sasl_failed_allowed=True).client()
    assert prove(client, "ann", "guessed").error == -124
    assert client.closed


def test_everybody_has_an_identity_of_the_scheme_ip() -> None:
    client = with_users(auth_enforced=True, auth_schemes=("ip",)).client()
    assert client.call(Op.EXISTS, read(b"/")).error == 0


def test_a_packet_that_is_none_ends_the_connection_before_the_proof_as_well() -> None:
    alone = with_users(sasl_demanded=True)
    client = alone.client()
    client.say(b"\0\0\0\5" + bytes(20))
    alone.turn()
    assert client.closed
