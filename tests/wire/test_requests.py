"""Requests and replies: Apache's own packets, round trips, and bytes that are no request."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.values import OPEN_ACL, Stat
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.framing import LENGTH
from coterie.wire.jute import Record
from coterie.wire.requests import (
    MULTI_END,
    REPLY_HEADER,
    TABLE,
    ChildrenResponse,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    IntResponse,
    Op,
    PathResponse,
    RequestHeader,
    SetDataRequest,
    WatcherEvent,
    read_multi,
    read_stat,
    write_multi,
)
from tests.golden.packets import Exchange, exchanges
from tests.wire import records

_EXCHANGES = exchanges()
_CONNECTS = [each for each in _EXCHANGES if each.connects]
_REQUESTS = [each for each in _EXCHANGES if not each.connects and each.sent[4:8] != b"\0\0\0\x4d"]
_MULTIS = {Op.MULTI: False, Op.MULTI_READ: True}
_OPERATIONS = st.lists(
    st.sampled_from(
        [
            *(Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL),
            *(Op.DELETE, Op.SET_DATA, Op.CHECK),
        ]
    ).flatmap(lambda op: st.tuples(st.just(op), records.of(TABLE[op].request))),
    max_size=5,
)
_READS = st.lists(
    st.sampled_from([Op.GET_DATA, Op.GET_CHILDREN]).flatmap(
        lambda op: st.tuples(st.just(op), records.of(TABLE[op].request))
    ),
    max_size=5,
)
_CLASSES = records.declared_in(requests)


def _name(exchange: Exchange) -> str:
    return exchange.name


@pytest.mark.parametrize("exchange", _CONNECTS, ids=_name)
def test_apaches_handshake(exchange: Exchange) -> None:
    assert len(exchange.sent) == 45
    assert len(exchange.received[0]) == 37
    for data, cls in ((exchange.sent, ConnectRequest), (exchange.received[0], ConnectResponse)):
        reader = Reader(data)
        body = cls.read(reader)
        assert reader.raw(1) == b"\0", "the readOnly byte"
        assert reader.at_end()
        assert body.encode() + b"\0" == data


@pytest.mark.parametrize("exchange", _REQUESTS, ids=_name)
def test_requests_to_apache_come_back_as_the_same_bytes(exchange: Exchange) -> None:
    reader = Reader(exchange.sent)
    header = RequestHeader.read(reader)
    if header.type in _MULTIS:
        body = write_multi(read_multi(reader, _MULTIS[header.type]))
    else:
        body = TABLE[header.type].request.read(reader).encode()
    assert reader.at_end()
    assert header.encode() + body == exchange.sent


@pytest.mark.parametrize("exchange", _REQUESTS, ids=_name)
def test_apaches_replies_come_back_as_the_same_bytes(exchange: Exchange) -> None:
    sent = RequestHeader.decode(exchange.sent)
    *events, answer = exchange.received
    for frame in (*events, answer):
        framed = LENGTH.pack(len(frame)) + frame
        length, xid, zxid, error = REPLY_HEADER.unpack_from(framed)
        assert length == len(frame)
        assert xid == (sent.xid if frame is answer else requests.NOTIFICATION_XID)
        assert requests.reply(xid, zxid, error, frame[16:]) == framed


def test_the_errors_that_apache_told() -> None:
    told = {e.name: REPLY_HEADER.unpack_from(bytes(4) + e.received[-1])[3] for e in _EXCHANGES}
    wrong = {name: error for name, error in told.items() if error and "connect" not in name}
    assert wrong == {
        "a create that fails": -110,
        "exists with a watch": -101,
        "an operation that there is not": -6,
    }


def _answer_to(name: str) -> bytes:
    return next(each for each in _REQUESTS if each.name == name).received[-1][16:]


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("create", PathResponse),
        ("sync", PathResponse),
        ("getChildren with a watch", ChildrenResponse),
        ("getEphemerals", ChildrenResponse),
        ("getAllChildrenNumber", IntResponse),
        ("addWatch", IntResponse),
    ],
)
def test_bodies_of_apaches_replies(name: str, cls: type[Record]) -> None:
    body = _answer_to(name)
    assert cls.decode(body).encode() == body


def test_a_stat_as_apache_sends_it() -> None:
    reader = Reader(_answer_to("create2"))
    assert reader.path() == b"/a/null"
    stat = read_stat(reader)
    assert reader.at_end()
    zxid, time_ms = stat.czxid, stat.ctime
    assert stat == Stat(zxid, zxid, time_ms, time_ms, 0, 0, 0, 0, 0, 0, zxid)


def test_a_multi_that_failed_as_apache_tells_it() -> None:
    """Each part tells an error twice: 0 where it would have gone well, -2 behind the failure."""
    told = b"".join(map(requests.error_result, (0, -103, -2)))
    assert _answer_to("a multi that fails") == told + MULTI_END


def test_a_notification_as_apache_sends_it() -> None:
    event = next(e for e in _REQUESTS if e.name == "a setData that fires watches").received[0]
    assert WatcherEvent.decode(event[16:]) == WatcherEvent(3, 3, b"/a")
    # Servers before 3.9 sent -1 in place of the zxid.
    assert requests.notification(3, b"/a", -1)[4:] == event


def test_replies_without_a_body_are_sixteen_bytes() -> None:
    assert requests.reply(7, 5, -101).hex() == "00000010000000070000000000000005ffffff9b"


@pytest.mark.parametrize("cls", _CLASSES, ids=lambda cls: cls.__name__)
def test_every_record_comes_back_and_every_cut_is_refused(cls: type[Record]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(records.of(cls))
    def check(body: Record) -> None:
        data = body.encode()
        assert cls.decode(data) == body
        for cut in range(len(data)):
            with pytest.raises(MarshallingError):
                cls.read(Reader(data, 0, cut))

    check()


@pytest.mark.parametrize("cls", _CLASSES, ids=lambda cls: cls.__name__)
def test_any_bytes_are_a_record_or_a_marshalling_error(cls: type[Record]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(records.of(cls), st.integers(0, 200), st.sampled_from([-(2**31), -2, -1, 2**31 - 1]))
    def check(body: Record, at: int, lie: int) -> None:
        data = body.encode()
        at %= len(data) + 1
        reader = Reader(data[:at] + struct.pack(">i", lie) + data[at + 4 :])
        try:
            cls.read(reader)
        except MarshallingError:
            return
        assert reader.pos <= reader.end

    check()


@settings(deadline=None)
@given(_OPERATIONS)
def test_a_multi_comes_back_and_every_cut_is_refused(operations: list[tuple[int, Record]]) -> None:
    data = write_multi(operations)
    reader = Reader(data)
    assert read_multi(reader) == operations
    assert reader.at_end()
    for cut in range(len(data)):
        with pytest.raises(MarshallingError):
            read_multi(Reader(data, 0, cut))


@settings(deadline=None)
@given(_READS)
def test_a_multi_read_comes_back(operations: list[tuple[int, Record]]) -> None:
    assert read_multi(Reader(write_multi(operations)), reads=True) == operations


@pytest.mark.parametrize("op", sorted(TABLE))
def test_what_may_stand_in_a_multi(op: int) -> None:
    """MultiOperationRecord and its sibling for reads know these and refuse all others."""
    writes = {Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL}
    writes |= {Op.DELETE, Op.SET_DATA, Op.CHECK}
    for reads, allowed in ((False, writes), (True, {Op.GET_DATA, Op.GET_CHILDREN})):
        head = requests.MULTI_HEADER.pack(op, False, -1)
        data = head + bytes(64) + MULTI_END
        if op in allowed:
            first = read_multi(Reader(_multi_of(op)), reads)
            assert [kind for kind, _ in first] == [op]
        else:
            with pytest.raises(MarshallingError):
                read_multi(Reader(data), reads)


def _multi_of(op: int) -> bytes:
    samples: dict[int, Record] = {
        Op.CREATE_TTL: requests.CreateTTLRequest(b"/a", None, OPEN_ACL, 5, 1000),
        Op.DELETE: requests.DeleteRequest(b"/a", -1),
        Op.CHECK: requests.CheckVersionRequest(b"/a", -1),
        Op.SET_DATA: SetDataRequest(b"/a", b"", -1),
        Op.GET_DATA: requests.PathWatchRequest(b"/a", False),
        Op.GET_CHILDREN: requests.PathWatchRequest(b"/a", False),
    }
    return write_multi([(op, samples.get(op, CreateRequest(b"/a", b"", OPEN_ACL, 0)))])


def test_the_end_of_a_multi() -> None:
    assert MULTI_END.hex() == "ffffffff01ffffffff"


def test_opcodes_are_those_of_zoodefs() -> None:
    numbers = {
        "notification": 0,
        "create": 1,
        "delete": 2,
        "exists": 3,
        "getData": 4,
        "setData": 5,
        "getACL": 6,
        "setACL": 7,
        "getChildren": 8,
        "sync": 9,
        "ping": 11,
        "getChildren2": 12,
        "check": 13,
        "multi": 14,
        "create2": 15,
        "reconfig": 16,
        "checkWatches": 17,
        "removeWatches": 18,
        "createContainer": 19,
        "deleteContainer": 20,
        "createTTL": 21,
        "multiRead": 22,
        "auth": 100,
        "setWatches": 101,
        "sasl": 102,
        "getEphemerals": 103,
        "getAllChildrenNumber": 104,
        "setWatches2": 105,
        "addWatch": 106,
        "whoAmI": 107,
        "createSession": -10,
        "closeSession": -11,
        "error": -1,
    }
    ours = {name.replace("_", "").lower(): code for code, name in requests.OP_NAMES.items()}
    assert ours == {name.lower(): code for name, code in numbers.items()}
