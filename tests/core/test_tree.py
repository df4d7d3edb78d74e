"""Applying txns: Stat fields, digests, idempotence, events, and a walk while the tree changes."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest

from coterie.core.tree import Event, Outcome, Tree
from coterie.core.znode import CONTAINER_OWNER, Crowd, Node, ttl_owner
from coterie.errors import NodeExistsError, NoNodeError, RuntimeInconsistencyError
from coterie.values import ACL, ANYONE, OPEN_ACL, READ_ACL, EventType, Stat
from coterie.wire import txns
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op, read_stat

SESSION = 0x100000000000001
TIME_MS = 1_700_000_000_000


def txn(zxid: int, kind: int, body: Record, digest: int | None = None) -> Txn:
    return Txn(SESSION, 0, zxid, TIME_MS + zxid, kind, body, digest)


def create(
    zxid: int,
    path: bytes,
    data: bytes | None = b"",
    parent_cversion: int = -1,
    ephemeral: bool = False,
) -> Txn:
    body = txns.CreateTxn(path, data, OPEN_ACL, ephemeral, parent_cversion)
    return txn(zxid, Op.CREATE, body)


def delete(zxid: int, path: bytes) -> Txn:
    return txn(zxid, Op.DELETE, txns.DeleteTxn(path))


def set_data(zxid: int, path: bytes, data: bytes | None, version: int) -> Txn:
    return txn(zxid, Op.SET_DATA, txns.SetDataTxn(path, data, version))


def grown(*changes: Txn) -> Tree:
    tree = Tree()
    for each in changes:
        assert tree.apply(each).error == 0
    return tree


def stat(tree: Tree, path: bytes) -> Stat:
    node = tree.get(path)
    assert node is not None
    return read_stat(Reader(node.stat()))


def stored(path: bytes, node: Node) -> int:
    """A znode's digest by the letter of DigestCalculator, fields in its own order."""
    if path.startswith(b"/zookeeper/"):
        return 0
    fields = struct.pack(">qqqqq", node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime)
    fields += struct.pack(">iiiq", node.version, node.cversion, node.aversion, node.owner)
    return crc32((b"" if path == b"/" else path) + (node.data or b"") + fields)


def digest(tree: Tree) -> int:
    return sum(stored(path, node) for path, node in tree.walk())


def test_a_new_tree_is_that_of_zookeeper() -> None:
    tree = Tree()
    assert {path for path, _ in tree.walk()} == {
        b"/",
        b"/zookeeper",
        b"/zookeeper/quota",
        b"/zookeeper/config",
    }
    # Stored cversions count creates, and these znodes were never created.
    assert stat(tree, b"/").cversion == -1
    assert stat(tree, b"/zookeeper").cversion == -2
    config = tree.nodes[b"/zookeeper/config"]
    assert (config.aversion, config.acl) == (-1, READ_ACL)
    assert tree.get(b"") is tree.get(b"/")
    # The digest in the first txn of a fresh Apache ZooKeeper 3.8.
    assert tree.digest == 1371985504


def test_stats_follow_every_change() -> None:
    tree = grown(create(1, b"/a", b"xyz"))
    made = TIME_MS + 1
    assert stat(tree, b"/a") == Stat(1, 1, made, made, 0, 0, 0, 0, 3, 0, 1)
    assert stat(tree, b"/") == Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1)
    tree.apply(set_data(2, b"/a", b"longer", 1))
    assert stat(tree, b"/a") == Stat(1, 2, made, TIME_MS + 2, 1, 0, 0, 0, 6, 0, 1)
    tree.apply(create(3, b"/a/b"))
    assert stat(tree, b"/a") == Stat(1, 2, made, TIME_MS + 2, 1, 1, 0, 0, 6, 1, 3)
    tree.apply(delete(4, b"/a/b"))
    # The clients' cversion counts deletes too; mzxid and mtime are about the data alone.
    assert stat(tree, b"/a") == Stat(1, 2, made, TIME_MS + 2, 1, 2, 0, 0, 6, 0, 4)
    tree.apply(txn(5, Op.SET_ACL, txns.SetACLTxn(b"/a", READ_ACL, 1)))
    assert stat(tree, b"/a") == Stat(1, 2, made, TIME_MS + 2, 1, 2, 1, 0, 6, 0, 4)
    assert tree.nodes[b"/a"].acl == READ_ACL
    assert tree.zxid == 5


def test_null_data_is_kept_apart_from_no_data() -> None:
    tree = grown(create(1, b"/null", None), create(2, b"/empty", b""))
    assert tree.data_reply(tree.nodes[b"/null"]).startswith(b"\xff\xff\xff\xff")
    assert tree.data_reply(tree.nodes[b"/empty"]).startswith(b"\0\0\0\0")
    assert stat(tree, b"/null").data_length == 0


def test_only_sessions_are_shown_as_ephemeral_owners() -> None:
    container = txns.CreateContainerTxn(b"/container", b"", OPEN_ACL, 1)
    ttl = txns.CreateTTLTxn(b"/ttl", b"", OPEN_ACL, 2, 1000)
    tree = grown(
        txn(1, Op.CREATE_CONTAINER, container),
        txn(2, Op.CREATE_TTL, ttl),
        create(3, b"/session", ephemeral=True),
    )
    paths = (b"/container", b"/ttl", b"/session")
    owners = {path: (tree.nodes[path].owner, stat(tree, path).ephemeral_owner) for path in paths}
    assert owners == {
        b"/container": (CONTAINER_OWNER, 0),
        b"/ttl": (ttl_owner(1000), 0),
        b"/session": (SESSION, SESSION),
    }
    assert (tree.containers, tree.ttls) == ({b"/container"}, {b"/ttl"})
    assert tree.ephemerals == {SESSION: {b"/session"}}
    for zxid, path in enumerate(paths, 4):
        tree.apply(delete(zxid, path))
    assert not tree.containers
    assert not tree.ttls
    assert not tree.ephemerals


def test_replaying_what_a_snapshot_holds_already_changes_nothing_but_growth() -> None:
    changes = [create(1, b"/a", b"", 1), create(2, b"/a/b", b"", 1), delete(3, b"/a/b")]
    tree = grown(*changes)
    before = tree.digest, stat(tree, b"/a")
    assert [tree.apply(each).error for each in changes[:1]] == [NodeExistsError.code]
    assert (tree.digest, stat(tree, b"/a")) == before
    # The child is gone in the snapshot; its create and delete are replayed over it.
    assert [tree.apply(each).error for each in changes[1:]] == [0, 0]
    assert (tree.digest, stat(tree, b"/a")) == before


def test_a_create_that_finds_its_znode_still_counts_for_the_parent() -> None:
    tree = grown(create(1, b"/a"), create(2, b"/a/b", b"", 1))
    again = txns.CreateTxn(b"/a/b", b"other", READ_ACL, False, 5)
    assert tree.apply(txn(9, Op.CREATE, again)).error == NodeExistsError.code
    assert (stat(tree, b"/a").pzxid, tree.nodes[b"/a"].cversion) == (9, 5)
    # Of the znode itself only the ACL is taken over, as Apache does.
    assert (tree.nodes[b"/a/b"].acl, tree.nodes[b"/a/b"].data) == (READ_ACL, b"")
    assert tree.digest == digest(tree)


def test_a_create_counts_for_the_parent_but_never_backwards() -> None:
    tree = grown(create(1, b"/a"), create(8, b"/a/new", b"", 6))
    tree.data_reply(tree.nodes[b"/a"])
    tree.apply(create(3, b"/a/old", b"", 2))
    assert tree.data_reply(tree.nodes[b"/a"])[-68:] == tree.nodes[b"/a"].stat()
    assert (stat(tree, b"/a").pzxid, tree.nodes[b"/a"].cversion) == (8, 6)
    tree.apply(delete(4, b"/a/old"))
    assert stat(tree, b"/a").pzxid == 8
    assert tree.zxid == 8


@pytest.mark.parametrize(
    "change",
    [
        create(1, b"/no/child"),
        delete(1, b"/no/child"),
        delete(1, b"/no"),
        set_data(1, b"/no", b"", 1),
        txn(1, Op.SET_ACL, txns.SetACLTxn(b"/no", OPEN_ACL, 1)),
    ],
)
def test_what_meets_no_znode_is_an_error_and_still_a_txn(change: Txn) -> None:
    tree = Tree()
    assert tree.apply(change).error == NoNodeError.code
    assert tree.zxid == 1
    assert tree.digest == digest(tree)


def test_deleting_a_missing_child_still_marks_the_parent() -> None:
    tree = grown(create(1, b"/a"))
    tree.apply(delete(2, b"/a/gone"))
    assert stat(tree, b"/a").pzxid == 2


def test_digests_are_those_of_the_znodes_after_each_txn() -> None:
    multi = [
        (Op.CREATE, txns.CreateTxn(b"/m", b"1", OPEN_ACL, False, 4)),
        (Op.SET_DATA, txns.SetDataTxn(b"/a", b"2", 2)),
        (Op.DELETE, txns.DeleteTxn(b"/e")),
        (Op.CHECK, txns.CheckVersionTxn(b"/a", 3)),
    ]
    changes = [
        create(1, b"/a", b"data"),
        create(2, b"/a/b", None),
        set_data(3, b"/a", b"other", 1),
        create(4, b"/e", b"", ephemeral=True),
        txn(5, Op.SET_ACL, txns.SetACLTxn(b"/a", READ_ACL, 1)),
        create(6, b"/zookeeper/quota/x", b"counts for nothing"),
        delete(7, b"/a/b"),
        txn(8, Op.MULTI, txns.MultiTxn(multi)),
        create(9, b"/f", b"", ephemeral=True),
        txn(10, Op.CLOSE_SESSION, txns.CloseSessionTxn([b"/f"])),
    ]
    tree = Tree()
    for change in changes:
        assert tree.apply(change).error == 0
        assert tree.digest == digest(tree), change


def test_a_digest_that_differs_is_counted_unless_none_is_to_be_checked() -> None:
    tree = Tree()
    tree.apply(txn(1, Op.CREATE_SESSION, txns.CreateSessionTxn(400), 1371985504))
    assert tree.digest_mismatches == 0
    tree.checks_digest = False
    tree.apply(txn(2, Op.CREATE_SESSION, txns.CreateSessionTxn(400), 1))
    assert tree.digest_mismatches == 0
    tree.checks_digest = True
    tree.apply(txn(3, Op.CREATE_SESSION, txns.CreateSessionTxn(400), 1))
    assert tree.digest_mismatches == 1


def test_every_128th_digest_is_kept_for_the_hash_command() -> None:
    tree = Tree()
    for zxid in range(1, 300):
        tree.apply(create(zxid, b"/%d" % zxid))
    assert [zxid for zxid, _ in tree.digests] == [128, 256]
    assert tree.digests[0][1] != tree.digests[1][1] != tree.digest


def test_a_multi_is_done_whole_and_shows_each_part_as_it_was_then() -> None:
    tree = grown(create(1, b"/a"))
    parts = [
        (Op.SET_DATA, txns.SetDataTxn(b"/a", b"1", 1)),
        (Op.SET_DATA, txns.SetDataTxn(b"/a", b"22", 2)),
        (Op.CREATE2, txns.CreateTxn(b"/b", b"", OPEN_ACL, False, 2)),
        (Op.DELETE, txns.DeleteTxn(b"/b")),
    ]
    outcome = tree.apply(txn(2, Op.MULTI, txns.MultiTxn(parts)))
    stats = [read_stat(Reader(part.stat())) for part in outcome.parts[:3]]
    assert [(each.version, each.data_length, each.czxid) for each in stats] == [
        (1, 1, 1),
        (2, 2, 1),
        (0, 0, 2),
    ]
    assert tree.get(b"/b") is None
    assert stat(tree, b"/").cversion == 2 * 2 - 2


def test_a_failed_multi_does_nothing_and_says_where_it_failed() -> None:
    tree = grown(create(1, b"/a"))
    parts: list[tuple[int, Record]] = [
        (Op.SET_DATA, txns.SetDataTxn(b"/a", b"x", 1)),
        (Op.ERROR, txns.ErrorTxn(NoNodeError.code)),
        (Op.ERROR, txns.ErrorTxn(RuntimeInconsistencyError.code)),
        # An old server may have left what follows as it was.
        (Op.DELETE, txns.DeleteTxn(b"/a")),
    ]
    before = tree.digest
    outcome = tree.apply(txn(2, Op.MULTI, txns.MultiTxn(parts)))
    assert [part.error for part in outcome.parts] == [0, -101, -2, -2]
    assert {part.type for part in outcome.parts} == {Op.ERROR}
    assert outcome.error == NoNodeError.code
    assert tree.digest == before


def test_a_session_ends_with_all_its_ephemerals_named_or_not() -> None:
    tree = grown(
        txn(1, Op.CREATE_SESSION, txns.CreateSessionTxn(400)),
        create(2, b"/a"),
        create(3, b"/a/named", ephemeral=True),
        create(4, b"/unnamed", ephemeral=True),
    )
    assert tree.sessions == {SESSION: 400}
    tree.apply(txn(5, Op.CLOSE_SESSION, txns.CloseSessionTxn([b"/a/named", b"/gone"])))
    assert tree.sessions == {}
    assert tree.ephemerals == {}
    assert tree.get(b"/a/named") is tree.get(b"/unnamed") is None
    assert stat(tree, b"/a").pzxid == stat(tree, b"/").pzxid == 5
    assert tree.digest == digest(tree)


def test_events_name_the_znode_then_its_parent() -> None:
    tree = grown(create(1, b"/a"))
    events: list[Event] = []
    tree.apply(create(2, b"/a/b"), events)
    tree.apply(set_data(3, b"/a/b", b"", 1), events)
    tree.apply(txn(4, Op.SET_ACL, txns.SetACLTxn(b"/a/b", READ_ACL, 1)), events)
    tree.apply(delete(5, b"/a/b"), events)
    tree.apply(delete(6, b"/a"), events)
    assert events == [
        (EventType.NODE_CREATED, b"/a/b", OPEN_ACL),
        (EventType.NODE_CHILDREN_CHANGED, b"/a", OPEN_ACL),
        (EventType.NODE_DATA_CHANGED, b"/a/b", OPEN_ACL),
        (EventType.NODE_DELETED, b"/a/b", READ_ACL),
        (EventType.NODE_CHILDREN_CHANGED, b"/a", OPEN_ACL),
        (EventType.NODE_DELETED, b"/a", OPEN_ACL),
        (EventType.NODE_CHILDREN_CHANGED, b"/", OPEN_ACL),
    ]


def test_the_answer_to_get_data_is_remembered_until_it_would_be_wrong() -> None:
    tree = grown(create(1, b"/a", b"one"))
    node = tree.nodes[b"/a"]
    first = tree.data_reply(node)
    assert tree.data_reply(node) is first
    for change in (
        set_data(2, b"/a", b"two", 1),
        create(3, b"/a/b"),
        txn(4, Op.SET_ACL, txns.SetACLTxn(b"/a", READ_ACL, 1)),
        delete(5, b"/a/b"),
    ):
        tree.data_reply(node)
        tree.apply(change)
        assert node.reply is None
        assert tree.data_reply(node)[-68:] == node.stat()


def test_a_walk_meets_parents_first_and_survives_changes() -> None:
    tree = grown(*(create(i, b"/%d" % i) for i in range(1, 50)), create(50, b"/1/x"))
    seen: list[bytes] = []
    for path, _ in tree.walk():
        assert path == b"/" or (path[: path.rindex(b"/")] or b"/") in seen
        seen.append(path)
        if len(seen) == 3:
            for i in range(10, 30):
                tree.apply(delete(100 + i, b"/%d" % i))
            tree.apply(create(200, b"/new"))
    assert len(seen) == len(set(seen))
    # What was there all the time is met; what came or went in the meantime may be.
    assert {b"/%d" % i for i in (*range(1, 10), *range(30, 50))} | {b"/1/x"} <= set(seen)


def test_very_many_children_are_still_children() -> None:
    tree = Tree()
    count = 16_390
    for i in range(count):
        tree.apply(create(i + 1, b"/%d" % i))
    root = tree.nodes[b"/"]
    assert isinstance(root.children, Crowd)
    assert stat(tree, b"/").num_children == count + 1
    names = tree.names(b"/", root)
    assert set(names) == {b"%d" % i for i in range(count)} | {b"zookeeper"}
    assert len(names) == count + 1
    tree.apply(delete(count + 1, b"/77"))
    tree.apply(delete(count + 2, b"/77"))
    assert len(root.children) == count
    assert sum(1 for _ in tree.walk()) == count + 3
    assert tree.descendants(b"/", root) == count + 2


def test_names_and_descendants() -> None:
    tree = grown(create(1, b"/a"), create(2, b"/a/b"), create(3, b"/a/b/c"), create(4, b"/ab"))
    assert sorted(tree.names(b"/", tree.nodes[b"/"])) == [b"a", b"ab", b"zookeeper"]
    assert tree.names(b"/a", tree.nodes[b"/a"]) == [b"b"]
    assert tree.descendants(b"/a", tree.nodes[b"/a"]) == 2
    # As getAllChildrenNumber of the root: all but the root itself.
    assert tree.descendants(b"/", tree.nodes[b"/"]) == 4 + 3


def test_restoring_wants_the_parent_and_keeps_the_children() -> None:
    tree = grown(create(1, b"/a"), create(2, b"/a/b"))
    with pytest.raises(NoNodeError):
        tree.restore(b"/no/child", Node(b"", OPEN_ACL, 0, 1, 1))
    with pytest.raises(NoNodeError):
        tree.restore(b"relative", Node(b"", OPEN_ACL, 0, 1, 1))
    for path in (b"/", b"/a"):
        tree.restore(path, Node(b"again", OPEN_ACL, 0, 7, 7))
    assert sorted(tree.names(b"/", tree.nodes[b"/"])) == [b"a", b"zookeeper"]
    assert tree.names(b"/a", tree.nodes[b"/a"]) == [b"b"]
    assert tree.get(b"") is tree.get(b"/")
    assert tree.digest == digest(tree)


def test_restoring_lists_the_owners() -> None:
    tree = Tree()
    tree.restore(b"/e", Node(b"", OPEN_ACL, SESSION, 1, 1))
    tree.restore(b"/t", Node(b"", OPEN_ACL, ttl_owner(5), 1, 1))
    assert (tree.ephemerals, tree.ttls) == ({SESSION: {b"/e"}}, {b"/t"})
    tree.restore(b"/e", Node(b"", OPEN_ACL, 0, 2, 2))
    assert tree.ephemerals == {}


def test_data_bytes_are_paths_and_data() -> None:
    tree = Tree()
    start = tree.data_bytes
    assert start == len(b"//zookeeper/zookeeper/quota/zookeeper/config")
    for change, more in (
        (create(1, b"/a", b"123"), 5),
        (set_data(2, b"/a", b"12345", 1), 7),
        (set_data(3, b"/a", None, 2), 2),
        (delete(4, b"/a"), 0),
    ):
        tree.apply(change)
        assert tree.data_bytes == start + more


def test_equal_acls_are_one_object() -> None:
    tree = Tree()
    again = tuple(READ_ACL)
    assert tree.intern((READ_ACL[0],)) is READ_ACL
    assert tree.intern(again) is READ_ACL


def test_what_a_server_writes_for_itself_is_no_txn() -> None:
    tree = grown(create(1, b"/zookeeper/quota/a"))
    before = tree.digest
    tree.set_local(b"/zookeeper/quota/a", b"count=1,bytes=1")
    tree.set_config(b"version=5", 5, TIME_MS)
    config = stat(tree, b"/zookeeper/config")
    assert (config.version, config.mzxid, config.mtime, config.data_length) == (
        -1,
        5,
        TIME_MS,
        9,
    )
    assert (tree.digest, tree.zxid) == (before, 1)


def test_an_outcome_shows_the_znode_it_was_about() -> None:
    outcome = Outcome(Op.CREATE)
    with pytest.raises(AssertionError):
        outcome.stat()
    made = Tree().apply(create(1, b"/a"))
    assert made.path == b"/a"
    assert made.node is not None
    assert made.stat() == made.node.stat()


def test_a_tree_knows_its_acls_until_there_were_too_many() -> None:
    tree = Tree()
    assert tree.acls() == [OPEN_ACL, READ_ACL]
    for number in range(5000):
        tree.intern((ACL(number, ANYONE),))
    assert tree.acls() is None


def test_a_delete_takes_what_a_younger_namesake_has_below_it() -> None:
    """A fuzzy snapshot may hold it; the creates that follow would find their znodes there."""
    tree = grown(create(4, b"/a", b"", 3), create(5, b"/a/b", b"", 1), create(6, b"/a/b/c"))
    bare = Tree()
    for change in (create(4, b"/a", b"", 3), delete(7, b"/a")):
        bare.apply(change)
    tree.apply(delete(7, b"/a"))
    assert tree.nodes.keys() == bare.nodes.keys()
    assert (tree.digest, tree.data_bytes) == (bare.digest, bare.data_bytes)
