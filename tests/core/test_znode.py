"""A znode by itself: what its owner means, what clients see, and its share of the digest."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import pytest

from coterie.core.znode import (
    CONTAINER_OWNER,
    TTL_MS_MAX,
    Crowd,
    Node,
    add_child,
    batches,
    int32,
    is_ephemeral,
    node_digest,
    ttl_ms,
    ttl_owner,
)
from coterie.values import OPEN_ACL
from coterie.wire.cursor import Reader
from coterie.wire.requests import read_stat

SESSION = 0x100000000000001


def node(owner: int = 0, data: bytes | None = b"data") -> Node:
    return Node(data, OPEN_ACL, owner, 7, 1000)


def test_a_ttl_is_packed_as_zookeeper_packs_it() -> None:
    assert ttl_owner(1).to_bytes(8, "big", signed=True).hex() == "ff00000000000001"
    assert ttl_owner(TTL_MS_MAX).to_bytes(8, "big", signed=True).hex() == "ff0000ffffffffff"
    assert ttl_ms(ttl_owner(86_400_000)) == 86_400_000
    assert ttl_ms(CONTAINER_OWNER) is None
    assert ttl_ms(SESSION) is None


def test_versions_wrap_as_java_ints_do() -> None:
    assert (int32(2**31), int32(-(2**31) - 1), int32(7)) == (-(2**31), 2**31 - 1, 7)


@pytest.mark.parametrize(
    ("owner", "ephemeral"),
    [(0, False), (CONTAINER_OWNER, False), (ttl_owner(5), False), (SESSION, True)],
)
def test_only_a_session_makes_a_znode_ephemeral(owner: int, ephemeral: bool) -> None:
    assert is_ephemeral(owner) is ephemeral
    shown = read_stat(Reader(node(owner).stat())).ephemeral_owner
    assert shown == (owner if ephemeral else 0)


def test_clients_see_creates_and_deletes_in_cversion() -> None:
    parent = node()
    for name in (b"/a", b"/b", b"/c"):
        add_child(parent, name)
    parent.cversion = 4  # four were made, one of them is gone
    stat = read_stat(Reader(parent.stat()))
    assert (stat.num_children, stat.cversion) == (3, 5)


def test_the_digest_is_of_path_data_and_numbers_but_not_below_zookeeper() -> None:
    made = node()
    assert node_digest(b"/zookeeper/quota", made) == 0
    assert node_digest(b"/zookeeper", made) != 0
    numbers = [7, 7, 7, 1000, 1000]
    packed = b"".join(number.to_bytes(8, "big") for number in numbers) + bytes(12 + 8)
    assert node_digest(b"/a", made) == crc32(b"/a" + b"data" + packed)
    assert node_digest(b"/", made) == crc32(b"data" + packed)


def names(found: Iterable[list[bytes]]) -> list[bytes]:
    return [name for batch in found for name in batch]


def test_children_are_given_out_in_one_order() -> None:
    parent = node()
    assert names(batches(parent)) == []
    for name in (b"/c", b"/a", b"/b"):
        add_child(parent, name)
    assert names(batches(parent)) == [b"/a", b"/b", b"/c"]


def test_a_crowd_counts_each_name_once() -> None:
    crowd = Crowd({b"/%d" % i for i in range(1000)})
    crowd.add(b"/5")
    crowd.discard(b"/6")
    crowd.discard(b"/6")
    assert len(crowd) == 999
    assert set(crowd) == set(names(crowd.batches())) == {b"/%d" % i for i in range(1000) if i != 6}
