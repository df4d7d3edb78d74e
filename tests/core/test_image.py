"""Images: whatever happens while one is written, the txns that follow make it exact."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie import paths
from coterie.core.acl import AccessControl
from coterie.core.image import (
    END_PATH,
    NOBODY_ACL,
    SIGNATURE,
    ImageReader,
    ImageWriter,
    TreeReader,
    write_head,
    write_node,
)
from coterie.core.prepare import Limits, Prepare, Write
from coterie.core.quota import Quotas
from coterie.core.sessions import Sessions
from coterie.core.tree import Tree
from coterie.errors import MarshallingError, NoNodeError
from coterie.paths import CONFIG
from coterie.values import ACL, ANYONE, OPEN_ACL, READ_ACL, ACLs, Id
from coterie.wire import entries, requests
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

SESSIONS: Final = (0x100000000000001, 0x100000000000002)
EPOCH: Final = 1 << 32
ACLS: Final = [
    OPEN_ACL,
    READ_ACL,
    (ACL(31, ANYONE), ACL(31, Id("ip", "10.0.0.1"))),
    (ACL(7, ANYONE), ACL(24, Id("digest", "bob:x")), ACL(24, Id("digest", "zoë:y"))),
]
VERY_MANY_ACLS: Final = [(ACL(31, Id("ip", str(number))),) for number in range(5000)]
QUOTA_OF_A: Final = b"/zookeeper/quota/a"
GOLDEN: Final = Path(__file__).parent.parent / "golden"

FLIP: Final = 1000
"""In the place of an opcode: create the znode, or delete it when it is there."""

Ask = tuple[int, int, bytes]
"""Session (or 0), opcode, and the request's bytes."""


class Leader:
    """A tree, and the txns that were made of what clients asked for."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.sessions = Sessions(100, 1)
        self.tree.zxid = EPOCH
        self.quotas = Quotas(self.tree, False)
        access, limits = AccessControl(skip=True), Limits(ttl_nodes=True)
        self.prepare = Prepare(self.tree, self.sessions, access, self.quotas, limits)
        self.txns: list[Txn] = []
        for session_id in SESSIONS:
            self.open(session_id)

    def open(self, session_id: int) -> None:
        if session_id in self.tree.sessions:
            return
        self.sessions.forget(session_id)
        self.sessions.track(session_id, 400, 0)
        self.do((session_id, Op.CREATE_SESSION, (400).to_bytes(4, "big")))

    def flip(self, request: requests.CreateRequest) -> tuple[int, bytes]:
        """Create a znode, or delete it when it is there: something always happens."""
        path, nodes = request.path, self.tree.nodes
        if path in nodes:
            while nodes[path].children:
                path = min(nodes[path].children or ())
            return Op.DELETE, requests.DeleteRequest(path, -1).encode()
        while paths.parent(path) not in nodes:
            path = paths.parent(path)
        parent = nodes[paths.parent(path)]
        if parent.owner > 0:
            path = paths.parent(path)
            return Op.DELETE, requests.DeleteRequest(path, -1).encode()
        request.path = path
        return Op.CREATE, request.encode()

    def do(self, ask: Ask) -> None:
        session_id, op, payload = ask
        if op == FLIP:
            op, payload = self.flip(requests.CreateRequest.decode(payload))
        if op == Op.CREATE_SESSION and session_id in self.tree.sessions:
            return
        if op == Op.CREATE_SESSION:
            self.sessions.forget(session_id)
            self.sessions.track(session_id, 400, 0)
        wall_ms = 1_700_000_000_000 + len(self.txns)
        txn = self.prepare.txn(Write(None, session_id, 0, op, payload), wall_ms)
        self.tree.apply(txn)
        self.prepare.applied(txn.zxid)
        assert self.tree.digest_mismatches == 0
        self.txns.append(entries.decode(txn.encoded))


def facts(tree: Tree) -> dict[str, object]:
    """All of a tree but the statistics of quotas, which each server counts for itself."""
    nodes: dict[bytes, object] = {}
    data_bytes = tree.data_bytes
    for path, node in tree.nodes.items():
        data = node.data
        if path.endswith(b"/zookeeper_stats"):
            data_bytes -= len(data or b"")
            data = None
        nodes[path] = (
            (data, node.acl, node.owner, node.czxid, node.mzxid, node.pzxid, node.ctime),
            (node.mtime, node.version, node.cversion, node.aversion, sorted(node.children or ())),
        )
    return {
        "nodes": nodes,
        "sessions": tree.sessions,
        "ephemerals": tree.ephemerals,
        "containers": tree.containers,
        "ttls": tree.ttls,
        "digest": tree.digest,
        "bytes": data_bytes,
        "zxid": tree.zxid,
    }


def follow(tree: Tree, leader: Leader) -> None:
    """Apply what follows an image, and see that the tree is the leader's."""
    for txn in leader.txns:
        if txn.zxid > tree.zxid:
            tree.apply(txn)
    assert facts(tree) == facts(leader.tree)


# What clients ask for

_paths = st.sampled_from([b"/a", b"/a/b", b"/a/b", b"/a/b/c", b"/a/c"])
"""Few, so that one znode is made, changed and deleted again and again."""
_data = st.sampled_from([None, b"", b"x", b"data" * 9])
_acls = st.sampled_from(ACLS)


def _of(op: int, record: st.SearchStrategy[Record]) -> st.SearchStrategy[tuple[int, Record]]:
    return record.map(lambda body: (op, body))


_create = st.builds(requests.CreateRequest, _paths, _data, _acls, st.sampled_from([0, 0, 1, 2, 4]))
_changes = [
    _of(Op.CREATE2, _create),
    _of(Op.CREATE, _create),
    _of(Op.DELETE, st.builds(requests.DeleteRequest, _paths, st.just(-1))),
    _of(Op.DELETE, st.builds(requests.DeleteRequest, _paths, st.just(-1))),
    _of(Op.SET_DATA, st.builds(requests.SetDataRequest, _paths, _data, st.just(-1))),
]
_alone = [
    _of(
        Op.CREATE_TTL,
        st.builds(requests.CreateTTLRequest, _paths, _data, _acls, st.just(5), st.just(99)),
    ),
    _of(Op.DELETE_CONTAINER, st.builds(requests.PathRequest, _paths)),
]
_quota = st.builds(
    lambda name, there: (
        (Op.CREATE, requests.CreateRequest(QUOTA_OF_A + name, b"count=2", OPEN_ACL, 0))
        if there
        else (Op.DELETE, requests.DeleteRequest(QUOTA_OF_A + name, -1))
    ),
    st.sampled_from([b"", b"/zookeeper_limits", b"/zookeeper_stats"]),
    st.booleans(),
)


def _asked(session_id: int, operation: tuple[int, Record]) -> Ask:
    return session_id, operation[0], operation[1].encode()


_single = st.builds(_asked, st.sampled_from(SESSIONS), st.one_of(*_changes, *_alone, _quota))
_flip = st.builds(_asked, st.sampled_from(SESSIONS), _of(FLIP, _create))
_acl_set = st.builds(
    _asked,
    st.just(SESSIONS[0]),
    _of(Op.SET_ACL, st.builds(requests.SetACLRequest, _paths, _acls, st.just(-1))),
)
_multi = st.lists(st.one_of(*_changes), min_size=1, max_size=5).map(
    lambda operations: (SESSIONS[0], int(Op.MULTI), requests.write_multi(operations))
)
_session = st.one_of(
    st.sampled_from(SESSIONS).map(lambda each: (each, int(Op.CLOSE_SESSION), b"")),
    st.sampled_from(SESSIONS).map(lambda each: (each, int(Op.CREATE_SESSION), b"\0\0\1\x90")),
)
asks = st.one_of(_single, _flip, _flip, _acl_set, _multi, _session)
STEP: Final = None
"""In the place of a request: the image goes on by one step."""
histories = st.lists(st.one_of(asks, st.just(STEP)), max_size=40)


@settings(deadline=None)
@given(st.lists(asks, max_size=25), histories, st.integers(1, 4), st.booleans())
def test_the_txns_that_follow_an_image_make_it_exact(
    before: list[Ask], meanwhile: list[Ask | None], count: int, many_acls: bool
) -> None:
    leader = Leader()
    for ask in before:
        leader.do(ask)
    for acl in VERY_MANY_ACLS if many_acls else []:
        leader.tree.intern(acl)
    writer = ImageWriter(leader.tree)
    image = bytearray()
    for each in meanwhile:
        if each is not None:
            leader.do(each)
        elif not writer.done:
            image += writer.step(count)
    while not writer.done:
        image += writer.step(count)
    reader = ImageReader()
    assert reader.feed(bytes(image))
    follow(reader.tree(writer.zxid), leader)


@settings(deadline=None)
@given(st.lists(asks, max_size=25), histories)
def test_the_txns_that_follow_an_image_of_apache_make_it_exact(
    before: list[Ask], meanwhile: list[Ask | None]
) -> None:
    """ZooKeeper leaves nothing out, and numbers ACLs that are not in its table."""
    leader = Leader()
    for ask in before:
        leader.do(ask)
    zxid = leader.tree.zxid
    ids: dict[ACLs, int] = {OPEN_ACL: -1}
    for _, node in leader.tree.walk():
        ids.setdefault(node.acl, len(ids))
    image = bytearray()
    write_head(image, leader.tree.sessions, ids)
    walk = leader.tree.walk()

    def step(count: int) -> None:
        for path, node in islice(walk, count):
            write_node(image, path, node, ids.setdefault(node.acl, len(ids)))

    for each in meanwhile:
        if each is None:
            step(1)
        else:
            leader.do(each)
    step(1000)
    reader = ImageReader()
    assert reader.feed(bytes(image) + END_PATH + SIGNATURE)
    follow(reader.tree(zxid), leader)


# One thing at a time


def create(path: bytes, data: bytes = b"", acl: ACLs = OPEN_ACL) -> Ask:
    body = requests.CreateRequest(path, data, acl, 0)
    return SESSIONS[0], Op.CREATE, body.encode()


def whole(tree: Tree) -> bytes:
    """An image of a tree that does not change meanwhile."""
    writer = ImageWriter(tree)
    parts = []
    while not writer.done:
        parts.append(writer.step(3))
    return b"".join(parts)


@pytest.fixture
def leader() -> Leader:
    leader = Leader()
    for ask in (create(b"/a", b"data"), create(b"/a/b", acl=ACLS[2]), create(b"/c", acl=ACLS[3])):
        leader.do(ask)
    assert all(txn.type != Op.ERROR for txn in leader.txns)
    return leader


def test_what_is_newer_than_the_image_is_left_out(leader: Leader) -> None:
    writer = ImageWriter(leader.tree)
    leader.do(create(b"/new"))
    leader.do((SESSIONS[0], Op.DELETE, requests.DeleteRequest(b"/c", -1).encode()))
    leader.do(create(b"/c"))
    leader.do(create(b"/c/d"))
    reader = ImageReader()
    assert reader.feed(writer.step(100))
    tree = reader.tree(writer.zxid)
    assert {path for path in tree.nodes if not path.startswith(b"/zookeeper")} == {
        b"",
        b"/",
        b"/a",
        b"/a/b",
    }
    follow(tree, leader)


def apache_image(tree: Tree, meanwhile: Callable[[], None]) -> bytes:
    """As ZooKeeper writes one: all that there is when the turn of the znodes comes."""
    image = bytearray()
    ids: dict[ACLs, int] = {OPEN_ACL: -1}
    for _, node in tree.walk():
        ids.setdefault(node.acl, len(ids))
    write_head(image, tree.sessions, ids)
    meanwhile()
    for path, node in tree.walk():
        write_node(image, path, node, ids.setdefault(node.acl, len(ids)))
    return bytes(image) + END_PATH + SIGNATURE


def test_what_is_below_a_younger_namesake_goes_with_it(leader: Leader) -> None:
    """Its own create follows: were it left, that would find it there and belong to no parent."""
    zxid = leader.tree.zxid

    def meanwhile() -> None:
        leader.do((SESSIONS[0], Op.DELETE, requests.DeleteRequest(b"/c", -1).encode()))
        for path in (b"/c", b"/c/d", b"/c/d/e", b"/c/d/f"):
            leader.do(create(path))

    reader = ImageReader()
    assert reader.feed(apache_image(leader.tree, meanwhile))
    tree = reader.tree(zxid)
    assert tree.nodes[b"/c/d/e"].czxid > zxid
    follow(tree, leader)


def test_a_znode_that_is_newer_gets_the_acl_of_its_own_create(leader: Leader) -> None:
    zxid = leader.tree.zxid
    bob = (ACL(31, Id("digest", "bob:x")),)
    reader = ImageReader()
    assert reader.feed(apache_image(leader.tree, lambda: leader.do(create(b"/new", acl=bob))))
    tree = reader.tree(zxid)
    assert tree.nodes[b"/new"].acl == NOBODY_ACL
    follow(tree, leader)


def test_an_acl_set_meanwhile_permits_nothing_until_its_txn_comes(leader: Leader) -> None:
    writer = ImageWriter(leader.tree)
    secret = (ACL(31, Id("digest", "eve:x")),)
    leader.do((SESSIONS[0], Op.SET_ACL, requests.SetACLRequest(b"/a", secret, -1).encode()))
    reader = ImageReader()
    assert reader.feed(writer.step(100))
    tree = reader.tree(writer.zxid)
    assert tree.nodes[b"/a"].acl == NOBODY_ACL
    assert not AccessControl().allows(NOBODY_ACL, 31, [ANYONE])
    follow(tree, leader)


def test_very_many_acls_are_collected_step_by_step(leader: Leader) -> None:
    for acl in VERY_MANY_ACLS:
        leader.tree.intern(acl)
    writer = ImageWriter(leader.tree)
    assert [writer.step(2) for _ in range(4)] == [b""] * 4, "7 znodes"
    assert writer.step(2)
    reader = ImageReader()
    assert reader.feed(whole(leader.tree))
    follow(reader.tree(leader.tree.zxid), leader)


def test_a_step_gives_little_where_znodes_are_large(leader: Leader) -> None:
    for number in range(8):
        leader.do(create(b"/%d" % number, bytes(200_000)))
    writer = ImageWriter(leader.tree)
    while not writer.done:
        assert len(writer.step(100)) < 500_000


def test_the_layout_is_that_of_apache() -> None:
    """As its 3.8 wrote it: a snapshot is 16 bytes of header, the image, and a seal."""
    snapshot = (GOLDEN / "snapshot.93").read_bytes()
    reader = ImageReader()
    end = snapshot.index(END_PATH + b"\0\0\0\0") + len(END_PATH)
    assert reader.feed(snapshot[16:end] + SIGNATURE + b"more")
    assert reader.rest == b"more"
    tree = reader.tree(0x93)
    digest = snapshot[end + 8 + len(END_PATH) :]
    assert int.from_bytes(digest[:8], "big") == 0x93
    assert tree.digest == int.from_bytes(digest[12:20], "big")
    again = ImageReader()
    assert again.feed(whole(tree))
    assert facts(again.tree(0x93)) == facts(tree)


def test_pieces_of_any_size_give_the_same_tree(leader: Leader) -> None:
    image = whole(leader.tree)
    cuts = [[cut] for cut in range(len(image) + 2)]
    for positions in [*cuts, list(range(len(image)))]:
        reader = ImageReader()
        starts = [0, *positions]
        pieces = [(image + b"XY")[a:b] for a, b in zip(starts, [*positions, None], strict=True)]
        came = [reader.feed(piece) for piece in pieces[:-1]]
        if not any(came):
            assert reader.feed(pieces[-1])
            assert reader.rest == b"XY"
        assert facts(reader.tree(leader.tree.zxid)) == facts(leader.tree)


def test_an_image_that_is_cut_is_waited_for(leader: Leader) -> None:
    image = whole(leader.tree)
    for end in range(len(image)):
        assert not ImageReader().feed(image[:end])


@settings(deadline=None)
@given(st.data())
def test_wrong_bytes_are_refused_or_waited_for(data: st.DataObject) -> None:
    leader = Leader()
    for ask in (create(b"/a", b"data", ACLS[2]), create(b"/a/b")):
        leader.do(ask)
    image = bytearray(whole(leader.tree))
    for _ in range(data.draw(st.integers(1, 3))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MarshallingError):
        ImageReader().feed(bytes(image))


NO_SESSIONS: Final = b"\0\0\0\0"
NO_ACLS: Final = b"\0\0\0\0"
LONG: Final = b"\x7f\xff\xff\xff"
NEGATIVE: Final = b"\xff\xff\xff\xfe"
STAT: Final = bytes(68)


@pytest.mark.parametrize(
    "data",
    [
        NEGATIVE,
        NO_SESSIONS + NEGATIVE,
        NO_SESSIONS + b"\0\0\0\1" + bytes(8) + NEGATIVE,
        NO_SESSIONS + b"\0\0\0\1" + bytes(8) + b"\0\0\0\1" + bytes(4) + LONG,
        NO_SESSIONS + b"\0\0\0\1" + bytes(8) + b"\0\0\0\1" + bytes(4) + NEGATIVE,
        NO_SESSIONS + b"\0\0\0\1" + bytes(8) + b"\0\0\0\1" + bytes(8) + LONG,
        NO_SESSIONS + NO_ACLS + LONG,
        NO_SESSIONS + NO_ACLS + NEGATIVE + STAT * 2,
        NO_SESSIONS + NO_ACLS + b"\0\0\0\2/a" + LONG,
        NO_SESSIONS + NO_ACLS + b"\0\0\0\2/a" + NEGATIVE + STAT,
        NO_SESSIONS + NO_ACLS + b"\0\0\0\4/x/y" + bytes(4) + STAT,
        NO_SESSIONS + NO_ACLS + b"\0\0\0\1a" + bytes(4) + STAT,
        NO_SESSIONS + NO_ACLS + END_PATH + b"\0\0\0\x0aBenWasN",
    ],
)
def test_what_cannot_be_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(MarshallingError):
        ImageReader().feed(data)


def test_a_value_may_be_as_long_as_its_reader_says(leader: Leader) -> None:
    leader.do(create(b"/long", bytes(100)))
    image = whole(leader.tree)
    assert ImageReader(100).feed(image)
    with pytest.raises(MarshallingError):
        ImageReader(99).feed(image)


def test_a_long_value_is_put_together_once(leader: Leader) -> None:
    """In pieces of a byte, a large value is read in a moment, and not in minutes."""
    leader.do(create(b"/long", bytes(100_000)))
    reader = TreeReader()
    for byte in whole(leader.tree)[: -len(SIGNATURE) - 1]:
        assert not reader.feed(byte.to_bytes(1, "big"))
    assert reader.feed(b"/")
    assert reader.count == 8
    assert reader.tree.nodes[b"/long"].data == bytes(100_000)


def test_a_reader_of_trees_names_the_parent_that_is_missing() -> None:
    with pytest.raises(NoNodeError, match="/x/y"):
        TreeReader().feed(NO_SESSIONS + NO_ACLS + b"\0\0\0\4/x/y" + bytes(4) + STAT)


def test_what_every_tree_has_stays_where_an_image_lacks_it() -> None:
    """Images of ZooKeeper 3.4 have no /zookeeper/config."""
    reader = ImageReader()
    assert reader.feed(NO_SESSIONS + NO_ACLS + END_PATH + SIGNATURE)
    assert facts(reader.tree(0)) == facts(Tree())
    assert CONFIG in reader.tree(0).nodes
    assert not reader.tree(0).checks_digest
