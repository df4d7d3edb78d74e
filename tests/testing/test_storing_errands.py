"""What is stored: what is right passes, and what is wrong is noticed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coterie.testing.history import Violation
from coterie.testing.storing_errands import Configuring, Keying, Meeting
from tests.testing.quiet import ran


def store(errand: Any, path: bytes, change: Any) -> None:
    """Let something else be stored than was."""
    node = errand.simulation.tree.nodes[path]
    node.data = json.dumps(change(json.loads(node.data))).encode()


def test_no_update_is_lost_or_made_twice() -> None:
    simulation = ran(Configuring)
    errand: Any = simulation.errand
    errand.end()
    told = len(errand.told)
    assert errand.stored() == told
    store(errand, b"/settings", lambda fields: fields | {"count": told + 1})
    with pytest.raises(Violation, match="updates were made"):
        errand.end()
    errand.unknown = 1
    errand.end()
    store(errand, b"/settings", lambda fields: fields | {"count": told - 1})
    with pytest.raises(Violation, match="updates were made"):
        errand.end()


def test_what_is_found_is_what_one_has_put() -> None:
    simulation = ran(Meeting)
    errand: Any = simulation.errand
    assert errand.found[0] in errand.tried[0]
    with pytest.raises(Violation, match="was found"):
        errand.is_there(0, b"other")
    with pytest.raises(Violation, match="nobody has put"):
        errand.is_there(99, b"other")
    del errand.found[99]
    errand.end()
    errand.simulation.tree.nodes[b"/meet/0"].data = b"other"
    with pytest.raises(Violation, match="and there is"):
        errand.end()


def keying() -> tuple[Any, str, dict[str, Any]]:
    """A run, one of its names, and the keys of that as they are stored."""
    errand: Any = ran(Keying).errand
    errand.end()
    name = next(name for name, _, _ in errand.ends if len(errand.stored(name)) > 1)
    return errand, name, json.loads(errand.simulation.tree.nodes[b"/keys/%s" % name.encode()].data)


def test_a_key_that_was_added_is_there() -> None:
    errand, name, _ = keying()
    errand.made[name].add(b"another")
    with pytest.raises(Violation, match="is nowhere"):
        errand.end()


def test_a_key_that_was_not_added_is_not() -> None:
    errand, name, _ = keying()
    added = errand.made[name].pop()
    with pytest.raises(Violation, match="and it was"):
        errand.end()
    errand.unknown.add(added)
    errand.end()


def test_what_was_replaced_ends_in_time() -> None:
    errand, name, stored = keying()
    errand.ends = [end for end in errand.ends if end[0] == name][-1:]
    errand.revoked.clear()
    for key in stored["keys"]:
        key |= {"valid_until": None, "revoked_at": None}
    store(errand, b"/keys/%s" % name.encode(), lambda _: stored)
    with pytest.raises(Violation, match="has replaced"):
        errand.end()


def test_what_was_revoked_never_holds() -> None:
    errand, name, stored = keying()
    errand.revoked = {errand.stored(name)[0].data}
    stored["keys"][0]["revoked_at"] = None
    store(errand, b"/keys/%s" % name.encode(), lambda _: stored)
    with pytest.raises(Violation, match="was revoked"):
        errand.end()
