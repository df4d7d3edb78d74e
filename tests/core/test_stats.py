"""What a server counts, and what `cons` calls the last operation."""

from __future__ import annotations

from coterie.core.stats import LAST_OP, Stats
from coterie.wire.requests import TABLE, Op


def test_latencies_are_kept_until_they_are_reset() -> None:
    stats = Stats()
    stats.answered(Op.GET_DATA, 4, 1)
    stats.answered(Op.GET_DATA, 0, 5)
    stats.answered(Op.CREATE, 9, 1)
    assert (stats.latency_min_ms, stats.latency_max_ms, stats.latency_total_ms) == (0, 9, 13)
    assert (stats.latency_count, stats.sent) == (7, 7)
    assert stats.requests == {Op.GET_DATA: 6, Op.CREATE: 1}
    stats.reset()
    assert (stats.latency_min_ms, stats.latency_count, stats.requests) == (-1, 0, {})


def test_every_operation_that_a_client_may_ask_for_has_a_name() -> None:
    from_clients = set(TABLE) - {Op.CHECK, Op.DELETE_CONTAINER, Op.AUTH}
    assert from_clients <= set(LAST_OP)
