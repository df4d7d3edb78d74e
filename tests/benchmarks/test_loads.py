"""Loads: what they send is whole requests, and what they count is whole replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import loads, protocol
from benchmarks.loads import LOADS, Counter, Load, Repeated, Tape
from benchmarks.protocol import ProtocolError
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import Op

MESSAGES = [protocol.reply(number, bytes(number)) for number in range(7)]


def _bodies(data: bytes) -> list[tuple[int, Reader]]:
    """The opcode of each frame, and a reader that stands behind its header."""
    found = []
    reader = Reader(data)
    while not reader.at_end():
        body = Reader(reader.raw(reader.int32()))
        body.int32()
        found.append((body.int32(), body))
    return found


@given(
    first=st.integers(0, 6),
    cuts=st.lists(st.integers(1, sum(map(len, MESSAGES)) - 1), max_size=40),
)
def test_counter_counts_whole_messages_however_they_are_cut(first: int, cuts: list[int]) -> None:
    stream = b"".join(MESSAGES[first:] + MESSAGES * 100)
    counter = Counter(Tape(MESSAGES), first)
    total = position = 0
    for cut in cuts:
        # A connection never has a whole tape of replies outstanding.
        total += counter.count(stream[position : position + cut])
        position += cut
    ends = [0]
    while ends[-1] <= position:
        ends.append(ends[-1] + len(MESSAGES[(first + len(ends) - 1) % 7]))
    assert total == len(ends) - 2
    assert counter.index == (first + total) % 7


def test_counter_refuses_a_reply_of_another_length_or_xid() -> None:
    for wrong in (protocol.reply(0, b"longer"), protocol.reply(1)):
        with pytest.raises(ProtocolError, match="a reply begins with"):
            Counter(Tape(MESSAGES)).count(wrong)


@given(st.lists(st.integers(1, 7), max_size=20))
def test_repeated_goes_round_the_tape(counts: list[int]) -> None:
    source = Repeated(Tape(MESSAGES), 3)
    sent = b"".join(bytes(source.take(count)) for count in counts)
    assert sent == b"".join((MESSAGES[3:] + MESSAGES * 30)[: sum(counts)])


@pytest.mark.parametrize(("name", "writes"), [("reads", 0), ("mix", 24), ("writes", 240)], ids=str)
def test_rings_hold_their_share_of_writes(name: str, writes: int) -> None:
    load = LOADS[name]
    found = _bodies(bytes(load.requests.cut(0, load.requests.count)))
    assert sum(opcode == Op.SET_DATA for opcode, _ in found) == writes
    assert sum(opcode == Op.GET_DATA for opcode, _ in found) == 240 - writes
    for opcode, body in found:
        if opcode == Op.SET_DATA:
            request = requests.SetDataRequest.read(body)
            assert request.data == loads.VALUE_1K
        else:
            assert requests.PathWatchRequest.read(body).watch is False
        assert body.at_end()


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_connections_begin_apart(load: Load) -> None:
    firsts = {load.first(connection, 48) for connection in range(48)}
    assert len(firsts) == 48
    assert max(firsts) < load.requests.count == load.replies.count


def test_creates_name_a_new_znode_each_and_deletes_take_them_away() -> None:
    created = [
        requests.CreateRequest.read(body).path
        for _, body in _bodies(bytes(LOADS["creates-100"].source(7, 48).take(5)))
    ]
    assert created == [b"/bench/own/c07/n%09d" % number for number in range(5)]
    cleaning = loads.deletes(2, [0] * 7 + [1]).source(7, 8)
    deleted = []
    for opcode, body in _bodies(bytes(cleaning.take(2))):
        assert opcode == Op.MULTI
        deleted += [each for _, each in requests.read_multi(body)]
    assert deleted == [requests.DeleteRequest(path, -1) for path in created[1:]]


@pytest.mark.parametrize("batch", [1, 5])
def test_fill_creates_each_znode_once_below_every_parent(batch: int) -> None:
    load = loads.fill(znodes=60, parents=3, connections=4, batch=batch)
    paths = []
    for connection in range(4):
        for opcode, body in _bodies(bytes(load.source(connection, 4).take(15 // batch))):
            if opcode == Op.CREATE:
                paths.append(requests.CreateRequest.read(body).path)
            else:
                paths += [
                    each.path
                    for _, each in requests.read_multi(body)
                    if isinstance(each, requests.CreateRequest)
                ]
    assert sorted(paths) == [
        b"%b/n%09d" % (loads.fill_parent(znode // 20), znode) for znode in range(60)
    ]
