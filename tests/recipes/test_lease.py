"""A lease ends by itself, for its holder first and for others later, and no session matters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.errors import GrantLostError, MarshallingError, OutcomeUnknown
from coterie.recipes.lease import Lease, LeaseGrant, Terms
from coterie.testing.campaign import members_of
from coterie.testing.cluster import Server
from coterie.testing.errand import Errand
from coterie.testing.history import Violation
from coterie.testing.programs import Program, Work
from coterie.testing.recipes import RecipeSimulation
from tests.conftest import Connect
from tests.recipes.conftest import Expire
from tests.recipes.scene import cancelled_at, settled

PATH = "/leases/one"


def _lease(zk: Client, duration_s: float = 60.0, margin_s: float | None = None) -> Lease:
    return Lease(zk, PATH, duration_s=duration_s, margin_s=margin_s, identifier=b"me")


async def _lost(grant: LeaseGrant) -> None:
    told = asyncio.Event()
    grant.on_lost(told.set)
    await told.wait()


def _lose_sets(zk: Client, *carried_out: bool) -> None:
    """Let the answers to the next changes be lost, whether they are carried out or not."""
    client: Any = zk
    change, left = client.set, list(carried_out)

    async def unsure(path: str, data: bytes, version: int = -1) -> Any:
        if not left:
            return await change(path, data, version)
        if left.pop(0):
            await change(path, data, version)
        raise OutcomeUnknown(path, "set")

    client.set = unsure


async def test_held_and_given_back(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        lease = _lease(zk)
        assert await lease.holder() is None
        tokens = []
        for _ in range(2):
            async with lease as grant:
                assert 59.0 < grant.left_s <= 60.0
                await grant.confirm()
                stat = await zk.exists(PATH)
                assert stat is not None
                assert grant.token == stat.mzxid
                tokens.append(grant.token)
                assert await _lease(other).holder() == b"me"
                waiter = asyncio.create_task(_lease(other).acquire())
                await settled(other)
                assert not waiter.done()
            assert grant.left_s == 0.0
            other_grant = await waiter
            tokens.append(other_grant.token)
            await other_grant.give_back()
        assert tokens == sorted(set(tokens))
        assert await lease.holder() is None


async def test_it_ends_for_its_holder_before_others_have_it(connect: Connect) -> None:
    """consul#4508, consul#18271: it ends when it was said to, and its holder knows. The margin is
    what Netflix/curator#9 asks for: a guard time after the end."""
    async with connect() as zk, connect() as other:
        held = asyncio.Event()

        async def hold() -> None:
            async with _lease(zk, 0.2, 0.1):
                held.set()
                await asyncio.Event().wait()

        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        holding = asyncio.create_task(hold())
        await held.wait()
        waiter = asyncio.create_task(_lease(other, 60.0).acquire())
        with pytest.raises(GrantLostError):
            await holding
        assert not waiter.done()
        grant = await waiter
        assert loop.time() >= begun_s + 0.3
        await grant.give_back()


async def test_renewed_it_lasts_longer(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        async with _lease(zk, 0.4, 0.2) as grant:
            token, expires_ms = grant.token, grant.expires_ms
            waiter = asyncio.create_task(_lease(other).acquire())
            for _ in range(4):
                await asyncio.wait([waiter], timeout=0.15)
                await grant.renew()
            assert grant.expires_ms >= expires_ms + 500
            assert grant.token == token
            assert not waiter.done()
            await grant.confirm()
        assert (await waiter).token > token


async def test_it_outlives_the_session_of_its_holder(connect: Connect, expire: Expire) -> None:
    async with connect() as zk, _lease(zk) as grant:
        session_id = zk.session_id
        await expire(zk)
        async for state in zk.states():
            if state.connected and zk.session_id != session_id:
                break
        await grant.renew()
        await grant.confirm()
        assert not grant.lost


async def test_a_waiter_outlives_its_session(connect: Connect, expire: Expire) -> None:
    async with connect() as zk, connect() as other:
        async with _lease(zk):
            waiter = asyncio.create_task(_lease(other).acquire())
            await settled(other)
            await expire(other)
        await (await waiter).give_back()


async def test_taken_away(connect: Connect) -> None:
    async with connect() as zk, connect() as other:
        for take in (lambda: other.set(PATH, b""), lambda: other.delete(PATH)):
            grant = await _lease(zk).acquire()
            await take()
            await _lost(grant)
            with pytest.raises(GrantLostError):
                await grant.renew()
        grant = await _lease(zk).acquire()
        thief = Terms("another", b"", 60_000.0, 0.0)
        await other.set(PATH, thief.encode())
        with pytest.raises(GrantLostError):
            await grant.confirm()
        await grant.give_back()
        assert Terms.decode(PATH, (await zk.get(PATH)).data) == thief


@pytest.mark.parametrize("carried_out", [[True], [False], [True, False, True]])
async def test_a_renewal_whose_answer_is_lost(connect: Connect, carried_out: list[bool]) -> None:
    async with connect() as zk, _lease(zk) as grant:
        expires_ms = grant.expires_ms
        _lose_sets(zk, *carried_out)
        await grant.renew()
        await grant.renew()
        assert grant.expires_ms > expires_ms
        await grant.confirm()


@pytest.mark.parametrize("carried_out", [[True], [False], [True, False, True]])
async def test_taken_and_not_told(connect: Connect, carried_out: list[bool]) -> None:
    async with connect() as zk:
        async with _lease(zk):
            pass
        _lose_sets(zk, *carried_out)
        async with _lease(zk) as grant:
            await grant.confirm()
            stat = await zk.exists(PATH)
            assert stat is not None
            assert grant.token == stat.mzxid


async def test_renewals_at_once(connect: Connect) -> None:
    async with connect() as zk, _lease(zk) as grant:
        await asyncio.gather(*(grant.renew() for _ in range(5)))
        await grant.confirm()


async def test_to_renew_ends_with_the_lease(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    """etcd's and consul's clients go on to try long after."""
    async with coterie_connect() as zk:
        grant = await _lease(zk, 0.3).acquire()
        coterie_server.cut_clients()
        try:
            begun_s = asyncio.get_running_loop().time()
            with pytest.raises(GrantLostError):
                await grant.renew()
            assert asyncio.get_running_loop().time() - begun_s < 0.6
        finally:
            coterie_server.heal()


async def test_a_waiter_goes_on_after_an_outage(
    coterie_connect: Connect, coterie_server: Server
) -> None:
    async with coterie_connect(call_timeout_s=0.1) as zk:
        async with coterie_connect() as other:
            await _lease(other, 0.2).acquire()
        waiter = asyncio.create_task(_lease(zk).acquire())
        await settled(zk)
        coterie_server.cut_clients()
        await asyncio.wait([waiter], timeout=0.4)
        assert not waiter.done()
        coterie_server.heal()
        await (await waiter).give_back()


async def test_patience(connect: Connect) -> None:
    async with connect() as zk:
        async with _lease(zk) as grant:
            for timeout_s in (0, 0.02):
                with pytest.raises(TimeoutError):
                    await _lease(zk).acquire(timeout_s)
            await grant.confirm()
            assert len(zk.session.watches._once[0].get(_place(zk), [])) == 1
        await (await _lease(zk).acquire(0)).give_back()


def _place(zk: Client) -> bytes:
    return (zk.chroot + PATH).encode()


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("existed", [False, True])
async def test_who_is_cancelled_leaves_it_free(
    connect: Connect, number: int, existed: bool
) -> None:
    async with connect() as zk:
        await zk.ensure("/leases")
        if existed:
            await zk.create(PATH)
        came = await cancelled_at(zk, number, _lease(zk).acquire())
        if came is not None:
            await came.give_back()
        await (await _lease(zk).acquire(0.5)).give_back()
        assert await _lease(zk).holder() is None


async def test_a_client_that_is_closed_holds_nothing(connect: Connect) -> None:
    async with connect() as zk:
        grant = await _lease(zk).acquire()
    assert grant.lost


async def test_what_is_no_lease(connect: Connect) -> None:
    async with connect() as zk:
        await zk.create(PATH, b"what?", parents=True)
        with pytest.raises(MarshallingError, match=PATH):
            await _lease(zk).acquire()
        with pytest.raises(ValueError, match="some time"):
            _lease(zk, 0.0)


def test_a_plain_with(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        lease = Lease(zk, PATH, duration_s=60, identifier=b"me")
        with lease as grant:
            zk.run(grant.renew())
            assert zk.run(lease.holder()) == b"me"
        with pytest.raises(GrantLostError):
            _too_long(Lease(zk, PATH, duration_s=0.2))


def _too_long(lease: Lease) -> None:
    with lease as grant:
        assert grant.wait_lost(10.0)


# On the simulator: programs that stand still and crash, servers that fail, a network that is cut


class _Leasing(Errand):
    """Each wants the lease. Only clocks tell who has it: no session has to live."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        super().__init__(simulation)
        self.held: dict[Program, LeaseGrant] = {}
        self.newest = self.grants = 0
        self.duration_s = simulation.timeout_ms / 1000.0

    def work(self, program: Program) -> Work:
        return _Tenant(program, self)

    def granted(self, program: Program, grant: LeaseGrant) -> None:
        self.grants += 1
        now_ms = self.simulation.time.now_ms
        for other, held in self.held.items():
            # One that stands still knows when it goes on.
            if other.running and now_ms < held.expires_ms and not held.lost:
                fail(self, f"{program.name} has the lease that {other.name} has")
        if grant.token <= self.newest:
            fail(self, f"{program.name} has token {grant.token:#x} after {self.newest:#x}")
        self.newest = grant.token
        self.held[program] = grant


def fail(errand: Errand, what: str) -> None:
    errand.simulation.failed(Violation(what))


class _Tenant(Work):
    def __init__(self, program: Program, errand: _Leasing) -> None:
        super().__init__(program)
        self._errand = errand

    async def round(self) -> None:
        errand, dice = self._errand, self.program.dice
        lease = Lease(self.client, "/lease", duration_s=errand.duration_s)
        async with asyncio.timeout(self.program.patience_s(0.3)), lease as grant:
            errand.granted(self.program, grant)
            try:
                while dice.random() < 0.7:
                    await self.program.pause(0.3)
                    await grant.renew()
            finally:
                errand.held.pop(self.program, None)


@pytest.mark.parametrize("seed", range(10))
def test_on_the_simulator(seed: int) -> None:
    simulation = RecipeSimulation(seed, members=members_of(seed), errand=_Leasing)
    simulation.run()
    assert isinstance(simulation.errand, _Leasing)
    assert simulation.errand.grants


def test_without_the_wait_two_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Terms.decode.__func__  # type: ignore[attr-defined]

    def short(cls: type[Terms], path: str, data: bytes) -> Terms | None:
        terms: Terms | None = decode(cls, path, data)
        return terms and terms._replace(margin_ms=-terms.duration_ms / 2)

    monkeypatch.setattr(Terms, "decode", classmethod(short))
    with pytest.raises(Violation, match="has the lease that"):
        _run_all()


def _run_all() -> None:
    for seed in range(40):
        test_on_the_simulator(seed)
