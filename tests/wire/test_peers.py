"""The bytes between members, held to what ZooKeeper's source says of them, and to lies."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.values import Id
from coterie.wire.peers import (
    KIND_NAMES,
    PROOF_MAGIC,
    PROTOCOL_VERSION,
    STATE_NAMES,
    Forwarded,
    Initial,
    Kind,
    LearnerInfo,
    Notification,
    Packet,
    PacketReader,
    State,
    config_version,
    decode_int,
    decode_revalidated,
    decode_touch,
    decode_touches,
    encode_int,
    encode_revalidated,
    encode_touches,
    packet,
    read_initial,
    read_proof,
)
from tests.golden.peers.messages import messages

_LONG = st.integers(-(1 << 63), (1 << 63) - 1)
_MAX = 100_000
_IDS = st.none() | st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=3)


def _read(stream: bytes, data_bytes_max: int = _MAX) -> list[Packet]:
    reader = PacketReader(data_bytes_max)
    reader.feed(stream)
    return list(iter(reader.next, None))


def _proof(data: bytes) -> object:
    return read_proof(PROOF_MAGIC + data, 50)


_DECODERS: tuple[Callable[[bytes], object], ...] = (
    _read,
    Notification.decode,
    read_initial,
    LearnerInfo.decode,
    Forwarded.decode,
    decode_int,
    decode_touch,
    decode_touches,
    decode_revalidated,
    _proof,
)


def _plain(packet: Packet) -> tuple[int, int, bytes | None, tuple[Id, ...] | None]:
    return packet.kind, packet.zxid, packet.data, packet.ids


def test_kinds_are_numbered_as_in_leader_java() -> None:
    assert list(KIND_NAMES) == list(range(1, 20))
    assert KIND_NAMES[10] == "NEWLEADER"
    assert KIND_NAMES[18] == "ACKEPOCH"


def test_an_ack_is_a_header_and_two_nulls() -> None:
    assert packet(Kind.ACK, 0x1_0000_0001).hex() == "00000003" + "0000000100000001" + "ff" * 8


def test_a_request_carries_its_clients_identities() -> None:
    body = Forwarded(5, 7, 1, b"xyz").encode()
    sent = packet(Kind.REQUEST, -1, body, [("ip", "127.0.0.1")])
    assert (
        sent.hex()
        == (
            "00000001" + "ff" * 8 + "00000013"  # type, zxid, 19 bytes
            "0000000000000005" + "00000007" + "00000001" + b"xyz".hex() + "00000001"
            "00000002" + b"ip".hex() + "00000009" + b"127.0.0.1".hex()
        )
    )
    (got,) = _read(sent)
    assert got.ids == (Id("ip", "127.0.0.1"),)
    assert Forwarded.decode(got.data) == (5, 7, 1, b"xyz")


def test_identities_that_come_again_are_read_once_and_others_anew() -> None:
    one = [("ip", "127.0.0.1")]
    several = [[], one, one, [*one, ("ip", "127.0.0.1")], [("ip", "127.0.0.2")], [], [], one]
    reader = PacketReader(_MAX)
    reader.feed(b"".join(packet(Kind.REQUEST, -1, b"", ids) for ids in several))
    got = [each.ids for each in iter(reader.next, None)]
    assert got == [tuple(ids) for ids in several]
    assert got[1] is got[2]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 19), _LONG, st.none() | st.binary(max_size=300), _IDS),
        max_size=8,
    ),
    st.lists(st.integers(1, 70), min_size=1),
)
def test_any_cut_of_the_stream_gives_the_same_packets(
    sent: list[tuple[int, int, bytes | None, list[tuple[str, str]] | None]], sizes: list[int]
) -> None:
    stream = b"".join(packet(*each) for each in sent)
    reader = PacketReader(_MAX)
    got: list[Packet] = []
    pos = 0
    for size in cycle(sizes):
        if pos >= len(stream):
            break
        reader.feed(stream[pos : pos + size])
        pos += size
        got += iter(reader.next, None)
    expected = [(*each[:3], None if each[3] is None else tuple(each[3])) for each in sent]
    assert [_plain(each) for each in got] == expected
    assert reader.rest() == b""


def test_what_follows_a_packet_can_be_taken_raw() -> None:
    reader = PacketReader(_MAX)
    reader.feed(packet(Kind.SNAP, 9) + b"a tree")
    reader.feed(b" and more")
    snap = reader.next()
    assert snap is not None
    assert snap.kind == Kind.SNAP
    assert reader.rest() == b"a tree and more"
    reader.feed(packet(Kind.NEWLEADER, 1 << 32, b"version=0"))
    newleader = reader.next()
    assert newleader is not None
    assert newleader.data == b"version=0"


def test_a_large_packet_in_small_pieces_is_joined_once() -> None:
    stream = packet(Kind.PROPOSAL, 1, bytes(_MAX))
    reader = PacketReader(_MAX)
    for pos in range(0, len(stream) - 10, 10):
        reader.feed(stream[pos : pos + 10])
        assert reader.next() is None
    assert len(reader._parts) > _MAX // 20
    reader.feed(stream[-10:])
    (got,) = iter(reader.next, None)
    assert got.data == bytes(_MAX)


@pytest.mark.parametrize(
    "lie",
    [
        struct.pack(">iqi", Kind.PROPOSAL, 1, -2),
        struct.pack(">iqi", Kind.PROPOSAL, 1, _MAX + 1),
        struct.pack(">iqii", Kind.REQUEST, 1, -1, -2),
        struct.pack(">iqii", Kind.REQUEST, 1, -1, 1 << 30),
        struct.pack(">iqiii", Kind.REQUEST, 1, -1, 1, -2),
        struct.pack(">iqiii", Kind.REQUEST, 1, -1, 1, _MAX + 1),
    ],
)
def test_a_length_that_lies_is_told_before_it_is_waited_for(lie: bytes) -> None:
    with pytest.raises(MarshallingError):
        _read(lie + bytes(4))


def test_a_learner_says_as_much_as_its_release_knew() -> None:
    whole = LearnerInfo(3, 0x10000, 0x100000000).encode()
    assert whole == struct.pack(">qiq", 3, 0x10000, 0x100000000)
    assert LearnerInfo.decode(whole) == (3, 0x10000, 0x100000000)
    assert LearnerInfo.decode(whole[:12]) == (3, 0x10000, 0)
    assert LearnerInfo.decode(whole[:8]) == (3, 1, 0)
    for short in (None, whole[:7]):
        with pytest.raises(MarshallingError):
            LearnerInfo.decode(short)


def test_bodies_of_one_number() -> None:
    assert encode_int(0x10000).hex() == "00010000"
    assert decode_int(encode_int(-1)) == -1
    for short in (None, b"abc"):
        with pytest.raises(MarshallingError):
            decode_int(short)


def test_a_ping_answers_with_the_sessions_it_heard_of() -> None:
    body = encode_touches([(1, 4000), (-2, 6000)])
    assert body.hex() == "0000000000000001" + "00000fa0" + "f" * 15 + "e" + "00001770"
    assert decode_touches(body) == [(1, 4000), (-2, 6000)]
    assert decode_touches(b"") == decode_touches(None) == []
    with pytest.raises(MarshallingError):
        decode_touches(body[:-1])


def test_revalidation_asks_with_a_timeout_and_answers_with_a_boolean() -> None:
    assert decode_touch(encode_touches([(9, 4000)])) == (9, 4000)
    assert encode_revalidated(9, True).hex() == "000000000000000901"
    assert decode_revalidated(encode_revalidated(9, False)) == (9, False)
    for decode in (decode_touch, decode_revalidated):
        with pytest.raises(MarshallingError):
            decode(bytes(8))
    with pytest.raises(MarshallingError):
        Forwarded.decode(bytes(15))


# The election port


def test_the_initial_message_is_written_as_3_5_does() -> None:
    sent = Initial(2, (("127.0.0.1", 3888), ("10.0.0.1", 3888))).encode()
    assert sent == struct.pack(">qqi", -65536, 2, 14) + b"127.0.0.1:3888"
    assert read_initial(sent + b"more") == (Initial(2, (("127.0.0.1", 3888),)), len(sent))
    for length in range(len(sent)):
        assert read_initial(sent[:length]) is None
    assert Initial(2, (("::1", 3888),)).encode()[20:] == b"[::1]:3888"


def _initial(version: int, text: bytes) -> bytes:
    return struct.pack(">qqi", version, 2, len(text)) + text


def test_the_initial_message_of_any_release_is_read() -> None:
    assert read_initial(struct.pack(">q", 7)) == (Initial(7), 8)
    both = _initial(-65535, b"zk1:1|[fe80::2]:2|0.0.0.0:3|[::]:4")
    found = read_initial(both)
    assert found is not None
    assert found[0].addresses == (("zk1", 1), ("fe80::2", 2))
    assert read_initial(_initial(-65536, b"0.0.0.0:3888")) == (Initial(2), 32)


@pytest.mark.parametrize(
    "lie",
    [
        _initial(-65537, b"a:1"),
        _initial(-1, b"a:1"),
        _initial(-65536, b""),
        _initial(-65536, b"a:1" + b" " * 2048),
        _initial(-65536, b"a"),
        _initial(-65536, b":1"),
        _initial(-65536, b"a:"),
        _initial(-65536, b"a:b"),
        _initial(-65536, b"a:-1"),
        _initial(-65536, b"a:b:1"),
        _initial(-65535, b"a:1||b:2"),
        _initial(-65536, b"\xff:1"),
        struct.pack(">qqi", -65536, 2, -1),
    ],
)
def test_a_bad_initial_message_is_refused(lie: bytes) -> None:
    with pytest.raises(MarshallingError):
        read_initial(lie)


def test_a_notification_is_written_in_version_2() -> None:
    sent = Notification(State.LEADING, 3, 0x100000002, 5, 1, config=b"version=0").encode()
    assert sent == struct.pack(">iqqqqii", 2, 3, 0x100000002, 5, 1, 2, 9) + b"version=0"
    assert Notification.decode(sent) == (2, 3, 0x100000002, 5, 1, 2, b"version=0")


def test_a_notification_of_any_release_is_read() -> None:
    sent = struct.pack(">iqqqqii", 0, 3, 0x700000002, 5, 6, 1, 77)
    # Without a peer epoch it is the zxid's; a zxid of -1 keeps its sign, as in Java.
    assert Notification.decode(sent[:28]) == (0, 3, 0x700000002, 5, 7, 0, b"")
    assert Notification.decode(struct.pack(">iqqq", 0, 3, -1, 5)).peer_epoch == -1
    # Of 40 bytes the last four are not honoured, although 3.4 writes its version there.
    assert Notification.decode(sent[:40]) == (0, 3, 0x700000002, 5, 6, 0, b"")
    assert Notification.decode(sent) == (0, 3, 0x700000002, 5, 6, 1, b"")


@pytest.mark.parametrize(
    "lie",
    [
        struct.pack(">iqqq", 0, 3, 2, 5)[:27],
        struct.pack(">iqqq", 4, 3, 2, 5),
        struct.pack(">iqqq", -1, 3, 2, 5),
        struct.pack(">iqqqi", 0, 3, 2, 5, 6),
        struct.pack(">iqqqqih", 0, 3, 2, 5, 6, 2, 0),
        struct.pack(">iqqqqii", 0, 3, 2, 5, 6, 2, -1),
        struct.pack(">iqqqqii", 0, 3, 2, 5, 6, 2, 1),
    ],
)
def test_a_bad_notification_is_refused(lie: bytes) -> None:
    with pytest.raises(MarshallingError):
        Notification.decode(lie)


@settings(deadline=None)
@given(st.integers(0, 3), _LONG, _LONG, _LONG, _LONG, st.binary(max_size=50))
def test_a_notification_is_read_as_it_was_written(
    state: int, leader: int, zxid: int, number: int, peer_epoch: int, config: bytes
) -> None:
    said = Notification(state, leader, zxid, number, peer_epoch, config=config)
    assert Notification.decode(said.encode()) == said


def test_a_config_says_its_version_in_hex() -> None:
    assert config_version(b"server.1=a:1:2:participant\nversion=10000000a") == 0x10000000A
    for none in (b"", b"server.1=a:1:2:participant", b"version=x"):
        assert config_version(none) == 0


# What Apache's own server said


@pytest.mark.parametrize("talk", ["leading", "following"])
def test_what_apache_said_is_read_and_written_alike(talk: str) -> None:
    packets = 0
    for name, by_apache, data in messages(talk):
        if not by_apache:
            continue
        if name.startswith("initial"):
            found = read_initial(data)
            assert found is not None
            assert found[0].server_id == 2
            assert found[0].encode() == data
        elif name.startswith(("LOOKING", "FOLLOWING", "LEADING")):
            said = Notification.decode(data[4:])
            assert name.startswith(STATE_NAMES[said.state])
            assert said.encode() == data[4:]
            assert config_version(said.config) == 0
        else:
            (got,) = _read(data)
            assert KIND_NAMES[got.kind] == name.split()[0]
            assert packet(got.kind, got.zxid, got.data, got.ids) == data
            packets += 1
    assert packets > 4


def test_the_bodies_that_apache_sent_say_what_they_should() -> None:
    said = {
        name: _read(data)[0]
        for talk in ("leading", "following")
        for name, by_apache, data in messages(talk)
        if by_apache and name.split()[0] in KIND_NAMES.values()
    }
    assert decode_int(said["LEADERINFO"].data) == PROTOCOL_VERSION
    assert decode_int(said["ACKEPOCH"].data) == 0
    assert decode_revalidated(said["REVALIDATE of no session"].data) == (77, False)
    assert said["NEWLEADER"].zxid == 1 << 32
    assert config_version(said["NEWLEADER"].data or b"") == 0
    assert said["SYNC"].data is None
    assert decode_touches(said["PING"].data) == []


def test_what_apache_understood_is_what_is_written() -> None:
    told = {name: data for name, by_apache, data in messages("leading") if not by_apache}
    assert packet(Kind.FOLLOWERINFO, 0, LearnerInfo(1).encode()) == told["FOLLOWERINFO"]
    assert packet(Kind.REVALIDATE, -1, encode_touches([(77, 4000)])) == told["REVALIDATE"]
    assert packet(Kind.PING, 1 << 32, encode_touches([(77, 4000)])) == told["PING with a session"]
    sync = Forwarded(77, 1, 9, b"\0\0\0\1/").encode()
    assert packet(Kind.REQUEST, -1, sync) == told["SYNC as a REQUEST"]


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_nothing_but_a_refusal_comes_of_nonsense(data: bytes) -> None:
    for read in _DECODERS:
        with suppress(MarshallingError):
            read(data)
    assert config_version(data) >= 0 or b"-" in data


_SPOILS = st.tuples(st.integers(0, 200), st.integers(0, 3), st.binary(min_size=1, max_size=5))


@settings(deadline=None)
@given(
    st.sampled_from(
        (
            Initial(2, (("127.0.0.1", 3888),)).encode(),
            struct.pack(">qqi", -65535, 2, 19) + b"h:1|[::1]:2|x.y:333",
            Notification(0, 3, 1 << 32, 1, 1, config=b"server.1=h:1:2\nversion=1").encode(),
            packet(Kind.REQUEST, 5, Forwarded(1, 2, 1, b"body").encode(), [("ip", "1.2.3.4")]),
            packet(Kind.FOLLOWERINFO, 1 << 32, LearnerInfo(1).encode()),
            packet(Kind.PING, 1, encode_touches([(1, 2), (3, 4)])),
        )
    ),
    st.lists(_SPOILS, min_size=1, max_size=4),
    st.integers(1, 60),
)
def test_nothing_but_a_refusal_comes_of_what_was_spoiled(
    data: bytes, spoils: list[tuple[int, int, bytes]], size: int
) -> None:
    for where, kind, noise in spoils:
        at = where % (len(data) + 1)
        data = data[:at] + (noise if kind else b"") + data[at + (kind % 3) * len(noise) :]
    for read in _DECODERS:
        with suppress(MarshallingError):
            read(data)
    reader = PacketReader(_MAX)
    with suppress(MarshallingError):
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
            for got in iter(reader.next, None):
                assert got.data is None or len(got.data) <= len(data)
