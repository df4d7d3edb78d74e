"""A tree from files is walked as one from a server is, and its kinds of znode are told."""

from __future__ import annotations

from coterie.cli import show, trees
from coterie.core.tree import Tree
from coterie.core.znode import Node
from coterie.storage import snapshot
from coterie.system.files import OSFiles
from coterie.values import OPEN_ACL, Stat
from tests.golden.packets import HERE

_TREE = snapshot.read(OSFiles(), str(HERE / "snapshot.93")).tree


def test_a_walk_is_in_order_and_knows_who_follows() -> None:
    steps = list(trees.walk(_TREE, "/a"))
    assert [step.path for step in steps] == ["/a", "/a/null", "/a/s-0000000002", "/a/ümlaut"]
    assert [step.more for step in steps] == [(), (True,), (True,), (False,)]
    assert [step.path for step in trees.walk(_TREE, "/a", 0)] == ["/a"]
    drawn = [show.branch(step, False) for step in steps]
    assert drawn[2:] == ["├─ s-0000000002  (ephemeral) = mine", "└─ ümlaut"]


def test_names_write_nothing_to_a_terminal_but_themselves() -> None:
    tree = Tree()
    for path in (b"/\x1b[2J", b"/\xff"):
        tree.restore(path, Node(b"", OPEN_ACL, 0, 1, 1))
    drawn = "".join(show.branch(step, False) for step in trees.walk(tree, "/"))
    assert "\\x1b[2J" in drawn
    assert "\\xff" in drawn
    assert "\x1b" not in drawn
    assert [one["path"] for one in trees.export(tree, "/")][1] == "/\x1b[2J"


def test_a_stat_is_as_clients_see_it() -> None:
    stat = trees.stat_of(_TREE.nodes[b"/a"])
    assert isinstance(stat, Stat)
    assert (stat.version, stat.num_children, stat.data_length) == (3, 3, 4)
    assert trees.stat_of(_TREE.nodes[b"/ttl"]).ephemeral_owner == 0


def test_kinds() -> None:
    kinds = {path: trees.kind_of(node) for path, node in _TREE.nodes.items()}
    assert kinds[b"/a"] == {"mode": "persistent"}
    assert kinds[b"/box"] == {"mode": "container"}
    assert kinds[b"/a/s-0000000002"] == {"mode": "ephemeral"}
    assert kinds[b"/ttl"]["mode"] == "persistent_ttl"
    assert kinds[b"/ttl"]["ttl_ms"] > 0


def test_what_is_null_has_no_data() -> None:
    found = {fields["path"]: fields for fields in trees.export(_TREE, "/")}
    assert len(found) == 11
    assert "data" not in found["/a/null"]
    assert found["/a"]["acl"][1] == {"scheme": "ip", "id": "127.0.0.1", "perms": "r"}
