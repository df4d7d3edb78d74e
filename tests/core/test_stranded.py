"""Read-only mode: sessions that leave no trace, and no write at all."""

from __future__ import annotations

from random import Random

from coterie.core.effects import Epochs
from coterie.core.member import Member
from coterie.core.sessions import password
from coterie.core.stranded import Stranded
from coterie.core.tree import Tree
from coterie.errors import NotReadOnlyError
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.core.pack import config, three


def stranded() -> tuple[Member, Stranded]:
    made = Member(config(three().ensemble, 1), Tree(), 0, Epochs(0, 0), 0.0, 1, Random(1))
    made.tree.sessions[77] = 1000
    return made, Stranded(made)


def member() -> Member:
    return stranded()[0]


def hello(made: Member, session_id: int = 0, secret: bytes = bytes(16)) -> list[bytes]:
    """What a client that can do with reads hears; it goes on with a write and a sync."""
    connection = made.connected("127.0.0.1", 1, 0.0)
    body = requests.ConnectRequest(0, 0, 1000, session_id, secret).encode() + b"\1"
    made.receive(connection, len(body).to_bytes(4, "big") + body, 0.0)
    for connection in made.take().resumes:
        made.resume(connection, 0.0)
    for op in (Op.DELETE, Op.SYNC):
        body = requests.RequestHeader(op, op).encode() + b"\0\0\0\2/a\0\0\0\0"
        made.receive(connection, len(body).to_bytes(4, "big") + body, 0.0)
    return connection.out


def test_a_new_session_needs_no_txn() -> None:
    made = member()
    out = hello(made)
    assert out[0][-1] == 1, "the answer says that this server is read-only"
    assert made.effects.appends == []
    assert len(made.tree.sessions) == 1


def test_every_write_and_sync_is_refused() -> None:
    out = hello(member())
    errors = [int.from_bytes(frame[16:20], "big", signed=True) for frame in out[1:]]
    assert errors == [NotReadOnlyError.code] * 2


def test_a_session_of_the_ensemble_can_be_taken_up() -> None:
    made = member()
    out = hello(made, 77, password(77))
    assert requests.ConnectResponse.decode(out[0][4:]).session_id == 77


def test_who_falls_silent_is_let_go() -> None:
    made, role = stranded()
    hello(made)
    made.take()
    made.now_ms = 5000.0
    role.tick()
    assert len(made.take().closes) == 1
