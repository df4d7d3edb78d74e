"""Requests that fuzzers start from: well-formed ones of every kind, and how one is spoiled."""

from __future__ import annotations

import random
import struct
from typing import Final

from coterie.values import ACL, OPEN_ACL, Id
from coterie.wire import requests
from coterie.wire.jute import Record
from coterie.wire.requests import Op
from tests.fuzz.target import request

_PATHS = [b"/witness", b"/a", b"/a/b", b"", b"/", b"a", b"/a/", b"/\xff", b"/\0", b"/.", b"/..//"]


def _seeds() -> list[bytes]:
    acl = (*OPEN_ACL, ACL(1, Id("auth", "")), ACL(2, Id("digest", "a:b")))
    bodies: list[tuple[int, Record | bytes]] = []
    for path in _PATHS:
        watch = requests.PathWatchRequest(path, True)
        bodies += [
            (op, watch) for op in (Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2)
        ]
        bodies += [(op, requests.PathRequest(path)) for op in (Op.GET_ACL, Op.SYNC, 20, 103, 104)]
        bodies += [(op, requests.WatchesRequest(path, 1)) for op in (17, 18, 106)]
        bodies += [
            (op, requests.CreateRequest(path, b"x", acl, flags))
            for op, flags in ((1, 0), (1, 1), (15, 3), (19, 4), (1, 2), (15, 9))
        ]
        bodies.append((Op.CREATE_TTL, requests.CreateTTLRequest(path, None, acl, 5, 1000)))
        bodies.append((Op.SET_DATA, requests.SetDataRequest(path, b"y", -1)))
        bodies.append((Op.SET_ACL, requests.SetACLRequest(path, acl, -1)))
        bodies.append((Op.DELETE, requests.DeleteRequest(path, -1)))
        multi = [
            (Op.CREATE, requests.CreateRequest(path, b"", OPEN_ACL, 0)),
            (Op.CREATE2, requests.CreateRequest(path + b"2", b"", OPEN_ACL, 4)),
            (Op.CHECK, requests.CheckVersionRequest(path, 0)),
            (Op.DELETE, requests.DeleteRequest(path, 0)),
        ]
        bodies.append((Op.MULTI, requests.write_multi(multi)))
        bodies.append((Op.MULTI_READ, requests.write_multi([(Op.GET_DATA, watch)])))
        bodies.append((Op.SET_WATCHES, requests.SetWatches(1, [path], [path], [path])))
        bodies.append((105, requests.SetWatches2(1, [path], [], [path], [path], [path])))
    bodies.append((Op.AUTH, requests.AuthPacket(0, "digest", b"user:secret")))
    bodies += [(op, b"") for op in (11, 107, -10, -11, 0, -1, 13, 16, 102, 999)]
    return [
        request(xid, op, body if isinstance(body, bytes) else body.encode())
        for xid, (op, body) in enumerate(bodies)
    ]


SEEDS: Final = _seeds()


def spoiled(dice: random.Random) -> bytes:
    """One of the seeds, changed in a few places; another one may follow it."""
    mutable = bytearray(dice.choice(SEEDS))
    for _ in range(dice.randrange(1, 4)):
        where = dice.randrange(len(mutable))
        kind = dice.randrange(6)
        if kind == 0:
            mutable[where] ^= 1 << dice.randrange(8)
        elif kind == 1:
            mutable[where] = dice.randrange(256)
        elif kind == 2 and len(mutable) > 8:
            del mutable[where : where + dice.randrange(1, 9)]
        elif kind == 3:
            mutable[where:where] = dice.randbytes(dice.randrange(1, 9))
        elif kind == 4:
            word = dice.choice((-1, 0, 1, 2**31 - 1, -(2**31), 2**20, dice.randrange(100)))
            mutable[where : where + 4] = struct.pack(">i", word)
        else:
            mutable += dice.choice(SEEDS)
        if not mutable:
            mutable = bytearray(b"\0")
    return bytes(mutable)
