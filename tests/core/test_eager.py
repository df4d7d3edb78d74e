"""What the member of a client refuses by itself, and what it leaves to the leader."""

from __future__ import annotations

import pytest

from coterie.errors import OK, InvalidACLError, NoAuthError, NoNodeError
from coterie.values import ACL, ANYONE, OPEN_ACL, ACLs, Id, Perms
from coterie.wire.jute import Record
from coterie.wire.requests import (
    MULTI_END,
    MULTI_HEADER,
    CreateRequest,
    DeleteRequest,
    Op,
    SetACLRequest,
    SetDataRequest,
)
from tests.core.pack import Client, Pack, three

_READ_ONLY: ACLs = (ACL(Perms.READ, ANYONE),)
_NOBODYS: ACLs = (ACL(Perms.ALL, Id("digest", "ann:hash")),)
_ODD: ACLs = (ACL(Perms.ALL, Id("auth", "")),)


@pytest.fixture
def pack() -> Pack:
    """Three members that look at ACLs first, and a znode /shut that nobody may change."""
    pack = three()
    pack.start(eager_acl_check=True)
    pack.run(2000)
    client = Client(pack, 1)
    create = CreateRequest(b"/shut", b"", _READ_ONLY, 0)
    assert client.call(Op.CREATE, create.encode())[0] == OK
    return pack


_FORBIDDEN = [
    (Op.CREATE, CreateRequest(b"/shut/a", b"", OPEN_ACL, 0)),
    (Op.CREATE2, CreateRequest(b"/shut/a", b"", OPEN_ACL, 0)),
    (Op.DELETE, DeleteRequest(b"/shut/a", -1)),
    (Op.SET_DATA, SetDataRequest(b"/shut", b"", -1)),
    (Op.SET_ACL, SetACLRequest(b"/shut", OPEN_ACL, -1)),
]


@pytest.mark.parametrize("server", [1, 3], ids=["follower", "leader"])
@pytest.mark.parametrize(("op", "request_"), _FORBIDDEN)
def test_what_an_acl_forbids_is_refused_without_a_txn(
    pack: Pack, server: int, op: int, request_: Record
) -> None:
    client = Client(pack, server)
    before = pack.members[3].logged_zxid
    assert client.call(op, request_.encode())[0] == NoAuthError.code
    assert pack.members[3].logged_zxid == before


def test_without_it_the_leader_refuses_and_numbers_it() -> None:
    pack = three()
    pack.start()
    pack.run(2000)
    client = Client(pack, 1)
    client.call(Op.CREATE, CreateRequest(b"/shut", b"", _READ_ONLY, 0).encode())
    before = pack.members[3].logged_zxid
    for op, request in _FORBIDDEN:
        assert client.call(op, request.encode())[0] == NoAuthError.code
    assert pack.members[3].logged_zxid == before + len(_FORBIDDEN)


def test_an_acl_that_cannot_be_is_refused_as_well(pack: Pack) -> None:
    client = Client(pack, 1)
    before = pack.members[3].logged_zxid
    for op, request in (
        (Op.CREATE, CreateRequest(b"/a", b"", _ODD, 0)),
        (Op.SET_ACL, SetACLRequest(b"/nowhere", (), -1)),
    ):
        assert client.call(op, request.encode())[0] == InvalidACLError.code
    assert pack.members[3].logged_zxid == before


def test_whatever_else_is_wrong_the_leader_says(pack: Pack) -> None:
    client = Client(pack, 1)
    before = pack.members[3].logged_zxid
    assert client.call(Op.DELETE, DeleteRequest(b"/no/such", -1).encode())[0] == NoNodeError.code
    assert client.call(Op.SET_DATA, b"\0")[0] != OK
    assert pack.members[3].logged_zxid > before


def test_the_parts_of_a_multi_are_the_leaders(pack: Pack) -> None:
    client = Client(pack, 1)
    before = pack.members[3].logged_zxid
    op, request = _FORBIDDEN[3]
    client.call(Op.MULTI, MULTI_HEADER.pack(op, False, -1) + request.encode() + MULTI_END)
    assert pack.members[3].logged_zxid == before + 1


def test_what_a_client_has_just_allowed_itself_is_not_refused(pack: Pack) -> None:
    client = Client(pack, 1)
    client.create(b"/mine")
    shut = SetACLRequest(b"/mine", (ACL(Perms.READ | Perms.ADMIN, ANYONE),), -1)
    assert client.call(Op.SET_ACL, shut.encode())[0] == OK
    write = SetDataRequest(b"/mine", b"", -1).encode()
    assert client.call(Op.SET_DATA, write)[0] == NoAuthError.code
    client.ask(Op.SET_ACL, SetACLRequest(b"/mine", OPEN_ACL, -1).encode())
    assert client.call(Op.SET_DATA, write)[0] == OK


def test_answers_keep_their_order(pack: Pack) -> None:
    client = Client(pack, 1)
    first = client.ask(Op.CREATE, CreateRequest(b"/slow", b"", OPEN_ACL, 0).encode())
    second = client.ask(Op.SET_DATA, SetDataRequest(b"/shut", b"", -1).encode())
    pack.run(50)
    xids = [int.from_bytes(frame[:4], "big") for frame in client.frames]
    assert xids == [first, second]
