"""Random clients: what they ask for, how they come back, and that they notice what is wrong."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from coterie.testing.faults import Plan
from coterie.testing.history import Multi, Violation
from coterie.testing.simulator import Simulation
from coterie.testing.workload import PATHS, Requests
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import TABLE, Op, reply


def drawn(seed: int, count: int = 400) -> list[tuple[int, object]]:
    source = Requests(Random(seed), "c1", value_bytes=40, ttl_ms=500)
    return [source.draw() for _ in range(count)]


def test_the_same_dice_ask_for_the_same() -> None:
    assert repr(drawn(1)) == repr(drawn(1))
    assert repr(drawn(1)) != repr(drawn(2))


def test_all_kinds_of_requests_are_made_that_a_server_reads_back() -> None:
    seen = set()
    for seed in range(10):
        for op, request in drawn(seed):
            seen.add(op)
            if isinstance(request, Multi):
                back = requests.read_multi(Reader(request.encode()))
                assert back == request.operations
            else:
                assert isinstance(request, TABLE[op].request)
                assert TABLE[op].request.decode(request.encode()) == request
    reads = {Op.GET_DATA, Op.EXISTS, Op.GET_CHILDREN2, Op.SYNC, Op.ADD_WATCH}
    creates = {Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL}
    assert seen == reads | creates | {Op.SET_DATA, Op.DELETE, Op.MULTI, Op.SET_ACL}


def test_every_value_is_written_once_and_holds_no_zeros() -> None:
    values = []
    for op, request in drawn(1):
        parts = request.operations if isinstance(request, Multi) else [(op, request)]
        values += [part.data for _, part in parts if hasattr(part, "data")]
    assert len(set(values)) == len(values) > 100
    assert not any(b"\0" in value for value in values)


def test_clients_meet_on_few_paths() -> None:
    paths = [request.path for _, request in drawn(1) if hasattr(request, "path")]
    plain = [path for path in paths if not path.endswith(b"s-")]
    assert set(plain) == set(PATHS)


def running(clients: int = 2) -> Simulation:
    """A run in which nothing fails, with idle clients that have their sessions."""
    plan = dataclasses.replace(
        Plan.draw(Random(3)),
        faults=frozenset(),
        clients=clients,
        clock_rate=1.0,
        delay_ms=0.1,
        sync_ms=0.2,
        tick_ms=200,
        timeout_ticks=4,
    )
    simulation = Simulation(3, plan)
    simulation.hosts[0].start()
    go_on(simulation, 2000)
    assert all(client.idle for client in simulation.clients)
    return simulation


def go_on(simulation: Simulation, ms: float) -> None:
    simulation.time.run(simulation.time.now_ms + ms)


def test_an_idle_client_keeps_its_session() -> None:
    simulation = running()
    ids = [client.session_id for client in simulation.clients]
    go_on(simulation, 20_000)
    assert [client.session_id for client in simulation.clients] == ids
    assert all(ids)


def test_a_budget_is_used_up_and_everything_is_answered() -> None:
    simulation = running()
    for client in simulation.clients:
        client.budget = 50
    go_on(simulation, 60_000)
    assert all(client.idle for client in simulation.clients)
    assert all(client.answered >= 50 for client in simulation.clients)


def test_after_a_lost_connection_it_comes_back_with_its_session() -> None:
    simulation = running(1)
    client = simulation.clients[0]
    session_id = client.session_id
    simulation.network.cut(next(iter(simulation.network.ends)))
    go_on(simulation, 1)
    assert not client.idle
    go_on(simulation, 2000)
    assert client.idle
    assert client.session_id == session_id
    assert simulation.marks["a session was taken up again"]


def test_a_client_that_was_mute_too_long_begins_anew() -> None:
    simulation = running(1)
    client = simulation.clients[0]
    session_id = client.session_id
    client.mute(4)
    go_on(simulation, 10_000)
    assert client.idle
    assert client.session_id != session_id
    assert session_id in simulation.history.ended


def test_a_server_that_says_nothing_is_given_up() -> None:
    simulation = running(1)
    simulation.network.block("s1", "c1")
    go_on(simulation, 2000)
    assert any(kind == "gives up" for _, kind, _ in simulation.trace)


def test_a_reply_out_of_turn_is_found() -> None:
    simulation = running(1)
    client = simulation.clients[0]
    client.ask_for(Op.SYNC, requests.PathRequest(b"/"))
    with pytest.raises(Violation, match="got a reply to 77"):
        client.received(reply(77, simulation.history.zxid, 0))


def test_a_reply_with_something_behind_it_is_found() -> None:
    simulation = running(1)
    client = simulation.clients[0]
    client.ask_for(Op.SYNC, requests.PathRequest(b"/"))
    body = requests.PathResponse(b"/").encode() + b"more"
    with pytest.raises(Violation, match="too long"):
        client.received(reply(client._xid, simulation.history.zxid, 0, body))


def test_an_event_that_nothing_caused_is_found() -> None:
    simulation = running(1)
    with pytest.raises(Violation, match="nothing caused"):
        simulation.clients[0].received(requests.notification(1, b"/a", simulation.history.zxid))


def test_another_session_than_its_own_is_found() -> None:
    simulation = running(1)
    client = simulation.clients[0]
    client.lost()
    body = requests.ConnectResponse(0, 800, client.session_id + 1, bytes(16)).encode() + b"\0"
    with pytest.raises(Violation, match="another session"):
        client.received(len(body).to_bytes(4, "big") + body)
