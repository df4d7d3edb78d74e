"""What scanners, broken programs and strangers send to a port, from a seed.

Rule: nothing here pretends to be a member that there is, with what it might say. Who does so can
end a leadership, in Apache's ensembles as well, and only TLS or SASL between members stops it.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from coterie.wire import peers, requests
from coterie.wire.framing import LENGTH
from coterie.wire.peers import MAX_LONG, MIN_LONG, Initial, Kind, LearnerInfo, Notification
from tests.fuzz.seeds import SEEDS, spoiled
from tests.fuzz.target import CONNECT

_WAIT_S_MAX: Final = 0.05
_LARGE: Final = 200_000

TLS_HELLO: Final = bytes.fromhex(
    "16030100c8010000c403030102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00000813"
    "0113021303c02f010000930000000e000c0000096c6f63616c686f7374000a00080006001d00170018000d001400"
    "1204030804040105030805050108060601020100"
)
"""Cut short: what it promises never comes."""

_GREETINGS: Final = (
    TLS_HELLO,
    b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x01\x00\x80",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    b"\x00\x00\x00\x54\xffSMB\x72\x00\x00\x00\x00\x18\x01\x28" + bytes(60),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /commands/monitor HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"OPTIONS rtsp://x RTSP/1.0\r\n\r\n",
    b"EHLO scanner\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x05\x01\x00",
    b"stats\r\n",
    b"\x00\x00\x00\x01",
    b"JRMI\x00\x02K",
    b"\r\n\r\n",
)
_LENGTHS: Final = (-1, 0, 1, 2, 4, 2**20, 2**31 - 1, -(2**31), 0x01000000)
_IDS: Final = (-1, 0, 4, 77, 1 << 40, MIN_LONG)
"""Of members that there are not."""


def _anything(dice: random.Random) -> list[bytes]:
    return [dice.randbytes(dice.choice((1, 3, 4, 5, 17, 100, 4096, _LARGE)))]


def _greeting(dice: random.Random) -> list[bytes]:
    return [dice.choice(_GREETINGS)]


def _length(dice: random.Random) -> list[bytes]:
    length = struct.pack(">i", dice.choice(_LENGTHS))
    return [length, dice.randbytes(dice.randrange(60))]


def _client(dice: random.Random) -> list[bytes]:
    """A session, or a part of what begins one; then requests that are none."""
    if not dice.randrange(3):
        return [CONNECT[: dice.randrange(len(CONNECT))]]
    garbage = dice.randbytes(dice.randrange(1, 200))
    # A session that is said to be there, so that nothing is left behind that has to expire.
    hello = requests.ConnectRequest(0, 0, 10_000, dice.getrandbits(60), bytes(16)).encode()
    begins = LENGTH.pack(len(hello) + 1) + hello + b"\0"
    return [begins, garbage if dice.randrange(2) else spoiled(dice), dice.choice(SEEDS)]


def _election(dice: random.Random) -> list[bytes]:
    """An initial message of nobody, whole or cut, and votes."""
    address = (dice.choice(("127.0.0.1", "nobody.invalid", "x" * 300)), dice.choice((0, 1, 65535)))
    initial = Initial(dice.choice((*_IDS, MAX_LONG)), (address,)).encode()
    if dice.randrange(2):
        return [initial[: dice.randrange(len(initial))]]
    if not dice.randrange(3):
        return [struct.pack(">qqi", -65535, dice.choice(_IDS), dice.choice(_LENGTHS)), b"x" * 50]
    leader, zxid, turn, epoch = dice.choices((0, 1, -1, 1 << 50, MAX_LONG, MIN_LONG), k=4)
    state, config = dice.randrange(-1, 6), b"version=7fffffff"
    vote = Notification(state, leader, zxid, turn, epoch, 2, config).encode()
    length = struct.pack(">i", dice.choice((len(vote), *_LENGTHS)))
    return [initial, length + vote, dice.randbytes(30)]


def _quorum(dice: random.Random) -> list[bytes]:
    """A learner that nobody knows, one that lies about epochs, and packets out of turn."""
    impossible = dice.choice((1 << 25, 1 << 30, 2**31 - 1)) << 32
    who = LearnerInfo(dice.choice((1, 2, 3)), 0x10000, dice.choice((0, 1 << 40)))
    lie = peers.packet(Kind.FOLLOWERINFO, impossible, who.encode())
    stranger = peers.packet(Kind.OBSERVERINFO, 0, LearnerInfo(dice.choice(_IDS)).encode())
    nonsense = peers.packet(dice.randrange(-2, 25), dice.getrandbits(62), dice.randbytes(12))
    if nonsense[:4] == struct.pack(">i", Kind.FOLLOWERINFO):
        nonsense = nonsense[:15]
    acks = peers.packet(Kind.ACKEPOCH, dice.getrandbits(62), peers.encode_int(-1))
    return dice.choice(
        (
            [lie],
            [lie[: dice.randrange(len(lie))]],
            [nonsense, dice.randbytes(50)],
            [stranger, dice.randbytes(50)],
            [stranger, acks, nonsense],
            [struct.pack(">iqi", Kind.OBSERVERINFO, 0, dice.choice(_LENGTHS)), bytes(300)],
        )
    )


_HOST: Final = b"Host: 127.0.0.1\r\n"
_HTTP: Final = (
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + _HOST + b"X-A: " + b"a" * 100_000,
    b"GET / HTTP/1.1\r\n" + _HOST + b"X: y\r\n" * 10_000,
    b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: -5\r\n\r\nabc",
    b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: " + b"9" * 20 + b"\r\n\r\nabc",
    b"PUT /znodes/v1/a HTTP/1.1\r\n"
    + _HOST
    + b"X-Requested-By: x\r\nContent-Length: 90000000\r\n\r\n"
    + bytes(_LARGE),
    b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 12 + b"\r\n",
    b"\xff\xfe\x00 / HTTP/9.9\r\n\r\n",
    b"BREW /commands HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /commands/%00%ff/../../etc/passwd HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /commands/ruok HTTP/1.1\r\nHost: evil.example\r\nHost: b\r\n\r\n",
    b"GET /commands/monitor HTTP/1.1\r\n" + _HOST + b"\r\n",
)


def _http(dice: random.Random) -> list[bytes]:
    text = dice.choice(_HTTP)
    return [text if dice.randrange(3) else text[: dice.randrange(len(text))]]


_OWN: Final = {
    "clients": _client,
    "secure": _client,
    "quorum": _quorum,
    "election": _election,
    "http": _http,
}
KINDS: Final = tuple(_OWN)
"""The kinds of ports."""


def said(kind: str, dice: random.Random) -> Sequence[bytes]:
    """What one connection says at a port of this kind; sometimes what is meant for another."""
    choice = dice.randrange(10)
    if choice == 0:
        return []
    if choice == 1:
        return _anything(dice)
    if choice == 2:
        return _greeting(dice)
    if choice == 3:
        return _length(dice)
    if choice == 4:
        return _OWN[dice.choice(KINDS)](dice)
    return _OWN[kind](dice)


def attack(port: int, kind: str, dice: random.Random) -> None:
    """One connection that says something and ends in one of the ways in which connections do."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock, suppress(OSError):
        for piece in said(kind, dice):
            sock.sendall(piece)
        ending = dice.randrange(4)
        if ending == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == 1:
            sock.shutdown(socket.SHUT_WR)
        if ending in (1, 2):
            sock.settimeout(_WAIT_S_MAX)
            sock.recv(65536)
