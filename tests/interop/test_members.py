"""What clients see of an ensemble of two kinds of servers, whichever of them leads."""

from __future__ import annotations

import time

import pytest

from tests.compat import raw
from tests.compat.gardener import Garden, grow
from tests.interop.ensembles import TICK_MS, Ensemble, until

pytestmark = pytest.mark.timeout(120)


def test_one_of_everything_is_the_same_everywhere(standing: Ensemble) -> None:
    garden = Garden()
    for number, season in ((1, "spring"), (2, "summer"), (3, "autumn")):
        grow(standing[number].port, season, garden)
    assert len(standing.same_tree()) > 700


def test_a_session_moves_from_member_to_member(standing: Ensemble) -> None:
    """Its ephemeral stays, its watches are set again, and where it was it is no more."""
    client = standing.client(1)
    client.ok(raw.CREATE, raw.create("/mine", b"", raw.EPHEMERAL))
    client.ok(raw.CREATE, raw.create("/seen", b"0"))
    for number in (2, 3, 1, 3, 2, 1):
        before = client
        client = standing.moved(before, number)
        with before:
            reply = client.ok(raw.GET_DATA, raw.path_watch("/mine"))
            reader = raw.Reader(reply.body)
            reader.buffer()
            assert reader.stat().ephemeral_owner == client.session_id
            client.ok(raw.GET_DATA, raw.path_watch("/seen", watch=True))
            with standing.client(number % 3 + 1) as other:
                other.ok(raw.SET_DATA, raw.set_data("/seen", b"%d" % number))
                other.close_session()
            client.ok(raw.SYNC, raw.string("/seen"))
            assert [(event.type, event.path) for event in client.events] == [(3, "/seen")]
            client.events.clear()
            # A write over the old connection is a write of a session that has moved.
            with pytest.raises(raw.ClosedError):
                before.ok(raw.SET_DATA, raw.set_data("/seen", b"late"))
    client.close_session()
    assert not {"/mine"} & standing.same_tree().keys()


def test_a_client_that_knows_more_is_not_let_in(standing: Ensemble) -> None:
    with standing.client(1) as client:
        zxid = client.ok(raw.CREATE, raw.create("/known")).zxid
        client.close_session()
    for number in standing.members:
        with pytest.raises(raw.ClosedError):
            standing.client(number, seen_zxid=zxid + 1_000_000)


def _both_are_there(client: raw.Client) -> bool:
    """Asked by the session that is to live: this is what keeps it alive."""
    found = [client.call(raw.EXISTS, raw.path_watch(path)) for path in ("/idle", "/alive")]
    return all(reply.error == 0 for reply in found)


def test_a_session_expires_everywhere_and_not_before_its_time(standing: Ensemble) -> None:
    """One is left alone when its leader dies; another pings all the while, elsewhere."""
    leader = standing.leader()
    left, kept = standing.others(leader)
    timeout_ms = 3000
    with (
        standing.client(left, timeout_ms) as idle,
        standing.client(kept, timeout_ms) as alive,
    ):
        idle.ok(raw.CREATE, raw.create("/idle", b"", raw.EPHEMERAL))
        alive.ok(raw.CREATE, raw.create("/alive", b"", raw.EPHEMERAL))
        began = time.monotonic()
        until(lambda: not _both_are_there(alive), lambda: "the idle session does not expire")
        waited_ms = 1000 * (time.monotonic() - began)
        alive.ok(raw.EXISTS, raw.path_watch("/alive"))
        # Expiry is rounded up to a tick, and a follower tells of its sessions twice a tick.
        assert timeout_ms - TICK_MS <= waited_ms <= timeout_ms + 4 * TICK_MS
        assert "/idle" not in standing.same_tree()
        alive.close_session()
    assert "/alive" not in standing.same_tree()
