"""What members of an ensemble say to each other: quorum packets, election messages, their bodies.

A quorum link is a plain stream of jute records without lengths around them; an election link is
one initial message and then int32-framed notifications. Rules: what was read from another member
and does not fit raises `MarshallingError`; nothing here decides what a message means.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from coterie.errors import MarshallingError
from coterie.values import Id

_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")

PROTOCOL_VERSION: Final = 0x10000
"""Of the quorum protocol: Zab 1.0. Who says less knows neither LEADERINFO nor ACKEPOCH."""

MIN_LONG: Final = -(1 << 63)
MAX_LONG: Final = (1 << 63) - 1

# Quorum packets ---------------------------------------------------------------------------------


class Kind:
    """The types of quorum packets."""

    REQUEST: Final = 1
    PROPOSAL: Final = 2
    ACK: Final = 3
    COMMIT: Final = 4
    PING: Final = 5
    REVALIDATE: Final = 6
    SYNC: Final = 7
    INFORM: Final = 8
    COMMIT_AND_ACTIVATE: Final = 9
    NEWLEADER: Final = 10
    FOLLOWERINFO: Final = 11
    UPTODATE: Final = 12
    DIFF: Final = 13
    TRUNC: Final = 14
    SNAP: Final = 15
    OBSERVERINFO: Final = 16
    LEADERINFO: Final = 17
    ACKEPOCH: Final = 18
    INFORM_AND_ACTIVATE: Final = 19


KIND_NAMES: Final[dict[int, str]] = {
    number: name for name, number in vars(Kind).items() if isinstance(number, int)
}

_EMPTY: Final = struct.Struct(">iqii")
"""type, zxid, null data, null authinfo."""
_HEAD: Final = struct.Struct(">iqi")
"""type, zxid, length of the data."""
_NULL: Final = b"\xff\xff\xff\xff"
_IDS_MAX: Final = 1024
"""Identities of one client; more is a lie."""

Ids = Sequence[tuple[str, str]]


def packet(kind: int, zxid: int, data: bytes | None = None, ids: Ids | None = None) -> bytes:
    """One quorum packet; `ids` are the identities of the client whose request it carries."""
    if ids is None:
        if data is None:
            return _EMPTY.pack(kind, zxid, -1, -1)
        return _HEAD.pack(kind, zxid, len(data)) + data + _NULL
    parts = [_HEAD.pack(kind, zxid, -1 if data is None else len(data)), data or b""]
    parts.append(_INT.pack(len(ids)))
    for pair in ids:
        for word in pair:
            raw = word.encode("utf-8", "surrogatepass")
            parts += (_INT.pack(len(raw)), raw)
    return b"".join(parts)


class Packet:
    """One quorum packet as read."""

    __slots__ = ("data", "ids", "kind", "zxid")

    def __init__(
        self, kind: int, zxid: int, data: bytes | None, ids: tuple[Id, ...] | None
    ) -> None:
        self.kind = kind
        self.zxid = zxid
        self.data = data
        self.ids = ids

    def __repr__(self) -> str:
        name = KIND_NAMES.get(self.kind, str(self.kind))
        return f"<{name} {self.zxid:#x} {'null' if self.data is None else len(self.data)}>"


class PacketReader:
    """The stream of a quorum link: feed bytes, get packets one by one, or what is left of it.

    Bytes that wait for the rest of their packet are joined once, however small the pieces.
    """

    __slots__ = (
        "_data",
        "_have",
        "_ids",
        "_ids_bytes",
        "_need",
        "_parts",
        "_pos",
        "data_bytes_max",
    )

    def __init__(self, data_bytes_max: int) -> None:
        self.data_bytes_max = data_bytes_max
        """The longest data of a packet, and all its identities together."""
        self._data = b""
        self._pos = 0
        self._parts: list[bytes] = []
        """What came behind `_data`."""
        self._have = 0
        """How much is unread, in all of it."""
        self._need = 20
        """With less than this there is no whole packet."""
        self._ids_bytes = b""
        self._ids: tuple[Id, ...] = ()
        """The last identities, and their bytes: many clients have the same."""

    def feed(self, data: bytes) -> None:
        if self._have:
            self._parts.append(data)
            self._have += len(data)
        else:
            self._data = data
            self._pos = 0
            self._have = len(data)

    def next(self) -> Packet | None:
        """The next packet, or None until there is more.

        Raises `MarshallingError` where a length lies, before its bytes are waited for.
        """
        if self._have < self._need:
            return None
        if self._parts:
            self._join()
        data, pos = self._data, self._pos
        kind, zxid, length, after = _EMPTY.unpack_from(data, pos)
        if length == -1 and after == -1:
            self._pos = pos + 20
            self._have -= 20
            self._need = 20
            return Packet(kind, zxid, None, None)
        start = pos + 16
        body: bytes | None = None
        end = start
        if length >= 0:
            if length > self.data_bytes_max:
                raise MarshallingError
            end = start + length
            if end + 4 > len(data):
                self._need = 20 + length
                return None
            body = data[start:end]
        elif length != -1:
            raise MarshallingError
        ids: tuple[Id, ...] | None = None
        if data[end : end + 4] == _NULL:
            end += 4
        else:
            found = self._read_ids(end)
            if found is None:
                return None
            ids, end = found
        self._have -= end - pos
        self._pos = end
        self._need = 20
        return Packet(kind, zxid, body, ids)

    def rest(self) -> bytes:
        """What came and was not read; it is then no longer here."""
        if self._parts:
            self._join()
        left = self._data[self._pos :]
        self._data = b""
        self._pos = self._have = 0
        self._need = 20
        return left

    def _join(self) -> None:
        self._parts.insert(0, self._data[self._pos :])
        self._data = b"".join(self._parts)
        self._parts.clear()
        self._pos = 0

    def _read_ids(self, start: int) -> tuple[tuple[Id, ...], int] | None:
        """The identities at `start` and where they end, or None until all of them are there."""
        data = self._data
        known = self._ids_bytes
        if known and data.startswith(known, start):
            return self._ids, start + len(known)
        pos = start + 4
        count: int = _INT.unpack_from(data, start)[0]
        if not 0 <= count <= _IDS_MAX:
            raise MarshallingError
        words: list[str] = []
        for _ in range(2 * count):
            if pos + 4 > len(data):
                self._need = pos + 4 - self._pos
                return None
            length: int = _INT.unpack_from(data, pos)[0]
            pos += 4
            if length < -1 or pos + length - start > self.data_bytes_max:
                raise MarshallingError
            length = max(length, 0)
            if pos + length > len(data):
                self._need = pos + length - self._pos
                return None
            words.append(data[pos : pos + length].decode("utf-8", "replace"))
            pos += length
        self._ids_bytes = data[start:pos]
        self._ids = tuple(map(Id, words[::2], words[1::2]))
        return self._ids, pos


# Bodies of quorum packets -----------------------------------------------------------------------

_LEARNER: Final = struct.Struct(">qiq")
_REQUEST: Final = struct.Struct(">qii")
_TOUCH: Final = struct.Struct(">qi")
_VALID: Final = struct.Struct(">q?")


class LearnerInfo(NamedTuple):
    """FOLLOWERINFO and OBSERVERINFO: who comes."""

    server_id: int
    protocol_version: int = PROTOCOL_VERSION
    config_version: int = 0

    def encode(self) -> bytes:
        return _LEARNER.pack(*self)

    @classmethod
    def decode(cls, data: bytes | None) -> LearnerInfo:
        """Releases before 3.4 sent the id alone, those before 3.5 no version of the config."""
        if data is None or len(data) < 8:
            raise MarshallingError
        server_id = _LONG.unpack_from(data)[0]
        protocol = _INT.unpack_from(data, 8)[0] if len(data) >= 12 else 1
        config = _LONG.unpack_from(data, 12)[0] if len(data) >= 20 else 0
        return cls(server_id, protocol, config)


def encode_int(value: int) -> bytes:
    """The body of LEADERINFO (protocol version) and of ACKEPOCH (current epoch, or -1)."""
    return _INT.pack(value)


def decode_int(data: bytes | None) -> int:
    if data is None or len(data) < 4:
        raise MarshallingError
    value: int = _INT.unpack_from(data)[0]
    return value


class Forwarded(NamedTuple):
    """REQUEST: a client's request on its way to the leader; its identities are the packet's."""

    session_id: int
    cxid: int
    op: int
    body: bytes

    def encode(self) -> bytes:
        return _REQUEST.pack(self.session_id, self.cxid, self.op) + self.body

    @classmethod
    def decode(cls, data: bytes | None) -> Forwarded:
        if data is None or len(data) < 16:
            raise MarshallingError
        session_id, cxid, op = _REQUEST.unpack_from(data)
        return cls(session_id, cxid, op, data[16:])


class Touch(NamedTuple):
    """A session that a learner heard of, and its timeout; alone the question of REVALIDATE."""

    session_id: int
    timeout_ms: int


def encode_touches(touches: Iterable[tuple[int, int]]) -> bytes:
    """The body of a learner's PING, and, of one, that of its REVALIDATE."""
    return b"".join([_TOUCH.pack(*touch) for touch in touches])


def decode_touches(data: bytes | None) -> list[Touch]:
    if data is None:
        return []
    if len(data) % _TOUCH.size:
        raise MarshallingError
    return [Touch(*touch) for touch in _TOUCH.iter_unpack(data)]


def decode_touch(data: bytes | None) -> Touch:
    if data is None or len(data) < _TOUCH.size:
        raise MarshallingError
    return Touch(*_TOUCH.unpack_from(data))


def encode_revalidated(session_id: int, valid: bool) -> bytes:
    """The body of the leader's REVALIDATE."""
    return _VALID.pack(session_id, valid)


def decode_revalidated(data: bytes | None) -> tuple[int, bool]:
    if data is None or len(data) < _VALID.size:
        raise MarshallingError
    session_id, valid = _VALID.unpack_from(data)
    return session_id, valid


# The election port: who dials -------------------------------------------------------------------

_V1: Final = -65536
_V2: Final = -65535
_ADDRESS_BYTES_MAX: Final = 2048
_WILDCARDS: Final = frozenset({"0.0.0.0", "::", "0:0:0:0:0:0:0:0", "0"})
_INITIAL: Final = struct.Struct(">qqi")

Endpoint = tuple[str, int]


class Initial(NamedTuple):
    """The initial message: the id of the member that dialled, and where it can be dialled."""

    server_id: int
    addresses: tuple[Endpoint, ...] = ()

    def encode(self) -> bytes:
        """As 3.5 and later: one address, because only members with the multi-address feature on
        understand more. It has to leave in one segment: Apache reads the address with one call."""
        host, port = self.addresses[0]
        text = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        return _INITIAL.pack(_V1, self.server_id, len(text)) + text


def read_initial(data: bytes) -> tuple[Initial, int] | None:
    """The initial message at the start of `data` and its length; None until it is whole."""
    if len(data) < 8:
        return None
    version: int = _LONG.unpack_from(data)[0]
    if version >= 0:
        # Before 3.5 there was no version: it is the id, and nothing follows.
        return Initial(version), 8
    if version not in (_V1, _V2):
        raise MarshallingError
    if len(data) < 20:
        return None
    _, server_id, length = _INITIAL.unpack_from(data)
    if not 0 < length <= _ADDRESS_BYTES_MAX:
        raise MarshallingError
    if len(data) < 20 + length:
        return None
    try:
        texts = data[20 : 20 + length].decode().split("|")
    except UnicodeDecodeError as error:
        raise MarshallingError from error
    found = [_endpoint(text) for text in texts]
    return Initial(server_id, tuple(e for e in found if e[0] not in _WILDCARDS)), 20 + length


def _endpoint(text: str) -> Endpoint:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise MarshallingError
    if not colon or not host or not (port.isascii() and port.isdigit() and len(port) < 6):
        raise MarshallingError
    return host, int(port)


# Both ports: proofs -----------------------------------------------------------------------------

SASL_NAME: Final = "zookeeper-quorum/zk-quorum-sasl-md5"
"""The service and the host that every member is called by."""
PROOF_MAGIC: Final = bytes.fromhex("5f2435013501edcc")
"""What begins a packet of SASL, and nothing else that a member says first."""
_PROOF: Final = struct.Struct(">8sii")
"""magic, status, length of the token."""


class Proof:
    """The status in a packet of SASL."""

    IN_PROGRESS: Final = 0
    SUCCESS: Final = 1
    ERROR: Final = -1


def proof_packet(status: int, token: bytes | None) -> bytes:
    """One packet of SASL, which has no length around it."""
    if token is None:
        return _PROOF.pack(PROOF_MAGIC, status, -1)
    return _PROOF.pack(PROOF_MAGIC, status, len(token)) + token


def read_proof(data: bytes, token_bytes_max: int) -> tuple[int, bytes | None, int] | None:
    """Status, token and length of the packet of SASL at the start of `data`; None until it is
    whole. Raises `MarshallingError` for what is none, as soon as that can be seen."""
    if not PROOF_MAGIC.startswith(data[:8]):
        raise MarshallingError
    if len(data) < _PROOF.size:
        return None
    _, status, length = _PROOF.unpack_from(data)
    if not -1 <= length <= token_bytes_max or not -1 <= status <= 1:
        raise MarshallingError
    if length < 0:
        return status, None, _PROOF.size
    end = _PROOF.size + length
    return (status, data[_PROOF.size : end], end) if len(data) >= end else None


# The election port: notifications ---------------------------------------------------------------


class State:
    """What a member is doing, as a notification says it."""

    LOOKING: Final = 0
    FOLLOWING: Final = 1
    LEADING: Final = 2
    OBSERVING: Final = 3


STATE_NAMES: Final = ("LOOKING", "FOLLOWING", "LEADING", "OBSERVING")
NOTIFICATION_VERSION: Final = 2
_VOTE: Final = struct.Struct(">iqqq")
_NOTIFICATION: Final = struct.Struct(">iqqqqii")


class Notification(NamedTuple):
    """What a member votes for, and what it is doing itself."""

    state: int
    leader: int
    zxid: int
    round: int
    """The election epoch: a counter that all who vote together agree on."""
    peer_epoch: int
    """The epoch of the proposed leader."""
    version: int = NOTIFICATION_VERSION
    config: bytes = b""
    """The sender's configuration, as text."""

    def encode(self) -> bytes:
        state, leader, zxid, epoch, peer_epoch, version, config = self
        return (
            _NOTIFICATION.pack(state, leader, zxid, epoch, peer_epoch, version, len(config))
            + config
        )

    @classmethod
    def decode(cls, data: bytes) -> Notification:
        """28 bytes were sent before there was a peer epoch; 40 bytes by 3.4, whose version, if it
        is one, is not honoured; anything longer says its version, and from 2 on its config."""
        size = len(data)
        if size < 28:
            raise MarshallingError
        state, leader, zxid, election_round = _VOTE.unpack_from(data)
        if not State.LOOKING <= state <= State.OBSERVING:
            raise MarshallingError
        if size == 28:
            return cls(state, leader, zxid, election_round, zxid >> 32, 0)
        if size < 40:
            raise MarshallingError
        peer_epoch: int = _LONG.unpack_from(data, 28)[0]
        version: int = _INT.unpack_from(data, 36)[0] if size > 40 else 0
        config = b""
        if version > 1:
            if size < 44:
                raise MarshallingError
            length: int = _INT.unpack_from(data, 40)[0]
            if not 0 <= length <= size - 44:
                raise MarshallingError
            config = data[44 : 44 + length]
        return cls(state, leader, zxid, election_round, peer_epoch, version, config)


def config_version(config: bytes) -> int:
    """The version in the text of a configuration: its last line says it. 0 if it does not."""
    key, _, value = config.rpartition(b"\n")[2].strip().partition(b"=")
    if key != b"version":
        return 0
    try:
        return int(value, 16)
    except ValueError:
        return 0
