"""Metrics: bearing Apache's names, and true of what a server was made to do."""

from __future__ import annotations

from coterie.admin.metrics import metrics
from coterie.wire.requests import Op
from tests.admin.served import Served
from tests.golden.packets import HERE

_NOT_APACHES = {"quota_exceeded_count", "unread_connections_cut", "writes_refused"}
"""What only we have, besides the count of requests of each kind."""


def _numbers(served: Served) -> dict[str, float]:
    return metrics(served.member, 1500.7)


def test_names_are_apaches() -> None:
    apaches = {name.removeprefix("zk_") for name in (HERE / "mntr.txt").read_text().split()}
    ours = {name for name in _numbers(Served()) if not name.startswith("op_count_")}
    assert ours - apaches == _NOT_APACHES


def test_a_fresh_server() -> None:
    numbers = _numbers(Served())
    # As Apache's counts them, to whom the root has two names.
    assert numbers["znode_count"] == 5
    assert numbers["uptime"] == 1500
    assert not any(
        numbers[name] for name in numbers if name.startswith(("op_count", "packets", "max_"))
    )


def test_what_was_done_is_counted() -> None:
    served = Served()
    client, other = served.connect(4001), served.connect(4002)
    served.create(client, b"/a", b"12345")
    served.create(client, b"/e", flags=1)
    served.create(client, b"/a")
    for _ in range(3):
        served.get(client, b"/a", watch=True)
    served.children(other, b"/a")
    served.set(client, b"/none", b"x", after_ms=9)
    served.ask(client, Op.PING)
    numbers = _numbers(served)
    assert numbers["num_alive_connections"] == numbers["global_sessions"] == 2
    assert numbers["znode_count"] == 7
    assert numbers["ephemerals_count"] == 1
    assert numbers["watch_count"] == 2
    assert numbers["op_count_create"] == 3
    assert numbers["op_count_get_data"] == 3
    assert numbers["op_count_get_children"] == 1
    assert numbers["op_count_set_data"] == 1
    assert numbers["op_count_ping"] == 1
    assert numbers["op_count_delete"] == 0
    # With the two handshakes, which have no latency here.
    assert numbers["packets_received"] == numbers["packets_sent"] == 11
    assert numbers["max_latency"] == 9
    assert numbers["min_latency"] == 0
    assert numbers["avg_latency"] == round(9 / 9, 4)


def test_the_size_of_the_data_is_that_of_paths_and_data() -> None:
    """Of the whole tree, as in DataTree.approximateDataSize."""
    served = Served()
    before = _numbers(served)["approximate_data_size"]
    client = served.connect(4001)
    served.create(client, b"/abc", b"12345")
    assert _numbers(served)["approximate_data_size"] == before + 4 + 5
    served.set(client, b"/abc", b"1")
    assert _numbers(served)["approximate_data_size"] == before + 4 + 1


def test_what_waits_and_what_fails() -> None:
    served = Served()
    client = served.connect(4001)
    served.log_waits = True
    served.create(client, b"/a")
    served.get(client, b"/a")
    numbers = _numbers(served)
    assert numbers["outstanding_requests"] == 2
    assert numbers["outstanding_changes_queued"] == 1
    assert numbers["writes_refused"] == 0
    served.member.log_failed("the disk is full")
    assert _numbers(served)["writes_refused"] == 1


def test_every_number_is_a_number() -> None:
    assert all(isinstance(value, int | float) for value in _numbers(Served()).values())
