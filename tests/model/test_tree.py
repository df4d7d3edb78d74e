"""`core.prepare` and `core.tree` against the model: any writes, landing whenever they land."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coterie.core.acl import AccessControl
from coterie.core.prepare import Limits, Prepare, Write
from coterie.core.quota import Quotas
from coterie.core.sessions import Sessions
from coterie.core.tree import Tree
from coterie.core.znode import node_digest
from coterie.errors import ZooKeeperError
from coterie.testing.model import Model, Operation, Result
from coterie.values import ACL, ANYONE, OPEN_ACL, READ_ACL, ACLs, CreateMode, Id, Perms
from coterie.wire import entries, requests, txns
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op, read_stat

SESSIONS = (0x100000000000001, 0x100000000000002)
IDS = {SESSIONS[0]: (), SESSIONS[1]: (Id("digest", "bob:x"),)}
MODES = [mode for mode in CreateMode if not mode.ttl and mode != CreateMode.CONTAINER]

names = st.sampled_from([b"a", b"b", b"s-"])
paths = st.one_of(
    st.lists(names, min_size=1, max_size=3).map(lambda parts: b"/" + b"/".join(parts)),
    st.sampled_from(
        [b"/", b"/s-0000000000", b"/a/s-0000000001", b"/zookeeper/config", b"/zookeeper"]
    ),
    st.sampled_from([b"", b"a", b"//", b"/a/", b"/a/../b", b"/\0"]),
)
data = st.sampled_from([b"", b"x", b"longer", None])
versions = st.sampled_from([-1, -1, 0, 1, 2])
acls: st.SearchStrategy[ACLs] = st.sampled_from(
    [
        OPEN_ACL,
        OPEN_ACL,
        READ_ACL,
        (ACL(Perms.ALL, Id("digest", "bob:x")), ACL(Perms.READ, ANYONE)),
        (ACL(Perms.ALL & ~Perms.CREATE, ANYONE),),
        (),
    ]
)
sessions = st.sampled_from(SESSIONS)
creates = st.tuples(st.just("create"), paths, data, acls, st.sampled_from(MODES))
operations = st.one_of(
    creates,
    creates,
    st.tuples(st.just("delete"), paths, versions),
    st.tuples(st.just("set"), paths, data, versions),
    st.tuples(st.just("check"), paths, versions),
)

Expected = Sequence[Result | int]
"""What the model answered to each part of a write: a result, or an error code."""


def record(name: str, *arguments: object) -> tuple[int, Record]:
    """An operation of the model as a request."""
    if name == "create":
        return Op.CREATE2, requests.CreateRequest(*arguments)  # type: ignore[arg-type]
    if name == "delete":
        return Op.DELETE, requests.DeleteRequest(*arguments)  # type: ignore[arg-type]
    if name == "set":
        return Op.SET_DATA, requests.SetDataRequest(*arguments)  # type: ignore[arg-type]
    return Op.CHECK, requests.CheckVersionRequest(*arguments)  # type: ignore[arg-type]


class TreeMachine(RuleBasedStateMachine):
    """The model does each write at once; the tree when its txn lands, some writes later."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.model = Model()
        self.sessions = Sessions(100, 1)
        self.prepare = Prepare(
            self.tree, self.sessions, AccessControl(), Quotas(self.tree, False), Limits()
        )
        self.in_flight: list[tuple[Txn, Expected]] = []
        self.time_ms = 1_700_000_000_000

    @initialize()
    def begin(self) -> None:
        for session in SESSIONS:
            self.open(session)

    def open(self, session: int) -> None:
        body = txns.CreateSessionTxn(400).encode()
        self.model.open_session(session, IDS[session])
        self.sessions.track(session, 400, 0)
        self.number(session, Op.CREATE_SESSION, body, [])

    def number(self, session: int, op: int, payload: bytes, expected: Expected) -> None:
        write = Write(None, session, 1, op, payload, IDS[session])
        txn = entries.decode(self.prepare.txn(write, self.time_ms).encoded)
        assert txn.zxid == self.model.zxid
        self.in_flight.append((txn, expected))

    def attempt(self, session: int, op: int, body: Record, operation: Operation) -> None:
        self.time_ms += 1
        self.model.time_ms = self.time_ms
        expected: Expected
        try:
            expected = [operation()]
        except ZooKeeperError as error:
            expected = [error.code]
        self.number(session, op, body.encode(), expected)

    @rule(session=sessions, what=operations.filter(lambda what: what[0] != "check"))
    def write(self, session: int, what: tuple[str, bytes]) -> None:
        name, *arguments = what
        model = self.model
        methods: dict[str, Callable[..., Result]] = {
            "create": model.create,
            "delete": model.delete,
            "set": model.set_data,
        }
        op, body = record(name, *arguments)
        self.attempt(session, op, body, lambda: methods[name](session, *arguments))

    @rule(session=sessions, path=paths, acl=acls, version=versions)
    def set_acl(self, session: int, path: bytes, acl: ACLs, version: int) -> None:
        self.attempt(
            session,
            Op.SET_ACL,
            requests.SetACLRequest(path, acl, version),
            lambda: self.model.set_acl(session, path, acl, version),
        )

    @rule(session=sessions, parts=st.lists(operations, max_size=4))
    def multi(self, session: int, parts: list[tuple[object, ...]]) -> None:
        self.time_ms += 1
        self.model.time_ms = self.time_ms
        expected = self.model.multi(session, parts)
        payload = requests.write_multi([record(*part) for part in parts])  # type: ignore[arg-type]
        self.number(session, Op.MULTI, payload, expected)

    @rule(session=sessions)
    def close(self, session: int) -> None:
        self.model.close_session(session)
        self.number(session, Op.CLOSE_SESSION, b"", [])

    @rule(session=sessions)
    def open_again(self, session: int) -> None:
        if session not in self.model.sessions and not self.in_flight:
            self.open(session)

    @rule(count=st.integers(1, 4))
    def land_some(self, count: int) -> None:
        self.land(count)

    @rule()
    def land_all(self) -> None:
        self.land(len(self.in_flight))
        self.same()

    def land(self, count: int) -> None:
        for txn, expected in self.in_flight[:count]:
            outcome = self.tree.apply(txn)
            self.prepare.applied(txn.zxid)
            if txn.type == Op.CLOSE_SESSION:
                self.sessions.forget(txn.session_id)
            parts = outcome.parts if txn.type == Op.MULTI else [outcome]
            for part, wanted in zip(parts, expected, strict=False):
                if isinstance(wanted, int):
                    assert part.error == wanted
                else:
                    path, stat = wanted
                    assert (part.error, part.path) == (0, path)
                    assert stat is None or read_stat(Reader(part.stat())) == stat
            assert txn.type != Op.MULTI or len(parts) == len(expected)
        del self.in_flight[:count]

    def same(self) -> None:
        """Everything is as in the model."""
        tree, model = self.tree, self.model
        there = dict(tree.walk())
        assert there.keys() == model.nodes.keys()
        for path, node in there.items():
            assert read_stat(Reader(node.stat())) == model.stat(path), path
            assert (node.data, node.acl) == (model.nodes[path].data, model.nodes[path].acl)
            assert sorted(tree.names(path, node)) == model.children(path)
        assert tree.zxid == model.zxid
        assert set(tree.sessions) == model.sessions
        for session in SESSIONS:
            assert sorted(tree.ephemerals.get(session, ())) == model.ephemerals(session)
        assert tree.digest == sum(node_digest(path, node) for path, node in there.items())
        assert tree.data_bytes == sum(
            len(path) + len(node.data or b"") for path, node in there.items()
        )

    @invariant()
    def no_digest_was_wrong(self) -> None:
        assert self.tree.digest_mismatches == 0

    def teardown(self) -> None:
        self.land_all()


TestTree = TreeMachine.TestCase
TestTree.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
