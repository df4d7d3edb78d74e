"""Each operation as a request: its opcode and bytes, and how its answer is read.

Paths here are the server's, with the client's root before them. Rules: a `Call` is settled once,
with a result or an error; what may be repeated without harm is a read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from coterie import errors
from coterie.client.watches import CHILD, DATA, EXIST, Watcher
from coterie.errors import MarshallingError, NoNodeError, ZooKeeperError
from coterie.values import (
    ACL,
    AddWatchMode,
    Children,
    Created,
    CreateMode,
    Id,
    Stat,
    WatcherType,
    Znode,
)
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.requests import MULTI_HEADER, Op, read_stat

Decode = Callable[[Reader], Any]
Settle = Callable[[Any, ZooKeeperError | None], None]


def _ignore(result: object, error: ZooKeeperError | None) -> None:
    """Nobody waits for the answer."""


def _never() -> bool:
    return False


class Call:
    """One request on its way, and who waits for its answer."""

    __slots__ = (
        "body",
        "cancelled",
        "deadline_ms",
        "decode",
        "name",
        "op",
        "path",
        "sent_ms",
        "settle",
        "settled",
        "watch",
        "watch_kind",
        "writes",
        "xid",
    )

    def __init__(
        self, name: str, op: int, body: bytes, path: str | None, decode: Decode, writes: bool
    ) -> None:
        self.name = name
        self.op = op
        self.body = body
        self.path = path
        """As the caller has it: for messages."""
        self.decode = decode
        self.writes = writes
        """To send it twice could change something twice."""
        self.settle: Settle = _ignore
        self.settled = False
        self.cancelled: Callable[[], bool] = _never
        """Whether who asked waits no more: then what was not sent need not be."""
        self.watch: tuple[bytes, Watcher] | None = None
        self.watch_kind = DATA
        self.deadline_ms = float("inf")
        self.sent_ms = 0.0
        self.xid = 0

    def copy(self) -> Call:
        """The same request, for whose answer nobody waits."""
        return Call(self.name, self.op, self.body, self.path, self.decode, self.writes)

    def finish(self, result: Any) -> None:
        if not self.settled:
            self.settled = True
            self.settle(result, None)

    def fail(self, error: type[ZooKeeperError]) -> None:
        """End it with an error that names its path and operation."""
        self.refuse(error(self.path, self.name))

    def refuse(self, error: ZooKeeperError) -> None:
        if not self.settled:
            self.settled = True
            self.settle(None, error)

    def answered(self, error: int, reader: Reader) -> None:
        """The server's answer has come. Raises `MarshallingError` when it cannot be read."""
        if error == errors.OK:
            self.finish(self.decode(reader))
        elif self.op == Op.EXISTS and error == NoNodeError.code:
            self.finish(None)
        else:
            self.refuse(errors.from_code(error, self.path, self.name))

    def armed(self, error: int) -> tuple[int, bytes, Watcher] | None:
        """The one-shot watch that the answer has set: its kind, path and watcher."""
        if self.watch is None:
            return None
        if error == errors.OK:
            return (self.watch_kind, *self.watch)
        if self.op == Op.EXISTS and error == NoNodeError.code:
            return (EXIST, *self.watch)
        return None


def _nothing(reader: Reader) -> None:
    return None


def _text(reader: Reader) -> str:
    return reader.path().decode("utf-8", "surrogatepass")


def _znode(reader: Reader) -> Znode:
    data = reader.buffer()
    return Znode(b"" if data is None else data, read_stat(reader))


def _names(reader: Reader) -> list[str]:
    return sorted(_text(reader) for _ in range(reader.count()))


def _children(reader: Reader) -> Children:
    return Children(_names(reader), read_stat(reader))


def _created(reader: Reader) -> Created:
    return Created(_text(reader), read_stat(reader))


def _acl(reader: Reader) -> tuple[tuple[ACL, ...], Stat]:
    acls = tuple(
        ACL(reader.int32(), Id(reader.string(), reader.string())) for _ in range(reader.count())
    )
    return acls, read_stat(reader)


def _ids(reader: Reader) -> list[Id]:
    return [Id(reader.string(), reader.string()) for _ in range(reader.count())]


def _read(name: str, op: int, path: bytes, shown: str, decode: Decode, kind: int) -> Call:
    """Any of the reads that may set a watch: the byte for it stands at the end."""
    body = b"%b%b\0" % (len(path).to_bytes(4, "big"), path)
    call = Call(name, op, body, shown, decode, False)
    call.watch_kind = kind
    return call


def watching(call: Call, path: bytes, watcher: Watcher) -> Call:
    """The same read, which also sets a one-shot watch."""
    call.body = call.body[:-1] + b"\1"
    call.watch = (path, watcher)
    return call


def get(path: bytes, shown: str) -> Call:
    return _read("get", Op.GET_DATA, path, shown, _znode, DATA)


def exists(path: bytes, shown: str) -> Call:
    return _read("exists", Op.EXISTS, path, shown, read_stat, DATA)


def children(path: bytes, shown: str) -> Call:
    return _read("children", Op.GET_CHILDREN2, path, shown, _children, CHILD)


def create_record(
    path: bytes, data: bytes | None, acl: Sequence[ACL], mode: CreateMode, ttl_ms: int
) -> tuple[int, Record]:
    """The opcode and the record of a create that is answered with the Stat."""
    acls = tuple(acl)
    if mode.ttl:
        return Op.CREATE_TTL, requests.CreateTTLRequest(path, data, acls, mode, ttl_ms)
    op = Op.CREATE_CONTAINER if mode == CreateMode.CONTAINER else Op.CREATE2
    return op, requests.CreateRequest(path, data, acls, mode)


def create(
    path: bytes, shown: str, data: bytes | None, acl: Sequence[ACL], mode: CreateMode, ttl_ms: int
) -> Call:
    op, record = create_record(path, data, acl, mode, ttl_ms)
    return Call("create", op, record.encode(), shown, _created, True)


def delete(path: bytes, shown: str, version: int) -> Call:
    body = requests.DeleteRequest(path, version).encode()
    return Call("delete", Op.DELETE, body, shown, _nothing, True)


def set_data(path: bytes, shown: str, data: bytes | None, version: int) -> Call:
    body = requests.SetDataRequest(path, data, version).encode()
    return Call("set", Op.SET_DATA, body, shown, read_stat, True)


def get_acl(path: bytes, shown: str) -> Call:
    return Call("get_acl", Op.GET_ACL, requests.PathRequest(path).encode(), shown, _acl, False)


def set_acl(path: bytes, shown: str, acl: Sequence[ACL], version: int) -> Call:
    body = requests.SetACLRequest(path, tuple(acl), version).encode()
    return Call("set_acl", Op.SET_ACL, body, shown, read_stat, True)


def sync(path: bytes, shown: str) -> Call:
    return Call("sync", Op.SYNC, requests.PathRequest(path).encode(), shown, _nothing, False)


def ephemerals(prefix: bytes, shown: str) -> Call:
    body = requests.PathRequest(prefix).encode()
    return Call("ephemerals", Op.GET_EPHEMERALS, body, shown, _names, False)


def count_descendants(path: bytes, shown: str) -> Call:
    body = requests.PathRequest(path).encode()
    name = "count_descendants"
    return Call(name, Op.GET_ALL_CHILDREN_NUMBER, body, shown, Reader.int32, False)


def who_am_i() -> Call:
    return Call("who_am_i", Op.WHO_AM_I, b"", None, _ids, False)


def add_watch(path: bytes, shown: str, mode: AddWatchMode) -> Call:
    body = requests.WatchesRequest(path, mode).encode()
    return Call("add_watch", Op.ADD_WATCH, body, shown, _nothing, False)


def remove_watches(path: bytes, shown: str) -> Call:
    body = requests.WatchesRequest(path, WatcherType.ANY).encode()
    return Call("remove_watches", Op.REMOVE_WATCHES, body, shown, _nothing, False)


def auth(scheme: str, credential: bytes) -> Call:
    body = requests.AuthPacket(0, scheme, credential).encode()
    return Call("add_auth", Op.AUTH, body, None, _nothing, False)


def reconfig(joining: str, leaving: str, members: str, version: int) -> Call:
    body = requests.ReconfigRequest(joining, leaving, members, version).encode()
    return Call("reconfig", Op.RECONFIG, body, None, _znode, True)


def close_session() -> Call:
    return Call("close", Op.CLOSE_SESSION, b"", None, _nothing, False)


def ping() -> Call:
    return Call("ping", Op.PING, b"", None, _nothing, False)


# Several operations in one

_ERROR: Final = -1
_RESULTS: Final[dict[int, Decode]] = {
    Op.CREATE: _text,
    Op.CREATE2: _created,
    Op.CREATE_CONTAINER: _created,
    Op.CREATE_TTL: _created,
    Op.DELETE: _nothing,
    Op.SET_DATA: read_stat,
    Op.CHECK: _nothing,
    Op.GET_DATA: _znode,
    Op.GET_CHILDREN: _names,
}

Operation = tuple[int, Record, str, str]
"""Opcode, record, the caller's path, and the name of the operation."""


def multi(operations: Sequence[Operation]) -> Call:
    """All of these or none. Its result is a list: what each came to, an error among them."""
    return _several("commit", Op.MULTI, operations, writes=True)


def multi_read(operations: Sequence[Operation]) -> Call:
    return _several("get_many", Op.MULTI_READ, operations, writes=False)


def _several(name: str, op: int, operations: Sequence[Operation], *, writes: bool) -> Call:
    body = requests.write_multi([(code, record) for code, record, _, _ in operations])

    def decode(reader: Reader) -> list[Any]:
        return _results(reader, operations)

    shown = operations[0][2] if operations else None
    return Call(name, op, body, shown, decode, writes)


def _results(reader: Reader, operations: Sequence[Operation]) -> list[Any]:
    found: list[Any] = []
    while True:
        op, done, _ = MULTI_HEADER.unpack(reader.raw(MULTI_HEADER.size))
        if done:
            break
        if len(found) == len(operations):
            raise MarshallingError
        _, _, path, name = operations[len(found)]
        if op == _ERROR:
            found.append(errors.from_code(reader.int32(), path, name))
        elif op in _RESULTS:
            found.append(_RESULTS[op](reader))
        else:
            raise MarshallingError
    if len(found) != len(operations):
        raise MarshallingError
    return found


def check_all() -> Call:
    """A txn that changes nothing: it takes its place in the one order of all writes."""
    record = requests.CheckVersionRequest(b"/", -1)
    call = multi([(Op.CHECK, record, "/", "check")])
    call.name, call.writes = "check", False
    return call
