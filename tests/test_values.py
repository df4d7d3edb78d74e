"""Numbers and names that travel: against ZooKeeper's `ZooDefs`, `CreateMode` and `Watcher`."""

from __future__ import annotations

import pytest

from coterie import values
from coterie.values import (
    MODES,
    AddWatchMode,
    CreateMode,
    EventType,
    KeeperState,
    Perms,
    WatcherType,
)


def test_permissions_are_the_bits_of_zoodefs() -> None:
    bits = (Perms.READ, Perms.WRITE, Perms.CREATE, Perms.DELETE, Perms.ADMIN)
    assert bits == (1, 2, 4, 8, 16)
    assert sum(bits) == Perms.ALL


def test_the_well_known_acls() -> None:
    assert values.OPEN_ACL == ((31, ("world", "anyone")),)
    assert values.READ_ACL == ((1, ("world", "anyone")),)
    assert values.CREATOR_ALL_ACL == ((31, ("auth", "")),)


@pytest.mark.parametrize(
    ("flags", "ephemeral", "sequential", "ttl"),
    [
        # CreateMode.java: PERSISTENT ... PERSISTENT_SEQUENTIAL_WITH_TTL
        (0, False, False, False),
        (1, True, False, False),
        (2, False, True, False),
        (3, True, True, False),
        (4, False, False, False),
        (5, False, False, True),
        (6, False, True, True),
    ],
)
def test_create_modes(flags: int, ephemeral: bool, sequential: bool, ttl: bool) -> None:
    mode = MODES[flags]
    assert mode is CreateMode(flags)
    assert (mode.ephemeral, mode.sequential, mode.ttl) == (ephemeral, sequential, ttl)


def test_there_are_no_other_create_modes() -> None:
    assert sorted(MODES) == list(range(7))


def test_event_types_are_numbered_as_in_watcher() -> None:
    assert {event.name: int(event) for event in EventType} == {
        "NONE": -1,
        "NODE_CREATED": 1,
        "NODE_DELETED": 2,
        "NODE_DATA_CHANGED": 3,
        "NODE_CHILDREN_CHANGED": 4,
        "DATA_WATCH_REMOVED": 5,
        "CHILD_WATCH_REMOVED": 6,
        "PERSISTENT_WATCH_REMOVED": 7,
    }


def test_states_are_numbered_as_in_watcher() -> None:
    assert {state.name: int(state) for state in KeeperState} == {
        "DISCONNECTED": 0,
        "SYNC_CONNECTED": 3,
        "AUTH_FAILED": 4,
        "CONNECTED_READ_ONLY": 5,
        "SASL_AUTHENTICATED": 6,
        "CLOSED": 7,
        "EXPIRED": -112,
    }


def test_kinds_of_watches_are_numbered_as_in_watcher() -> None:
    assert {mode.name: int(mode) for mode in AddWatchMode} == {
        "PERSISTENT": 0,
        "PERSISTENT_RECURSIVE": 1,
    }
    assert {kind.name: int(kind) for kind in WatcherType} == {
        "CHILDREN": 1,
        "DATA": 2,
        "ANY": 3,
        "PERSISTENT": 4,
        "PERSISTENT_RECURSIVE": 5,
    }


def test_a_stat_has_the_fields_of_zookeeper_jute_in_order() -> None:
    names = "czxid mzxid ctime mtime version cversion aversion ephemeral_owner data_length"
    assert values.Stat._fields == (*names.split(), "num_children", "pzxid")
