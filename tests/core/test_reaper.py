"""Which znodes go by themselves, when, and how many at once (Apache's ContainerManager)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.core.reaper import Reaper
from coterie.core.tree import Tree
from coterie.core.znode import CONTAINER_OWNER, Node, ttl_owner
from coterie.values import OPEN_ACL, CreateMode
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.core.conftest import Alone, Client, create

BORN_MS = 1_000_000
MINUTE_MS = 60_000


def tree_of(**owners: int) -> Tree:
    """A tree of znodes, all born at one time."""
    tree = Tree()
    for name, owner in owners.items():
        tree.restore(b"/" + name.encode(), Node(b"", OPEN_ACL, owner, 1, BORN_MS))
    return tree


def reaper(tree: Tree, per_minute_max: int = 10_000, never_used_ms: int = 0) -> Reaper:
    made = Reaper(tree, MINUTE_MS, per_minute_max, never_used_ms)
    assert made.due(0, BORN_MS) == []
    return made


def test_a_container_goes_when_it_has_had_children() -> None:
    tree = tree_of(used=CONTAINER_OWNER, unused=CONTAINER_OWNER, plain=0)
    tree.nodes[b"/used"].cversion = 1
    tree.nodes[b"/plain"].cversion = 1
    it = reaper(tree)
    assert it.due(MINUTE_MS - 1, BORN_MS) == []
    assert it.due(MINUTE_MS, BORN_MS) == [b"/used"]


def test_a_container_with_children_stays() -> None:
    tree = tree_of(used=CONTAINER_OWNER)
    tree.nodes[b"/used"].cversion = 1
    tree.restore(b"/used/child", Node(b"", OPEN_ACL, 0, 2, BORN_MS))
    assert reaper(tree).due(MINUTE_MS, BORN_MS) == []


@pytest.mark.parametrize(
    ("never_used_ms", "age_ms", "goes"),
    [(0, 10**9, False), (500, 500, False), (500, 501, True)],
)
def test_a_container_never_used_goes_only_after_its_time(
    never_used_ms: int, age_ms: int, goes: bool
) -> None:
    it = reaper(tree_of(unused=CONTAINER_OWNER), never_used_ms=never_used_ms)
    assert it.due(MINUTE_MS, BORN_MS + age_ms) == [b"/unused"] * goes


def test_a_ttl_znode_goes_when_it_was_not_changed_for_longer() -> None:
    tree = tree_of(short=ttl_owner(100), long=ttl_owner(200), parent=ttl_owner(1))
    tree.restore(b"/parent/child", Node(b"", OPEN_ACL, 0, 2, BORN_MS))
    it = reaper(tree)
    assert it.due(1 * MINUTE_MS, BORN_MS + 100) == []
    assert it.due(2 * MINUTE_MS, BORN_MS + 101) == [b"/short"]
    tree.nodes[b"/long"].mtime += 50
    assert it.due(3 * MINUTE_MS, BORN_MS + 250) == [b"/short"]
    assert it.due(4 * MINUTE_MS, BORN_MS + 251) == [b"/long"]
    assert it.due(4 * MINUTE_MS + 6, BORN_MS + 251) == [b"/short"]


def test_only_so_many_go_in_a_minute() -> None:
    tree = tree_of(a=ttl_owner(1), b=ttl_owner(1), c=ttl_owner(1))
    it = reaper(tree, per_minute_max=600)
    assert it.due(MINUTE_MS, BORN_MS + 10) == [b"/a"]
    assert it.next_due_ms() == MINUTE_MS + 100
    assert it.due(MINUTE_MS + 99, BORN_MS + 10) == []
    assert it.due(MINUTE_MS + 200, BORN_MS + 10) == [b"/b", b"/c"]
    assert it.next_due_ms() == 2 * MINUTE_MS


def test_it_looks_every_interval_and_says_when() -> None:
    it = Reaper(Tree(), MINUTE_MS, 100, 0)
    assert it.next_due_ms() is None
    it.due(500, BORN_MS)
    assert it.next_due_ms() == 500 + MINUTE_MS
    it.due(700 + MINUTE_MS, BORN_MS)
    assert it.next_due_ms() == 700 + 2 * MINUTE_MS


@pytest.fixture
def client(make_alone: Callable[..., Alone]) -> Client:
    settings = {
        "extended_types_enabled": True,
        "container_check_interval_ms": 1000,
        "container_never_used_ms": 0,
    }
    return make_alone(**settings).client(timeout_ms=2000)


def test_containers_and_ttl_znodes_go_through_the_log(client: Client) -> None:
    client.call(Op.CREATE_CONTAINER, create(b"/c", flags=CreateMode.CONTAINER))
    client.create(b"/c/x")
    ttl = requests.CreateTTLRequest(b"/t", b"", OPEN_ACL, CreateMode.PERSISTENT_TTL, 100)
    client.call(Op.CREATE_TTL, ttl)
    client.exists(b"/c", watch=True)
    client.alone.tick(1000)
    assert client.exists(b"/t").error == -101
    assert client.exists(b"/c").error == 0
    client.delete(b"/c/x")
    client.alone.tick(1000)
    assert client.events() == [(2, b"/c")]
    reaped = client.alone.log[-1]
    assert (reaped.type, reaped.session_id) == (Op.DELETE_CONTAINER, 0)


def test_a_child_that_came_in_time_saves_its_container(
    make_alone: Callable[..., Alone],
) -> None:
    alone = make_alone(slow=True, container_check_interval_ms=1000)
    client = alone.stranger()
    client.connect(timeout_ms=2000)
    alone.sync()
    client.send(Op.CREATE_CONTAINER, create(b"/c", flags=CreateMode.CONTAINER))
    client.send(Op.CREATE, create(b"/c/x"))
    client.send(Op.DELETE, requests.DeleteRequest(b"/c/x", -1))
    alone.sync()
    client.send(Op.CREATE, create(b"/c/y"))
    alone.tick(1000)
    alone.sync()
    assert alone.log[-1].type == Op.ERROR
    assert alone.tree.get(b"/c") is not None
