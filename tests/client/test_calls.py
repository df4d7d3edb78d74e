"""Requests byte by byte, and how answers are read."""

from __future__ import annotations

from typing import Any

import pytest

from coterie import errors
from coterie.client import calls
from coterie.client.watches import CHILD, DATA, EXIST
from coterie.errors import (
    MarshallingError,
    NoNodeError,
    RuntimeInconsistencyError,
    UnknownError,
    ZooKeeperError,
)
from coterie.values import OPEN_ACL, CreateMode, EventType
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import MULTI_END, MULTI_HEADER, Op


def outcome(call: calls.Call, error: int = 0, body: bytes = b"") -> Any:
    found: list[Any] = []
    call.settle = lambda result, failure: found.append(failure or result)
    call.answered(error, Reader(body))
    return found[0]


def test_a_read_asks_for_a_watch_by_its_last_byte() -> None:
    call = calls.get(b"/a", "/a")
    assert call.body == b"\0\0\0\2/a\0"
    assert requests.PathWatchRequest.decode(call.body) == requests.PathWatchRequest(b"/a", False)
    calls.watching(call, b"/a", lambda event, path: None)
    assert call.body == b"\0\0\0\2/a\1"


@pytest.mark.parametrize(
    ("mode", "op"),
    [
        (CreateMode.PERSISTENT, Op.CREATE2),
        (CreateMode.EPHEMERAL_SEQUENTIAL, Op.CREATE2),
        (CreateMode.CONTAINER, Op.CREATE_CONTAINER),
        (CreateMode.PERSISTENT_TTL, Op.CREATE_TTL),
        (CreateMode.PERSISTENT_SEQUENTIAL_TTL, Op.CREATE_TTL),
    ],
)
def test_each_kind_of_znode_has_its_opcode(mode: CreateMode, op: int) -> None:
    call = calls.create(b"/a", "/a", b"x", OPEN_ACL, mode, 5)
    assert call.op == op
    assert requests.TABLE[op].request.decode(call.body).flags == mode  # type: ignore[attr-defined]
    assert call.writes


def test_which_watch_an_answer_has_set() -> None:
    def watcher(event: EventType, path: bytes) -> None:
        raise AssertionError

    def kind(call: calls.Call, error: int) -> int | None:
        armed = calls.watching(call, b"/a", watcher).armed(error)
        return None if armed is None else armed[0]

    no_node = NoNodeError.code
    assert kind(calls.get(b"/a", "/a"), 0) == DATA
    assert kind(calls.get(b"/a", "/a"), no_node) is None
    assert kind(calls.exists(b"/a", "/a"), 0) == DATA
    assert kind(calls.exists(b"/a", "/a"), no_node) == EXIST
    assert kind(calls.children(b"/a", "/a"), 0) == CHILD
    assert calls.get(b"/a", "/a").armed(0) is None


def test_an_error_of_a_later_version_is_told_with_its_number() -> None:
    found = outcome(calls.get(b"/a", "/a"), -999)
    assert isinstance(found, UnknownError)
    assert str(found).endswith(": -999")
    assert str(found).startswith("get /a")


def test_null_data_is_no_data() -> None:
    assert outcome(calls.get(b"/a", "/a"), 0, b"\xff\xff\xff\xff" + bytes(68)).data == b""


def test_it_is_settled_once() -> None:
    call = calls.get(b"/a", "/a")
    found: list[ZooKeeperError | None] = []
    call.settle = lambda result, failure: found.append(failure)
    call.fail(NoNodeError)
    call.fail(NoNodeError)
    call.finish(None)
    assert len(found) == 1
    assert not call.copy().settled


def _multi() -> calls.Call:
    record = requests.DeleteRequest(b"/a", -1)
    return calls.multi([(Op.DELETE, record, "/a", "delete"), (Op.DELETE, record, "/b", "delete")])


def test_the_results_of_a_failed_multi_have_their_paths() -> None:
    body = requests.error_result(NoNodeError.code)
    body += requests.error_result(RuntimeInconsistencyError.code) + MULTI_END
    first, second = outcome(_multi(), errors.OK, body)
    assert isinstance(first, NoNodeError)
    assert (first.path, second.path) == ("/a", "/b")


@pytest.mark.parametrize(
    "body",
    [
        MULTI_END,
        requests.error_result(-1) * 3 + MULTI_END,
        MULTI_HEADER.pack(99, False, 0) + MULTI_END,
        b"\0\0",
    ],
)
def test_a_multi_whose_answer_does_not_fit_is_an_error(body: bytes) -> None:
    with pytest.raises((MarshallingError, ValueError)):
        _multi().answered(0, Reader(body))


def test_the_write_that_changes_nothing_may_be_sent_twice() -> None:
    call = calls.check_all()
    assert call.op == Op.MULTI
    assert not call.writes
