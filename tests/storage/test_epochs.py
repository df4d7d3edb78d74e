"""The two epoch files: Apache's format and place, its rules when they are missing, and crashes."""

from __future__ import annotations

from random import Random

import pytest

from coterie.core.effects import Epochs
from coterie.storage import epochs
from coterie.storage.errors import StorageError
from coterie.testing.files import Disk, FakeFiles, HaltedError

DIRECTORY = "data/version-2"


def disk(**contents: bytes) -> tuple[Disk, FakeFiles]:
    made = Disk("machine", Random(1))
    files = made.mount()
    files.make_directory(DIRECTORY)
    for name, text in contents.items():
        file = files.open(f"{DIRECTORY}/{name}")
        file.write(0, text)
        file.sync()
    files.sync_directory(DIRECTORY)
    return made, files


def zxid(epoch: int, count: int = 7) -> int:
    return (epoch << 32) + count


def text(made: Disk, name: str) -> bytes:
    return made.durable(f"{DIRECTORY}/{name}")


def complaint(files: FakeFiles, last_zxid: int) -> str:
    with pytest.raises(StorageError) as caught:
        epochs.load(files, DIRECTORY, last_zxid)
    return str(caught.value)


@pytest.mark.parametrize("last", [0, 5, zxid(3), zxid(3, 0)])
def test_a_directory_without_them_gets_those_of_its_last_txn(last: int) -> None:
    made, files = disk()
    epoch = last >> 32
    assert epochs.load(files, DIRECTORY, last) == Epochs(epoch, epoch)
    shown = str(epoch).encode()
    assert (text(made, "acceptedEpoch"), text(made, "currentEpoch")) == (shown, shown)


@pytest.mark.parametrize("written", [b"7", b"7\n", b"7\r\n", b"07\nmore"])
def test_what_is_there_is_read_and_left_alone(written: bytes) -> None:
    made, files = disk(acceptedEpoch=b"8", currentEpoch=written)
    syncs = made.syncs
    assert epochs.load(files, DIRECTORY, zxid(7)) == Epochs(8, 7)
    assert made.syncs == syncs
    assert text(made, "currentEpoch") == written


def test_epochs_that_were_saved_are_loaded() -> None:
    made, files = disk()
    epochs.save(files, DIRECTORY, epochs.load(files, DIRECTORY, 0), Epochs(12, 11))
    assert epochs.load(files, DIRECTORY, zxid(11)) == Epochs(12, 11)
    assert text(made, "acceptedEpoch") == b"12"
    syncs = made.syncs
    epochs.save(files, DIRECTORY, Epochs(12, 11), Epochs(12, 12))
    assert made.syncs == syncs + 1


def test_no_accepted_epoch_beside_a_current_one_of_the_last_txn() -> None:
    made, files = disk(currentEpoch=b"3")
    assert epochs.load(files, DIRECTORY, zxid(3)) == Epochs(3, 3)
    assert text(made, "acceptedEpoch") == b"3"


def test_a_sync_that_a_crash_has_interrupted() -> None:
    """A leader of epoch 5 sent txns of epoch 4, which this member of epoch 3 had missed."""
    made, files = disk(acceptedEpoch=b"5", currentEpoch=b"3")
    assert epochs.load(files, DIRECTORY, zxid(4)) == Epochs(5, 4)
    assert text(made, "currentEpoch") == b"4"


@pytest.mark.parametrize(
    ("contents", "last", "said"),
    [
        ({"acceptedEpoch": b"2", "currentEpoch": b"3"}, 0, "says 2, but currentEpoch is of"),
        ({"acceptedEpoch": b"2", "currentEpoch": b"2"}, zxid(3), "says 2, but the last txn is of"),
        ({"acceptedEpoch": b"2"}, zxid(3), "says 2, but the last txn is of epoch 3"),
        ({"currentEpoch": b"4"}, zxid(3), "acceptedEpoch is missing, although there is"),
        ({"currentEpoch": b"2"}, zxid(3), "acceptedEpoch is missing, although there is"),
        ({"acceptedEpoch": b"", "currentEpoch": b"3"}, 0, "acceptedEpoch has no epoch in it, but"),
        ({"acceptedEpoch": b"3", "currentEpoch": b"-1"}, 0, "currentEpoch has no epoch in it"),
        ({"acceptedEpoch": b"3", "currentEpoch": b"\xff"}, 0, "but '\u00ff'; restore"),
        ({"acceptedEpoch": b"9" * 99, "currentEpoch": b"3"}, 0, "has no epoch in it"),
    ],
)
def test_files_that_do_not_belong_here(contents: dict[str, bytes], last: int, said: str) -> None:
    made, files = disk(**contents)
    assert said in complaint(files, last)
    for name, written in contents.items():
        assert text(made, name) == written


def test_what_was_being_written_is_deleted() -> None:
    """Apache's server would believe it."""
    _, files = disk(acceptedEpoch=b"9", currentEpoch=b"3")
    file = files.open(f"{DIRECTORY}/currentEpoch.tmp")
    file.write(0, b"9")
    assert epochs.load(files, DIRECTORY, zxid(3)) == Epochs(9, 3)
    assert files.names(DIRECTORY) == ["acceptedEpoch", "currentEpoch"]


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_at_every_step_leaves_old_or_new_and_never_too_little_accepted(seed: int) -> None:
    seen: set[Epochs] = set()
    for fuse in range(100):
        made, files = disk(acceptedEpoch=b"3", currentEpoch=b"3")
        made.fuse = fuse
        try:
            epochs.save(files, DIRECTORY, Epochs(3, 3), Epochs(5, 4))
        except HaltedError:
            made.crash(Random(seed * 100 + fuse))
            seen.add(epochs.load(made.mount(), DIRECTORY, zxid(3)))
            continue
        made.crash(Random(seed))
        assert epochs.load(made.mount(), DIRECTORY, zxid(3)) == Epochs(5, 4)
        break
    else:
        raise AssertionError("it never came to an end")
    assert seen <= {Epochs(3, 3), Epochs(5, 3), Epochs(5, 4)}
    assert Epochs(5, 3) in seen
