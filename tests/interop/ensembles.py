"""Ensembles of any kinds of servers: started, steered, paused, killed, and compared.

Rules: members are numbered from 1, in the order of their kinds. Every member gets the same zoo.cfg
but for its own places. What an ensemble does is asked by four-letter words, which cost no txn, so
that a test decides what is written. Of members with equal histories the highest number leads.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol, Self

from coterie.testing.ports import free_ports
from tests.compat import raw
from tests.compat.gardener import SUPER, Znode, look
from tests.compat.servers import Apache, Coterie, Server, Settings

CONFIG: Final = "/zookeeper/config"
WAIT_S_MAX: Final = 45.0

TICK_MS: Final = 500
SETTINGS: Final[Settings] = {
    "tickTime": TICK_MS,
    "initLimit": 20,
    "syncLimit": 6,
    "maxSessionTimeout": 60_000,
    "snapCount": 1000,
    **SUPER,
}

_POLL_S: Final = 0.05
_LOOKS: Final = 3
_SHOWN: Final = 10
_WORD_S_MAX: Final = 1.0
_COUNT_S_MAX: Final = 20.0
_STACKS_S: Final = 1.0
_SYNCS: Final = "org.apache.zookeeper.server.quorum.LearnerHandler"


class TellingApache(Apache):
    """Apache's server with a log that says how learners are brought up to date."""

    log_level = "info"
    jaas: Path | None = None
    """Its users and passwords, which Apache has from the command line of its JVM."""

    def command(self) -> list[str]:
        java, *rest = super().command()
        told = [f"-Dorg.slf4j.simpleLogger.log.{_SYNCS}=debug"]
        if self.jaas is not None:
            told.append(f"-Djava.security.auth.login.config={self.jaas}")
        return [java, *told, *rest]


KINDS: Final[Mapping[str, type[Server]]] = {"coterie": Coterie, "apache": TellingApache}

# Members 2 and 3 can lead when all have the same history: in both mixes they are of two kinds.
MIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "coterie-apache-coterie": ("coterie", "apache", "coterie"),
    "apache-coterie-apache": ("apache", "coterie", "apache"),
}
ALL_WELL: Final = ["follower", "follower", "leader"]
CASES: Final = [(mix, leader) for mix in MIXES for leader in (2, 3)]


class Places(Protocol):
    """Where members are: addresses, and what their processes are started by."""

    def host(self, number: int) -> str: ...

    def within(self, number: int) -> list[str]: ...


class Ensemble:
    """Its members; all are killed at the end of a `with` block."""

    def __init__(
        self,
        directory: Path,
        kinds: Sequence[str],
        settings: Settings | None = None,
        places: Places | None = None,
    ) -> None:
        self.members: dict[int, Server] = {}
        self.paused: set[int] = set()
        for number, kind in enumerate(kinds, 1):
            member = KINDS[kind](directory / str(number), {**SETTINGS, **(settings or {})})
            if places is not None:
                member.host = places.host(number)
                member.within = places.within(number)
                member.settings["clientPortAddress"] = member.host
            (member.data / "myid").write_text(f"{number}\n")
            self.members[number] = member
        ports = iter(free_ports(3 * len(kinds)))
        lines: dict[str, str | int] = {}
        for number, member in self.members.items():
            member.port = member.settings["clientPort"] = next(ports)
            lines[f"server.{number}"] = f"{member.host}:{next(ports)}:{next(ports)}"
        for member in self.members.values():
            member.settings.update(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for member in self.members.values():
            if member.running:
                member.kill()

    def __getitem__(self, number: int) -> Server:
        return self.members[number]

    def spawn(self, *numbers: int) -> None:
        """Start processes without waiting for them; without numbers, those that do not run."""
        for number in numbers or [n for n, member in self.members.items() if not member.running]:
            self.members[number].spawn()

    def start(self, *numbers: int) -> Self:
        """Start processes and wait until every running member serves."""
        self.spawn(*numbers)
        for number, member in self.members.items():
            if member.running and number not in self.paused:
                member.await_serving()
        return self

    def start_led_by(self, leader: int) -> Self:
        """Start all members of a fresh ensemble so that this one leads: not the first."""
        self.start(leader, leader - 1)
        assert self.leader() == leader
        return self.start()

    def kill(self, number: int) -> None:
        """kill -9."""
        self.members[number].kill()
        self.paused.discard(number)

    def pause(self, number: int) -> None:
        self.members[number].pause()
        self.paused.add(number)

    def resume(self, number: int) -> None:
        self.members[number].resume()
        self.paused.discard(number)

    def empty(self, number: int) -> None:
        """Give a member an empty disk, on which it knows no more than who it is."""
        member = self.members[number]
        assert not member.running
        shutil.rmtree(member.data / "version-2")

    def kind(self, number: int) -> str:
        return self.members[number].name

    def of_kind(self, kind: str) -> list[int]:
        return [number for number, member in self.members.items() if member.name == kind]

    def others(self, number: int) -> list[int]:
        return [other for other in self.members if other != number]

    def addresses(self) -> list[tuple[str, int]]:
        return [(member.host, member.port) for member in self.members.values()]

    def client(self, number: int, timeout_ms: int = 10_000, seen_zxid: int = 0) -> raw.Client:
        """A new session at a member."""
        member = self.members[number]
        return raw.Client(
            member.port, host=member.host, timeout_ms=timeout_ms, seen_zxid=seen_zxid
        )

    def moved(self, client: raw.Client, number: int) -> raw.Client:
        """The session of `client`, re-attached at another member."""
        member = self.members[number]
        again = raw.Client(
            member.port,
            host=member.host,
            timeout_ms=client.timeout_ms,
            session_id=client.session_id,
            password=client.password,
        )
        assert again.session_id == client.session_id, "the session is lost"
        return again

    def mode(self, number: int) -> str | None:
        """`leader`, `follower` ... as the member itself says; None if it does not serve."""
        return self.answers(number, b"srvr").get("Mode")

    def answers(self, number: int, word: bytes, wait_s: float = _WORD_S_MAX) -> dict[str, str]:
        """The lines of a four-letter word's answer, as keys and values."""
        member = self.members[number]
        if not member.running or number in self.paused:
            return {}
        try:
            text = raw.word(member.port, word, member.host, wait_s)
        except OSError:
            return {}
        mark = "\t" if word == b"mntr" else ": "
        return dict(line.split(mark, 1) for line in text.splitlines() if mark in line)

    def roles(self) -> list[str | None]:
        """What the members say that they are, in the order of these words."""
        return sorted(map(self.mode, self.members), key=str)

    def leaders(self) -> list[int]:
        return [number for number in self.members if self.mode(number) == "leader"]

    def leader(self) -> int:
        """The one that says that it leads, once there is one."""
        found: list[int] = []

        def one() -> bool:
            found[:] = self.leaders()
            return len(found) == 1

        until(one, lambda: f"leaders: {found}; {self.said()}")
        return found[0]

    def said(self) -> str:
        """The last words of every member."""
        return "\n".join(f"-- {n}\n{member.said()}" for n, member in self.members.items())

    def trees(self) -> dict[int, dict[str, Znode]]:
        """Every znode through each member, of those that run."""
        found = {}
        for number, member in self.members.items():
            if member.running:
                try:
                    found[number] = _without_own(look(member.port, member.host))
                except TimeoutError:
                    raise AssertionError(f"member {number} hangs\n{self._stacks()}") from None
        return found

    def _stacks(self) -> str:
        """What the threads of Apache's members do now: a JVM tells it on SIGQUIT."""
        asked = [m for m in self.members.values() if m.running and m.name == "apache"]
        before = [len(member.lines()) for member in asked]
        for member in asked:
            member.tell(signal.SIGQUIT)
        time.sleep(_STACKS_S)
        return "\n".join(
            line
            for member, start in zip(asked, before, strict=True)
            for line in (member.config.name, *member.lines()[start:])
        )

    def same_tree(self) -> dict[str, Znode]:
        """The tree that all members have to show, znode by znode, with what each knows of it.

        They are looked at one after the other, and a session may expire meanwhile: what differs
        is looked at again. A member of ours has never met a digest that it does not share; one of
        Apache's may have, right after it was sent a tree that went on meanwhile, but not now:
        looking takes a session, whose txns bear digests.
        """
        before = self._mismatches()
        trees = self.trees()
        for _ in range(_LOOKS - 1):
            if not self._different(trees):
                break
            trees = self.trees()
        assert not (told := self._different(trees)), told
        now = self._mismatches()
        assert now == before, f"digests that do not match: {before} and then {now}"
        assert not any(now[n] for n in now if self.kind(n) == "coterie"), f"digests: {now}"
        return next(iter(trees.values()))

    def _mismatches(self) -> dict[int, int]:
        return {
            number: int(self.answers(number, b"mntr", _COUNT_S_MAX)["zk_digest_mismatches_count"])
            for number, member in self.members.items()
            if member.running
        }

    def _different(self, trees: dict[int, dict[str, Znode]]) -> str:
        return "\n".join(
            f"{one} ({self.kind(one)}) and {other} ({self.kind(other)}) differ in {znode}"
            for one, other in pairwise(trees)
            for znode in differences(trees[one], trees[other])[:_SHOWN]
        )


def _without_own(tree: dict[str, Znode]) -> dict[str, Znode]:
    """Each member writes the ensemble's configuration by its own clock when it starts."""
    config = tree[CONFIG]
    return {**tree, CONFIG: config._replace(stat=config.stat._replace(mtime=0))}


def differences(one: dict[str, Znode], other: dict[str, Znode]) -> list[str]:
    """What is not the same in two trees, in words."""
    return [
        f"{path}:\n  {one.get(path)}\n  {other.get(path)}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]


def until(
    true: Callable[[], bool],
    why: Callable[[], str] = lambda: "it did not happen",
    seconds: float = WAIT_S_MAX,
) -> None:
    """Wait for what has to come."""
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at, why()
        time.sleep(_POLL_S)
