"""What is kept of a connection: its identity from the start, and its numbers."""

from __future__ import annotations

from coterie.core.connection import Connection
from coterie.core.sessions import Session
from coterie.values import Id


def connection() -> Connection:
    return Connection(7, "10.1.2.3", 4000, 1024, 5.0, 1_700_000_000_000)


def test_a_new_connection_is_nobody_but_its_address() -> None:
    fresh = connection()
    assert fresh.ids == (Id("ip", "10.1.2.3"),)
    assert (fresh.session_id, fresh.hold, fresh.gone, fresh.out) == (0, 0, False, [])
    assert (fresh.opened_ms, fresh.established_ms) == (5.0, 1_700_000_000_000)
    assert fresh.framing.frame_bytes_max == 1024
    fresh.session = Session(0x100, 400, 0)
    assert fresh.session_id == 0x100


def test_connections_are_told_apart_by_what_they_are() -> None:
    one, other = connection(), connection()
    assert one != other
    assert len({one, other}) == 2


def test_numbers_are_as_cons_shows_them_at_first() -> None:
    fresh = connection()
    assert (fresh.received, fresh.sent) == (0, 0)
    assert (fresh.last_op, fresh.last_xid, fresh.last_zxid) == ("NA", -1, -1)


def test_answers_are_counted_with_their_latencies() -> None:
    it = connection()
    it.answered("GETD", 5, 100, 1000.0, 8, 2)
    it.answered("PING", -2, 101, 1001.0, 3, 1)
    assert (it.sent, it.latency_count, it.latency_total_ms) == (3, 3, 11)
    assert (it.latency_min_ms, it.latency_max_ms, it.last_latency_ms) == (3, 8, 3)
    assert (it.last_op, it.last_xid, it.last_zxid, it.last_response_ms) == ("PING", -2, 101, 1001)
    it.answered("PING", -2, 101, 1002.0, 0, 1)
    assert it.latency_min_ms == 0
    it.reset_stats()
    assert (it.sent, it.latency_count, it.latency_min_ms, it.last_op) == (0, 0, -1, "NA")
