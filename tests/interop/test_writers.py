"""What the judge of the writers finds wrong, each thing once, in a tree and a story made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.compat import raw
from tests.compat.gardener import Znode
from tests.interop.writers import REGISTER, Set, Told, Write, faults

Story = tuple[dict[str, Znode], Told]


def _znode(data: bytes, zxid: int, version: int = 0) -> Znode:
    stat = raw.Stat(zxid, zxid, 0, 0, version, 0, 0, 0, len(data), 0, zxid)
    return Znode(data, stat, raw.OPEN, ())


@pytest.fixture
def story() -> Story:
    """Five writes over two connections: the third is unacknowledged and lost, the fifth is there.

    The register was set three times, and the last of them was not acknowledged.
    """
    writes = [Write(f"/w/ann/{n:06}", b"ann %d" % n, connection=1 + n // 3) for n in range(5)]
    tree = {write.path: _znode(write.data, 10 + n) for n, write in enumerate(writes)}
    for number in (0, 1, 3):
        writes[number].zxid = 10 + number
    del tree[writes[2].path]
    tree[REGISTER] = _znode(b"ann 2", 22, version=3)
    sets = [Set(b"ann 0", 1, 20), Set(b"ann 1", 2, 21)]
    return tree, Told(writes, sets, sets_sent=3, attachments=2, sessions=1)


def test_a_true_story_has_no_faults(story: Story) -> None:
    tree, told = story
    assert faults(tree, [told]) == []


def _lose(tree: dict[str, Znode], told: Told) -> None:
    del tree["/w/ann/000001"]


def _change_data(tree: dict[str, Znode], told: Told) -> None:
    tree["/w/ann/000004"] = _znode(b"ben 4", 14)


def _change_zxid(tree: dict[str, Znode], told: Told) -> None:
    tree["/w/ann/000003"] = _znode(b"ann 3", 113)


def _grow(tree: dict[str, Znode], told: Told) -> None:
    tree["/w/ann/000777"] = _znode(b"ann 777", 15)


def _keep_ephemeral(tree: dict[str, Znode], told: Told) -> None:
    tree["/e/1"] = _znode(b"", 9)


def _refuse(tree: dict[str, Znode], told: Told) -> None:
    told.writes[4].refused = -1


def _leave_a_hole(tree: dict[str, Znode], told: Told) -> None:
    told.writes[0].zxid = None
    del tree["/w/ann/000000"]


def _turn_round(tree: dict[str, Znode], told: Told) -> None:
    for number in (0, 1):
        told.writes[number].zxid = 11 - number
        tree[f"/w/ann/{number:06}"] = _znode(b"ann %d" % number, 11 - number)


def _set_the_same_version(tree: dict[str, Znode], told: Told) -> None:
    told.sets[1].version = 1


def _set_back_in_time(tree: dict[str, Znode], told: Told) -> None:
    told.sets[1].zxid = 19


def _lose_a_set(tree: dict[str, Znode], told: Told) -> None:
    tree[REGISTER] = _znode(b"ann 0", 20, version=1)


def _another_set_wins(tree: dict[str, Znode], told: Told) -> None:
    told.sets.append(Set(b"ann 7", 3, 22))


def _set_twice(tree: dict[str, Znode], told: Told) -> None:
    told.sets_sent = 2


def _complain(tree: dict[str, Znode], told: Told) -> None:
    told.wrong.append("ann: session 0x1 was refused with 3.00 s left")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (_lose, "acknowledged and lost"),
        (_change_data, "not what was written"),
        (_change_zxid, "with another zxid"),
        (_grow, "nobody made it"),
        (_keep_ephemeral, "its session is over"),
        (_refuse, "refused and there"),
        (_leave_a_hole, "which was sent before, is not"),
        (_turn_round, "before what was sent before it"),
        (_set_the_same_version, "/register: Set"),
        (_set_back_in_time, "/register: Set"),
        (_lose_a_set, "/register: acknowledged and lost"),
        (_another_set_wins, "and Znode"),
        (_set_twice, "more often than anybody asked"),
        (_complain, "3.00 s left"),
    ],
)
def test_a_false_one_is_found_out(
    story: Story, wrong: Callable[[dict[str, Znode], Told], None], words: str
) -> None:
    tree, told = story
    wrong(tree, told)
    assert any(words in fault for fault in faults(tree, [told])), faults(tree, [told])
