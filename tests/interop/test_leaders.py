"""Members of two kinds are killed in turn, each kind leading: nobody and nothing is lost."""

from __future__ import annotations

import pytest

from tests.compat import raw
from tests.compat.gardener import Garden, Znode, grow
from tests.interop.conftest import Gather
from tests.interop.crowd import Crowd
from tests.interop.ensembles import ALL_WELL, CASES, MIXES, Ensemble, until

_PAUSES = 3
_PAUSES_MAX = 10
"""Until both kinds have led: of equal histories the higher number leads, but not all are equal."""

pytestmark = pytest.mark.timeout(200)


def _owned(tree: dict[str, Znode], session_id: int) -> set[str]:
    return {path for path, znode in tree.items() if znode.stat.ephemeral_owner == session_id}


@pytest.mark.parametrize("mix", MIXES)
def test_each_is_killed_in_turn(mix: str, gather: Gather) -> None:
    """One of everything is made through each, and through who leads while one is away."""
    ensemble = gather(MIXES[mix]).start()
    garden = Garden()
    for number in ensemble.members:
        grow(ensemble[number].port, f"before-{number}", garden)
        ensemble.kill(number)
        grow(ensemble[ensemble.leader()].port, f"without-{number}", garden)
        ensemble.start(number)
        grow(ensemble[number].port, f"again-{number}", garden)
        ensemble.same_tree()
    _sessions_end(ensemble, garden)


def _sessions_end(ensemble: Ensemble, garden: Garden) -> None:
    """Every session has outlived the server that made it, and takes its ephemerals along."""
    tree = ensemble.same_tree()
    for session_id, password in garden.sessions.values():
        assert _owned(tree, session_id)
        with raw.Client(ensemble[1].port, session_id=session_id, password=password) as client:
            assert client.session_id == session_id
            client.close_session()
    tree = ensemble.same_tree()
    assert not any(znode.stat.ephemeral_owner for znode in tree.values())


@pytest.mark.parametrize("mix", MIXES)
def test_a_leader_that_stood_still_leads_no_more(mix: str, gather: Gather) -> None:
    """Nor does it lose what it was asked before: it takes what the others have gone on to."""
    ensemble = gather(MIXES[mix]).start()
    led: set[str] = set()
    with Crowd(ensemble) as crowd:
        for pauses in range(_PAUSES_MAX):
            if pauses >= _PAUSES and len(led) == 2:
                break
            crowd.go_on()
            old = ensemble.leader()
            led.add(ensemble.kind(old))
            ensemble.pause(old)
            assert ensemble.leader() != old
            crowd.go_on()
            ensemble.resume(old)
            until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
        crowd.go_on()
        crowd.judge()
    assert led == {"coterie", "apache"}


@pytest.mark.parametrize(("mix", "leader"), CASES)
def test_sessions_get_their_whole_time_from_a_new_leader(
    mix: str, leader: int, gather: Gather
) -> None:
    ensemble = gather(MIXES[mix]).start_led_by(leader)
    clients = {number: ensemble.client(number) for number in ensemble.members}
    for number, client in clients.items():
        client.ok(raw.CREATE, raw.create(f"/of-{number}", b"", raw.EPHEMERAL))
    ensemble.kill(leader)
    new = ensemble.leader()
    assert new != leader
    for number, client in clients.items():
        client.sock.close()
        clients[number] = ensemble.moved(client, new)
    tree = ensemble.same_tree()
    for number, client in clients.items():
        assert tree[f"/of-{number}"].stat.ephemeral_owner == client.session_id
        client.close_session()
    ensemble.start(leader)
    assert not {f"/of-{number}" for number in clients} & ensemble.same_tree().keys()


@pytest.mark.parametrize(("mix", "leader"), CASES)
def test_a_leader_alone_serves_no_more_and_comes_back_by_itself(
    mix: str, leader: int, gather: Gather
) -> None:
    ensemble = gather(MIXES[mix]).start_led_by(leader)
    for number in ensemble.others(leader):
        ensemble.kill(number)
    until(lambda: ensemble.mode(leader) is None, lambda: "it still serves")
    with pytest.raises((raw.ClosedError, OSError)):
        ensemble.client(leader)
    ensemble.start()
    with ensemble.client(leader) as client:
        client.ok(raw.CREATE, raw.create("/again"))
        client.close_session()
    assert "/again" in ensemble.same_tree()
