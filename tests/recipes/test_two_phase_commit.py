"""All or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import (
    NodeExistsError,
    OperationTimeoutError,
    OutcomeUnknown,
    ZooKeeperError,
)
from coterie.recipes.two_phase_commit import Decision, Participant, Proposal, TwoPhaseCommit
from coterie.testing.cluster import Server
from coterie.testing.plugin import Connect as FaultyConnect
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.patience import disturb, eventually

COMMIT, ABORT = Decision.COMMIT, Decision.ABORT


class Ledger:
    """Says what it was asked to do."""

    def __init__(self, vote: bool = True) -> None:
        self.vote = vote
        self.said: list[str] = []
        self.may_vote = asyncio.Event()
        self.may_vote.set()

    async def prepare(self, proposal: Proposal) -> bool:
        self.said.append(f"prepare {proposal.data.decode()}")
        await self.may_vote.wait()
        return self.vote

    async def commit(self, proposal: Proposal) -> None:
        self.said.append(f"commit {proposal.data.decode()}")

    async def abort(self, proposal: Proposal) -> None:
        self.said.append(f"abort {proposal.data.decode()}")


@asynccontextmanager
async def _two(
    zk: Client, a: Ledger | None = None, b: Ledger | None = None
) -> AsyncIterator[tuple[Ledger, Ledger]]:
    a, b = a or Ledger(), b or Ledger()
    async with Participant(zk, "/t", "a", a), Participant(zk, "/t", "b/b", b):
        yield a, b


async def _all_gone(zk: Client) -> None:
    async with asyncio.timeout(10):
        while await zk.children("/t/proposals"):
            await zk.sync()


async def test_all_vote_yes(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _two(zk) as (a, b):
        commit = TwoPhaseCommit(other, "/t")
        assert await commit.propose(b"x", ["a", "b/b"]) == COMMIT
        await _all_gone(zk)
        assert a.said == b.said == ["prepare x", "commit x"]


async def test_one_votes_no(connect: Connect) -> None:
    async with connect() as zk, _two(zk, b=Ledger(vote=False)) as (a, b):
        assert await TwoPhaseCommit(zk, "/t").propose(b"x", ["a", "b/b"]) == ABORT
        await _all_gone(zk)
        assert a.said[-1] == b.said[-1] == "abort x"


async def test_only_who_is_asked_takes_part(connect: Connect) -> None:
    async with connect() as zk, _two(zk) as (a, b):
        assert await TwoPhaseCommit(zk, "/t").propose(b"x", ["a"]) == COMMIT
        await _all_gone(zk)
        assert (len(a.said), b.said) == (2, [])
        with pytest.raises(ValueError, match="somebody"):
            await TwoPhaseCommit(zk, "/t").propose(b"x", [])


async def test_one_that_cannot_say_votes_no(connect: Connect) -> None:
    heard: list[Any] = []

    class Broken(Ledger):
        async def prepare(self, proposal: Proposal) -> bool:
            raise ValueError("broken")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
    async with connect() as zk, _two(zk, b=Broken()) as (_, b):
        assert await TwoPhaseCommit(zk, "/t").propose(b"x", ["a", "b/b"]) == ABORT
        await _all_gone(zk)
        assert b.said == ["abort x"]
    assert "b/b could not prepare" in heard[0]["message"]


async def test_who_is_not_there_in_time_is_a_no(connect: Connect) -> None:
    async with connect() as zk:
        commit = TwoPhaseCommit(zk, "/t")
        assert await commit.propose(b"x", ["a"], timeout_s=0.05, name="n") == ABORT
        # It hears of it when it comes.
        assert await commit.outcome("n") == ABORT
        ledger = Ledger()
        async with Participant(zk, "/t", "a", ledger):
            await _all_gone(zk)
        # It was decided before it could say anything.
        assert ledger.said == ["abort x"]
        with pytest.raises(LookupError):
            await commit.outcome("n")


async def test_many_at_once(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _two(zk) as (a, _):
        both = TwoPhaseCommit(zk, "/t"), TwoPhaseCommit(other, "/t")
        calls = [both[n % 2].propose(b"%d" % n, ["a", "b/b"]) for n in range(20)]
        assert await asyncio.gather(*calls) == [COMMIT] * 20
        await _all_gone(zk)
        assert sorted(said for said in a.said if said.startswith("commit")) == sorted(
            f"commit {n}" for n in range(20)
        )


async def test_a_coordinator_that_dies_undecided_has_aborted(
    connect: Connect, expire: Expire
) -> None:
    slow = Ledger()
    slow.may_vote.clear()
    async with connect() as zk, connect() as other, _two(zk, b=slow) as (a, b):
        proposing = asyncio.create_task(TwoPhaseCommit(other, "/t").propose(b"x", ["a", "b/b"]))
        await eventually(lambda: len(a.said) == len(b.said) == 1)
        await expire(other)
        # Nobody waits for it: who has voted decides.
        await eventually(lambda: a.said == ["prepare x", "abort x"])
        slow.may_vote.set()
        await _all_gone(zk)
        assert b.said == ["prepare x", "abort x"]
        # It may have died for the others alone, and is told what they have decided.
        assert await proposing == ABORT


async def test_a_decision_outlives_its_coordinator(connect: Connect) -> None:
    async with connect() as zk:
        async with connect() as other:
            voting = Ledger()
            async with Participant(zk, "/t", "a", voting):
                voting.commit = _never  # type: ignore[method-assign]
                assert await TwoPhaseCommit(other, "/t").propose(b"x", ["a"], name="n") == COMMIT
        async with TwoPhaseCommit(zk, "/t") as commit:
            assert await commit.outcome("n") == COMMIT
        again = Ledger()
        async with Participant(zk, "/t", "a", again):
            await _all_gone(zk)
        # It had voted in its earlier life.
        assert again.said == ["commit x"]


async def _never(proposal: Proposal) -> None:
    await asyncio.Event().wait()


async def test_recovery_without_any_participant(connect: Connect) -> None:
    async with connect() as zk:
        async with connect() as other:
            dead = TwoPhaseCommit(other, "/t")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(dead.propose(b"x", ["a"], name="n"), 0.05)
            living = asyncio.create_task(TwoPhaseCommit(zk, "/t").propose(b"y", ["a"], name="m"))
            await zk.sync()
            while len(await zk.children("/t/proposals")) < 2:
                await zk.sync()
        commit = TwoPhaseCommit(zk, "/t")
        assert await commit.recover() == {"n": ABORT, "m": None}
        await zk.create("/t/proposals/n/done-a")
        await commit.recover()
        assert await zk.children("/t/proposals") == ["m"]
        await commit.forget("m")
        assert await living == ABORT


async def test_to_carry_out_is_tried_until_it_is_done(connect: Connect) -> None:
    heard: list[Any] = []

    class Failing(Ledger):
        async def commit(self, proposal: Proposal) -> None:
            await super().commit(proposal)
            if len(self.said) < 4:
                raise ValueError("not now")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
    ledger = Failing()
    async with connect() as zk, Participant(zk, "/t", "a", ledger, retry_s=0.01):
        assert await TwoPhaseCommit(zk, "/t").propose(b"x", ["a"]) == COMMIT
        await _all_gone(zk)
    assert ledger.said == ["prepare x", "commit x", "commit x", "commit x"]
    assert len(heard) == 2


async def test_a_name_is_used_once_at_a_time(connect: Connect) -> None:
    async with connect() as zk:
        commit = TwoPhaseCommit(zk, "/t")
        await commit.propose(b"x", ["a"], timeout_s=0, name="n")
        with pytest.raises(NodeExistsError):
            await commit.propose(b"y", ["a"], name="n")
        async with _two(zk) as (a, _):
            await _all_gone(zk)
            assert await commit.propose(b"y", ["a"], name="n") == COMMIT
            await _all_gone(zk)
            assert a.said == ["abort x", "prepare y", "commit y"]


async def test_a_participant_lives_once(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _two(zk):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Participant(other, "/t", "a", Ledger()).enter(), 0.05)


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_decision_of_which_nothing_is_heard_is_made_once(
    connect: Connect, carried_out: bool
) -> None:
    async with connect() as zk, connect() as other, _two(zk) as (a, _):
        _lose_decision(other, carried_out)
        assert await TwoPhaseCommit(other, "/t").propose(b"x", ["a", "b/b"]) == COMMIT
        await _all_gone(zk)
        assert a.said == ["prepare x", "commit x"]


def _lose_decision(zk: Any, carried_out: bool, then: Callable[[], Any] | None = None) -> None:
    real = zk.create

    async def fails(path: str, data: bytes = b"", **kind: Any) -> None:
        if not path.endswith("/decision"):
            await real(path, data, **kind)
            return
        zk.create = real
        if carried_out:
            await real(path, data, **kind)
        if then is not None:
            await then()
        raise OutcomeUnknown(path, "create")

    zk.create = fails


async def test_what_is_gone_meanwhile_is_not_said_to_be_aborted(
    connect: Connect, expire: Expire
) -> None:
    async with connect() as zk, connect() as other, _two(zk) as (a, _):

        async def all_is_over() -> None:
            await expire(other)
            await _all_gone(zk)

        _lose_decision(other, True, all_is_over)
        with pytest.raises(OutcomeUnknown):
            await TwoPhaseCommit(other, "/t").propose(b"x", ["a", "b/b"])
        assert a.said == ["prepare x", "commit x"]


async def test_recovery_says_nothing_of_what_is_gone_meanwhile(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _two(zk):
        commit: Any = TwoPhaseCommit(zk, "/t")

        for child in ("decision", "yes-a"):

            async def slow(name: str, child: str = child) -> set[str]:
                await _all_gone(zk)
                return {child}

            proposing = asyncio.create_task(
                TwoPhaseCommit(other, "/t").propose(b"x", ["a", "b/b"])
            )
            while not (names := await zk.children("/t/proposals")):
                await zk.sync()
            commit._register.look, commit._register.names = slow, _giving(names)
            assert await commit.recover() == {}
            assert await proposing == COMMIT


def _giving(names: list[str]) -> Callable[[], Any]:
    async def give() -> list[str]:
        return names

    return give


async def test_who_fails_to_propose_lets_nobody_wait(connect: Connect) -> None:
    async with connect() as zk, connect() as other, _two(zk) as (a, _):
        client: Any = other
        real = client.add_watch

        async def fails(*arguments: Any) -> None:
            client.add_watch = real
            raise OperationTimeoutError("/t", "add_watch")

        client.add_watch = fails
        with pytest.raises(OperationTimeoutError):
            await TwoPhaseCommit(other, "/t").propose(b"x", ["a", "b/b", "c"])
        while "abort x" not in a.said:
            await zk.sync()


async def test_who_cannot_hear_of_proposals_does_not_take_part(connect: Connect) -> None:
    async with connect() as zk:
        client: Any = zk
        real = client.add_watch

        async def fails(path: str, *arguments: Any) -> None:
            if path == "/t/proposals":
                raise OperationTimeoutError(path, "add_watch")
            await real(path, *arguments)

        client.add_watch = fails
        participant = Participant(zk, "/t", "a", Ledger())
        with pytest.raises(OperationTimeoutError):
            await participant.enter()
        assert await zk.children("/t/participants") == []


async def test_lost_connections_lose_nothing_and_do_nothing_twice(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    async with coterie_connect() as zk, coterie_connect() as other, _two(zk) as (a, b):
        commit = TwoPhaseCommit(other, "/t")
        decided: list[Decision] = []
        for number in range(4):
            proposing = asyncio.create_task(commit.propose(b"%d" % number, ["a", "b/b"]))
            await asyncio.to_thread(coterie_server.disconnect)
            decided.append(await proposing)
        await _all_gone(zk)
        for ledger in (a, b):
            for number, decision in enumerate(decided):
                done = [s for s in ledger.said if s in (f"commit {number}", f"abort {number}")]
                assert done == [f"{decision.value} {number}"]


def test_with_a_blocking_client(hosts: str) -> None:
    said: list[str] = []

    class Plain:
        def prepare(self, proposal: Proposal) -> bool:
            said.append("prepare")
            return True

        def commit(self, proposal: Proposal) -> None:
            said.append("commit")

        def abort(self, proposal: Proposal) -> None:
            said.append("abort")

    with coterie.connect_blocking(hosts) as zk, Participant(zk, "/t", "a", Plain()):
        assert zk.run(TwoPhaseCommit(zk, "/t").propose(b"x", ["a"])) == COMMIT
        zk.run(_all_gone(zk.client))
    assert said == ["prepare", "commit"]


@pytest.mark.slow
async def test_all_or_none_whatever_fails(
    coterie_server: Server, coterie_connect: FaultyConnect
) -> None:
    clients = [coterie_connect(session_timeout_s=0.8, call_timeout_s=3.0) for _ in range(3)]
    told: dict[str, Decision | None] = {}

    async def propose(zk: Client) -> None:
        while True:
            number = str(len(told))
            told[number] = None
            with suppress(ZooKeeperError):
                told[number] = await TwoPhaseCommit(zk, "/t").propose(
                    number.encode(), ["a", "b/b"], timeout_s=2.0
                )

    async with clients[0] as zk, clients[1], clients[2], _two(zk) as (a, b):
        proposing = [asyncio.create_task(propose(zk)) for zk in clients[1:]]
        await disturb(coterie_server, clients, 20, expires=True)
        for task in proposing:
            task.cancel()
        await asyncio.wait(proposing)
        await _all_gone(zk)
        done = [{s for s in ledger.said if not s.startswith("prepare")} for ledger in (a, b)]
        assert done[0] == done[1]
        for number, decision in told.items():
            outcomes = {f"commit {number}", f"abort {number}"} & done[0]
            assert len(outcomes) <= 1
            assert decision is None or outcomes == {f"{decision.value} {number}"}
