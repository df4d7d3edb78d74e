"""Writes become txns: the order of the checks, versions, sequence numbers, what is in flight."""

from __future__ import annotations

import pytest

from coterie.core.acl import AccessControl
from coterie.core.prepare import Limits, Prepare, Write
from coterie.core.quota import Quotas
from coterie.core.sessions import Sessions
from coterie.core.tree import Outcome, Tree
from coterie.core.znode import CONTAINER_OWNER, node_digest, ttl_owner
from coterie.errors import (
    BadArgumentsError,
    BadVersionError,
    InvalidACLError,
    MarshallingError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    QuotaExceededError,
    ReconfigDisabledError,
    RuntimeInconsistencyError,
    SessionExpiredError,
    SessionMovedError,
    UnimplementedError,
    ZooKeeperError,
)
from coterie.values import ACL, ANYONE, OPEN_ACL, READ_ACL, ACLs, CreateMode, Id, Perms
from coterie.wire import entries, requests, txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

SESSION, OTHER = 0x100000000000001, 0x100000000000002
WALL_MS = 1_700_000_000_000
NOBODY: ACLs = (ACL(Perms.ALL, Id("digest", "someone:else")),)
NO_ACL: ACLs = ()


def only(perms: int) -> ACLs:
    return (ACL(perms, ANYONE),)


class Desk:
    """A `Prepare` and its tree. Txns stay in flight until `land`."""

    def __init__(self, limits: Limits | None = None, enforced: bool = False) -> None:
        self.tree = Tree()
        self.sessions = Sessions(100, 1)
        for session_id in (SESSION, OTHER):
            self.sessions.track(session_id, 400, 0)
        quotas = Quotas(self.tree, enforced)
        access = AccessControl()
        self.prepare = Prepare(self.tree, self.sessions, access, quotas, limits or Limits())
        self.in_flight: list[Txn] = []

    def txn(self, op: int, body: Record | bytes, session_id: int = SESSION) -> Txn:
        payload = body if isinstance(body, bytes) else body.encode()
        write = Write(None, session_id, 7, op, payload)
        txn = self.prepare.txn(write, WALL_MS + self.prepare.zxid)
        self.in_flight.append(txn)
        # What is logged is what was meant.
        assert entries.decode(txn.encoded).encoded == txn.encoded
        assert entries.decode(txn.encoded).body.encode() == txn.body.encode()
        return txn

    def error(self, op: int, body: Record | bytes, session_id: int = SESSION) -> int:
        txn = self.txn(op, body, session_id)
        return txn.body.error if isinstance(txn.body, txns.ErrorTxn) else 0

    def multi(self, *operations: tuple[int, Record]) -> list[int]:
        """The results that a multi's txn promises."""
        txn = self.txn(Op.MULTI, requests.write_multi(list(operations)))
        assert isinstance(txn.body, txns.MultiTxn)
        return [
            part.error if isinstance(part, txns.ErrorTxn) else 0 for _, part in txn.body.operations
        ]

    def create(
        self,
        path: bytes,
        data: bytes | None = b"",
        flags: int = 0,
        acl: ACLs = OPEN_ACL,
    ) -> int:
        return self.error(Op.CREATE, requests.CreateRequest(path, data, acl, flags))

    def created(self, path: bytes, flags: int = 0, session_id: int = SESSION) -> bytes:
        body = self.txn(
            Op.CREATE, requests.CreateRequest(path, b"", OPEN_ACL, flags), session_id
        ).body
        assert isinstance(body, txns.CreateTxn)
        return body.path

    def delete(self, path: bytes, version: int = -1) -> int:
        return self.error(Op.DELETE, requests.DeleteRequest(path, version))

    def set(self, path: bytes, data: bytes | None = b"", version: int = -1) -> int:
        return self.error(Op.SET_DATA, requests.SetDataRequest(path, data, version))

    def set_acl(self, path: bytes, acl: ACLs = OPEN_ACL, version: int = -1) -> int:
        return self.error(Op.SET_ACL, requests.SetACLRequest(path, acl, version))

    def close(self, session_id: int = SESSION) -> list[bytes]:
        body = self.txn(Op.CLOSE_SESSION, b"", session_id).body
        assert isinstance(body, txns.CloseSessionTxn)
        return body.paths

    def land(self) -> list[Outcome]:
        """Apply all that is in flight; every digest has to be as it was foretold."""
        outcomes: list[Outcome] = []
        for txn in self.in_flight:
            outcomes.append(self.tree.apply(txn))
            self.prepare.applied(txn.zxid)
            assert self.tree.digest_mismatches == 0, txn
        self.in_flight.clear()
        assert self.tree.digest == self.prepare.digest
        assert self.tree.digest == sum(node_digest(path, n) for path, n in self.tree.walk())
        return outcomes


@pytest.fixture
def desk() -> Desk:
    return Desk()


def codes(*errors: type[ZooKeeperError]) -> list[int]:
    return [error.code for error in errors]


# What a create meets, in the order of Apache's PrepRequestProcessor


def test_create_checks_its_flags_before_the_session(desk: Desk) -> None:
    gone = 0x999
    request = requests.CreateRequest(b"no slash", b"", NO_ACL, 99)
    assert desk.error(Op.CREATE, request, gone) == BadArgumentsError.code
    ttl = requests.CreateTTLRequest(b"no slash", b"", NO_ACL, CreateMode.PERSISTENT_TTL, 5)
    assert desk.error(Op.CREATE_TTL, ttl, gone) == UnimplementedError.code


def test_create_checks_the_session_before_the_path(desk: Desk) -> None:
    request = requests.CreateRequest(b"no slash", b"", NO_ACL, 0)
    assert desk.error(Op.CREATE, request, 0x999) == SessionExpiredError.code
    assert desk.error(Op.CREATE, request) == BadArgumentsError.code


def test_create_checks_the_acl_before_the_parent(desk: Desk) -> None:
    assert desk.create(b"/no/child", acl=NO_ACL) == InvalidACLError.code
    assert desk.create(b"/no/child") == NoNodeError.code
    assert desk.create(b"relative/child") == NoNodeError.code


def test_create_checks_the_right_before_the_name(desk: Desk) -> None:
    assert desk.create(b"/shut", acl=only(Perms.ALL & ~Perms.CREATE)) == 0
    assert desk.create(b"/shut/\x01bad") == NoAuthError.code
    assert desk.create(b"/\x01bad") == BadArgumentsError.code


def test_create_checks_for_the_znode_before_the_kind_of_the_parent(desk: Desk) -> None:
    assert desk.create(b"/e", flags=CreateMode.EPHEMERAL) == 0
    assert desk.create(b"/e/child") == NoChildrenForEphemeralsError.code
    assert desk.create(b"/e") == NodeExistsError.code
    assert desk.create(b"/") == NodeExistsError.code


BAD_NAMES = [b"", b"/a/", b"//", b"/.", b"/a/..", b"/\0", b"/a\x7f", "/\ue000".encode()]


@pytest.mark.parametrize("path", [*BAD_NAMES, "/\U0001f600".encode()])
def test_names_that_no_znode_may_have(desk: Desk, path: bytes) -> None:
    desk.create(b"/a")
    assert desk.create(path) == BadArgumentsError.code


def test_a_parent_that_cannot_be_is_not_there(desk: Desk) -> None:
    desk.create(b"/a")
    assert desk.create(b"/a//b") == desk.create(b"/a/./b") == NoNodeError.code


def test_a_sequential_name_may_end_in_a_slash(desk: Desk) -> None:
    assert desk.created(b"/", CreateMode.PERSISTENT_SEQUENTIAL) == b"/0000000000"
    assert desk.create(b"//", flags=CreateMode.PERSISTENT_SEQUENTIAL) == BadArgumentsError.code


def test_a_path_without_a_name_that_is_not_create(desk: Desk) -> None:
    assert desk.set(b"") == desk.set(b"relative") == desk.set(b"/a/") == BadArgumentsError.code
    assert desk.set_acl(b"") == desk.set_acl(b"/a/") == BadArgumentsError.code
    assert desk.delete(b"") == desk.delete(b"a") == desk.delete(b"/\0") == BadArgumentsError.code


# The other writes


def test_delete_checks_in_order(desk: Desk) -> None:
    for special in (b"/", b"/zookeeper", b"/zookeeper/quota", b"/zookeeper/config"):
        assert desk.delete(special) == BadArgumentsError.code
    assert desk.delete(b"/no/child") == NoNodeError.code
    assert desk.create(b"/shut", acl=only(Perms.ALL & ~Perms.DELETE)) == 0
    assert desk.delete(b"/shut/missing") == NoAuthError.code
    assert desk.create(b"/a") == desk.create(b"/a/b") == 0
    assert desk.delete(b"/a/missing") == NoNodeError.code
    assert desk.delete(b"/a", 7) == BadVersionError.code
    assert desk.delete(b"/a", 0) == NotEmptyError.code
    assert desk.delete(b"/a/b") == desk.delete(b"/a", 0) == 0


def test_delete_asks_the_parent_and_not_the_znode(desk: Desk) -> None:
    assert desk.create(b"/mine", acl=NOBODY) == 0
    assert desk.delete(b"/mine") == 0


def test_set_data_checks_in_order() -> None:
    desk = Desk(enforced=True)
    assert desk.set(b"/missing", version=5) == NoNodeError.code
    assert desk.create(b"/shut", acl=READ_ACL) == 0
    assert desk.set(b"/shut", version=5) == NoAuthError.code
    assert desk.create(b"/a") == 0
    assert desk.create(b"/zookeeper/quota/a") == 0
    assert desk.create(b"/zookeeper/quota/a/zookeeper_limits", b"byteHardLimit=1") == 0
    assert desk.create(b"/zookeeper/quota/a/zookeeper_stats") == 0
    desk.land()
    assert desk.set(b"/a", b"long", version=5) == QuotaExceededError.code
    assert desk.set(b"/a", b"x", version=5) == BadVersionError.code
    assert desk.set(b"/a", b"x", version=0) == 0


def test_the_config_may_be_read_only(desk: Desk) -> None:
    assert desk.set(b"/zookeeper/config") == NoAuthError.code
    assert desk.set_acl(b"/zookeeper/config") == NoAuthError.code


def test_set_acl_checks_in_order(desk: Desk) -> None:
    assert desk.set_acl(b"/missing", NO_ACL) == InvalidACLError.code
    assert desk.set_acl(b"/missing", version=5) == NoNodeError.code
    assert desk.create(b"/shut", acl=only(Perms.ALL & ~Perms.ADMIN)) == 0
    assert desk.set_acl(b"/shut", version=5) == NoAuthError.code
    assert desk.create(b"/a") == 0
    assert desk.set_acl(b"/a", version=5) == BadVersionError.code
    # The version of a setACL is that of the ACL, not of the data.
    assert desk.set(b"/a") == desk.set_acl(b"/a", READ_ACL, 0) == 0
    desk.land()
    node = desk.tree.nodes[b"/a"]
    assert (node.version, node.aversion, node.acl) == (1, 1, READ_ACL)


def test_check_wants_the_right_to_read(desk: Desk) -> None:
    assert desk.create(b"/shut", acl=only(Perms.WRITE)) == 0
    assert desk.create(b"/a") == 0
    results = [
        desk.multi((Op.CHECK, requests.CheckVersionRequest(path, version)))
        for path, version in (
            (b"/shut", -1),
            (b"/a/", 0),
            (b"/b", 0),
            (b"/a", 1),
            (b"/a", 0),
        )
    ]
    assert results == [[-102], [-8], [-101], [-103], [0]]


def test_a_reconfig_is_refused_where_there_is_no_ensemble(desk: Desk) -> None:
    request = requests.ReconfigRequest("", "", "", -1)
    assert desk.error(Op.RECONFIG, request) == ReconfigDisabledError.code


@pytest.mark.interpreted
def test_a_session_that_moved_or_ends_may_not_write(desk: Desk) -> None:
    elsewhere = object()
    desk.sessions.by_id[SESSION].owner = elsewhere  # type: ignore[assignment]
    assert desk.create(b"/a") == SessionMovedError.code
    desk.sessions.by_id[SESSION].owner = None
    desk.sessions.by_id[SESSION].closing = True
    attempts = [
        desk.create(b"/a"),
        desk.set(b"/"),
        desk.set_acl(b"/"),
        desk.delete(b"/x"),
    ]
    assert attempts == [SessionExpiredError.code] * 4


# Numbers


def test_every_attempt_takes_a_zxid_but_one_that_cannot_be_read(desk: Desk) -> None:
    desk.create(b"/a")
    desk.create(b"/a")
    assert [txn.zxid for txn in desk.in_flight] == [1, 2]
    failed = desk.in_flight[1]
    assert (failed.type, failed.digest, len(failed.encoded)) == (Op.ERROR, None, 36)
    for op, payload in (
        (Op.CREATE, b"\0"),
        (Op.SET_DATA, b""),
        (Op.SET_ACL, b"\x7f" * 9),
    ):
        with pytest.raises(MarshallingError):
            desk.prepare.txn(Write(None, SESSION, 1, op, payload), WALL_MS)
    assert desk.prepare.zxid == 2
    # A multi is the exception, in Apache too.
    assert desk.error(Op.MULTI, b"\0") == MarshallingError.code
    assert desk.in_flight[-1].zxid == 3
    refused = desk.prepare.refused(Write(None, SESSION, 1, Op.CREATE, b""), WALL_MS, -5)
    assert (refused.zxid, refused.type) == (4, Op.ERROR)
    desk.in_flight.append(refused)
    desk.land()


@pytest.mark.parametrize(
    ("op", "body"),
    [(Op.GET_DATA, bytes(8)), (0, b""), (999, b""), (Op.CREATE_SESSION, b"abc"), (-1, b"")],
)
def test_what_another_member_should_not_have_forwarded_leaves_no_gap(
    desk: Desk, op: int, body: bytes
) -> None:
    before = desk.prepare.zxid
    with pytest.raises(MarshallingError):
        desk.txn(op, body)
    assert desk.prepare.zxid == before


def test_a_version_that_would_be_minus_one_is_skipped(desk: Desk) -> None:
    desk.create(b"/a")
    desk.land()
    desk.tree.nodes[b"/a"].version = -2
    body = desk.txn(Op.SET_DATA, requests.SetDataRequest(b"/a", b"", -2)).body
    assert isinstance(body, txns.SetDataTxn)
    assert body.version == 0


def test_versions_go_on_from_the_greatest_to_the_least(desk: Desk) -> None:
    desk.create(b"/a")
    desk.land()
    desk.tree.nodes[b"/a"].version = 2**31 - 1
    body = desk.txn(Op.SET_DATA, requests.SetDataRequest(b"/a", b"", 2**31 - 1)).body
    assert isinstance(body, txns.SetDataTxn)
    assert body.version == -(2**31)


def test_sequence_numbers_count_the_creates_below_the_parent(desk: Desk) -> None:
    desk.create(b"/q")
    sequential = CreateMode.PERSISTENT_SEQUENTIAL
    assert desk.created(b"/q/n-", sequential) == b"/q/n-0000000000"
    assert desk.created(b"/q/plain") == b"/q/plain"
    assert desk.created(b"/q/n-", CreateMode.EPHEMERAL_SEQUENTIAL) == b"/q/n-0000000002"
    assert desk.delete(b"/q/plain") == 0
    assert desk.create(b"/q/n-0000000000") == NodeExistsError.code
    assert desk.created(b"/q/", sequential) == b"/q/0000000003"
    desk.land()
    assert desk.created(b"/q/n-", sequential) == b"/q/n-0000000004"
    desk.land()
    desk.tree.nodes[b"/q"].cversion = 2**31 - 1
    assert desk.created(b"/q/n-", sequential) == b"/q/n-2147483647"
    assert desk.created(b"/q/n-", sequential) == b"/q/n--2147483648"


def test_a_txn_carries_the_parents_count_after_it(desk: Desk) -> None:
    desk.create(b"/a")
    for expected in (1, 2):
        txn = desk.txn(Op.CREATE2, requests.CreateRequest(b"/a/%d" % expected, b"", OPEN_ACL, 0))
        assert isinstance(txn.body, txns.CreateTxn)
        assert (txn.type, txn.body.parent_cversion) == (Op.CREATE2, expected)
    assert [txn.time_ms - WALL_MS for txn in desk.in_flight] == [0, 1, 2]
    assert {(txn.session_id, txn.cxid) for txn in desk.in_flight} == {(SESSION, 7)}
    desk.land()


# Modes


@pytest.mark.parametrize(
    ("op", "flags", "owner"),
    [
        (Op.CREATE, CreateMode.PERSISTENT, 0),
        (Op.CREATE, CreateMode.EPHEMERAL, SESSION),
        (Op.CREATE2, CreateMode.EPHEMERAL, SESSION),
        (Op.CREATE_CONTAINER, CreateMode.CONTAINER, CONTAINER_OWNER),
        # The type of the txn decides, not the flags.
        (Op.CREATE, CreateMode.CONTAINER, 0),
        (Op.CREATE_CONTAINER, CreateMode.PERSISTENT, CONTAINER_OWNER),
    ],
)
def test_the_owner_that_a_mode_gives(desk: Desk, op: int, flags: int, owner: int) -> None:
    assert desk.error(op, requests.CreateRequest(b"/a", b"", OPEN_ACL, flags)) == 0
    desk.land()
    assert desk.tree.nodes[b"/a"].owner == owner


def test_ttl_znodes_are_an_extended_type() -> None:
    def attempt(desk: Desk, flags: int, ttl_ms: int) -> int:
        return desk.error(
            Op.CREATE_TTL,
            requests.CreateTTLRequest(b"/t-", b"", OPEN_ACL, flags, ttl_ms),
        )

    assert attempt(Desk(), CreateMode.PERSISTENT_TTL, 1000) == UnimplementedError.code
    desk = Desk(Limits(ttl_nodes=True))
    ttl = CreateMode.PERSISTENT_TTL
    for ttl_ms in (0, -1, 2**40):
        assert attempt(desk, ttl, ttl_ms) == BadArgumentsError.code
    assert attempt(desk, CreateMode.PERSISTENT, 1000) == BadArgumentsError.code
    assert desk.create(b"/t-", flags=ttl) == BadArgumentsError.code
    assert attempt(desk, ttl, 2**40 - 1) == 0
    assert attempt(desk, CreateMode.PERSISTENT_SEQUENTIAL_TTL, 5) == 0
    desk.land()
    assert desk.tree.nodes[b"/t-"].owner == ttl_owner(2**40 - 1)
    assert desk.tree.nodes[b"/t-0000000001"].owner == ttl_owner(5)


def test_containers_and_ttl_znodes_may_have_children() -> None:
    desk = Desk(Limits(ttl_nodes=True))
    container = requests.CreateRequest(b"/c", b"", OPEN_ACL, CreateMode.CONTAINER)
    ttl = requests.CreateTTLRequest(b"/t", b"", OPEN_ACL, CreateMode.PERSISTENT_TTL, 5)
    assert desk.error(Op.CREATE_CONTAINER, container) == desk.error(Op.CREATE_TTL, ttl) == 0
    assert desk.create(b"/c/x") == desk.create(b"/t/x") == 0


def test_the_reapers_delete_asks_again(desk: Desk) -> None:
    def reap(path: bytes) -> int:
        return desk.error(Op.DELETE_CONTAINER, requests.PathRequest(path), 0)

    assert reap(b"/c") == NoNodeError.code
    container = requests.CreateRequest(b"/c", b"", OPEN_ACL, CreateMode.CONTAINER)
    desk.txn(Op.CREATE_CONTAINER, container)
    desk.create(b"/c/x")
    desk.create(b"/e", flags=CreateMode.EPHEMERAL)
    assert reap(b"/c") == NotEmptyError.code
    assert reap(b"/e") == BadVersionError.code
    assert reap(b"/zookeeper") == BadArgumentsError.code
    desk.delete(b"/c/x")
    assert reap(b"/c") == 0
    desk.land()
    assert desk.tree.get(b"/c") is None


def test_a_ttl_znode_that_was_changed_since_the_reaper_saw_it_stays() -> None:
    desk = Desk(Limits(ttl_nodes=True))
    ttl = requests.CreateTTLRequest(b"/t", b"", OPEN_ACL, CreateMode.PERSISTENT_TTL, 2)
    reap = requests.PathRequest(b"/t")
    # Each of these is a millisecond after the one before.
    assert desk.error(Op.CREATE_TTL, ttl) == desk.set(b"/t") == 0
    results = [desk.error(Op.DELETE_CONTAINER, reap, 0) for _ in range(3)]
    assert results == [BadVersionError.code, BadVersionError.code, 0]


# What is in flight


def test_writes_see_those_before_them_that_are_not_applied(desk: Desk) -> None:
    assert desk.create(b"/a") == desk.create(b"/a/b") == 0
    assert desk.create(b"/a") == NodeExistsError.code
    assert desk.delete(b"/a") == NotEmptyError.code
    assert desk.set(b"/a", version=0) == 0
    assert desk.set(b"/a", version=0) == BadVersionError.code
    assert desk.delete(b"/a/b") == desk.delete(b"/a", 1) == 0
    assert desk.set(b"/a") == NoNodeError.code
    assert desk.create(b"/a") == 0
    assert desk.tree.get(b"/a") is None
    desk.land()
    assert desk.tree.nodes[b"/a"].version == 0


def test_an_acl_that_is_in_flight_counts(desk: Desk) -> None:
    assert desk.create(b"/a") == desk.set_acl(b"/a", READ_ACL) == 0
    assert desk.set(b"/a") == NoAuthError.code


def test_what_is_applied_in_part_is_seen_in_part(desk: Desk) -> None:
    desk.create(b"/a")
    desk.set(b"/a", b"1")
    desk.set(b"/a", b"2")
    for txn in desk.in_flight[:2]:
        desk.tree.apply(txn)
        desk.prepare.applied(txn.zxid)
    del desk.in_flight[:2]
    assert desk.tree.nodes[b"/a"].version == 1
    assert desk.set(b"/a", version=2) == 0
    desk.land()
    assert desk.tree.nodes[b"/a"].version == 3


def test_a_failed_multi_leaves_no_trace(desk: Desk) -> None:
    assert desk.create(b"/a", b"first") == 0
    results = desk.multi(
        (Op.CREATE, requests.CreateRequest(b"/b", b"", OPEN_ACL, 0)),
        (Op.SET_DATA, requests.SetDataRequest(b"/a", b"lost", 0)),
        (Op.DELETE, requests.DeleteRequest(b"/c", -1)),
        (Op.CREATE, requests.CreateRequest(b"/d", b"", OPEN_ACL, 0)),
    )
    assert results == [0, 0, NoNodeError.code, RuntimeInconsistencyError.code]
    failed = desk.in_flight[-1]
    # Apache logs it as a multi, with the digest as it was.
    assert (failed.type, failed.digest) == (Op.MULTI, desk.in_flight[0].digest)
    assert desk.set(b"/a", version=0) == desk.create(b"/b") == desk.create(b"/d") == 0
    assert desk.created(b"/", CreateMode.PERSISTENT_SEQUENTIAL) == b"/0000000003"
    desk.land()


def test_a_multi_sees_itself(desk: Desk) -> None:
    results = desk.multi(
        (Op.CREATE, requests.CreateRequest(b"/a", b"", OPEN_ACL, 0)),
        (Op.CREATE, requests.CreateRequest(b"/a/n-", b"", OPEN_ACL, 3)),
        (Op.CHECK, requests.CheckVersionRequest(b"/a/n-0000000000", 0)),
        (Op.SET_DATA, requests.SetDataRequest(b"/a", b"x", 0)),
        (Op.CHECK, requests.CheckVersionRequest(b"/a", 1)),
        (Op.DELETE, requests.DeleteRequest(b"/a/n-0000000000", 0)),
        (Op.DELETE, requests.DeleteRequest(b"/a", 1)),
    )
    assert results == [0] * 7
    desk.land()
    assert desk.tree.get(b"/a") is None


def test_what_a_multi_creates_is_logged_so_that_every_apache_can_replay_it(desk: Desk) -> None:
    """Before 3.9 it knows no create2 there; and there, a flag is enough for a container."""
    asked = [(Op.CREATE2, CreateMode.EPHEMERAL), (Op.CREATE, CreateMode.CONTAINER)]
    parts = [(op, requests.CreateRequest(b"/%d" % op, b"", OPEN_ACL, mode)) for op, mode in asked]
    txn = desk.txn(Op.MULTI, requests.write_multi(list(parts)))
    assert isinstance(txn.body, txns.MultiTxn)
    assert [op for op, _ in txn.body.operations] == [Op.CREATE, Op.CREATE_CONTAINER]
    desk.land()
    assert desk.tree.nodes[b"/%d" % Op.CREATE].owner == CONTAINER_OWNER


def test_an_empty_multi_is_a_txn(desk: Desk) -> None:
    assert desk.multi() == []
    assert desk.in_flight[0].zxid == 1
    desk.land()


def test_a_session_ends_with_the_ephemerals_that_it_will_have(desk: Desk) -> None:
    ephemeral = CreateMode.EPHEMERAL
    desk.create(b"/old", flags=ephemeral)
    desk.create(b"/deleted", flags=ephemeral)
    desk.created(b"/others", ephemeral, OTHER)
    desk.land()
    desk.create(b"/new", flags=ephemeral)
    desk.delete(b"/deleted")
    assert desk.close() == [b"/old", b"/new"]
    # From now on it may not write, and its znodes are gone for those who come after.
    assert desk.create(b"/late", flags=ephemeral) == SessionExpiredError.code
    assert desk.error(Op.DELETE, requests.DeleteRequest(b"/old", -1), OTHER) == NoNodeError.code
    assert desk.close() == []
    desk.land()
    assert desk.tree.ephemerals == {OTHER: {b"/others"}}


def test_a_close_may_be_logged_without_the_paths() -> None:
    desk = Desk(Limits(close_session_paths=False))
    desk.create(b"/e", flags=CreateMode.EPHEMERAL)
    assert desk.close() == []
    desk.land()
    assert desk.tree.get(b"/e") is None


def test_without_digests_none_travels() -> None:
    desk = Desk(Limits(digest=False))
    assert desk.create(b"/a") == 0
    assert desk.in_flight[0].digest is None
