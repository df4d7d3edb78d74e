"""Two-phase commit: several resources change together, or none does.

    class Ledger:                                    # on every participant
        async def prepare(self, proposal): ...       # can it be done? keep it durably, and say so
        async def commit(self, proposal): ...
        async def abort(self, proposal): ...

    async with Participant(zk, "/transfers", "bank-a", Ledger()):
        ...
    decision = await TwoPhaseCommit(zk, "/transfers").propose(b"...", ["bank-a", "bank-b"])

A proposal is a znode; the votes, the decision and who has carried it out are znodes below it, so
all is durable and survives the death of everybody. Rules:
- there is one decision, for it is one znode that can be made once; COMMIT only after all have
  voted yes;
- presumed abort: where there is no decision, and the session of who has proposed is over, any
  participant decides ABORT. So nobody waits for ever on a coordinator that is dead;
- a participant that comes back finds its open proposals and goes on where it was: `prepare`,
  `commit` and `abort` may be called again for one that they have seen, and in another process
  than before. One that fails to carry out a decision is asked again until it does;
- a proposal is deleted when all have carried it out and its coordinator has heard of it, or died.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OutcomeUnknown,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.recipes import typed_json
from coterie.recipes.following import until
from coterie.recipes.names import text_of, znode_name
from coterie.recipes.presence import Presence
from coterie.recipes.recipe import Recipe, discard, go_on, name_by_chance
from coterie.values import CreateMode, EventType

if TYPE_CHECKING:
    from coterie.client.watch import Watch

_PAUSE_S: Final = 0.1
_COORDINATOR: Final = "coordinator"
_DECISION: Final = "decision"
_YES: Final = "yes-"
_NO: Final = "no-"
_DONE: Final = "done-"


class Decision(Enum):
    COMMIT = "commit"
    ABORT = "abort"


class Proposal(NamedTuple):
    """What is to be done, and by whom."""

    name: str
    data: bytes
    participants: tuple[str, ...]


class Resource(Protocol):
    """What a participant has: coroutines, or plain functions, which run in a thread."""

    def prepare(self, proposal: Proposal) -> Awaitable[bool] | bool:
        """Whether it can be carried out, whatever happens from now on. To raise is a no."""

    def commit(self, proposal: Proposal) -> Awaitable[None] | None:
        """Carry it out."""

    def abort(self, proposal: Proposal) -> Awaitable[None] | None:
        """Undo what `prepare` has done, if it was called at all."""


@dataclass(frozen=True)
class _Stored:
    participants: tuple[str, ...]
    data: str
    by: str
    """Which call has proposed it."""


class _Register:
    """The znodes of all proposals."""

    def __init__(self, zk: Client, path: str) -> None:
        self.zk = zk
        self.path = f"{path.rstrip('/')}/proposals"

    def place(self, name: str, child: str = "") -> str:
        own = f"{self.path}/{znode_name(name)}"
        return f"{own}/{child}" if child else own

    async def names(self) -> list[str]:
        try:
            return [text_of(name) for name in await self.zk.children(self.path)]
        except NoNodeError:
            return []

    async def proposal(self, name: str) -> tuple[Proposal, str]:
        """A proposal, and which call has made it. Raises `NoNodeError`, `ValueError`."""
        data, _ = await self.zk.get(self.place(name))
        stored = typed_json.decode(_Stored, data)
        return Proposal(name, base64.b64decode(stored.data), stored.participants), stored.by

    async def look(self, name: str) -> set[str] | None:
        """The names of what there is of a proposal, all of one moment; None if it is gone."""
        try:
            return set(await self.zk.children(self.place(name)))
        except NoNodeError:
            return None

    async def decision(self, name: str) -> Decision | None:
        try:
            return Decision((await self.zk.get(self.place(name, _DECISION))).data.decode())
        except NoNodeError:
            return None

    async def decide(self, name: str, wanted: Decision) -> Decision:
        """What is decided: what is wanted, unless there is a decision.

        To try twice is no harm: the znode can be made once. Raises `NoNodeError` for a proposal
        that is gone: it was decided, and all is done. For a coordinator that means ABORT, for
        nobody else decides COMMIT; `OutcomeUnknown` is raised if its own was on its way.
        """
        was_sent = False
        while True:
            try:
                await self.zk.create(self.place(name, _DECISION), wanted.value.encode())
                return wanted
            except OutcomeUnknown:
                was_sent = True
            except NodeExistsError:
                pass
            except NoNodeError:
                if was_sent and wanted == Decision.COMMIT:
                    raise OutcomeUnknown(self.place(name), "decide") from None
                raise
            await self.zk.sync(self.path)
            decided = await self.decision(name)
            if decided is not None:
                return decided

    async def mark(self, name: str, child: str) -> None:
        """Make a child, if it is not there; nobody else makes this one."""
        while True:
            try:
                await self.zk.create(self.place(name, child))
            except OutcomeUnknown:
                await self.zk.sync(self.path)
                continue
            except (NodeExistsError, NoNodeError):
                return
            return

    async def forget(self, name: str, there: set[str]) -> None:
        """Delete a proposal and all that there is of it at once: nobody sees half of it."""
        change = self.zk.transaction()
        for child in sorted(there):
            change.delete(self.place(name, child))
        with suppress(NoNodeError, NotEmptyError, OutcomeUnknown):
            await change.delete(self.place(name)).commit()


def _is_over(proposal: Proposal, there: set[str]) -> bool:
    """Whether nobody has anything to do with it any more."""
    done = all(_DONE + znode_name(name) in there for name in proposal.participants)
    return done and _COORDINATOR not in there


class TwoPhaseCommit(Recipe["TwoPhaseCommit"]):
    """Who proposes, at `path`. It need not be entered."""

    def __init__(self, zk: Client | BlockingClient, path: str) -> None:
        super().__init__(zk, path)
        self._register = _Register(self.zk, self.path)

    async def enter(self) -> TwoPhaseCommit:
        """First clear up after coordinators that are dead: see `recover`."""
        await self.recover()
        return self

    async def leave(self, error: BaseException | None) -> None:
        """There is nothing to end."""

    async def propose(
        self,
        data: bytes,
        participants: Sequence[str],
        *,
        timeout_s: float | None = None,
        name: str | None = None,
    ) -> Decision:
        """Ask all participants, and decide: COMMIT if all vote yes, ABORT if one does not, or
        has not in time. The decision stands when this returns, and is carried out after that.

        Raises what a call raises while nobody can be reached. Then `outcome` tells, by the name
        that was given here, as long as this session lives; undecided it becomes ABORT, as soon
        as somebody can be reached or this session ends.
        """
        if not participants:
            raise ValueError("a proposal is for somebody")
        if name is None:
            name = name_by_chance(self.zk)
        proposal = Proposal(name, data, tuple(dict.fromkeys(participants)))
        await self.zk.ensure(self._register.path)
        session_id, by = self.zk.session_id, name_by_chance(self.zk)
        try:
            await self._begin(proposal, by)
            wanted = await self._votes(proposal, timeout_s)
            decision = await self._register.decide(name, wanted)
        except NodeExistsError:
            raise
        except NoNodeError:
            return Decision.ABORT
        except asyncio.CancelledError:
            # Nobody asks for the outcome: undecided it is aborted by that.
            go_on(self._give_up(name, by, session_id, self._forsake))
            raise
        except Exception:
            # Participants that have voted would wait for as long as this session lives.
            go_on(self._give_up(name, by, session_id, self._abort))
            raise
        await discard(self.zk, self._register.place(name, _COORDINATOR), session_id)
        return decision

    async def _begin(self, proposal: Proposal, by: str) -> None:
        """Write it down, and that its coordinator lives as long as this session."""
        stored = _Stored(proposal.participants, base64.b64encode(proposal.data).decode(), by)
        place = self._register.place(proposal.name)
        while True:
            session_id = self.zk.session_id
            change = self.zk.transaction().create(place, typed_json.encode(stored))
            change.create(f"{place}/{_COORDINATOR}", by.encode(), CreateMode.EPHEMERAL)
            try:
                await change.commit()
                return
            except OutcomeUnknown:
                # Behind a write: a leader may answer a sync before what is on its way to the disk.
                await self.zk.exists(place, linearizable=True)
                try:
                    _, found = await self._register.proposal(proposal.name)
                except NoNodeError:
                    # In this session it will not come to be any more.
                    if self.zk.session_id != session_id:
                        raise OutcomeUnknown(place, "propose") from None
                    continue
                if found != by:
                    raise NodeExistsError(place, "propose") from None
                return

    async def _give_up(
        self, name: str, by: str, session_id: int, step: Callable[[str], Awaitable[object]]
    ) -> None:
        """Let nobody wait for a decision of this session any more, whatever it takes."""
        while not self.zk.over and self.zk.session_id == session_id:
            try:
                # Behind a write: what makes it may be on its way.
                await self.zk.exists(self._register.place(name), linearizable=True)
                _, found = await self._register.proposal(name)
                if found == by:
                    await step(name)
                return
            except (NoNodeError, SessionExpiredError, NoAuthError, ValueError):
                return
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)

    async def _forsake(self, name: str) -> None:
        await self.zk.delete(self._register.place(name, _COORDINATOR))

    async def _abort(self, name: str) -> None:
        await self._register.decide(name, Decision.ABORT)

    async def _votes(self, proposal: Proposal, timeout_s: float | None) -> Decision:
        """Wait for the votes: what is to be decided."""
        place = self._register.place(proposal.name)
        try:
            async with asyncio.timeout(timeout_s):
                return await until(self.zk, place, lambda: self._count(proposal))
        except TimeoutError:
            return Decision.ABORT

    async def _count(self, proposal: Proposal) -> Decision | None:
        """What is to be decided; None while votes are missing."""
        there = await self._register.look(proposal.name)
        if there is None or _DECISION in there:
            return Decision.ABORT
        names = [znode_name(name) for name in proposal.participants]
        if any(_NO + name in there for name in names):
            return Decision.ABORT
        return Decision.COMMIT if all(_YES + name in there for name in names) else None

    async def outcome(self, name: str) -> Decision | None:
        """What was decided; None while nothing is. Raises `LookupError` for a proposal that is
        not there: it never was, or all is done and its coordinator has heard of it or died."""
        await self.zk.sync(self._register.path)
        decision = await self._register.decision(name)
        if decision is None and await self._register.look(name) is None:
            raise LookupError(f"there is no proposal {name} at {self.path}")
        return decision

    async def recover(self) -> dict[str, Decision | None]:
        """Decide ABORT for all proposals whose coordinators have died undecided, and delete those
        that are carried out. Gives what is decided of each that was there; None of those in hand.
        """
        found: dict[str, Decision | None] = {}
        await self.zk.sync(self._register.path)
        for name in await self._register.names():
            there = await self._register.look(name)
            if there is None:
                continue
            # Whatever is gone meanwhile was decided, and carried out by all: by now nobody knows.
            with suppress(NoNodeError):
                found[name] = await self._recover(name, there)
            with suppress(NoNodeError, ValueError):
                proposal, _ = await self._register.proposal(name)
                if _is_over(proposal, there):
                    await self._register.forget(name, there)
        return found

    async def _recover(self, name: str, there: set[str]) -> Decision | None:
        if _DECISION in there:
            return Decision(
                (await self.zk.get(self._register.place(name, _DECISION))).data.decode()
            )
        if _COORDINATOR in there:
            return None
        return await self._register.decide(name, Decision.ABORT)

    async def forget(self, name: str) -> None:
        """Delete a proposal, although not all have carried it out: some may never come back."""
        there = await self._register.look(name)
        if there is not None:
            await self._register.forget(name, there)


class Participant(Recipe["Participant"]):
    """One who takes part in what is proposed at `path`, under a name that is his alone."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        path: str,
        name: str,
        resource: Resource,
        *,
        retry_s: float = 1.0,
    ) -> None:
        super().__init__(zk, path)
        self.name = name
        self._own = znode_name(name)
        self._resource = resource
        self._retry_s = retry_s
        self._register = _Register(self.zk, self.path)
        presence = f"{self.path.rstrip('/')}/participants/{self._own}"
        self._presence = Presence(self.zk, presence)
        self._following: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """One for each proposal that is not over."""
        self._news: dict[str, asyncio.Event] = {}
        self._again: set[str] = set()

    async def enter(self) -> Participant:
        """Take part; go on with what is open. Waits while another session has that name."""
        await self._presence.open()
        try:
            await self.zk.ensure(self._register.path)
            events = self.zk.watch(self._register.path, recursive=True)
            await events.__aenter__()
        except BaseException:
            await self._presence.close()
            raise
        self._following = asyncio.get_running_loop().create_task(self._follow(events))
        return self

    async def leave(self, error: BaseException | None) -> None:
        """Take part no more. What is open stays so, for when this participant comes back."""
        following, self._following = self._following, None
        tasks = [*self._tasks.values()] + ([following] if following is not None else [])
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._presence.close()

    async def _follow(self, events: Watch) -> None:
        size = len(self._register.path) + 1
        try:
            await self._look_at_all()
            while (event := await events.next()) is not None:
                if event.type == EventType.NONE:
                    await self._look_at_all()
                elif len(event.path) > size:
                    name, _, child = event.path[size:].partition("/")
                    self._look_at(text_of(name), new=not child)
        finally:
            await events.__aexit__(None, None, None)

    async def _look_at_all(self) -> None:
        while not self.zk.over:
            try:
                names = await self._register.names()
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)
                continue
            for name in sorted({*names, *self._tasks}):
                self._look_at(name, new=True)
            return

    def _look_at(self, name: str, *, new: bool) -> None:
        """Something may have become of a proposal, which may be a `new` one."""
        if name in self._tasks:
            self._news[name].set()
            if new:
                self._again.add(name)
        elif new:
            self._begin(name)

    def _begin(self, name: str) -> None:
        self._again.discard(name)
        self._news[name] = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._take_part(name))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._over(name, done))

    def _over(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name], self._news[name]
        if name in self._again and self._following is not None and not self.zk.over:
            # It is over, and there may be another of that name.
            self._begin(name)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._complain(f"proposal {name} at {self.path} cannot be followed", error)

    def _complain(self, message: str, error: BaseException) -> None:
        context = {"message": message, "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    async def _take_part(self, name: str) -> None:
        """Do what is to be done for a proposal, step by step, until it is over."""
        while not self.zk.over:
            try:
                proposal, _ = await self._register.proposal(name)
                if self.name in proposal.participants:
                    while await self._step(proposal):
                        pass
                return
            except NoNodeError:
                return
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)

    async def _step(self, proposal: Proposal) -> bool:
        """One step, or waiting for news; whether there may be another."""
        name = proposal.name
        news = self._news[name]
        news.clear()
        self._again.discard(name)
        there = await self._register.look(name)
        if there is None:
            return False
        if not self._presence.present:
            # Between two sessions somebody else may have the name.
            await asyncio.sleep(_PAUSE_S)
            return True
        if _is_over(proposal, there):
            await self._register.forget(name, there)
            return False
        if _DONE + self._own in there:
            await news.wait()
        elif _DECISION in there:
            await self._carry_out(proposal)
        elif not {_YES + self._own, _NO + self._own} & there:
            vote = await self._prepare(proposal)
            await self._register.mark(name, (_YES if vote else _NO) + self._own)
        elif _COORDINATOR not in there:
            await self._register.decide(name, Decision.ABORT)
        else:
            await news.wait()
        return True

    async def _prepare(self, proposal: Proposal) -> bool:
        try:
            return bool(await self._call(self._resource.prepare, proposal))
        except Exception as error:
            self._complain(f"{self.name} could not prepare {proposal.name}", error)
            return False

    async def _carry_out(self, proposal: Proposal) -> None:
        decision = await self._register.decision(proposal.name)
        if decision is None:
            return
        step = self._resource.commit if decision == Decision.COMMIT else self._resource.abort
        try:
            await self._call(step, proposal)
        except Exception as error:
            self._complain(f"{self.name} could not {decision.value} {proposal.name}", error)
            await asyncio.sleep(self._retry_s)
            return
        await self._register.mark(proposal.name, _DONE + self._own)

    async def _call(self, step: Callable[[Proposal], Any], proposal: Proposal) -> Any:
        if inspect.iscoroutinefunction(step):
            made: Coroutine[Any, Any, Any] = step(proposal)
            return await made
        return await asyncio.to_thread(step, proposal)
