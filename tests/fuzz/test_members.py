"""Nonsense from a seed at the ports for members: no machine raises, and the ensemble goes on.

Who is at these ports may pretend to be a member, and so end a leadership or write what it likes:
that is said in docs/security.md. What it may not do is break a machine, or leave something behind.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from coterie.core.link import ELECTION, QUORUM, Link
from coterie.errors import OK
from coterie.wire import peers
from coterie.wire.peers import MAX_LONG, MIN_LONG, Initial, Kind, LearnerInfo, Notification
from tests.core.pack import Client, Pack, three
from tests.fuzz.seeds import SEEDS

_IDS = (0, 1, 2, 3, 4, 77, -1, MAX_LONG, MIN_LONG)
_NUMBERS = (-1, 0, 1, 2, 1 << 31, 1 << 32, (1 << 32) + 1, 2 << 32, 1 << 62, MAX_LONG, MIN_LONG)
_INTS = (-1, 0, 1, 2, 3, 0x10000, 2**31 - 1, -(2**31))


def _request(dice: random.Random) -> bytes:
    """A forwarded request: one that a client might make, or none."""
    seed = dice.choice(SEEDS)
    op = dice.choice((struct.unpack_from(">i", seed, 8)[0], -11, -10, 9, dice.choice(_INTS)))
    body = seed[12:] if dice.randrange(4) else dice.randbytes(dice.randrange(30))
    session_id = dice.choice((*_NUMBERS, dice.randrange(1 << 60)))
    return peers.Forwarded(session_id, dice.choice(_INTS), op, body).encode()


def _packet(dice: random.Random, kind: int) -> bytes:
    zxid = dice.choice(_NUMBERS)
    if kind in (Kind.FOLLOWERINFO, Kind.OBSERVERINFO):
        return peers.packet(kind, zxid, LearnerInfo(dice.choice(_IDS)).encode())
    if kind == Kind.ACKEPOCH:
        return peers.packet(kind, zxid, peers.encode_int(dice.choice(_INTS)))
    if kind == Kind.REQUEST:
        ids = [("super", ""), ("ip", "1.2.3.4")][: dice.randrange(3)]
        return peers.packet(kind, zxid, _request(dice), ids)
    if kind in (Kind.PING, Kind.REVALIDATE):
        touches = [(dice.choice(_NUMBERS), dice.choice(_INTS)) for _ in range(dice.randrange(3))]
        return peers.packet(kind, zxid, peers.encode_touches(touches))
    return peers.packet(kind, zxid, dice.choice((None, b"", dice.randbytes(9))))


_TALK = (
    Kind.FOLLOWERINFO,
    Kind.ACKEPOCH,
    Kind.ACK,
    *(Kind.REQUEST, Kind.PING, Kind.ACK, Kind.REVALIDATE, *(Kind.REQUEST,) * 6),
)


def _learner(dice: random.Random, epoch: int) -> list[bytes]:
    """What a learner says, more or less: mostly in the right order, with the wrong contents."""
    said: list[bytes] = []
    for place, kind in enumerate(_TALK):
        if kind == Kind.ACKEPOCH and dice.randrange(4):
            said.append(peers.packet(kind, 0, peers.encode_int(0)))
        elif kind == Kind.ACK and place < 3 and dice.randrange(8):
            said.append(peers.packet(kind, epoch << 32))
        elif place == 0 and dice.randrange(2):
            body = LearnerInfo(dice.choice((1, 2, 77))).encode()
            said.append(peers.packet(dice.choice((kind, Kind.OBSERVERINFO)), epoch << 32, body))
        elif dice.randrange(12):
            said.append(_packet(dice, kind))
        else:
            said.append(_packet(dice, dice.randrange(-1, 25)))
    return said


def _voter(dice: random.Random) -> list[bytes]:
    """What comes to an election port: who it is, and votes."""
    server_id = dice.choice(_IDS)
    address = (dice.choice(("h", "0.0.0.0", "::1", "x" * 200)), dice.choice((0, 3001, 65535)))
    said = [Initial(server_id, (address,)).encode()]
    for _ in range(dice.randrange(6)):
        leader, zxid, turn, epoch = dice.choices(_NUMBERS, k=4)
        state, version = dice.choices(_INTS, k=2)
        config = dice.choice((b"", b"version=1", b"server.1=h:1:2\nversion=7fffffff", b"\xff"))
        vote = Notification(state, leader, zxid, turn, epoch, version, config).encode()
        vote = vote[: dice.choice((None, None, 40, 28, dice.randrange(60)))]
        length = dice.choice((len(vote),) * 4 + _INTS)
        said.append(struct.pack(">i", length) + vote)
    return said


def _spoiled(dice: random.Random, data: bytes) -> bytes:
    """Half of it as it is; of the rest each has a few bytes changed, lost or added."""
    if not data or dice.randrange(2):
        return data
    changed = bytearray(data)
    where = dice.randrange(len(changed))
    kind = dice.randrange(4)
    if kind == 0:
        changed[where] = dice.randrange(256)
    elif kind == 1:
        del changed[where:]
    elif kind == 2:
        changed[where:where] = dice.randbytes(dice.randrange(1, 9))
    else:
        changed[where : where + 4] = struct.pack(">i", dice.choice(_INTS))
    return bytes(changed)


def _attack(pack: Pack, dice: random.Random) -> Callable[[], None]:
    """One connection to one member, whatever it is doing; what is returned ends it."""
    member = pack.members[dice.choice(list(pack.members))]
    link = Link(dice.choice((ELECTION, QUORUM)))
    member.accepted(link)
    epoch = max(each.epochs.accepted for each in pack.members.values())
    for piece in _learner(dice, epoch) if link.kind == QUORUM else _voter(dice):
        if not link.closing:
            member.heard(link, _spoiled(dice, piece))
        if not dice.randrange(3):
            pack.run(10)
    pack.run(10)

    def leave() -> None:
        if not link.gone:
            member.lost(link)

    if dice.randrange(8):
        leave()
    return leave


def _run(rounds: int, attacks: int, seed: int) -> None:
    for number in range(rounds):
        dice = random.Random(f"{seed}:{number}")
        pack = three()
        pack.start()
        pack.run(dice.choice((10, 300, 1000)))
        try:
            for leave in [_attack(pack, dice) for _ in range(attacks)]:
                leave()
            pack.run(10_000)
            assert pack.serving == [1, 2, 3], pack.notes[-20:]
            assert len(pack.members[pack.leader].role.learners) == 2  # type: ignore[union-attr]
            assert Client(pack, pack.follower()).create(b"/after") == OK
            pack.same()
        except BaseException as error:
            raise AssertionError(f"round {number} of seed {seed}") from error


def test_nonsense_from_who_is_no_member_breaks_nothing() -> None:
    _run(3, 40, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_much_nonsense_from_who_is_no_member_breaks_nothing() -> None:
    _run(200, 60, seed=2)
