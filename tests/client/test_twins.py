"""Watches, caches and transactions for plain threads."""

from __future__ import annotations

import threading

import pytest

import coterie
from coterie.client.cache import Change
from coterie.errors import BadVersionError
from coterie.values import EventType


def test_a_transaction(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        with zk.transaction() as change:
            change.create("/a", b"1").set("/a", b"2")
        assert len(change.results) == 2
        with pytest.raises(BadVersionError):
            zk.transaction().check("/a", 9).run()
        assert zk.get("/a").data == b"2"


def test_a_watch(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk, zk.watch("/", recursive=True) as events:
        zk.create("/a")
        zk.delete("/a")
        found = [events.next(5), events.next(5)]
        assert [event and event.type for event in found] == [
            EventType.NODE_CREATED,
            EventType.NODE_DELETED,
        ]
        with pytest.raises(TimeoutError):
            events.next(0.01)
        zk.create("/b")
        assert next(iter(events)).path == "/b"


def test_a_cache(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        zk.create("/c/a", b"1", parents=True)
        heard: list[Change] = []
        with zk.cache("/c") as cache:
            assert list(cache) == ["/c", "/c/a"]
            assert len(cache) == 2
            stat = zk.set("/c/a", b"2")
            assert cache.at_least(stat.mzxid)["/c/a"].data == b"2"
            assert cache.children("/c") == ["a"]
            assert cache.fresh
            listening = threading.Thread(target=lambda: heard.extend(cache.changes()))
            listening.start()
            while not cache._cache._listeners:
                zk.sync()
            cache.at_least(zk.set("/c/a", b"3").mzxid)
        listening.join(5)
        assert [change.new and change.new.data for change in heard] == [b"3"]
