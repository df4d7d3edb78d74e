"""One log file: read as Apache wrote it, and a crash told from damage wherever either strikes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from struct import pack
from zlib import adler32

import pytest

from coterie.storage import segment
from coterie.storage.errors import DamagedLogError, UnknownTxnError
from coterie.storage.segment import HEADER, Segment
from coterie.system.files import OSFiles
from coterie.testing.files import FakeFiles
from coterie.wire import numbered
from coterie.wire.numbered import Txn
from tests.golden.packets import HERE
from tests.storage.author import DIRECTORY, Author, disk

_PATH = f"{DIRECTORY}/log.1"
_AROUND = 13


def _record(entry: bytes) -> bytes:
    return b"".join(segment.record(entry))


def _file(data: bytes) -> FakeFiles:
    _, files = disk()
    file = files.open(_PATH)
    file.write(0, data)
    file.sync()
    return files


def _read(data: bytes, next_zxid: int | None = None) -> tuple[list[int], Segment, bool]:
    """The zxids in a file, the segment after reading, and whether its end is torn."""
    part = Segment(_file(data), _PATH)
    zxids = [txn.zxid for txn in part.txns(0)]
    return zxids, part, part.check(next_zxid)


def _records(txns: list[Txn]) -> list[bytes]:
    return [_record(txn.encoded) for txn in txns]


@pytest.mark.parametrize(
    ("name", "zxid"),
    [
        ("log.1", 1),
        ("log.1a", 26),
        ("log.1A", 26),
        ("log.500000001", 0x500000001),
        ("log.ffffffffffffffff", 2**64 - 1),
        *((name, None) for name in ("log.", "log.x", "log.1.tmp", "log.1\n", "snapshot.1")),
        ("log." + "1" * 17, None),
    ],
)
def test_names(name: str, zxid: int | None) -> None:
    assert segment.first_zxid(name) == zxid
    if zxid is not None:
        assert segment.name(zxid) == name.lower()


def test_a_record_is_checksum_length_entry_and_b() -> None:
    assert _record(b"entry") == pack(">qi", adler32(b"entry"), 5) + b"entry" + b"B"
    assert HEADER.hex() == "5a4b4c47" + "00000002" + "0000000000000000"


def test_apaches_log_is_read_to_its_end() -> None:
    part = Segment(OSFiles(), str(HERE / "log.1"))
    found = list(part.txns(0))
    assert [txn.zxid for txn in found] == list(range(1, 0x94))
    assert part.zxid == 0x93
    assert part.flaw is None
    assert part.end == part.size - 64, "behind it are the zeros of a file made longer"
    assert not part.check(None)
    again = HEADER + b"".join(_records(found))
    assert again == (HERE / "log.1").read_bytes()[:-64]


def test_only_what_is_beyond_a_zxid_is_decoded() -> None:
    part = Segment(OSFiles(), str(HERE / "log.1"))
    assert [txn.zxid for txn in part.txns(0x90)] == [0x91, 0x92, 0x93]


def test_wherever_a_chunk_ends_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (HERE / "log.1").read_bytes()[:2000]
    whole = _read(data)
    for size in range(16, 700, 3):
        monkeypatch.setattr(segment, "_CHUNK_BYTES", size)
        zxids, part, torn = _read(data)
        assert (zxids, part.end, part.flaw, torn) == (
            whole[0],
            whole[1].end,
            whole[1].flaw,
            whole[2],
        )


def test_a_record_larger_than_a_chunk() -> None:
    author = Author()
    records = _records([author.create(b"/a", b"x" * 5 * 2**20), author.create(b"/b")])
    assert _read(HEADER + b"".join(records))[0] == [1, 2]


@pytest.mark.parametrize("zeros", [0, 300, 5000])
def test_a_tear_at_any_place_of_the_last_batch_is_no_damage(zeros: int) -> None:
    """The file ends there, or goes on with the zeros that it was made longer with."""
    records = _records(Author().some(4, 40))
    whole = HEADER + b"".join(records)
    ends = [len(HEADER)]
    for record in records:
        ends.append(ends[-1] + len(record))
    for cut in range(len(HEADER), len(whole)):
        zxids, part, torn = _read(whole[:cut] + bytes(zeros))
        have = sum(end <= cut for end in ends) - 1
        assert len(zxids) == have
        assert part.end == ends[have]
        # The first four bytes of a record are zeros in any case.
        assert torn == (bool(whole[ends[have] : cut].strip(b"\0")))


@pytest.mark.parametrize("header", [b"", HEADER[:1], HEADER[:7], HEADER[:15]])
def test_a_header_that_is_not_whole(header: bytes) -> None:
    zxids, part, torn = _read(header)
    assert (zxids, part.end, part.flaw) == ([], 0, "no header of a log file")
    assert torn == bool(header)


def test_a_header_alone_is_an_end() -> None:
    zxids, part, torn = _read(HEADER)
    assert (zxids, part.end, part.flaw, torn) == ([], len(HEADER), None, False)


def test_any_bit_that_flips_in_any_record_is_found_and_named() -> None:
    records = _records(Author().some(4, 10))
    whole = HEADER + b"".join(records)
    ends = [len(HEADER)]
    for record in records:
        ends.append(ends[-1] + len(record))
    for bit in range(len(HEADER) * 8, len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        hit = sum(end <= bit // 8 for end in ends) - 1
        with pytest.raises(DamagedLogError) as raised:
            _read(bytes(data))
        error = raised.value
        assert (error.path, error.offset, error.zxid) == (_PATH, ends[hit], hit)
        assert f"{_PATH} is damaged at byte {ends[hit]}" in str(error)


@pytest.mark.parametrize("bit", range(64))
def test_a_flip_in_the_header_is_found(bit: int) -> None:
    data = bytearray(HEADER + b"".join(_records(Author().some(2))))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedLogError) as raised:
        _read(bytes(data))
    assert raised.value.offset == 0


def test_a_record_that_lost_a_sector_is_torn_though_later_ones_are_there() -> None:
    """A disk writes the sectors of a batch in any order; none of it was acknowledged."""
    records = _records(Author().some(5, 700))
    whole = bytearray(HEADER + b"".join(records))
    whole[512:1024] = bytes(512)
    zxids, part, torn = _read(bytes(whole))
    assert (zxids, torn) == ([], True)
    assert part.end == len(HEADER)


def test_a_lost_sector_far_before_the_end_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much is never written without a sync: it had been durable."""
    records = _records(Author().some(5, 700))
    whole = bytearray(HEADER + b"".join(records))
    whole[512:1024] = bytes(512)
    monkeypatch.setattr(segment, "UNSYNCED_BYTES_MAX", 2000)
    with pytest.raises(DamagedLogError):
        _read(bytes(whole))


def test_data_that_is_zeros_does_not_look_like_a_tear() -> None:
    """Where no whole sector of it is zeros."""
    author = Author()
    records = _records([author.create(b"/a", bytes(300)), author.create(b"/b", bytes(300))])
    whole = bytearray(HEADER + b"".join(records))
    whole[len(HEADER) + 60] ^= 1
    with pytest.raises(DamagedLogError):
        _read(bytes(whole))


def test_any_random_part_of_an_unsynced_batch_is_a_tear() -> None:
    for seed in range(300):
        dice = Random(seed)
        made, files = disk()
        author = Author()
        file = files.open(_PATH)
        file.write(0, HEADER + b"".join(_records(author.some(3, 200))))
        file.sync()
        files.sync_directory(DIRECTORY)
        synced = files.size(_PATH)
        file.write(synced, b"".join(_records(author.some(6, dice.randrange(1, 900)))))
        made.crash(dice)
        part = Segment(made.mount(), _PATH)
        zxids = [txn.zxid for txn in part.txns(0)]
        torn = part.check(None)
        assert zxids[:3] == [1, 2, 3], f"seed {seed}"
        assert zxids == list(range(1, len(zxids) + 1)), f"seed {seed}"
        assert torn or not part.flaw, f"seed {seed}"


def test_a_torn_file_that_another_follows_is_whole_if_that_goes_on_where_it_ends() -> None:
    whole = HEADER + b"".join(_records(Author().some(3, 10)))
    torn = whole[:-5]
    assert _read(torn, next_zxid=3)[2] is False
    assert _read(torn, next_zxid=4)[2] is True
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    assert _read(bytes(flipped), next_zxid=3)[2] is False
    with pytest.raises(DamagedLogError):
        _read(bytes(flipped), next_zxid=4)


def test_a_good_record_of_an_unknown_kind_is_not_taken_for_damage() -> None:
    entry = numbered.HEADER.pack(1, 2, 3, 4, 555) + b"body"
    with pytest.raises(UnknownTxnError, match="txn 0x3 is of a kind"):
        _read(HEADER + _record(entry))


def test_a_record_too_short_for_a_txn_is_damage() -> None:
    author = Author()
    first = _record(author.create(b"/a").encoded)
    with pytest.raises(DamagedLogError, match="too short for a txn"):
        _read(HEADER + first + _record(b"short") + _record(author.create(b"/b").encoded))


def test_real_files_are_read_alike(tmp_path: Path) -> None:
    whole = HEADER + b"".join(_records(Author().some(3, 10)))
    path = tmp_path / "log.1"
    path.write_bytes(whole[:-3])
    part = Segment(OSFiles(), str(path))
    assert [txn.zxid for txn in part.txns(0)] == [1, 2]
    assert part.check(None)
