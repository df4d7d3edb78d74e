"""What goes wrong in a simulation, drawn swarm-style: each seed has its own few faults and sizes.

A run in which everything fails at once hides what a few faults bring to light, so each kind is on
or off for a whole run. Rules: `Plan` is drawn once and says everything that does not come from
the machines themselves; `Faults` lets things fail until `heal`, after which nothing does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from coterie.config import Config
from coterie.ensemble import Ensemble
from coterie.testing.transport import Weather

if TYPE_CHECKING:
    from coterie.testing.service import Service

KINDS: Final = (
    "power",
    "fuse",
    "kill",
    "stop",
    "flip",
    "sync",
    "full",
    "slow",
    "cut",
    "half_open",
    "partition",
    "mute",
    "clock",
    "pause",
)
"""The power fails; it, or the process, ends in the middle of a call; the process is killed, or
stopped; a bit rots; syncs fail; the disk is full, or slow; connections break, or break at one end;
a partition; a client falls silent; the wall clock jumps; a server stands still for a while."""

KINDS_OF_ENSEMBLES: Final = ("leader", "alone", "split", "outage")
"""Something happens to the leader; it is cut off; the members are parted; most of them end."""

QUORUM_PORT: Final = 2888
ELECTION_PORT: Final = 3888

_STOPS: Final = frozenset({"power", "fuse", "kill", "stop", "flip"})


@dataclass(slots=True)
class Plan:
    """The sizes and faults of one run."""

    faults: frozenset[str]
    fault_every_ms: float
    faults_max: int
    clients: int
    operations: int
    """How many requests all clients make in the phase of faults."""
    think_ms: float
    """Between two requests of a client, on average."""
    window: int
    """How many requests a client has outstanding at most."""
    value_bytes: int
    delay_ms: float
    split: float
    sync_ms: float
    turn_ms: float
    """How long a turn takes at most: what comes meanwhile is handled in it."""
    retry_ms: float
    """Between two attempts to write to a log that has failed."""
    slice_nodes: int
    slice_pause_ms: float
    purge_ms: float
    """Between two purges; 0: none."""
    tick_ms: int
    timeout_ticks: int
    snap_count: int
    snap_log_bytes: int
    log_bytes_max: int
    prealloc_bytes: int
    outstanding_max: int
    log_apart: bool
    digest: bool
    close_session_paths: bool
    """Without them a replay cannot put everything right that a snapshot has half: see the
    ablations."""
    clock_rate: float
    members: int = 1
    """How many servers vote; 1 is a server alone."""
    observers: int = 0
    commit_log_count: int = 500
    """How many txns a member remembers for those who missed them."""
    log_sync: bool = True
    """Whether a learner may be brought up to date from the log on disk."""

    @classmethod
    def draw(cls, dice: Random) -> Plan:
        kinds = [kind for kind in KINDS if kind != "pause" and dice.random() < 0.35]
        if not _STOPS.intersection(kinds):
            kinds.append(dice.choice(("power", "fuse", "kill")))
        think_ms = dice.choice((2.0, 10.0, 40.0))
        plan = cls(
            faults=frozenset(kinds),
            fault_every_ms=think_ms * dice.choice((5, 10, 20)),
            faults_max=dice.choice((3, 8, 16)),
            clients=dice.randrange(1, 5),
            operations=dice.choice((40, 80, 120)),
            think_ms=think_ms,
            window=dice.choice((1, 4, 16)),
            value_bytes=dice.choice((12, 12, 100, 1200)),
            delay_ms=dice.choice((0.1, 1.0, 10.0)),
            split=dice.choice((0.0, 0.1, 0.5)),
            sync_ms=dice.choice((0.2, 2.0, 20.0)),
            turn_ms=dice.choice((0.0, 0.5, 5.0)),
            retry_ms=dice.choice((20.0, 200.0, 1000.0)),
            slice_nodes=dice.choice((1, 3, 10)),
            slice_pause_ms=dice.choice((0.1, 1.0, 10.0)),
            purge_ms=dice.choice((0.0, 100.0, 1000.0)),
            tick_ms=dice.choice((50, 200, 1000)),
            timeout_ticks=dice.choice((2, 4, 10)),
            snap_count=dice.choice((2, 8, 20, 60, 100_000)),
            snap_log_bytes=dice.choice((0, 0, 2048)),
            log_bytes_max=dice.choice((0, 1, 600, 4000)),
            prealloc_bytes=dice.choice((0, 0, 1024, 16_384)),
            outstanding_max=dice.choice((2, 20, 1000)),
            log_apart=dice.random() < 0.3,
            digest=dice.random() < 0.9,
            close_session_paths=True,
            clock_rate=dice.choice((1.0, 1.0, 0.9, 1.1)),
        )
        # Drawn last: the seeds that were kept before there were pauses mean what they meant.
        if dice.random() < 0.35:
            plan.faults |= {"pause"}
        return plan

    def for_members(self, members: int, dice: Random) -> Plan:
        """The same run with several servers, and with faults that only they know."""
        kinds = [kind for kind in KINDS_OF_ENSEMBLES if dice.random() < 0.5]
        think_ms = self.think_ms * dice.choice((1, 1, 4, 20))
        return replace(
            self,
            faults=self.faults | set(kinds or KINDS_OF_ENSEMBLES),
            think_ms=think_ms,
            fault_every_ms=max(think_ms, self.tick_ms / 5) * dice.choice((2, 5, 10)),
            members=members,
            observers=dice.choice((0, 0, 1)),
            commit_log_count=dice.choice((1, 5, 20, 500)),
            log_sync=dice.random() < 0.7,
            clients=self.clients + 1,
            clock_rate=1.0,
            timeout_ticks=max(self.timeout_ticks, 4),
        )

    def ensemble(self) -> Ensemble | None:
        """Who the members are; None if there is one server alone."""
        if self.members == 1:
            return None
        roles = ["participant"] * self.members + ["observer"] * self.observers
        lines = {
            f"server.{id}": f"s{id}:{QUORUM_PORT}:{ELECTION_PORT}:{role}"
            for id, role in enumerate(roles, 1)
        }
        return Ensemble.of(lines)

    def config(self, server_id: int = 1) -> Config:
        """What a server of this run is told."""
        return Config(
            data_dir="data",
            data_log_dir_given="log" if self.log_apart else None,
            tick_time_ms=self.tick_ms,
            snap_count=self.snap_count,
            snap_log_bytes=self.snap_log_bytes,
            log_bytes_max=self.log_bytes_max,
            prealloc_bytes=self.prealloc_bytes,
            outstanding_max=self.outstanding_max,
            digest_enabled=self.digest,
            close_session_paths=self.close_session_paths,
            extended_types_enabled=True,
            container_check_interval_ms=4 * self.tick_ms,
            container_never_used_ms=10 * self.tick_ms,
            ensemble=self.ensemble(),
            server_id=server_id,
            init_limit=10,
            sync_limit=5,
            commit_log_count=self.commit_log_count,
            snapshot_size_factor=0.0 if self.log_sync else -1.0,
            read_only_enabled=True,
        )

    @property
    def weather(self) -> Weather:
        return Weather(self.delay_ms, self.split)

    def __str__(self) -> str:
        parts = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if f.name != "faults"]
        return f"faults={','.join(sorted(self.faults))} {' '.join(parts)}"


class Faults:
    """Lets things fail in a simulation, one after the other, until `heal`."""

    def __init__(self, simulation: Service, plan: Plan, dice: Random) -> None:
        self._simulation = simulation
        self._plan = plan
        self._dice = dice
        self._left = plan.faults_max
        self._kinds = sorted(plan.faults)
        if "fuse" in plan.faults and dice.random() < 0.3:
            # It may halt at its very first start.
            self._fuse()
        self._next()

    def _next(self) -> None:
        delay_ms = self._dice.expovariate(1 / self._plan.fault_every_ms)
        self._simulation.time.after(delay_ms, self._happen)

    def _happen(self) -> None:
        if self._left:
            self._left -= 1
            kind = self._dice.choice(self._kinds)
            happens: Callable[[], None] = getattr(self, f"_{kind}")
            happens()
            self._next()

    def _for_a_while(self, ends: Callable[[], None]) -> None:
        """Undo something later."""
        mean_ms = self._plan.fault_every_ms
        if self._plan.members > 1:
            # An election takes a while, and so does giving up a leader.
            mean_ms *= self._dice.choice((1, 5, 20))
        self._simulation.time.after(self._dice.expovariate(1 / mean_ms), ends)

    def heal(self) -> None:
        """All is well from now on."""
        self._left = 0
        simulation = self._simulation
        simulation.network.heal()
        simulation.note("heal")
        for host in simulation.hosts:
            self._mend_disk(host.name)
            host.disk.fuse = None
            host.thaw()
            host.start()

    # The machines

    def _down_for_a_while(self, name: str) -> None:
        self._for_a_while(self._simulation.host(name).start)

    def _power(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        host.power_lost()
        self._down_for_a_while(host.name)

    def _fuse(self) -> None:
        """The machine halts in the middle of what it does with its disk next."""
        host = self._dice.choice(self._simulation.hosts)
        host.disk.fuse = self._dice.randrange(40)
        host.disk.fuse_kills = self._dice.random() < 0.3
        self._simulation.note("fuse", host.name, host.disk.fuse, host.disk.fuse_kills)
        # A machine that is down fails while it recovers.
        self._simulation.time.after(0, host.start)

    def _kill(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        host.kill()
        self._down_for_a_while(host.name)

    def _stop(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        host.stop()
        self._down_for_a_while(host.name)

    def _pause(self) -> None:
        """The server stands still, for less than a time-out of a session or for more."""
        host = self._dice.choice(self._simulation.hosts)
        stands = host.freeze()
        timeout_ms = self._plan.tick_ms * self._plan.timeout_ticks
        delay_ms = timeout_ms * self._dice.choice((0.2, 0.6, 1.0, 2.0, 5.0))
        if stands:
            self._simulation.mark("a server stood still")
        self._simulation.time.after(delay_ms, host.thaw)

    def _flip(self) -> None:
        """A bit rots and the machine starts from what is there."""
        host = self._dice.choice(self._simulation.hosts)
        if self._dice.random() < 0.5:
            host.power_lost()
        else:
            host.kill()
        host.rot(self._dice)
        self._down_for_a_while(host.name)

    # The members of an ensemble

    def _leader(self) -> None:
        """The leader, or who believes that it is, ends in one way or another."""
        leaders = [host for host in self._simulation.hosts if host.leads]
        if leaders:
            host = self._dice.choice(leaders)
            self._dice.choice((host.power_lost, host.kill, host.stop))()
            self._down_for_a_while(host.name)

    def _alone(self) -> None:
        """The leader hears nobody, or nobody hears it, or both."""
        leaders = [host for host in self._simulation.hosts if host.leads]
        if leaders:
            name = self._dice.choice(leaders).name
            self._part({name}, self._dice.choice((1, 2, 3)))

    def _split(self) -> None:
        """The members are parted in two groups."""
        names = [host.name for host in self._simulation.hosts]
        self._part(set(self._dice.sample(names, self._dice.randrange(1, len(names)))), 3)

    def _part(self, some: set[str], ways: int) -> None:
        network = self._simulation.network
        self._simulation.note("parted", *sorted(some), ways)
        for one in sorted(some):
            for other in self._simulation.hosts:
                if other.name not in some and ways & 1:
                    network.block(one, other.name)
                if other.name not in some and ways & 2:
                    network.block(other.name, one)
        self._for_a_while(network.heal)

    def _outage(self) -> None:
        """So many members end that no quorum is left."""
        hosts = self._simulation.hosts
        for host in self._dice.sample(hosts, len(hosts) // 2 + 1):
            self._dice.choice((host.power_lost, host.kill))()
            self._down_for_a_while(host.name)

    # The disk

    def _sync(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        host.disk.sync_fails = True
        self._simulation.note("syncs fail", host.name)
        self._for_a_while(partial(self._mend_disk, host.name))

    def _full(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        host.disk.capacity = host.disk.used + self._dice.choice((0, 10, 100, 1000))
        self._simulation.note("full", host.name, host.disk.capacity)
        self._for_a_while(partial(self._mend_disk, host.name))

    def _slow(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        host.sync_ms = self._plan.sync_ms * 50
        self._simulation.note("slow", host.name)
        self._for_a_while(partial(self._mend_disk, host.name))

    def _mend_disk(self, name: str) -> None:
        host = self._simulation.host(name)
        host.disk.sync_fails = False
        host.disk.capacity = None
        host.sync_ms = self._plan.sync_ms
        self._simulation.note("disk mended", name)

    # The network and the clients

    def _cut(self) -> None:
        ends = list(self._simulation.network.ends)
        if ends:
            end = self._dice.choice(ends)
            self._simulation.note("cut", end.machine)
            self._simulation.network.cut(end)

    def _half_open(self) -> None:
        ends = list(self._simulation.network.ends)
        if ends:
            end = self._dice.choice(ends)
            self._simulation.note("half open", end.machine)
            self._simulation.network.half_open(end)

    def _partition(self) -> None:
        """One machine cannot be heard, or cannot hear, or both."""
        network = self._simulation.network
        machines = self._simulation.machines
        one = self._dice.choice(machines)
        ways = self._dice.choice((1, 2, 3))
        self._simulation.note("partition", one, ways)
        for other in machines:
            if other != one and ways & 1:
                network.block(one, other)
            if other != one and ways & 2:
                network.block(other, one)
        self._for_a_while(network.heal)

    def _mute(self) -> None:
        client = self._dice.choice(self._simulation.clients)
        client.mute(self._dice.choice((1, 2, 4)))

    def _clock(self) -> None:
        host = self._dice.choice(self._simulation.hosts)
        jump_ms = self._dice.choice((-100_000, -1000, 500, 50_000))
        self._simulation.note("clock jumps", host.name, jump_ms)
        host.clock.jump(jump_ms)
