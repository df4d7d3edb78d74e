"""The model against what ZooKeeper's own documents and sources say, by hand."""

from __future__ import annotations

import pytest

from coterie.errors import (
    BadArgumentsError,
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    NoWatcherError,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.testing.model import Event, Model
from coterie.values import (
    ACL,
    OPEN_ACL,
    READ_ACL,
    CreateMode,
    EventType,
    Id,
    Perms,
    Stat,
    WatcherType,
)

ANN, BOB = 1, 2
CREATED, DELETED = EventType.NODE_CREATED, EventType.NODE_DELETED
CHANGED, CHILDREN = EventType.NODE_DATA_CHANGED, EventType.NODE_CHILDREN_CHANGED


@pytest.fixture
def model() -> Model:
    made = Model()
    made.open_session(ANN)
    made.open_session(BOB, (Id("digest", "bob:x"),))
    return made


def told(model: Model, who: int = ANN) -> list[tuple[EventType, bytes]]:
    """What this watcher was told since it was last asked."""
    mine = [event for event in model.events if event.watcher == who]
    model.events = [event for event in model.events if event.watcher != who]
    return [(event.type, event.path) for event in mine]


def test_the_first_znodes() -> None:
    model = Model()
    assert model.children(b"/") == [b"zookeeper"]
    assert model.children(b"/zookeeper") == [b"config", b"quota"]
    assert model.stat(b"/").cversion == -1
    assert model.stat(b"/zookeeper/config").aversion == -1


def test_a_life_of_a_znode(model: Model) -> None:
    model.time_ms = 10
    path, stat = model.create(ANN, b"/a", b"xyz")
    assert (path, stat) == (b"/a", Stat(3, 3, 10, 10, 0, 0, 0, 0, 3, 0, 3))
    model.time_ms = 20
    model.set_data(ANN, b"/a", None, 0)
    model.create(ANN, b"/a/b", b"")
    model.set_acl(ANN, b"/a", OPEN_ACL, 0)
    assert model.stat(b"/a") == Stat(3, 4, 10, 20, 1, 1, 1, 0, 0, 1, 5)
    model.delete(ANN, b"/a/b", 0)
    assert (model.stat(b"/a").cversion, model.stat(b"/a").pzxid) == (2, 7)
    assert model.get_data(ANN, b"/a") == (None, model.stat(b"/a"))
    model.delete(ANN, b"/a")
    with pytest.raises(NoNodeError):
        model.exists(ANN, b"/a")


def test_every_attempt_takes_a_zxid(model: Model) -> None:
    with pytest.raises(NoNodeError):
        model.delete(ANN, b"/a")
    assert model.create(ANN, b"/a", b"")[1] is not None
    assert model.stat(b"/a").czxid == model.zxid == 4


def test_sequence_numbers_count_what_was_created(model: Model) -> None:
    sequential = CreateMode.PERSISTENT_SEQUENTIAL
    model.create(ANN, b"/q", b"")
    assert model.create(ANN, b"/q/n-", b"", mode=sequential)[0] == b"/q/n-0000000000"
    model.create(ANN, b"/q/x", b"")
    model.delete(ANN, b"/q/x")
    assert model.create(ANN, b"/q/n-", b"", mode=sequential)[0] == b"/q/n-0000000002"


def test_ephemerals_end_with_their_session(model: Model) -> None:
    model.create(ANN, b"/e", b"", mode=CreateMode.EPHEMERAL)
    assert model.stat(b"/e").ephemeral_owner == ANN
    assert model.ephemerals(ANN) == [b"/e"]
    model.close_session(ANN)
    assert model.children(b"/") == [b"zookeeper"]
    with pytest.raises(SessionExpiredError):
        model.create(ANN, b"/late", b"")


def test_what_is_refused(model: Model) -> None:
    model.create(ANN, b"/a", b"")
    model.create(ANN, b"/a/b", b"")
    model.create(ANN, b"/e", b"", mode=CreateMode.EPHEMERAL)
    model.create(ANN, b"/shut", b"", (ACL(Perms.ALL, Id("digest", "bob:x")),))
    refused: list[tuple[type[ZooKeeperError], str, tuple[object, ...]]] = [
        (BadArgumentsError, "create", (b"a", b"")),
        (BadArgumentsError, "create", (b"/a/", b"")),
        (InvalidACLError, "create", (b"/no/x", b"", ())),
        (NoNodeError, "create", (b"/no/x", b"")),
        (NoAuthError, "create", (b"/shut/x", b"")),
        (NodeExistsError, "create", (b"/a", b"")),
        (NoChildrenForEphemeralsError, "create", (b"/e/x", b"")),
        (BadArgumentsError, "delete", (b"/",)),
        (NoAuthError, "delete", (b"/shut/x",)),
        (BadVersionError, "delete", (b"/a", 1)),
        (NotEmptyError, "delete", (b"/a", 0)),
        (NoAuthError, "set_data", (b"/shut", b"", 5)),
        (NoAuthError, "set_data", (b"/zookeeper/config", b"")),
        (BadVersionError, "set_data", (b"/a", b"", 5)),
        (NoAuthError, "set_acl", (b"/shut", OPEN_ACL)),
        (BadVersionError, "set_acl", (b"/a", OPEN_ACL, 5)),
        (InvalidACLError, "set_acl", (b"/no", ())),
        (NoAuthError, "get_data", (b"/shut",)),
        (NoNodeError, "get_children", (b"/no",)),
    ]
    for error, name, arguments in refused:
        with pytest.raises(error):
            getattr(model, name)(ANN, *arguments)
    assert model.get_data(BOB, b"/shut")[0] == b""


def test_a_multi_is_all_or_nothing(model: Model) -> None:
    with pytest.raises(NoNodeError):
        model.exists(ANN, b"/a", watch=True)
    failed = model.multi(
        ANN,
        [
            ("create", b"/a", b"", OPEN_ACL, CreateMode.PERSISTENT),
            ("check", b"/a", 7),
            ("delete", b"/a", -1),
        ],
    )
    assert failed == [0, BadVersionError.code, -2]
    assert (model.children(b"/"), told(model)) == ([b"zookeeper"], [])
    done = model.multi(
        ANN,
        [
            ("create", b"/a", b"", OPEN_ACL, CreateMode.PERSISTENT),
            ("set", b"/a", b"1", 0),
            ("check", b"/a", 1),
            ("delete", b"/a", 1),
        ],
    )
    assert [path for path, _ in done] == [b"/a"] * 4  # type: ignore[misc]
    assert told(model) == [(CREATED, b"/a")]
    assert model.zxid == 4


def test_one_shot_watches(model: Model) -> None:
    with pytest.raises(NoNodeError):
        model.exists(ANN, b"/a", watch=True)
    with pytest.raises(NoNodeError):
        model.get_data(ANN, b"/b", watch=True)
    model.create(ANN, b"/a", b"")
    model.create(ANN, b"/b", b"")
    model.set_data(ANN, b"/a", b"")
    assert told(model) == [(CREATED, b"/a")]
    model.get_children(ANN, b"/a", watch=True)
    model.exists(ANN, b"/a", watch=True)
    model.delete(ANN, b"/a")
    assert told(model) == [(DELETED, b"/a")]
    assert model.watches == []


def test_lasting_watches(model: Model) -> None:
    model.add_watch(ANN, b"/a", recursive=False)
    model.add_watch(BOB, b"/a", recursive=True)
    model.create(ANN, b"/a", b"")
    model.create(ANN, b"/a/b", b"")
    model.set_data(ANN, b"/a/b", b"")
    assert told(model, ANN) == [(CREATED, b"/a"), (CHILDREN, b"/a")]
    assert told(model, BOB) == [(CREATED, b"/a"), (CREATED, b"/a/b"), (CHANGED, b"/a/b")]
    model.remove_watches(ANN, b"/a", WatcherType.PERSISTENT)
    with pytest.raises(NoWatcherError):
        model.check_watches(ANN, b"/a", WatcherType.ANY)
    model.check_watches(BOB, b"/a", WatcherType.PERSISTENT_RECURSIVE)
    model.forget(BOB)
    assert model.watches == []


def test_who_may_not_read_is_not_told(model: Model) -> None:
    mine = (ACL(Perms.ALL, Id("digest", "bob:x")),)
    for who in (ANN, BOB):
        model.add_watch(who, b"/a", recursive=True)
    model.create(ANN, b"/a", b"", mine)
    model.create(BOB, b"/a/b", b"", READ_ACL)
    assert told(model, ANN) == [(CREATED, b"/a/b")]
    assert told(model, BOB) == [(CREATED, b"/a"), (CREATED, b"/a/b")]


def test_watching_again(model: Model) -> None:
    model.create(ANN, b"/a", b"")
    seen = model.zxid
    model.create(ANN, b"/a/b", b"")
    model.set_watches(ANN, seen, [b"/a", b"/gone"], [b"/a", b"/later"], [b"/a"])
    assert model.events == [
        Event(ANN, DELETED, b"/gone", -1),
        Event(ANN, CREATED, b"/a", -1),
        Event(ANN, CHILDREN, b"/a", -1),
    ]
    assert {watch.path for watch in model.watches} == {b"/a", b"/later"}
