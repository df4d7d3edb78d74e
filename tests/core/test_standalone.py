"""A server alone: a conversation of Apache's, durable before acknowledged, a disk that fails."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable

from coterie.config import Config
from coterie.core.connection import Connection
from coterie.core.prepare import Change
from coterie.core.standalone import Standalone
from coterie.core.tree import Tree
from coterie.values import CreateMode
from coterie.wire import entries, requests
from coterie.wire.requests import Op
from tests.core.conftest import Alone, create, framed, read
from tests.golden import packets

APACHE_TIME = re.compile(rb"\0\0\x01\xa2\x0e\x7f..", re.DOTALL)
NO_ORDER = ("getChildren with a watch", "getChildren2", "multiRead")
"""Children come in the order of a hash table."""


def test_a_whole_conversation_is_answered_as_apache_answered_it() -> None:
    exchanges = packets.exchanges()
    hellos = [each for each in exchanges if each.connects]
    first_id = requests.ConnectResponse.decode(hellos[0].received[0][:36]).session_id
    config = Config(data_dir="data", extended_types_enabled=True, tick_time_ms=2000)
    # Ids start from the time: of this one come the very ids, and so the passwords, of that run.
    member = Standalone(config, Tree(), 0, (first_id >> 16) % 2**40)
    clients = [member.connected("127.0.0.1", 1, 0) for _ in hellos]
    # The second client said hello before the first asked for anything.
    for client, hello in zip(clients[:2], hellos, strict=False):
        assert said(member, client, hello.sent) == hello.received
    member.tick(0, 0x01A20E7F0000)
    who = -1
    for each in exchanges:
        who += each.connects
        if each.connects and who < 2:
            continue
        got = [_like_3_8(frame) for frame in said(member, clients[who], each.sent)]
        expected = [_like_3_8(frame) for frame in each.received]
        if each.name in NO_ORDER:
            got, expected = (
                [bytes(sorted(one)) for one in got],
                [bytes(sorted(one)) for one in expected],
            )
        assert got == expected, each.name


def said(member: Standalone, client: Connection, payload: bytes) -> list[bytes]:
    """What a client is told when it says this, on a disk that is always ready."""
    member.receive(client, framed(payload), 0)
    for txn in member.take().appends:
        member.synced(txn.zxid, 0)
    data = b"".join(client.out)
    client.out.clear()
    answers: list[bytes] = []
    while data:
        length = int.from_bytes(data[:4], "big")
        answers.append(data[4 : 4 + length])
        data = data[4 + length :]
    return answers


def _like_3_8(frame: bytes) -> bytes:
    """Without times, and what newer servers add: an event's zxid, create2's Stat in a multi."""
    frame = re.sub(rb"\A\xff{4}.{8}", b"<event>", frame, flags=re.DOTALL)
    create2 = requests.MULTI_HEADER.pack(Op.CREATE2, False, 0) + framed(b"/m/e")
    before, found, after = frame.partition(create2)
    if found:
        frame = (
            before + requests.MULTI_HEADER.pack(Op.CREATE, False, 0) + framed(b"/m/e") + after[68:]
        )
    return APACHE_TIME.sub(b"<- time ->", frame)


def test_nothing_is_acknowledged_or_shown_before_it_is_durable(slow: Alone) -> None:
    client, other = slow.stranger(), slow.stranger()
    for each in (client, other):
        each.connect()
        assert not each.greeted
    assert [txn.type for txn in slow.asked] == [Op.CREATE_SESSION] * 2
    slow.sync()
    client.send(Op.CREATE, create(b"/a"))
    slow.turn()
    assert client.heard == []
    assert other.exists(b"/a").error == -101
    slow.sync()
    assert client.answers() == [(1, 0)]
    assert other.exists(b"/a").error == 0


def test_the_log_may_catch_up_in_parts(slow: Alone) -> None:
    client = slow.client()
    slow.sync()
    for i in range(5):
        client.send(Op.CREATE, create(b"/%d" % i))
    slow.turn()
    assert slow.member.outstanding_txns == 5
    slow.sync(2)
    assert client.answers() == [(1, 0), (2, 0)]
    assert slow.tree.zxid == 3
    slow.sync()
    assert client.answers() == [(3, 0), (4, 0), (5, 0)]
    assert slow.member.outstanding_txns == 0


def test_replaying_the_log_gives_the_same_tree(alone: Alone) -> None:
    client = alone.client()
    client.create(b"/a", b"1")
    client.create(b"/a/s-", b"", CreateMode.EPHEMERAL_SEQUENTIAL)
    client.set(b"/a", b"2")
    client.create(b"/a")
    operations = [
        (Op.CREATE, create(b"/b")),
        (Op.SET_DATA, requests.SetDataRequest(b"/b", b"", 0)),
    ]
    client.call(Op.MULTI, requests.write_multi(operations))
    client.call(Op.CLOSE_SESSION)
    again = Tree()
    for txn in alone.log:
        again.apply(entries.decode(txn.encoded))
    assert (again.digest, again.zxid, again.digest_mismatches) == (
        alone.tree.digest,
        alone.tree.zxid,
        0,
    )
    assert dict(again.walk()).keys() == dict(alone.tree.walk()).keys()


def test_a_server_goes_on_from_the_tree_that_it_is_given(make_alone: Callable[..., Alone]) -> None:
    first = make_alone()
    owner = first.client(timeout_ms=2000)
    owner.create(b"/e", flags=CreateMode.EPHEMERAL)
    second = make_alone(tree=first.tree)
    again = second.client(session_id=owner.session_id, password=owner.password)
    assert again.exists(b"/e").stat.ephemeral_owner == owner.session_id
    made = again.create(b"/next")
    assert made.zxid == made.stat.czxid == 3


def test_what_is_applied_is_no_longer_kept_as_in_flight(alone: Alone) -> None:
    def kept() -> int:
        return sum(isinstance(each, Change) for each in gc.get_objects())

    client = alone.client()
    gc.collect()
    before = kept()
    alone.slow = True
    for i in range(9):
        client.send(Op.CREATE, create(b"/%d" % i))
    assert kept() > before
    alone.sync()
    assert kept() == before


# A disk that fails


def test_while_the_log_fails_writes_are_refused_and_reads_served(alone: Alone) -> None:
    client = alone.client(timeout_ms=2000)
    alone.member.log_failed("No space left on device")
    alone.member.log_failed("No space left on device")
    assert client.create(b"/a").error == -1
    assert client.exists(b"/").error == 0
    assert alone.asked == []
    turned_away = alone.client()
    assert turned_away.closed
    assert not turned_away.greeted
    assert [note for note in alone.notes if "No space" in note] == [
        "no write is acknowledged: No space left on device"
    ]
    assert alone.member.failure == "No space left on device"


def test_what_was_in_flight_waits_and_writes_go_on_when_the_disk_does(slow: Alone) -> None:
    client = slow.client(timeout_ms=2000)
    slow.sync()
    client.send(Op.CREATE, create(b"/a"))
    slow.turn()
    slow.member.log_failed("Input/output error")
    client.send(Op.GET_DATA, read(b"/a"))
    client.send(Op.CREATE, create(b"/refused"))
    client.send(Op.GET_DATA, read(b"/refused"))
    slow.turn()
    assert client.heard == []
    slow.sync()
    # In the order of the requests, although the third was refused before the first was done.
    assert client.answers() == [(1, 0), (2, 0), (3, -1), (4, -101)]
    assert slow.member.failure is None
    assert "the log can be written again; writes go on" in slow.notes
    client.send(Op.CREATE, create(b"/b"))
    slow.sync()
    assert client.answers() == [(5, 0)]


def test_sessions_expire_also_while_the_log_fails(alone: Alone) -> None:
    client = alone.client(timeout_ms=200)
    alone.slow = True
    client.gone()
    alone.member.log_failed("Input/output error")
    alone.tick(300)
    assert [txn.type for txn in alone.asked] == [Op.CLOSE_SESSION]
    alone.sync()
    assert alone.tree.sessions == {}


# Numbers and times


def test_it_says_when_it_next_has_something_to_do(make_alone: Callable[..., Alone]) -> None:
    alone = make_alone(container_check_interval_ms=5000)
    assert alone.member.next_due_ms() == alone.now_ms + 5000
    alone.client(timeout_ms=400)
    # A quarter of a tick: none of its turns is late then.
    assert alone.member.next_due_ms() == alone.now_ms + 25


def test_it_calls_itself_standalone(alone: Alone) -> None:
    assert alone.member.mode == "standalone"
    assert alone.member.role_numbers() == {}
    assert alone.member.tree is alone.tree


def test_effects_are_handed_out_once(alone: Alone) -> None:
    client = alone.client()
    client.send(Op.CREATE, create(b"/a"))
    assert [txn.zxid for txn in alone.member.take().appends] == [2]
    assert not alone.member.take()
