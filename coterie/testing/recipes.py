"""Programs with the real client and its recipes on virtual time, from one seed.

`coterie simulate --recipes SEED` shows one run. Servers, machines, network and faults are those of
`simulator.py`; programs (`programs.py`) run one errand (`errands.py`), which the seed decides. A
run has a phase of faults, in which nothing may happen that a recipe excludes, and then one in
which all is well: everybody has to be served, to know what there is to know, and to leave.
What is not checked here: what servers answer; `simulator.py` does that.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Final

from coterie.core.tree import Tree
from coterie.testing.errand import Errand
from coterie.testing.errands import ERRANDS
from coterie.testing.faults import Faults, Plan
from coterie.testing.guard import Sessions
from coterie.testing.history import Violation
from coterie.testing.host import Host
from coterie.testing.programs import Program
from coterie.testing.service import Service
from coterie.wire import txns
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

KINDS_OF_PROGRAMS: Final = ("mute", "crash", "expire", "drop")
"""A program stands still, or crashes, or reaches no server for about as long as its session lasts,
or loses its connection."""

_FAULTS_MS_MAX: Final = 120_000.0
_STEPS: Final = 8

_UNBURIED: Final[list[Program]] = []
"""Processes that would not end."""


def plan_of(seed: int, members: int) -> Plan:
    """What happens in the run of a seed."""
    plan = Plan.draw(Random(f"{seed}:plan"))
    if members > 1:
        plan = plan.for_members(members, Random(f"{seed}:ensemble"))
    dice = Random(f"{seed}:programs")
    kinds = [kind for kind in KINDS_OF_PROGRAMS if dice.random() < 0.5]
    tick_ms = dice.choice((100, 200, 500))
    timeout_ticks = dice.choice((4, 8, 16))
    return replace(
        plan,
        faults=plan.faults | set(kinds or KINDS_OF_PROGRAMS),
        clients=dice.randrange(2, 7),
        tick_ms=tick_ms,
        timeout_ticks=timeout_ticks,
        fault_every_ms=tick_ms * timeout_ticks * dice.choice((0.1, 0.3, 1.0)),
        clock_rate=1.0,
        delay_ms=min(plan.delay_ms, tick_ms / 50),
        retry_ms=min(plan.retry_ms, 200.0),
    )


class ProgramFaults(Faults):
    """What happens to programs, too."""

    def __init__(self, simulation: RecipeSimulation, plan: Plan, dice: Random) -> None:
        self._programs = simulation
        super().__init__(simulation, plan, dice)

    def _crash(self) -> None:
        self._programs.crash(self._dice.choice(self._programs.programs))

    def _drop(self) -> None:
        program, network = self._dice.choice(self._programs.programs), self._programs.network
        self._programs.note("loses its connection", program.name)
        for end in list(network.ends):
            if end.machine == program.name:
                network.cut(end)

    def _expire(self) -> None:
        program = self._dice.choice(self._programs.programs)
        network = self._programs.network
        self._programs.note("cut off", program.name)
        for host in self._programs.hosts:
            network.block(program.name, host.name)
            if self._dice.random() < 0.5:
                network.block(host.name, program.name)
        timeouts = self._dice.choice((0.5, 1.0, 1.5, 3.0))
        self._programs.time.after(timeouts * self._programs.timeout_ms, network.heal)


class RecipeSimulation(Service):
    """One run of one errand."""

    def __init__(
        self,
        seed: int,
        plan: Plan | None = None,
        members: int = 1,
        errand: type[Errand] | None = None,
    ) -> None:
        super().__init__(seed, plan or plan_of(seed, members))
        dice = self.dice("errand")
        kind = ERRANDS[dice.choice(sorted(ERRANDS))] if errand is None else errand
        self.note("errand", kind.__name__)
        self.mark(f"errand: {kind.__name__}")
        self.timeout_ms = float(self.plan.tick_ms * self.plan.timeout_ticks)
        self.call_timeout_s = self.timeout_ms / 1000.0 * dice.choice((0.5, 3.0))
        self.healed_ms_max = 60_000.0 + 60 * self.timeout_ms
        """How long it may take, when all is well, until everybody has been served."""
        self.use_ms = self.timeout_ms * dice.choice((0.01, 0.1, 0.5))
        self.rounds = dice.choice((3, 6, 12))
        self.sessions = Sessions()
        self.written: dict[bytes, int] = {}
        """The txn that wrote each value."""
        self.last_written = b""
        self.errand = kind(self)
        self.crashed: list[Program] = []
        self._violation: Violation | None = None
        self.programs = [self._start(f"c{number + 1}") for number in range(self.plan.clients)]
        self.clients = self.programs

    @property
    def machines(self) -> list[str]:  # type: ignore[override]
        return [host.name for host in self.hosts] + [p.name for p in self.programs]

    @property
    def tree(self) -> Tree:
        """The newest that a server has."""
        lives = [host.life for host in self.hosts if host.life is not None]
        return max((life.member.tree for life in lives), key=lambda tree: tree.zxid)

    def _start(self, name: str) -> Program:
        return Program(name, self, self.errand)

    def crash(self, program: Program) -> None:
        """A program ends without a word, and another takes its place."""
        program.crash()
        self.crashed.append(program)
        name, _, life = program.name.partition(".")
        again = self._start(f"{name}.{int(life or 1) + 1}")
        again.rounds = program.rounds
        self.programs[self.programs.index(program)] = again

    def failed(self, violation: Violation) -> None:
        """Something went wrong where raising may not end the run."""
        self._violation = self._violation or violation

    # The run

    def run(self) -> None:
        # When cycles are collected depends on what ran before in this process.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._run()
        finally:
            self._bury()
            if collects:
                gc.enable()

    def _bury(self) -> None:
        """Let all processes end. Coroutines that are merely forgotten complain."""
        left = [*self.crashed, *self.programs]
        for _ in range(8):
            left = [program for program in left if not program.buried()]
            for program in left:
                program.bury()
            until_ms = self.time.now_ms + self.timeout_ms
            while self.time.now_ms < until_ms and not all(p.buried() for p in left):
                with suppress(Exception):
                    self.step()
        _UNBURIED.extend(left)

    def _run(self) -> None:
        faults = ProgramFaults(self, self.plan, self.dice("faults"))
        for host in self.hosts:
            self.time.after(0, host.start)
        self._until(lambda: not any(p.rounds for p in self.programs), _FAULTS_MS_MAX)
        faults.heal()
        for program in self.programs:
            program.heal()
        self._until_all(Program.settled, "is not served")
        for program in self.programs:
            program.leave()
        self._until_all(Program.over, "does not leave")
        self.errand.end()

    def _until_all(self, done: Callable[[Program], bool], failing: str) -> None:
        if not self._until(lambda: all(map(done, self.programs)), self.healed_ms_max):
            late = [f"{p.name} ({p.doing})" for p in self.programs if not done(p)]
            raise Violation(f"all is well again, but {', '.join(late)} {failing}")

    def _until(self, done: Callable[[], bool], ms_max: float) -> bool:
        """Let things happen until all is done, or for so long; whether it is done."""
        until_ms = self.time.now_ms + ms_max
        while not done():
            if self.time.now_ms > until_ms:
                return False
            for _ in range(_STEPS):
                self.step()
                if self._violation is not None:
                    raise self._violation
            self.errand.look()
            for program in self.programs:
                program.over()
        return True

    # What the hosts tell

    def recovered(self, host: Host, tree: Tree, notes: list[str]) -> None:
        super().recovered(host, tree, notes)
        if self.agreement is None:
            self.written = {v: zxid for v, zxid in self.written.items() if zxid <= tree.zxid}
            self._find_last()
            self.errand.undone(tree.zxid)

    def numbered(self, host: Host, txns: list[Txn]) -> None:
        for txn in txns:
            self.committed(txn)

    def committed(self, txn: Txn) -> None:
        self.note("is committed", txn.zxid, txn.type, txn.session_id)
        if txn.type == Op.CLOSE_SESSION:
            self.sessions.ended(txn.session_id, self.time.now_ms)
        elif isinstance(txn.body, txns.SetDataTxn):
            self.written[txn.body.data or b""] = txn.zxid
            self._find_last()
        self.errand.committed(txn)

    def _find_last(self) -> None:
        self.last_written = max(self.written, key=self.written.__getitem__, default=b"")
