"""A change of many files: written down, carried out, and finished after a crash."""

from __future__ import annotations

from random import Random

import pytest

from coterie.storage.errors import StorageError
from coterie.storage.intent import Changes, Intent, parse
from coterie.testing.files import Disk, FakeFiles, HaltedError

SNAPSHOTS = "data/version-2"
LOGS = "log/version-2"
INTENT = Intent(("snapshot.9", "log.8", "snapshot.c.gz"), ("log.5", 100))


def disk() -> tuple[Disk, FakeFiles]:
    made = Disk("machine", Random(1))
    files = made.mount()
    for directory in (SNAPSHOTS, LOGS):
        files.make_directory(directory)
        for name in ("snapshot.2", "snapshot.9", "snapshot.c.gz", "log.5", "log.8", "myid"):
            file = files.open(f"{directory}/{name}")
            file.write(0, bytes(200))
            file.sync()
        files.sync_directory(directory)
    return made, files


def state(files: FakeFiles) -> tuple[list[str], list[str], int]:
    return files.names(SNAPSHOTS), files.names(LOGS), files.size(f"{LOGS}/log.5")


BEFORE = state(disk()[1])
AFTER = (
    ["log.5", "log.8", "myid", "snapshot.2"],
    ["log.5", "myid", "snapshot.2", "snapshot.9", "snapshot.c.gz"],
    100,
)


def test_a_change_is_made_where_each_file_belongs() -> None:
    _, files = disk()
    Changes(files, SNAPSHOTS, LOGS).make(INTENT)
    assert state(files) == AFTER
    assert not Changes(files, SNAPSHOTS, LOGS).finish()


def halt(made: Disk, dice: Random) -> FakeFiles:
    """Start again after the process was killed or the power failed."""
    if made.fuse_kills:
        made.kill()
    else:
        made.crash(dice)
    files = made.mount()
    files.sync_directory(SNAPSHOTS)
    return files


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_at_every_step_leaves_it_undone_or_done(seed: int) -> None:
    seen = []
    for fuse in range(100):
        dice = Random(seed * 100 + fuse)
        made, files = disk()
        made.fuse_kills = bool(seed % 2)
        made.fuse = fuse
        try:
            Changes(files, SNAPSHOTS, LOGS).make(INTENT)
        except HaltedError:
            files = halt(made, dice)
        else:
            break
        # Recovery may be cut short as well.
        made.fuse_kills = not made.fuse_kills
        made.fuse = dice.randrange(12)
        try:
            Changes(files, SNAPSHOTS, LOGS).finish()
        except HaltedError:
            files = halt(made, dice)
            Changes(files, SNAPSHOTS, LOGS).finish()
        made.fuse = None
        files.delete(f"{SNAPSHOTS}/unfinished.intent")
        made.crash(dice)
        files = made.mount()
        files.delete(f"{SNAPSHOTS}/unfinished.intent")
        seen.append(state(files))
    else:
        raise AssertionError("it never came to an end")
    assert all(found in (BEFORE, AFTER) for found in seen)
    assert BEFORE in seen
    assert AFTER in seen


def test_what_was_written_down_is_read_back() -> None:
    assert INTENT.text() == (
        "delete snapshot.9\ndelete log.8\ndelete snapshot.c.gz\ncut log.5 100\n"
    )
    assert parse(INTENT.text()) == INTENT
    assert parse("") == Intent(())


@pytest.mark.parametrize(
    "text",
    [
        "delete snapshot.9\ndele",
        "delete ../snapshot.9",
        "delete myid",
        "delete log.5/x",
        "cut log.5",
        "cut snapshot.5 9",
        "cut log.5 1\ncut log.6 1",
        "\0" * 40,
    ],
)
def test_what_nobody_wrote_is_an_error(text: str) -> None:
    assert parse(text) is None
    _, files = disk()
    files.open(f"{SNAPSHOTS}/intent").write(0, text.encode())
    with pytest.raises(StorageError, match="intent is damaged"):
        Changes(files, SNAPSHOTS, LOGS).finish()
    files.delete(f"{SNAPSHOTS}/intent")
    assert state(files) == BEFORE


def test_what_is_shorter_already_is_not_made_longer() -> None:
    _, files = disk()
    files.open(f"{LOGS}/log.5").truncate(50)
    Changes(files, SNAPSHOTS, LOGS).make(Intent((), ("log.5", 100)))
    Changes(files, SNAPSHOTS, LOGS).make(Intent((), ("log.6", 100)))
    assert files.size(f"{LOGS}/log.5") == 50
    assert "log.6" not in files.names(LOGS)
