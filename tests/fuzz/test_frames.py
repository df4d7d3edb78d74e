"""Malformed frames from a seed: nothing falls, nothing leaks, others are served."""

from __future__ import annotations

import random
import struct

import pytest

from coterie.values import ACL, OPEN_ACL, Id
from coterie.wire import requests
from coterie.wire.jute import Record
from coterie.wire.requests import Op
from tests.fuzz.target import Target, request

_PATHS = [b"/witness", b"/a", b"/a/b", b"", b"/", b"a", b"/a/", b"/\xff", b"/\0", b"/.", b"/..//"]


def _seeds() -> list[bytes]:
    """One well-formed request of every kind, to be mutated."""
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


def _mutate(dice: random.Random, data: bytes) -> bytes:
    mutable = bytearray(data)
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
            mutable += dice.choice(_SEEDS)
        if not mutable:
            mutable = bytearray(b"\0")
    return bytes(mutable)


_SEEDS = _seeds()


def _run(count: int, seed: int) -> None:
    dice = random.Random(seed)
    target = Target()
    for number in range(count):
        if number % 500 == 499:
            target = Target()
        data = _mutate(dice, dice.choice(_SEEDS))
        try:
            target.attack(data)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, input {number}: {data!r}") from error


def test_well_formed_requests_of_every_kind_do_no_harm() -> None:
    target = Target()
    for data in _SEEDS:
        target.attack(data)


@pytest.mark.parametrize(
    "data",
    [
        # getData without room for the length of its path: the fast way took it for the root.
        bytes.fromhex("000000090000004f000000040000000001"),
        bytes.fromhex("0000000818a7180000000004f80000"),
        # A recursive watch, then setData of the root by its other name.
        request(1, Op.ADD_WATCH, requests.WatchesRequest(b"/a", 1).encode())
        + request(2, Op.SET_DATA, requests.SetDataRequest(b"", b"y", -1).encode()),
    ],
)
def test_regressions(data: bytes) -> None:
    Target().attack(data)


def test_malformed_frames_do_no_harm() -> None:
    _run(1_500, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_malformed_frames_do_no_harm() -> None:
    _run(100_000, seed=2)
