"""The naive account of txns: it says what ZooKeeper's rules say, and refuses what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from coterie.core.tree import Tree
from coterie.testing.history import History, Multi, Violation
from coterie.values import OPEN_ACL, CreateMode, EventType
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import (
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Op,
    SetACLRequest,
    SetDataRequest,
)
from coterie.wire.txns import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
)

SESSION = 0x100
TIME_MS = 1_000_000
EMPTY_TREE_DIGEST = 1371985504
"""What Apache's server logs with the first txn."""


class Log:
    """Hands a history one txn after the other, and the same to a real tree."""

    def __init__(self, digest: bool = False) -> None:
        self.history = History(digest)
        self.tree = Tree()
        self.cxid = 0
        self.add(Op.CREATE_SESSION, CreateSessionTxn(5000))

    def add(
        self, type: int, body: Record, asked: tuple[int, Record] | None = None, **other: Any
    ) -> Txn:
        self.cxid += 1
        fields = {"session_id": SESSION, "cxid": self.cxid, "digest": None, "time_ms": TIME_MS}
        fields |= other
        txn = Txn(zxid=self.history.zxid + 1, type=type, body=body, **fields)  # type: ignore[arg-type]
        self.history.follow(txn, asked)
        self.tree.apply(txn)
        return txn

    def create(
        self, path: bytes, data: bytes = b"", parent_cversion: int = 1, flags: int = 0
    ) -> Txn:
        request = CreateRequest(path, data, OPEN_ACL, flags)
        ephemeral = CreateMode(flags).ephemeral
        body = CreateTxn(path, data, OPEN_ACL, ephemeral, parent_cversion)
        return self.add(Op.CREATE, body, (Op.CREATE, request))

    def set(self, path: bytes, data: bytes, version: int) -> Txn:
        asked = (Op.SET_DATA, SetDataRequest(path, data, -1))
        return self.add(Op.SET_DATA, SetDataTxn(path, data, version), asked)

    def delete(self, path: bytes) -> Txn:
        return self.add(Op.DELETE, DeleteTxn(path), (Op.DELETE, DeleteRequest(path, -1)))

    def agrees(self) -> None:
        self.history.compare(self.tree, self.tree.zxid)


def test_it_agrees_with_the_tree_after_every_kind_of_txn() -> None:
    log = Log()
    log.create(b"/a", b"1")
    log.create(b"/a/b", b"2")
    log.create(b"/a/e", flags=1, parent_cversion=2)
    log.set(b"/a", b"3", 1)
    log.add(
        Op.SET_ACL, SetACLTxn(b"/a", OPEN_ACL, 1), (Op.SET_ACL, SetACLRequest(b"/a", OPEN_ACL, 0))
    )
    container = CreateRequest(b"/c", b"", OPEN_ACL, CreateMode.CONTAINER)
    log.add(
        Op.CREATE_CONTAINER,
        CreateContainerTxn(b"/c", b"", OPEN_ACL, 2),
        (Op.CREATE_CONTAINER, container),
    )
    ttl = CreateTTLRequest(b"/t", b"", OPEN_ACL, CreateMode.PERSISTENT_TTL, 50)
    log.add(Op.CREATE_TTL, CreateTTLTxn(b"/t", b"", OPEN_ACL, 3, 50), (Op.CREATE_TTL, ttl))
    log.delete(b"/a/b")
    log.agrees()
    log.add(Op.CLOSE_SESSION, CloseSessionTxn([b"/a/e"]), cxid=0)
    log.agrees()
    log.add(Op.DELETE_CONTAINER, DeleteTxn(b"/c"), session_id=0, cxid=0)
    log.add(Op.DELETE_CONTAINER, DeleteTxn(b"/t"), session_id=0, cxid=0, time_ms=TIME_MS + 51)
    log.agrees()
    assert log.history.children(b"/", log.history.zxid) == {b"a", b"zookeeper"}


def test_digests_are_those_that_apache_computes() -> None:
    log = Log.__new__(Log)
    log.history, log.tree, log.cxid = History(), Tree(), 0
    log.add(Op.CREATE_SESSION, CreateSessionTxn(5000), digest=EMPTY_TREE_DIGEST)
    with pytest.raises(Violation, match="bears digest"):
        log.create(b"/a")


def test_a_znode_is_known_as_it_was_after_each_txn() -> None:
    log = Log()
    made = log.create(b"/a", b"old").zxid
    changed = log.set(b"/a", b"new", 1).zxid
    gone = log.delete(b"/a").zxid
    history = log.history
    assert history.at(b"/a", made - 1) is None
    values = [history.at(b"/a", zxid) for zxid in (made, changed)]
    assert [fields.data for fields in values if fields is not None] == [b"old", b"new"]
    assert history.at(b"/a", gone) is None
    assert history.children(b"/", changed) == {b"zookeeper", b"a"}
    assert history.children(b"/", gone) == {b"zookeeper"}
    root = history.at(b"/", gone)
    assert root is not None
    assert (root.cversion, root.pzxid, root.children) == (1, gone, 1)


def test_stats_are_those_of_a_real_server() -> None:
    log = Log()
    log.create(b"/a", b"12345", flags=1)
    fields = log.history.at(b"/a", log.history.zxid)
    assert fields is not None
    assert fields.stat() == log.tree.nodes[b"/a"].stat()
    root = log.history.at(b"/", log.history.zxid)
    assert root is not None
    assert root.stat() == log.tree.nodes[b"/"].stat()


def test_what_a_txn_does_fires_watches() -> None:
    log = Log()
    zxid = log.create(b"/a").zxid
    assert log.history.triggers == [
        (zxid, EventType.NODE_CREATED, b"/a"),
        (zxid, EventType.NODE_CHILDREN_CHANGED, b"/"),
    ]


def test_lost_txns_leave_no_trace() -> None:
    log = Log()
    log.create(b"/a", b"1")
    log.agrees()
    kept = log.history.zxid
    tree, log.tree = log.tree, Tree()
    log.set(b"/a", b"2", 1)
    log.create(b"/a/b")
    log.history.cut(kept)
    log.history.compare(tree, tree.zxid)
    assert log.history.triggers[-1].zxid == kept
    log.tree = tree
    log.create(b"/a/c")
    log.agrees()


def test_what_was_promised_cannot_be_lost() -> None:
    log = Log()
    log.history.promised = log.create(b"/a").zxid
    log.history.cut(log.history.zxid)
    with pytest.raises(Violation, match="promised"):
        log.history.cut(log.history.zxid - 1)


def refused(call: str, *arguments: Any, **keywords: Any) -> str:
    log = Log()
    log.create(b"/a", b"1")
    log.create(b"/a/b")
    with pytest.raises(Violation) as raised:
        getattr(log, call)(*arguments, **keywords)
    return str(raised.value)


def test_a_txn_that_does_what_should_be_refused_is_no_txn() -> None:
    assert "refused with -101" in refused("create", b"/no/parent")
    assert "refused with -110" in refused("create", b"/a", parent_cversion=2)
    assert "refused with -111" in refused("delete", b"/a")
    assert "refused with -101" in refused("set", b"/b", b"", 1)
    asked = (Op.SET_DATA, SetDataRequest(b"/a", b"2", 7))
    assert "refused with -103" in refused("add", Op.SET_DATA, SetDataTxn(b"/a", b"2", 1), asked)


def test_a_txn_says_exactly_what_was_asked_for() -> None:
    assert " is not " in refused("set", b"/a", b"2", 2)
    assert " is not " in refused("create", b"/c", parent_cversion=3)
    asked = (Op.CREATE, CreateRequest(b"/c", b"mine", OPEN_ACL, 0))
    body = CreateTxn(b"/c", b"other", OPEN_ACL, False, 2)
    assert " is not " in refused("add", Op.CREATE, body, asked)
    assert "should be done" in refused("add", Op.ERROR, ErrorTxn(-101), asked)


def test_nothing_is_done_unasked_or_twice() -> None:
    assert "nobody asked" in refused("add", Op.DELETE, DeleteTxn(b"/a/b"))
    assert "should stay" in refused(
        "add", Op.DELETE_CONTAINER, DeleteTxn(b"/a/b"), session_id=0, cxid=0
    )
    asked = (Op.SET_DATA, SetDataRequest(b"/a", b"2", -1))
    again = refused("add", Op.SET_DATA, SetDataTxn(b"/a", b"2", 1), asked, cxid=2)
    assert "done before" in again


def test_a_sequential_znode_bears_the_number_of_its_parent() -> None:
    log = Log()
    log.create(b"/a")
    request = CreateRequest(b"/a/s-", b"", OPEN_ACL, CreateMode.PERSISTENT_SEQUENTIAL)
    body = CreateTxn(b"/a/s-0000000000", b"", OPEN_ACL, False, 1)
    log.add(Op.CREATE, body, (Op.CREATE, request))
    with pytest.raises(Violation):
        log.add(Op.CREATE, body, (Op.CREATE, request))


def test_a_session_begins_and_ends_once_with_its_ephemerals() -> None:
    log = Log()
    log.create(b"/e", flags=1)
    with pytest.raises(Violation, match="should delete"):
        log.add(Op.CLOSE_SESSION, CloseSessionTxn([]), cxid=0)
    log = Log()
    log.create(b"/e", flags=1)
    log.add(Op.CLOSE_SESSION, CloseSessionTxn([b"/e"]), cxid=0)
    assert log.history.at(b"/e", log.history.zxid) is None
    log.add(Op.CLOSE_SESSION, CloseSessionTxn([]), cxid=0)
    with pytest.raises(Violation, match="had ended"):
        log.add(Op.CLOSE_SESSION, CloseSessionTxn([b"/e"]), cxid=0)


def test_a_session_that_ended_writes_nothing_more_and_its_id_is_used_up() -> None:
    log = Log()
    log.add(Op.CLOSE_SESSION, CloseSessionTxn([]), cxid=0)
    with pytest.raises(Violation, match="refused with -112"):
        log.create(b"/a")
    with pytest.raises(Violation, match="a session of that id"):
        log.add(Op.CREATE_SESSION, CreateSessionTxn(1))


def multi(log: Log, asked: list[tuple[int, Record]], done: list[tuple[int, Record]]) -> Txn:
    return log.add(Op.MULTI, MultiTxn(done), (Op.MULTI, Multi(asked)))


def test_a_multi_is_done_whole() -> None:
    log = Log()
    create = CreateRequest(b"/a", b"1", OPEN_ACL, 0)
    made = CreateTxn(b"/a", b"1", OPEN_ACL, False, 1)
    asked: list[tuple[int, Record]] = [
        (Op.CREATE2, create),
        (Op.SET_DATA, SetDataRequest(b"/a", b"2", 0)),
    ]
    multi(log, asked, [(Op.CREATE, made), (Op.SET_DATA, SetDataTxn(b"/a", b"2", 1))])
    log.agrees()
    with pytest.raises(Violation, match="refused with -110"):
        multi(log, asked, [(Op.CREATE, made), (Op.SET_DATA, SetDataTxn(b"/a", b"2", 1))])


def test_a_multi_that_fails_does_nothing_and_says_where() -> None:
    log = Log()
    create: tuple[int, Record] = (Op.CREATE, CreateRequest(b"/a", b"1", OPEN_ACL, 0))
    made: tuple[int, Record] = (Op.CREATE, CreateTxn(b"/a", b"1", OPEN_ACL, False, 1))
    delete: tuple[int, Record] = (Op.DELETE, DeleteRequest(b"/no", -1))
    errors: list[tuple[int, Record]] = [(Op.ERROR, ErrorTxn(-101)), (Op.ERROR, ErrorTxn(-2))]
    multi(log, [create, delete, create], [made, *errors])
    assert log.history.at(b"/a", log.history.zxid) is None
    log.agrees()
    with pytest.raises(Violation, match="refused with -2"):
        multi(log, [create, delete, create], [made, errors[0], made])


def test_a_tree_that_differs_anywhere_is_found() -> None:
    def spoiled(spoil: Any) -> str:
        log = Log()
        log.create(b"/a", b"1")
        log.create(b"/e", flags=1, parent_cversion=2)
        spoil(log.tree)
        with pytest.raises(Violation) as raised:
            log.agrees()
        return str(raised.value)

    assert "the tree is at" in spoiled(lambda tree: setattr(tree, "zxid", 1))
    assert "b'/a' is" in spoiled(lambda tree: setattr(tree.nodes[b"/a"], "pzxid", 1))
    assert "only in the tree or missing" in spoiled(lambda tree: tree.nodes.pop(b"/a"))
    assert "ephemerals" in spoiled(lambda tree: tree.ephemerals.clear())
    assert "sessions" in spoiled(lambda tree: tree.sessions.clear())
    assert "TTL" in spoiled(lambda tree: tree.ttls.add(b"/a"))
    assert "digests did not match" in spoiled(lambda tree: setattr(tree, "digest_mismatches", 1))

    def another_child(tree: Tree) -> None:
        tree.nodes[b"/"].children = {b"/a", b"/x", b"/zookeeper"}

    assert "has the children" in spoiled(another_child)


def test_the_end_of_a_session_may_be_known_though_it_is_lost() -> None:
    log = Log()
    kept = log.history.zxid
    log.add(Op.CLOSE_SESSION, CloseSessionTxn([]), cxid=0)
    log.history.cut(kept)
    assert log.history.alive(SESSION)
    assert SESSION in log.history.closing
