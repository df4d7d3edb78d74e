"""What is told of changes: who, what, what became of it; once, and of nothing else."""

from __future__ import annotations

import pytest

from coterie.core.audit import Told, of_commit, of_refusal
from coterie.core.link import QUORUM, Link
from coterie.core.prepare import Write
from coterie.core.tree import Outcome
from coterie.values import CreateMode, Id
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.core.conftest import Alone, create, read


@pytest.fixture
def audited() -> Alone:
    return Alone(audit_enabled=True)


def test_a_change_is_told_with_who_asked_and_what_became_of_it(audited: Alone) -> None:
    client = audited.client("10.1.2.3")
    client.call(Op.AUTH, requests.AuthPacket(0, "ip", b""), requests.AUTH_XID)
    assert (
        client.call(Op.CREATE, create(b"/a-", flags=CreateMode.PERSISTENT_SEQUENTIAL)).error == 0
    )
    [told] = audited.told
    assert told.ids == (Id("ip", "10.1.2.3"),)
    assert (told.ip, told.session_id, told.op) == ("10.1.2.3", client.session_id, Op.CREATE)
    assert (told.zxid, told.error) == (audited.tree.zxid, 0)
    assert told.changed == ((Op.CREATE, b"/a-0000000000"),)


def test_a_change_that_fails_is_told_with_its_error(audited: Alone) -> None:
    client = audited.client()
    client.delete(b"/none")
    client.call(Op.SET_DATA, b"undecodable")
    assert [(told.error, told.zxid > 0, told.changed) for told in audited.told] == [
        (-101, True, ()),
        (-5, audited.told[1].zxid > 0, ()),
    ]


def test_a_multi_is_told_by_what_it_changed_or_as_a_whole(audited: Alone) -> None:
    client = audited.client()
    made = (Op.CREATE, create(b"/m"))
    check = (Op.CHECK, requests.CheckVersionRequest(b"/m", 0))
    gone = (Op.DELETE, requests.DeleteRequest(b"/none", -1))
    client.call(Op.MULTI, requests.write_multi([made, check]))
    client.call(Op.MULTI, requests.write_multi([check, gone]))
    assert [(told.error, told.changed) for told in audited.told] == [
        (0, ((Op.CREATE, b"/m"), (Op.CHECK, b"/m"))),
        (-101, ()),
    ]


def test_ephemerals_are_told_when_their_session_ends_by_whom_it_was_ended(audited: Alone) -> None:
    asks, silent = audited.client(), audited.client()
    for client, path in ((asks, b"/asks"), (silent, b"/silent")):
        client.create(path, flags=CreateMode.EPHEMERAL)
    audited.told.clear()
    asks.call(Op.CLOSE_SESSION)
    silent.gone()
    for _ in range(20):
        audited.tick(100)
    assert [(told.session_id, told.changed, bool(told.ids)) for told in audited.told] == [
        (asks.session_id, ((Op.DELETE, b"/asks"),), True),
        (silent.session_id, ((Op.DELETE, b"/silent"),), False),
    ]


def test_a_client_that_is_gone_before_its_change_is_told_of_as_well() -> None:
    slow = Alone(slow=True, audit_enabled=True)
    client = slow.stranger()
    client.connect()
    slow.sync()
    client.send(Op.CREATE, create(b"/a"))
    slow.turn()
    client.gone()
    slow.sync()
    assert [told.changed for told in slow.told] == [((Op.CREATE, b"/a"),)]


def test_what_changes_nothing_is_not_told(audited: Alone) -> None:
    client = audited.client()
    client.exists(b"/")
    client.call(Op.GET_DATA, read(b"/"))
    client.call(Op.SYNC, requests.PathRequest(b"/"))
    client.call(Op.CLOSE_SESSION)
    assert audited.told == []


def test_nothing_is_told_unless_that_is_wanted(alone: Alone) -> None:
    alone.client().create(b"/a")
    assert alone.told == []


def test_what_another_member_has_forwarded_is_told_by_that_member() -> None:
    write = Write(None, 1, 1, Op.DELETE, b"", owner=Link(QUORUM, 2))
    assert of_commit(write, Outcome(Op.DELETE), 7, ()) is None
    assert of_refusal(write, -5) is None
    own = Write(None, 0, 0, Op.DELETE_CONTAINER, b"")
    assert isinstance(of_commit(own, Outcome(Op.DELETE), 7, ()), Told)
