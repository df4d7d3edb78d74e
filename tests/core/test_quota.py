"""Quotas as ZooKeeper's Quotas, StatsTrack and checkQuota have them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.core.quota import Quotas, parse
from coterie.core.tree import Tree
from coterie.errors import QuotaExceededError
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client, create

LIMITS, STATS = b"/zookeeper_limits", b"/zookeeper_stats"
EXCEEDED = QuotaExceededError.code


def limit(client: Client, path: bytes, limits: bytes) -> None:
    """Set a quota as zkCli does: the path below /zookeeper/quota, limits, then statistics."""
    for cut in range(1, len(path) + 1):
        if path[cut : cut + 1] in (b"/", b""):
            client.create(b"/zookeeper/quota" + path[:cut])
    assert client.create(b"/zookeeper/quota" + path + LIMITS, limits).error == 0
    assert client.create(b"/zookeeper/quota" + path + STATS, b"count=-1,bytes=-1").error == 0


def used(client: Client, path: bytes) -> bytes:
    node = client.alone.tree.get(b"/zookeeper/quota" + path + STATS)
    assert node is not None
    return node.data or b""


@pytest.fixture
def enforcing(make_alone: Callable[..., Alone]) -> Client:
    return make_alone(enforce_quota=True).client()


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (b"count=3,bytes=4", {"count": 3, "bytes": 4}),
        # What StatsTrack writes when there are hard limits: the odd `=` is for old parsers.
        (
            b"count=-1,bytes=-1=;byteHardLimit=7;countHardLimit=5",
            {"count": -1, "bytes": -1, "byteHardLimit": 7, "countHardLimit": 5},
        ),
        (b"count=+3;;bytes=4", {"count": 3, "bytes": 4}),
        (b"", {}),
        (None, {}),
        (b"count=x,bytes", {}),
        (b"\xff=1", {"�": 1}),
        (b"count=99999999999999999999", {}),
    ],
)
def test_limits_are_text(data: bytes | None, numbers: dict[str, int]) -> None:
    assert parse(data) == numbers


def test_statistics_count_the_subtree_and_its_root(enforcing: Client) -> None:
    enforcing.create(b"/a", b"123")
    enforcing.create(b"/a/b", b"45")
    enforcing.create(b"/ab", b"not below")
    limit(enforcing, b"/a", b"count=100,bytes=100")
    assert used(enforcing, b"/a") == b"count=2,bytes=5"
    enforcing.create(b"/a/c", None)
    enforcing.set(b"/a", b"1")
    assert used(enforcing, b"/a") == b"count=3,bytes=3"
    enforcing.delete(b"/a/b")
    assert used(enforcing, b"/a") == b"count=2,bytes=1"


def test_statistics_are_no_txns(enforcing: Client) -> None:
    limit(enforcing, b"/a", b"count=100,bytes=100")
    before = enforcing.exists(b"/zookeeper/quota/a" + STATS)
    made = enforcing.create(b"/a", b"1")
    after = enforcing.exists(b"/zookeeper/quota/a" + STATS)
    assert after.zxid == made.zxid == before.zxid + 1
    assert (after.stat.version, after.stat.mzxid) == (0, before.stat.mzxid)
    assert enforcing.alone.tree.digest_mismatches == 0


@pytest.mark.parametrize(
    ("limits", "errors"),
    [
        (b"countHardLimit=3", [0, EXCEEDED]),
        (b"count=1,countHardLimit=3", [0, EXCEEDED]),
        (b"count=1", [0, 0]),
        (b"count=3=;byteHardLimit=2", [0, EXCEEDED]),
        (b"count=-1,bytes=-1", [0, 0]),
    ],
)
def test_hard_limits_refuse_and_soft_ones_do_not(
    enforcing: Client, limits: bytes, errors: list[int]
) -> None:
    enforcing.create(b"/a")
    enforcing.create(b"/a/0", b"1")
    limit(enforcing, b"/a", limits)
    assert [enforcing.create(b"/a/%d" % i, b"1").error for i in (1, 2)] == errors


def test_a_byte_limit_is_about_what_is_added(enforcing: Client) -> None:
    enforcing.create(b"/a", b"12345")
    limit(enforcing, b"/a", b"byteHardLimit=6")
    assert enforcing.set(b"/a", b"1234567").error == EXCEEDED
    assert enforcing.set(b"/a", b"123456").error == 0
    assert enforcing.set(b"/a", b"654321").error == enforcing.set(b"/a", b"1").error == 0
    assert enforcing.create(b"/a/b", None).error == 0
    assert enforcing.create(b"/a/c", b"123456").error == EXCEEDED


def test_who_is_over_the_limit_already_may_add_nothing_and_take_enough_away(
    enforcing: Client,
) -> None:
    enforcing.create(b"/a", b"12345")
    limit(enforcing, b"/a", b"byteHardLimit=2")
    assert enforcing.set(b"/a", b"54321").error == 0
    assert enforcing.set(b"/a", b"1234").error == EXCEEDED
    assert enforcing.set(b"/a", b"12").error == 0


def test_a_refusal_names_no_txn_but_takes_a_zxid(enforcing: Client) -> None:
    limit(enforcing, b"/a", b"countHardLimit=0")
    refused = enforcing.create(b"/a")
    assert refused.error == EXCEEDED
    assert enforcing.alone.log[-1].zxid == refused.zxid
    assert enforcing.alone.member.quotas is not None
    assert enforcing.alone.member.quotas.exceeded == 1


def test_the_nearest_quota_is_the_one_that_counts(enforcing: Client) -> None:
    for path in (b"/a", b"/a/b"):
        enforcing.create(path)
    limit(enforcing, b"/a", b"countHardLimit=2")
    limit(enforcing, b"/a/b", b"countHardLimit=5")
    assert enforcing.create(b"/a/b/c").error == 0
    assert used(enforcing, b"/a/b") == b"count=2,bytes=0"
    assert enforcing.create(b"/a/c").error == EXCEEDED


def test_nothing_is_refused_unless_it_is_enforced(alone: Alone) -> None:
    client = alone.client()
    limit(client, b"/a", b"countHardLimit=0")
    assert client.create(b"/a").error == 0
    assert used(client, b"/a") == b"count=1,bytes=0"


def test_a_quota_without_statistics_refuses_nothing(enforcing: Client) -> None:
    enforcing.create(b"/zookeeper/quota/a")
    enforcing.create(b"/zookeeper/quota/a" + LIMITS, b"countHardLimit=0")
    assert enforcing.create(b"/a").error == 0


def test_a_quota_ends_with_its_limits(enforcing: Client) -> None:
    limit(enforcing, b"/a", b"countHardLimit=0")
    assert enforcing.create(b"/a").error == EXCEEDED
    assert enforcing.delete(b"/zookeeper/quota/a" + LIMITS).error == 0
    assert enforcing.create(b"/a").error == 0
    assert enforcing.alone.tree.resized is None


def test_changed_limits_count_at_once(enforcing: Client) -> None:
    limit(enforcing, b"/a", b"countHardLimit=0")
    enforcing.set(b"/zookeeper/quota/a" + LIMITS, b"countHardLimit=1")
    assert enforcing.create(b"/a").error == 0


def test_the_parts_of_a_multi_are_held_against_what_is_committed(enforcing: Client) -> None:
    """As in Apache, where checkQuota looks at the tree and not at the changes in flight."""
    enforcing.create(b"/a")
    limit(enforcing, b"/a", b"countHardLimit=2")
    both = requests.write_multi([(Op.CREATE, create(b"/a/%d" % i)) for i in (1, 2)])
    assert enforcing.call(Op.MULTI, both).error == 0
    assert used(enforcing, b"/a") == b"count=3,bytes=0"
    assert enforcing.create(b"/a/3").error == EXCEEDED


def test_the_whole_tree_can_have_no_quota(enforcing: Client) -> None:
    limit(enforcing, b"", b"countHardLimit=0")
    assert enforcing.create(b"/a").error == 0


def test_quotas_are_found_again_in_a_tree_that_was_recovered(enforcing: Client) -> None:
    enforcing.create(b"/a", b"12")
    limit(enforcing, b"/a", b"byteHardLimit=2")
    tree = enforcing.alone.tree
    tree.set_local(b"/zookeeper/quota/a" + STATS, b"count=77,bytes=77")
    tree.resized = tree.quota_changed = None
    quotas = Quotas(tree, enforced=True)
    assert used(enforcing, b"/a") == b"count=1,bytes=2"
    with pytest.raises(QuotaExceededError):
        quotas.check(b"/a", 1, 0)
    assert quotas.exceeded == 1


def test_a_tree_without_quotas_is_not_asked_about_sizes() -> None:
    tree = Tree()
    Quotas(tree, enforced=True).check(b"/a", 10**9, 10**9)
    assert tree.resized is None
