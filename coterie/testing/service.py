"""The servers of a simulation with their machines and their network, and the tale of a run.

`simulator.py` lets clients that speak the wire protocol loose on it, `recipes.py` programs that
use the real client. Rules:
- every draw comes from a generator that is made of the seed and the name of a concern, so that
  what is added for one concern changes nothing for the others;
- the same seed gives the same trace, in any interpreter: sort before iterating a set.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Protocol

from coterie.core.tree import Tree
from coterie.storage.errors import StorageError
from coterie.testing.agreement import Agreement
from coterie.testing.clock import Time
from coterie.testing.faults import Plan
from coterie.testing.files import HaltedError
from coterie.testing.history import Violation
from coterie.testing.host import ClientEnd, Host
from coterie.testing.transport import End, Network
from coterie.wire.numbered import Txn


class Muted(Protocol):
    """A client, as far as faults know it."""

    def mute(self, timeouts: float) -> None:
        """Say nothing for so many time-outs of a session."""


class Service:
    """One run, as far as its servers go."""

    clients: Sequence[Muted]
    machines: list[str]
    """The names of all, servers and clients."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed = seed
        self.plan = plan
        self.trace: list[tuple[float, str, tuple[object, ...]]] = []
        self.marks: Counter[str] = Counter()
        self.time = Time()
        self.network = Network(self.time, self.dice("network"), plan.weather)
        self.network.unread = _unread
        self.agreement = Agreement(self.committed) if plan.members > 1 else None
        self.hosts = [self._make_host(id) for id in range(1, plan.members + plan.observers + 1)]
        self.note("plan", str(plan))

    def _make_host(self, id: int) -> Host:
        plan = self.plan

        def dice(concern: str) -> Random:
            return self.dice(concern if id == 1 else f"{concern} {id}")

        return Host(
            f"s{id}", self.time, self.network, plan.config(id), plan, dice, self, self.agreement
        )

    def dice(self, concern: str) -> Random:
        return Random(f"{self.seed}:{concern}")

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    # What is told of the run

    def note(self, kind: str, *facts: object) -> None:
        self.trace.append((self.time.now_ms, kind, facts))

    def mark(self, name: str) -> None:
        """Something worth counting happened."""
        self.marks[name] += 1

    def lines(self) -> list[str]:
        """The trace, for reading and for comparing."""
        return [
            f"{when_ms:12.3f} {kind}: {' '.join(map(_show, facts))}"
            for when_ms, kind, facts in self.trace
        ]

    def digest(self) -> str:
        """The SHA-256 of the trace."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()

    # The run

    def run(self) -> None:
        """Raises `Violation`, and whatever else a machine raises that should not."""
        raise NotImplementedError

    def step(self) -> None:
        """Let the next thing happen; a machine that halts in it is started again later."""
        try:
            self.time.step()
        except HaltedError as error:
            host = self.host(error.machine)
            self.mark("a machine halted within a call" + ("" if host.life else " of a recovery"))
            if error.powerless:
                host.power_lost()
            else:
                host.kill()
            self.time.after(self.plan.retry_ms, host.start)

    # What the hosts tell

    def recovered(self, host: Host, tree: Tree, notes: list[str]) -> None:
        """A server has read its data."""
        for note in notes:
            self.note("recovered", host.name, note)
            if "cut off" in note:
                self.mark("a torn tail was cut off")
            if "older snapshot" in note:
                self.mark("an older snapshot was used")
            if "do not belong together" in note:
                raise Violation(note)

    def not_recovered(self, host: Host, error: StorageError) -> None:
        if host.flips:
            if "data/" not in str(error) and "log/" not in str(error):
                raise Violation(f"a flipped bit was found, but the file is not named: {error}")
            self.mark("a flipped bit was found and named")
            host.restore()
        elif not host.disk.sync_fails and host.disk.capacity is None:
            raise Violation(f"{host.name} does not start: {error}")
        else:
            self.mark("a server did not start from a disk that failed")

    def stopped(self, host: Host, applied_zxid: int) -> None:
        """A server has ended, with all up to a txn applied."""

    def numbered(self, host: Host, txns: list[Txn]) -> None:
        """A server alone has numbered txns; nobody has heard of them."""

    def committed(self, txn: Txn) -> None:
        """A member of an ensemble shows a txn, which nobody did before."""

    def entered(self, epoch: int) -> None:
        """A member serves in an epoch."""

    def leads(self, host: Host) -> None:
        """A member believes that it is the leader."""
        self.mark("a member was elected")
        if any(other.leads for other in self.hosts if other is not host):
            self.mark("two would-be leaders at a time")

    def heard(self, host: Host, session_id: int, timeout_ms: int) -> None:
        """A server has heard of a session."""

    def unread(self, host: Host, session_id: int) -> None:
        """Something of a session's client has come to a server that does not read it at once."""

    def turns(self, host: Host) -> None:
        """A server begins a turn."""

    def ticked(self, host: Host) -> None:
        """A server has looked at its clock."""


def _unread(end: End) -> None:
    if isinstance(end.receiver, ClientEnd):
        end.receiver.unread()


def _show(fact: object) -> str:
    return f"{fact:#x}" if isinstance(fact, int) and abs(fact) > 9 else str(fact)
