"""Grows a tree that has one of everything in it, and looks at every znode of one.

Rules: everything goes over `raw`, so null and empty data stay apart. A tree is grown in seasons,
so that two servers can take turns: a season adds to what earlier ones left and never repeats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.compat import raw
from tests.compat.raw import Acl, Client, Reader, Reply, Stat

# The super user's password is "test": who looks at every znode must be above every ACL.
SUPER: Final = {"DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU="}
BULK: Final = 200
LOOK_BATCH: Final = 100
LONG_TTL_MS: Final = 3_600_000
TIMEOUT_MS: Final = 60_000


class Znode(NamedTuple):
    data: bytes | None
    stat: Stat
    acl: tuple[Acl, ...]
    children: tuple[str, ...]


@dataclass
class Garden:
    """What was grown besides znodes: the sessions that own ephemerals, as (id, password)."""

    sessions: dict[str, tuple[int, bytes]] = field(default_factory=dict)


def look(port: int, host: str = "127.0.0.1") -> dict[str, Znode]:
    """Every znode of a server, by path, as of what was committed when it was asked."""
    found: dict[str, Znode] = {}
    with Client(port, host=host) as client:
        client.authenticate("digest", b"super:test")
        client.ok(raw.SYNC, raw.string("/"))
        paths = ["/"]
        while paths:
            batch, paths = paths[:LOOK_BATCH], paths[LOOK_BATCH:]
            for path in batch:
                client.send(raw.GET_DATA, raw.path_watch(path))
                client.send(raw.GET_ACL, raw.string(path))
                client.send(raw.GET_CHILDREN, raw.path_watch(path))
            for path in batch:
                found[path] = znode = _znode(path, [client.reply() for _ in range(3)])
                paths += [f"{path.rstrip('/')}/{name}" for name in znode.children]
        client.close_session()
    return found


def _znode(path: str, replies: list[Reply]) -> Znode:
    assert not any(reply.error for reply in replies), f"{path}: {replies}"
    readers = [Reader(reply.body) for reply in replies]
    data, stat, acl = readers[0].buffer(), readers[0].stat(), tuple(readers[1].acls())
    names = tuple(sorted(name for name in readers[2].strings() if name is not None))
    return Znode(data, stat, acl, names)


def grow(port: int, season: str, garden: Garden) -> None:
    """Add one of everything below /`season`, and change what the seasons share."""
    with Client(port, timeout_ms=TIMEOUT_MS) as client:
        root = f"/{season}"
        client.ok(raw.CREATE, raw.create(root, b"of " + season.encode()))
        _shared(client)
        _kinds(client, root)
        _changes(client, root)
        _locked(client, root)
        _multis(client, root)
        _quota(client, root)
        _bulk(client, root)
        garden.sessions[season] = (client.session_id, client.password)


def _shared(client: Client) -> None:
    """Sequence numbers and versions that go on from what other seasons left."""
    if client.call(raw.EXISTS, raw.path_watch("/shared")).error:
        client.ok(raw.CREATE, raw.create("/shared"))
    sequential = raw.create("/shared/s-", b"", raw.PERSISTENT_SEQUENTIAL)
    made = [Reader(client.ok(raw.CREATE, sequential).body).string() for _ in range(3)]
    client.ok(raw.DELETE, raw.path_int(made[-1] or "", 0))
    client.ok(raw.SET_DATA, raw.set_data("/shared", b"again"))
    client.ok(raw.SET_ACL, raw.set_acl("/shared", raw.OPEN))


def _kinds(client: Client, root: str) -> None:
    for name, data in (
        ("null", None),
        ("empty", b""),
        ("zero", bytes(3)),
        ("long", b"x" * 200_000),
    ):
        client.ok(raw.CREATE, raw.create(f"{root}/{name}", data))
    client.ok(raw.CREATE, raw.create(f"{root}/ümlaut ☃", b"utf-8"))
    client.ok(raw.CREATE, raw.create(f"{root}/e", b"e", raw.EPHEMERAL))
    client.ok(raw.CREATE2, raw.create(f"{root}/es-", None, raw.EPHEMERAL_SEQUENTIAL))
    client.ok(raw.CREATE_CONTAINER, raw.create(f"{root}/box", b"box", raw.CONTAINER))
    client.ok(raw.CREATE_CONTAINER, raw.create(f"{root}/used", None, raw.CONTAINER))
    client.ok(raw.CREATE, raw.create(f"{root}/used/in"))
    ttl = raw.create(f"{root}/ttl", b"ttl", raw.PERSISTENT_TTL, ttl_ms=LONG_TTL_MS)
    client.ok(raw.CREATE_TTL, ttl)
    ttl = raw.create(f"{root}/ttl-", b"", raw.PERSISTENT_SEQUENTIAL_TTL, ttl_ms=2**40 - 1)
    client.ok(raw.CREATE_TTL, ttl)


def _changes(client: Client, root: str) -> None:
    """Versions, deletes and requests that fail, each of which costs a zxid."""
    for path in ("null", "empty", "zero"):
        client.ok(raw.SET_DATA, raw.set_data(f"{root}/{path}", b"data", 0))
    client.ok(raw.SET_DATA, raw.set_data(f"{root}/null", None, 1))
    client.ok(raw.SET_DATA, raw.set_data(f"{root}/empty", b"", 1))
    client.ok(raw.CREATE, raw.create(f"{root}/gone"))
    client.ok(raw.CREATE, raw.create(f"{root}/gone/in"))
    client.ok(raw.DELETE, raw.path_int(f"{root}/gone/in", -1))
    client.ok(raw.DELETE, raw.path_int(f"{root}/gone", 0))
    failing = (
        (raw.CREATE, raw.create(f"{root}/none/in")),
        (raw.CREATE, raw.create(root)),
        (raw.DELETE, raw.path_int(root, -1)),
        (raw.SET_DATA, raw.set_data(f"{root}/zero", b"late", 0)),
        (raw.SET_ACL, raw.set_acl(f"{root}/zero", ())),
    )
    for op, body in failing:
        assert client.call(op, body).error < 0


def _locked(client: Client, root: str) -> None:
    client.authenticate("digest", b"ann:secret")
    own = (Acl(raw.ALL, "auth", ""),)
    mixed = (Acl(raw.READ, "world", "anyone"), Acl(raw.ALL, "ip", "127.0.0.0/8"), *own)
    client.ok(raw.CREATE, raw.create(f"{root}/locked", b"hers", acl=own))
    client.ok(raw.CREATE, raw.create(f"{root}/mixed", None, acl=mixed))
    client.ok(raw.CREATE, raw.create(f"{root}/perms"))
    for perms in range(raw.READ, raw.ALL):
        acl = (Acl(perms, "world", "anyone"), *own)
        client.ok(raw.CREATE, raw.create(f"{root}/perms/{perms}", acl=acl))
    client.ok(raw.SET_ACL, raw.set_acl(f"{root}/perms/1", mixed, 0))


def _multis(client: Client, root: str) -> None:
    operations = [
        (raw.CREATE, raw.create(f"{root}/m", b"1")),
        (raw.CREATE2, raw.create(f"{root}/m/s-", None, raw.PERSISTENT_SEQUENTIAL)),
        (raw.CREATE, raw.create(f"{root}/m/e", b"", raw.EPHEMERAL)),
        (raw.CREATE_CONTAINER, raw.create(f"{root}/m/box", b"", raw.CONTAINER)),
        (raw.SET_DATA, raw.set_data(f"{root}/m", b"22", 0)),
        (raw.CHECK, raw.path_int(f"{root}/m", 1)),
        (raw.CREATE, raw.create(f"{root}/m/t")),
        (raw.DELETE, raw.path_int(f"{root}/m/t", 0)),
    ]
    client.ok(raw.MULTI, raw.multi(operations))
    client.ok(raw.MULTI, raw.multi([]))
    # A multi that fails is logged with what it would have done.
    failing = [
        (raw.CREATE, raw.create(f"{root}/never")),
        (raw.DELETE, raw.path_int(root, -1)),
        (raw.SET_DATA, raw.set_data(f"{root}/m", b"never")),
    ]
    client.ok(raw.MULTI, raw.multi(failing))
    assert client.call(raw.EXISTS, raw.path_watch(f"{root}/never")).error == -101


def _quota(client: Client, root: str) -> None:
    """A quota whose usage changes after it was set."""
    client.ok(raw.CREATE, raw.create(f"{root}/q", b"1234"))
    at = f"/zookeeper/quota{root}"
    for path in (at, f"{at}/q"):
        client.ok(raw.CREATE, raw.create(path))
    client.ok(raw.CREATE, raw.create(f"{at}/q/zookeeper_limits", b"count=50,bytes=5000"))
    client.ok(raw.CREATE, raw.create(f"{at}/q/zookeeper_stats", b"count=0,bytes=0"))
    for number in range(5):
        client.ok(raw.CREATE, raw.create(f"{root}/q/{number}", b"x" * number))
    client.ok(raw.DELETE, raw.path_int(f"{root}/q/4", -1))
    client.ok(raw.SET_DATA, raw.set_data(f"{root}/q/3", b"longer than before"))


def _bulk(client: Client, root: str) -> None:
    """Many creates at once, so that there are batches in the log."""
    client.ok(raw.CREATE, raw.create(f"{root}/bulk"))
    for number in range(BULK):
        client.send(
            raw.CREATE, raw.create(f"{root}/bulk/{number}", bytes([number % 256]) * number)
        )
    assert all(client.reply().error == 0 for _ in range(BULK))
