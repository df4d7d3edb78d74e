"""The authority numbers what clients ask for and what time asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coterie.config import embedded_default
from coterie.core.authority import Authority, access_control
from coterie.core.effects import Effects
from coterie.core.link import QUORUM, Link
from coterie.core.prepare import Write
from coterie.core.sessions import Sessions
from coterie.core.tree import Tree
from coterie.errors import MarshallingError
from coterie.values import OPEN_ACL
from coterie.wire.numbered import Txn
from coterie.wire.requests import CreateRequest, Op, PathRequest
from coterie.wire.txns import CreateSessionTxn

CONFIG = replace(
    embedded_default("data"), container_check_interval_ms=1000, container_never_used_ms=1
)
WALL_MS = 1_700_000_000_000


class Alone:
    """An authority whose writes are applied at once."""

    def __init__(self, tree: Tree | None = None) -> None:
        self.tree = tree or Tree()
        self.now_ms = 0.0
        self.sessions = Sessions(CONFIG.tick_time_ms, 1)
        self.authority = Authority(CONFIG, self.tree, self.sessions, access_control(CONFIG), 0.0)
        self.effects = Effects()
        self.txns: list[Txn] = []

    def write(self, write: Write) -> None:
        txn = self.authority.number(write, 0.0, WALL_MS)
        self.tree.apply(txn)
        self.authority.prepare.applied(txn.zxid)
        self.txns.append(txn)

    def tick(self, now_ms: float, reaps: bool = True) -> None:
        wall_ms = WALL_MS + int(now_ms)
        self.authority.tick(now_ms, wall_ms, self.effects, self.write, reaps)
        self.now_ms = now_ms

    def pass_time(self, until_ms: float) -> None:
        """Turns none of which is late."""
        while self.now_ms < until_ms:
            self.tick(min(self.now_ms + CONFIG.tick_time_ms / 2, until_ms))


def session(session_id: int, owner: Link | None = None) -> Write:
    body = CreateSessionTxn(4000).encode()
    return Write(None, session_id, 0, Op.CREATE_SESSION, body, owner=owner)


def test_the_sessions_of_the_tree_get_a_whole_timeout() -> None:
    tree = Tree()
    tree.sessions[7] = 4000
    alone = Alone(tree)
    alone.pass_time(3999.0)
    assert alone.txns == []
    alone.pass_time(6000.0)
    assert [(txn.type, txn.session_id) for txn in alone.txns] == [(Op.CLOSE_SESSION, 7)]
    assert "expired" in alone.effects.notes[0]


def test_who_spoke_to_a_server_that_was_late_is_not_expired() -> None:
    tree = Tree()
    tree.sessions[7] = tree.sessions[8] = 4000
    alone = Alone(tree)
    alone.pass_time(1000.0)
    # For a minute nothing was read. The turn ticks first, and then reads what 7 had said.
    alone.tick(61_000.0)
    assert alone.txns == []
    assert alone.effects.notes == ["59000 ms late: all sessions get as much longer"]
    alone.sessions.by_id[7].heard_ms = 61_000.0
    alone.pass_time(64_900.0)
    assert [(txn.type, txn.session_id) for txn in alone.txns] == [(Op.CLOSE_SESSION, 8)]


def test_who_spoke_last_in_a_turn_that_took_long_has_a_whole_timeout() -> None:
    tree = Tree()
    tree.sessions[7] = 4000
    alone = Alone(tree)
    alone.pass_time(1000.0)
    # It was heard at the end of the turn, but time stands still within one.
    alone.sessions.by_id[7].heard_ms = 1000.0
    alone.tick(61_000.0)
    alone.pass_time(65_000.0)
    assert alone.txns == []
    alone.pass_time(66_000.0)
    assert [txn.session_id for txn in alone.txns] == [7]


def test_the_silent_are_expired_by_a_server_whose_every_turn_is_late() -> None:
    tree = Tree()
    tree.sessions[7] = tree.sessions[8] = 4000
    alone = Alone(tree)
    for turn in range(1, 10):
        alone.tick(turn * 10_000.0)
        alone.sessions.by_id[8].heard_ms = turn * 10_000.0
    assert [txn.session_id for txn in alone.txns] == [7]


def test_a_turn_that_is_on_time_lengthens_nothing() -> None:
    tree = Tree()
    tree.sessions[7] = 4000
    alone = Alone(tree)
    for turn in range(1, 5):
        alone.tick(turn * CONFIG.tick_time_ms / 2)
    assert alone.sessions.by_id[7].heard_ms == 0.0


def test_it_asks_for_a_turn_before_one_is_late() -> None:
    tree = Tree()
    tree.sessions[7] = 40_000
    alone = Alone(tree)
    alone.tick(100.0)
    assert alone.authority.next_due_ms() == 100.0 + CONFIG.tick_time_ms / 4


def test_a_session_belongs_to_whoever_asked_for_it() -> None:
    alone = Alone()
    link = Link(QUORUM)
    alone.write(session(7, link))
    assert alone.sessions.by_id[7].owner is link


def test_a_session_that_is_asked_for_twice_is_one() -> None:
    alone = Alone()
    alone.write(session(7))
    link = Link(QUORUM)
    alone.write(session(7, link))
    assert list(alone.sessions.by_id) == [7]
    assert alone.sessions.by_id[7].owner is link


def test_an_empty_container_goes_unless_nothing_can_be_written() -> None:
    alone = Alone()
    alone.write(session(7))
    request = CreateRequest(b"/c", b"", OPEN_ACL, 4).encode()
    alone.write(Write(None, 7, 1, Op.CREATE_CONTAINER, request))
    alone.tick(0.0)
    alone.tick(1000.0, reaps=False)
    assert b"/c" in alone.tree.nodes
    alone.tick(2000.0)
    assert b"/c" not in alone.tree.nodes


def test_it_knows_when_it_has_something_to_do() -> None:
    alone = Alone()
    assert alone.authority.next_due_ms() is None
    alone.tick(0.0)
    assert alone.authority.next_due_ms() == 1000.0


def test_what_was_made_in_the_place_of_a_container_stays() -> None:
    alone = Alone()
    alone.write(session(7))
    request = CreateRequest(b"/c", b"", OPEN_ACL, 0).encode()
    alone.write(Write(None, 7, 1, Op.CREATE, request))
    alone.write(Write(None, 0, 0, Op.DELETE_CONTAINER, PathRequest(b"/c").encode()))
    assert alone.txns[-1].type == Op.ERROR
    assert b"/c" in alone.tree.nodes


def test_a_session_that_is_about_to_end_is_not_made_anew() -> None:
    alone = Alone()
    alone.write(session(7))
    alone.sessions.by_id[7].closing = True
    with pytest.raises(MarshallingError):
        alone.authority.number(session(7), 0.0, WALL_MS)
    assert alone.authority.prepare.txn(session(8), WALL_MS).zxid == alone.txns[-1].zxid + 1
