"""Who the members of an ensemble are, and which of them together are a quorum.

Rules:
- the text is Apache's (`QuorumVerifier`): server lines as zoo.cfg has them, and a version. Members
  tell it to each other, and /zookeeper/config shows it;
- a quorum is more than half of those who vote. With groups it is more than half of the groups,
  each by more than half of its weight; a group that weighs nothing does not count;
- only participants vote: who else is named in a set that is asked about adds nothing to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address
from struct import unpack
from typing import Final, Self

Endpoint = tuple[str, int]
"""Host and port."""

ID_MAX: Final = 255
"""Session ids have eight bits for the server that made them."""

_HOST: Final = r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]\s]+))"
_ADDRESS: Final = re.compile(
    _HOST + r":(?P<quorum>[0-9]+):(?P<election>[0-9]+)(?:\s*:\s*(?P<role>\w+))?"
)
_CLIENT: Final = re.compile(f"(?:{_HOST}:)?(?P<port>[0-9]+)")
_ANYWHERE: Final = "0.0.0.0"


class EnsembleError(ValueError):
    """These lines make no ensemble: which one, and why."""

    def __init__(self, reason: str, key: str | None = None) -> None:
        self.reason = reason
        self.key = key
        super().__init__(f"{key}: {reason}" if key else reason)


class Role(Enum):
    """What a member does: a participant votes, an observer only hears what was decided."""

    PARTICIPANT = "participant"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True)
class Seat:
    """One member: its number and where it is. `quorum` and `election` go together in pairs.

    `client` and `secure` are where its clients connect, if its server line says that.
    """

    id: int
    quorum: tuple[Endpoint, ...]
    election: tuple[Endpoint, ...]
    role: Role = Role.PARTICIPANT
    client: Endpoint | None = None
    secure: Endpoint | None = None

    def text(self) -> str:
        """What stands behind `server.N=`."""
        pairs = sorted(zip(self.quorum, self.election, strict=True), key=lambda pair: pair[0][0])
        parts = ["|".join(f"{_show(quorum)}:{election[1]}" for quorum, election in pairs)]
        parts[0] += f":{self.role.value}"
        if self.client is not None:
            parts.append(_show(self.client))
        if self.secure is not None:
            parts += [""] * (self.client is None)
            parts.append(_show(self.secure))
        return ";".join(parts)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Its members by id, ascending. Raises `EnsembleError` where they make no ensemble."""

    seats: dict[int, Seat]
    weights: dict[int, int] = field(default_factory=dict)
    groups: dict[int, tuple[int, ...]] = field(default_factory=dict)
    version: int = 0
    voters: frozenset[int] = field(init=False, compare=False)
    observers: frozenset[int] = field(init=False, compare=False)
    _weighed: list[tuple[tuple[int, ...], int]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        voters = [seat.id for seat in self.seats.values() if seat.role is Role.PARTICIPANT]
        self._set("seats", dict(sorted(self.seats.items())))
        self._set("groups", {id: tuple(sorted(ids)) for id, ids in sorted(self.groups.items())})
        self._set("voters", frozenset(voters))
        self._set("observers", frozenset(self.seats) - self.voters)
        if not voters:
            reason = "there are only observers" if self.seats else "there is no server"
            raise EnsembleError(f"{reason}: without participants nobody can be elected")
        self._check_addresses()
        if self.groups or self.weights:
            self._check_groups()
        weighed = [(ids, sum(map(self.weights.__getitem__, ids))) for ids in self.groups.values()]
        self._set("_weighed", [(ids, weight) for ids, weight in weighed if weight])
        if self.groups and not self._weighed:
            raise EnsembleError("every group has weight 0: nobody can be elected")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_addresses(self) -> None:
        """No two members listen at one place: that is a line copied and not changed."""
        taken: dict[Endpoint, int] = {}
        for seat in self.seats.values():
            for endpoint in dict.fromkeys((*seat.quorum, *seat.election)):
                other = taken.setdefault(endpoint, seat.id)
                if other != seat.id:
                    reason = f"{_show(endpoint)} is also the address of server.{other}"
                    raise EnsembleError(reason, f"server.{seat.id}")

    def _check_groups(self) -> None:
        grouped: dict[int, int] = {}
        for group, ids in self.groups.items():
            for id in ids:
                if id not in self.seats:
                    raise EnsembleError(f"there is no server.{id}", f"group.{group}")
                if grouped.setdefault(id, group) != group or ids.count(id) > 1:
                    reason = f"server {id} is in group {grouped[id]} already"
                    raise EnsembleError(reason, f"group.{group}")
        for id in self.weights:
            if id not in self.seats:
                raise EnsembleError(f"there is no server.{id}", f"weight.{id}")
        for id in sorted(self.voters):
            if id not in grouped:
                reason = "is in no group: with groups or weights every participant is in one"
                raise EnsembleError(reason, f"server.{id}")
        for id in sorted(grouped.keys() - self.weights.keys() - self.voters):
            reason = f"server {id} is an observer: in a group it needs a weight.{id}"
            raise EnsembleError(reason, f"group.{grouped[id]}")
        weights = {id: self.weights.get(id, 1) for id in self.voters} | self.weights
        self._set("weights", dict(sorted(weights.items())))

    @classmethod
    def of(cls, lines: Mapping[str, str], version: int = 0) -> Self:
        """The ensemble of these keys and values: `server.N`, `group.N`, `weight.N`, `version`."""
        seats: dict[int, Seat] = {}
        weights: dict[int, int] = {}
        groups: dict[int, tuple[int, ...]] = {}
        known: set[tuple[str, int]] = set()
        for key, value in lines.items():
            kind, _, number = key.partition(".")
            if kind == "server":
                id = _server_id(number, key)
                seats[id] = _seat(id, value, key)
            elif kind == "weight":
                id = _server_id(number, key)
                weights[id] = _number(value, key, "a weight")
            elif kind == "group":
                id = _number(number, key, "a group's number")
                groups[id] = tuple(_server_id(part.strip(), key) for part in value.split(":"))
            elif key == "version":
                version = id = _version(value)
            else:
                raise EnsembleError("is no line of an ensemble", key)
            if (kind, id) in known:  # server.1 and server.01 are the same
                raise EnsembleError("is there twice", key)
            known.add((kind, id))
        return cls(seats, weights, groups, version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The ensemble that `text` tells of, as another member or /zookeeper/config has it."""
        lines: dict[str, str] = {}
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            key, equals, value = line.partition("=")
            if not equals:
                raise EnsembleError(f"{line!r} has no =")
            lines[key.strip()] = value.strip()
        return cls.of(lines)

    def text(self) -> str:
        """What members tell each other."""
        lines = [f"server.{seat.id}={seat.text()}" for seat in self.seats.values()]
        for group, ids in self.groups.items():
            lines.append(f"group.{group}={':'.join(map(str, ids))}")
        lines += [f"weight.{id}={weight}" for id, weight in self.weights.items()]
        return "\n".join([*lines, f"version={self.version:x}"])

    def is_quorum(self, ids: Iterable[int]) -> bool:
        """Whether what these members agree on is decided."""
        present = self.voters.intersection(ids)
        if not self.groups:
            return 2 * len(present) > len(self.voters)
        won = sum(
            2 * sum(self.weights[id] for id in members if id in present) > weight
            for members, weight in self._weighed
        )
        return 2 * won > len(self._weighed)

    def weight(self, id: int) -> int:
        """How much a member's vote weighs. Who weighs nothing cannot be elected."""
        return self.weights.get(id, 0) if self.groups else 1


def _show(endpoint: Endpoint) -> str:
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _number(text: str, key: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise EnsembleError(f"{text!r} is not {what}: a whole number, 0 or more", key)
    return int(text)


def _server_id(text: str, key: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > ID_MAX:
        raise EnsembleError(f"{text!r} is not a server's number: 0 to {ID_MAX}", key)
    return int(text)


def _version(text: str) -> int:
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", text):
        raise EnsembleError(f"{text!r} is not a version: a hexadecimal number", "version")
    return int(text, 16)


def _port(text: str, key: str) -> int:
    if len(text) > 5 or not 0 < int(text) < 65536:
        raise EnsembleError(f"{text} is not a port from 1 to 65535", key)
    return int(text)


def _seat(id: int, text: str, key: str) -> Seat:
    """What `server.N=` says: `host:port:port[:role][|...][;[[host:]port][;[host:]port]]`."""
    addresses, *clients = (part.strip() for part in text.split(";"))
    if len(clients) > 2:
        raise EnsembleError(f"{text!r} has more than two parts for clients", key)
    pairs: list[tuple[Endpoint, Endpoint]] = []
    roles: set[Role] = set()
    for address in addresses.split("|"):
        match = _ADDRESS.fullmatch(address.strip())
        if match is None:
            reason = (
                f"{address!r} is not host:port:port, for the quorum and for elections, or "
                "host:port:port:observer; an IPv6 address stands in brackets"
            )
            raise EnsembleError(reason, key)
        host = _host(match, key)
        quorum, election = (_port(match[name], key) for name in ("quorum", "election"))
        if quorum == election:
            raise EnsembleError(f"the quorum and the election port are both {quorum}", key)
        pairs.append(((host, quorum), (host, election)))
        if match["role"] is not None:
            roles.add(_role(match["role"], key))
    if len(roles) > 1:
        raise EnsembleError("its addresses have two roles", key)
    endpoints = [_client(part, key) for part in clients]
    client, secure, *_ = (*endpoints, None, None)
    return Seat(
        id,
        tuple(quorum for quorum, _ in pairs),
        tuple(election for _, election in pairs),
        roles.pop() if roles else Role.PARTICIPANT,
        client,
        secure,
    )


def _role(text: str, key: str) -> Role:
    try:
        return Role(text.lower())
    except ValueError:
        raise EnsembleError(f"{text!r} is not participant or observer", key) from None


def _client(text: str, key: str) -> Endpoint | None:
    if not text:
        return None
    match = _CLIENT.fullmatch(text)
    if match is None:
        raise EnsembleError(f"{text!r} is not a client port, or host:port", key)
    return (_host(match, key) or _ANYWHERE, _port(match["port"], key))


def _host(match: re.Match[str], key: str) -> str:
    """The host of an address; one of IPv6 is written out as Java does it, with all its zeros."""
    literal, host = match.group("v6", "host")
    if literal is None:
        return host or ""
    try:
        address = IPv6Address(literal)
    except ValueError:
        raise EnsembleError(f"{literal!r} is not an IPv6 address", key) from None
    scope = f"%{address.scope_id}" if address.scope_id else ""
    return ":".join(f"{group:x}" for group in unpack(">8H", address.packed)) + scope
