"""What faces the clients is the same in every role: one turn's effects are taken once."""

from __future__ import annotations

import pytest

from coterie.config import embedded_default
from coterie.core.front import Front
from coterie.core.link import QUORUM, Link
from coterie.core.prepare import Write
from coterie.core.tree import Tree
from coterie.wire.requests import Op
from tests.core.conftest import Alone, create, read


def front() -> Front:
    return Front(embedded_default("data"), Tree(), 1, 0.0, 1_700_000_000_000)


def test_what_was_taken_is_not_there_again() -> None:
    made = front()
    made.effects.notes.append("once")
    assert made.take().notes == ["once"]
    assert not made.take()


def test_what_was_taken_may_be_touched_again() -> None:
    made = front()
    link = Link(QUORUM)
    connection = made.connected("127.0.0.1", 1, 0.0)
    link.touched = connection.touched = True
    made.effects.link_outputs.append(link)
    made.effects.outputs.append(connection)
    made.take()
    assert not link.touched
    assert not connection.touched


def test_the_server_asks_for_the_same_effects_as_its_member() -> None:
    made = front()
    made.take()
    assert made.server.effects is made.effects


def test_a_front_alone_numbers_nothing() -> None:
    with pytest.raises(NotImplementedError):
        front().submit(Write(None, 0, 0, 1, b""))


def test_who_is_shed_gets_what_is_answered_and_keeps_the_session(alone: Alone) -> None:
    client = alone.client()
    client.send(Op.GET_DATA, read(b"/"))
    alone.member.shed([client.connection])
    client.send(Op.GET_DATA, read(b"/"))
    alone.turn()
    assert client.answers() == [(1, 0)], "what came later is not read"
    assert client.closed
    assert client.session_id in alone.member.sessions.by_id


def test_what_who_is_shed_has_written_is_written(slow: Alone) -> None:
    client = slow.stranger()
    client.connect()
    slow.sync()
    client.send(Op.CREATE, create(b"/a"))
    slow.member.shed([client.connection])
    slow.turn()
    assert client.closed
    slow.sync()
    assert b"/a" in slow.tree.nodes
    assert slow.member.server.outstanding == 0
