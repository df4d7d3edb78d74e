"""Errands about what all have to agree on: whether something is done, and whether a gate is open.

What is checked: all who are told of a decision are told the same, nothing is committed that one
has not voted for, and when all is well everything is carried out by everybody; nobody passes a
gate that was closed all the time, and when it is opened everybody passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from coterie.recipes.barrier import Barrier
from coterie.recipes.two_phase_commit import Decision, Participant, Proposal, TwoPhaseCommit
from coterie.testing.errand import Errand, own_name
from coterie.testing.history import Violation
from coterie.testing.programs import DOCUMENTED, Program, Work
from coterie.wire import txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

if TYPE_CHECKING:
    from coterie.testing.recipes import RecipeSimulation

_VOTERS_MAX: Final = 3
_PROPOSALS_MAX: Final = 24
"""While faults happen; a proposal takes many txns."""
_UNHEARD: Final[tuple[type[Exception], ...]] = (*DOCUMENTED, LookupError)
"""What asking for an outcome may come to."""

# All or nothing


class Deciding(Errand):
    """Each proposes something to some, who vote and carry it out. What they know outlasts them."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.proposals: dict[str, tuple[str, ...]] = {}
        """Who takes part in each."""
        self.votes: dict[tuple[str, str], bool] = {}
        self.decided: dict[str, Decision] = {}
        """What was decided, as the first was told."""
        self.done: set[tuple[str, str]] = set()
        self.failed: set[str] = set()
        """Those of which the proposer was told nothing."""

    def work(self, program: Program) -> Work:
        return _Party(program, self)

    def vote(self, proposal: str, who: str, *, yes: bool) -> bool:
        """What a participant votes, which is what it has voted before."""
        return self.votes.setdefault((proposal, who), yes)

    def decide(self, proposal: str, decision: Decision) -> None:
        """Somebody is told what was decided."""
        before = self.decided.setdefault(proposal, decision)
        if before != decision:
            raise Violation(f"{proposal} is {decision.value} for one, {before.value} for another")
        if decision == Decision.COMMIT:
            for who in self.proposals[proposal]:
                if not self.votes.get((proposal, who)):
                    raise Violation(f"{proposal} is to be committed, and {who} has not said yes")

    def open(self) -> list[str]:
        """The proposals that are not over. Where to propose has failed, what was decided stays for
        who asks for it."""
        found: list[str] = []
        for path in self.simulation.tree.nodes:
            name = path.removeprefix(b"/all/proposals/").decode()
            if name == path.decode() or "/" in name:
                continue
            done = all((name, who) in self.done for who in self.proposals[name])
            if not done or name not in self.failed:
                found.append(name)
        return found

    def end(self) -> None:
        for proposal in self.decided:
            for who in self.proposals[proposal]:
                if (proposal, who) not in self.done:
                    raise Violation(f"{proposal} was decided, and {who} has not carried it out")


class _Ledger:
    """What a participant keeps, and does."""

    def __init__(self, program: Program, errand: Deciding) -> None:
        self._program = program
        self._errand = errand
        self._name = own_name(program)

    async def prepare(self, proposal: Proposal) -> bool:
        await self._program.pause(0.05)
        yes = self._program.dice.random() < 0.85
        return self._errand.vote(proposal.name, self._name, yes=yes)

    async def commit(self, proposal: Proposal) -> None:
        await self._carry_out(proposal, Decision.COMMIT)

    async def abort(self, proposal: Proposal) -> None:
        await self._carry_out(proposal, Decision.ABORT)

    async def _carry_out(self, proposal: Proposal, decision: Decision) -> None:
        await self._program.pause(0.05)
        try:
            self._errand.decide(proposal.name, decision)
        except Violation as violation:
            self._program.simulation.failed(violation)
        self._errand.done.add((proposal.name, self._name))
        self._program.simulation.mark(f"a proposal's {decision.value} was carried out")


class _Party(Work):
    def __init__(self, program: Program, errand: Deciding) -> None:
        super().__init__(program)
        self._errand = errand
        self._participant: Participant

    async def open(self) -> None:
        ledger = _Ledger(self.program, self._errand)
        self._participant = Participant(
            self.client, "/all", own_name(self.program), ledger, retry_s=0.1
        )
        await self._participant.enter()

    async def round(self) -> None:
        if self.program.dice.random() < 0.2:
            await self._recover()
        elif len(self._errand.proposals) < _PROPOSALS_MAX or self.program.healed:
            await self._propose()
        else:
            await self.program.pause(0.5)

    async def _recover(self) -> None:
        self.program.doing = "clears up"
        for name, decision in (await TwoPhaseCommit(self.client, "/all").recover()).items():
            self._told(name, decision)

    async def _propose(self) -> None:
        errand, program, dice = self._errand, self.program, self.program.dice
        timeout_s = program.simulation.timeout_ms / 1000.0
        everybody = [own_name(each) for each in program.simulation.programs]
        name = f"{program.name}-{len(errand.proposals)}"
        who = tuple(
            dice.sample(everybody, dice.randrange(1, min(len(everybody), _VOTERS_MAX) + 1))
        )
        errand.proposals[name] = who
        program.doing = f"proposes {name}"
        commit = TwoPhaseCommit(self.client, "/all")
        patience_s = dice.choice((None, 0.5 * timeout_s, 4 * timeout_s))
        try:
            async with asyncio.timeout(program.patience_s(0.2)):
                decision = await commit.propose(b"", who, timeout_s=patience_s, name=name)
        except DOCUMENTED:
            errand.failed.add(name)
            if dice.random() < 0.5:
                await self._ask(commit, name)
            raise
        self._told(name, decision)

    async def _ask(self, commit: TwoPhaseCommit, name: str) -> None:
        try:
            self._told(name, await commit.outcome(name))
        except _UNHEARD:
            return

    def _told(self, name: str, decision: Decision | None) -> None:
        if decision is not None:
            try:
                self._errand.decide(name, decision)
            except Violation as violation:
                self.program.simulation.failed(violation)

    async def close(self) -> None:
        await self._participant.leave(None)

    def settled(self) -> bool:
        return not self._errand.open()


# A gate that one closes


class Barring(Errand):
    """Some close a gate, some open it, some want to pass."""

    path = b"/gate"

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.passers: dict[str, _Passer] = {}
        self._states: list[tuple[int, bool]] = [(0, False)]
        """By which txn it was closed, and opened."""
        self._owner = 0

    def work(self, program: Program) -> Work:
        made = self.passers[own_name(program)] = _Passer(program, self)
        return made

    def committed(self, txn: Txn) -> None:
        for body in _bodies(txn):
            if isinstance(body, txns.CreateTxn) and body.path == self.path:
                self._states.append((txn.zxid, True))
                self._owner = txn.session_id if body.ephemeral else 0
            elif isinstance(body, txns.DeleteTxn) and body.path == self.path:
                self._states.append((txn.zxid, False))
        ends = txn.type == Op.CLOSE_SESSION and txn.session_id == self._owner
        if ends and self._states[-1][1]:
            self._states.append((txn.zxid, False))

    def undone(self, zxid: int) -> None:
        self._states = [state for state in self._states if state[0] <= zxid]

    def was_open(self, first_zxid: int, last_zxid: int) -> bool:
        """Whether the gate was open at any moment between two txns, these included."""
        at_first = [closed for zxid, closed in self._states if zxid <= first_zxid][-1:]
        then = [closed for zxid, closed in self._states if first_zxid < zxid <= last_zxid]
        return not all(at_first + then)


def _bodies(txn: Txn) -> Iterator[Record]:
    if isinstance(txn.body, txns.MultiTxn):
        for _, body in txn.body.operations:
            yield body
    else:
        yield txn.body


class _Passer(Work):
    def __init__(self, program: Program, errand: Barring) -> None:
        super().__init__(program)
        self._errand = errand
        self.waits = False

    def enough(self) -> bool:
        return all(program.served for program in self.program.simulation.programs)

    async def round(self) -> None:
        program, dice = self.program, self.program.dice
        gate = Barrier(self.client, self._errand.path.decode(), ephemeral=dice.random() < 0.5)
        choice = dice.randrange(6)
        if choice == 0:
            program.doing = "opens the gate"
            await gate.open()
        elif choice < 3 and not program.healed:
            program.doing = "closes the gate"
            if choice == 1:
                await gate.close()
            else:
                async with asyncio.timeout(program.patience_s(0.3)), gate:
                    await program.pause(0.3)
        if self._others_wait():
            # Somebody has to be left to open it.
            program.doing = "opens the gate for all others"
            await gate.open()
        await self._pass(gate)

    def _others_wait(self) -> bool:
        return all(each.waits for each in self._errand.passers.values() if each is not self)

    async def _pass(self, gate: Barrier) -> None:
        program, since = self.program, self.client.last_zxid
        program.doing = "waits at the gate"
        self.waits = True
        try:
            await gate.until_open(program.patience_s(1.0 if program.served else 0.3))
        finally:
            self.waits = False
        if not self._errand.was_open(since, self.client.last_zxid):
            program.simulation.failed(Violation(f"{program.name} has passed a closed gate"))
        program.simulation.mark("an open gate was passed")
