"""The client for threads, which is made from the other."""

from __future__ import annotations

import inspect
import threading

import pytest

import coterie
from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import NoNodeError, NotConnectedError
from coterie.values import SessionState, WatchEvent


def test_it_does_what_the_other_does(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        assert zk.create("/a/b", b"x", parents=True) == "/a/b"
        assert zk.get("/a/b").data == b"x"
        assert zk.set("/a/b", b"y", 0).version == 1
        assert zk.children("/") == ["a"]
        with pytest.raises(NoNodeError, match=r"^get /none"):
            zk.get("/none")
        assert zk.run(zk.client.exists("/none")) is None
        assert [f.result().data for f in [zk.submit(zk.client.get("/a/b"))] * 3] == [b"y"] * 3
        assert zk.state == SessionState.CONNECTED
    assert zk.over
    zk.close()


def test_it_serves_many_threads_at_once(hosts: str) -> None:
    with coterie.connect_blocking(hosts) as zk:
        zk.create("/n")

        def work(number: int) -> None:
            for step in range(20):
                zk.create(f"/n/{number}-{step}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(zk.children("/n")) == 160


def test_a_callback_may_use_the_client_kazoo_208(hosts: str) -> None:
    seen: list[bytes] = []
    done = threading.Event()
    with coterie.connect_blocking(hosts) as zk:
        zk.create("/a", b"1")

        def changed(event: WatchEvent) -> None:
            seen.append(zk.get(event.path).data)
            done.set()

        zk.get("/a", watch=changed)
        zk.set("/a", b"2")
        assert done.wait(5)
    assert seen == [b"2"]


def test_who_cannot_connect_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(NotConnectedError):
        coterie.connect_blocking("127.0.0.1:1", call_timeout_s=0.2).start()
    assert threading.active_count() == before


def test_every_operation_has_its_twin() -> None:
    """The same names, arguments and defaults."""
    for name, method in inspect.getmembers(Client, inspect.iscoroutinefunction):
        if name.startswith("_") or name in ("add_watch", "remove_watch"):
            continue
        twin = getattr(BlockingClient, name)
        assert inspect.signature(twin).parameters == inspect.signature(method).parameters, name
