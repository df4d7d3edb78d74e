"""Whole txns: Apache's own entries, round trips of every kind, older forms, and what is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import MarshallingError
from coterie.values import ACL, OPEN_ACL, Id
from coterie.wire import numbered, txns
from coterie.wire.entries import decode
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import (
    BODIES,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
)
from tests.golden.packets import HERE
from tests.wire import records

_INTS = st.integers(-(2**31), 2**31 - 1)
_LONGS = st.integers(-(2**63), 2**63 - 1)
# Two empty paths, which no session has, are the bytes of a digest behind no paths at all.
_AMBIGUOUS = CloseSessionTxn([b"", b""])
_SIMPLE = (
    st.sampled_from(sorted(set(BODIES) - {Op.MULTI}))
    .flatmap(lambda kind: st.tuples(st.just(kind), records.of(BODIES[kind])))
    .filter(lambda drawn: drawn[1] != _AMBIGUOUS)
)
_MULTIS = st.tuples(st.just(Op.MULTI), st.lists(_SIMPLE, max_size=4).map(MultiTxn))


def _golden_entries() -> list[bytes]:
    """The entries of a log file: a long, a length and a `B` around each."""
    data, pos = (HERE / "log.1").read_bytes(), 16
    found: list[bytes] = []
    while length := struct.unpack_from(">i", data, pos + 8)[0]:
        found.append(data[pos + 12 : pos + 12 + length])
        pos += 13 + length
    return found


_ENTRIES = _golden_entries()


def _show(body: Record) -> object:
    """Comparable also for a multi, which is no dataclass."""
    if isinstance(body, MultiTxn):
        return [(kind, _show(part)) for kind, part in body.operations]
    return body


def test_apaches_log_is_what_its_clients_asked_for() -> None:
    found = [decode(entry) for entry in _ENTRIES]
    assert [txn.zxid for txn in found] == list(range(1, len(found) + 1))
    assert len({txn.session_id for txn in found}) == 3
    two = (*OPEN_ACL, ACL(1, Id("ip", "127.0.0.1")))
    operations: list[tuple[int, Record]] = [
        (Op.CREATE, CreateTxn(b"/m", b"", OPEN_ACL, False, 5)),
        (Op.CREATE, CreateTxn(b"/m/e", b"mine", OPEN_ACL, True, 1)),
        (Op.CHECK, txns.CheckVersionTxn(b"/m", 1)),
        (Op.SET_DATA, SetDataTxn(b"/m", b"three", 1)),
        (Op.DELETE, DeleteTxn(b"/m/e")),
    ]
    bodies = {
        (Op.CREATE, CreateTxn): CreateTxn(b"/a", b"one", OPEN_ACL, False, 1),
        (Op.CREATE_TTL, CreateTTLTxn): CreateTTLTxn(b"/ttl", b"", OPEN_ACL, 3, 3_600_000),
        (Op.SET_ACL, SetACLTxn): SetACLTxn(b"/a", two, 1),
        (Op.ERROR, ErrorTxn): ErrorTxn(-110),
        (Op.CREATE_SESSION, CreateSessionTxn): CreateSessionTxn(30_000),
    }
    for (kind, _), body in bodies.items():
        assert next(txn.body for txn in found if txn.type == kind) == body
    multi = next(txn.body for txn in found if txn.type == Op.MULTI)
    assert isinstance(multi, MultiTxn)
    kinds = [kind for kind, _ in operations]
    assert [kind for kind, _ in multi.operations] in (kinds, [Op.CREATE, Op.CREATE2, *kinds[2:]])
    assert [part for kind, part in multi.operations if kind != Op.CHECK] == [
        part for kind, part in operations if kind != Op.CHECK
    ]


def test_a_multi_that_failed_as_apache_logs_it() -> None:
    """What would have gone well stays, then come the error and -2."""
    failed = next(
        txn.body
        for txn in map(decode, _ENTRIES)
        if isinstance(txn.body, MultiTxn) and txn.body.operations[-1][0] == Op.ERROR
    )
    assert isinstance(failed, MultiTxn)
    kinds = [kind for kind, _ in failed.operations]
    assert kinds[1:] == [Op.ERROR, Op.ERROR]
    assert [part for _, part in failed.operations[1:]] == [ErrorTxn(-103), ErrorTxn(-2)]


def test_only_single_errors_have_no_digest() -> None:
    for txn in map(decode, _ENTRIES):
        assert (txn.digest is None) == (txn.type == Op.ERROR)


def test_apaches_txns_are_made_anew_with_the_same_bytes() -> None:
    for entry in _ENTRIES:
        txn = decode(entry)
        assert txn.encoded == entry
        made = Txn(txn.session_id, txn.cxid, txn.zxid, txn.time_ms, txn.type, txn.body, txn.digest)
        assert made.encoded == entry


@pytest.mark.parametrize("number", range(20))
def test_a_cut_txn_is_refused_but_where_it_lacks_just_the_digest(number: int) -> None:
    entry = _ENTRIES[number]
    whole = decode(entry)
    for cut in range(len(entry)):
        try:
            txn = decode(entry[:cut])
        except MarshallingError:
            continue
        assert txn.digest is None
        assert cut == len(entry) - numbered.DIGEST.size or _is_older_form(whole, txn)


def _is_older_form(whole: Txn, cut: Txn) -> bool:
    """Servers before 3.4 logged no parent's cversion, those before 3.6 no paths of a session."""
    if isinstance(whole.body, CreateTxn) and isinstance(cut.body, CreateTxn):
        return cut.body.parent_cversion == -1
    return cut.body == CloseSessionTxn([])


@settings(deadline=None)
@given(_SIMPLE | _MULTIS, _LONGS, _INTS, _LONGS, _LONGS, st.none() | _LONGS)
def test_every_kind_of_txn_comes_back(
    body: tuple[int, Record],
    session_id: int,
    cxid: int,
    zxid: int,
    time_ms: int,
    digest: int | None,
) -> None:
    txn = Txn(session_id, cxid, zxid, time_ms, body[0], body[1], digest)
    found = decode(txn.encoded)
    assert (found.session_id, found.cxid, found.zxid) == (session_id, cxid, zxid)
    assert (found.time_ms, found.type, found.digest) == (time_ms, body[0], digest)
    assert _show(found.body) == _show(body[1])
    assert found.encoded == txn.encoded
    assert found.shares is None


@settings(deadline=None)
@given(_SIMPLE | _MULTIS, st.integers(0, 200), st.sampled_from([-(2**31), -2, -1, 2**31 - 1]))
def test_any_bytes_are_a_txn_or_a_marshalling_error(
    body: tuple[int, Record], at: int, lie: int
) -> None:
    entry = Txn(1, 2, 3, 4, body[0], body[1], 5).encoded
    at %= len(entry)
    try:
        decode(entry[:at] + struct.pack(">i", lie) + entry[at + 4 :])
    except MarshallingError:
        return


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_noise_is_a_txn_or_a_marshalling_error(data: bytes) -> None:
    try:
        decode(data)
    except MarshallingError:
        return


def _entry(kind: int, body: bytes) -> bytes:
    return numbered.HEADER.pack(1, 2, 3, 4, kind) + body


def test_a_create_of_servers_before_3_4() -> None:
    body = CreateTxn(b"/a", b"x", OPEN_ACL, True, 7).encode()[:-4]
    assert decode(_entry(Op.CREATE, body)).body == CreateTxn(b"/a", b"x", OPEN_ACL, True, -1)


@pytest.mark.parametrize("digest", [None, 2**40 + 17, -5, 0])
def test_a_close_session_without_a_body(digest: int | None) -> None:
    """Of servers before 3.6, and with a digest of those that have closeSessionTxn.enabled off."""
    tail = b"" if digest is None else numbered.DIGEST.pack(2, digest)
    txn = decode(_entry(Op.CLOSE_SESSION, tail))
    assert txn.body == CloseSessionTxn([])
    assert txn.digest == digest


def test_a_digest_of_another_version_says_nothing() -> None:
    entry = _entry(Op.DELETE, DeleteTxn(b"/a").encode() + numbered.DIGEST.pack(3, 17))
    assert decode(entry).digest is None


@pytest.mark.parametrize("kind", [0, 3, 4, 9, 11, 100, -12, 2**31 - 1])
def test_a_kind_that_changes_nothing_is_no_txn(kind: int) -> None:
    with pytest.raises(MarshallingError):
        decode(_entry(kind, bytes(64)))


def test_a_multi_in_a_multi_is_refused_however_deep() -> None:
    body: Record = MultiTxn([(Op.DELETE, DeleteTxn(b"/a"))])
    with pytest.raises(MarshallingError):
        decode(_entry(Op.MULTI, MultiTxn([(Op.MULTI, body)]).encode()))
    data = body.encode()
    for _ in range(3000):
        data = struct.pack(">iii", 1, Op.MULTI, len(data)) + data
    with pytest.raises(MarshallingError):
        decode(_entry(Op.MULTI, data))


def test_a_part_of_a_multi_does_not_read_beyond_its_own_end() -> None:
    """Its length says where a part ends, whatever stands behind."""
    part = DeleteTxn(b"/abcdef").encode()
    short = struct.pack(">iii", 1, Op.DELETE, len(part) - 2) + part
    with pytest.raises(MarshallingError):
        decode(_entry(Op.MULTI, short))
