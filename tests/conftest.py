"""Tests that are coroutines are run as such; and the ensemble that tests of clients run against.

It is one server in this process, or three (`COTERIE_TEST_MEMBERS=3`), or any other that
`COTERIE_TEST_HOSTS` names: the same tests against each.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import coterie
from coterie.client.client import Client
from coterie.system.transport import new_event_loop
from coterie.testing.cluster import Cluster, Server

Connect = Callable[..., Client]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in _arguments(pyfuncitem)}
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that run against any ensemble bear the mark `ensemble`."""
    for item in items:
        if "ensemble_hosts" in getattr(item, "fixturenames", ()):
            item.add_marker("ensemble")


def _arguments(pyfuncitem: pytest.Function) -> tuple[str, ...]:
    info: Any = getattr(pyfuncitem, "_fixtureinfo")  # noqa: B009
    names: tuple[str, ...] = info.argnames
    return names


@pytest.fixture(scope="session")
def ensemble_hosts() -> Iterator[str]:
    """Where the ensemble is that tests share."""
    named = os.environ.get("COTERIE_TEST_HOSTS")
    if named:
        yield named
        return
    members = int(os.environ.get("COTERIE_TEST_MEMBERS", "1"))
    with Server() if members == 1 else Cluster(members) as started:
        yield started.hosts


@pytest.fixture
def hosts(ensemble_hosts: str) -> Iterator[str]:
    """A connect string with a root of the test's own."""
    root = f"/test-{uuid.uuid4().hex}"
    with coterie.connect_blocking(ensemble_hosts, session_timeout_s=10.0) as zk:
        zk.create(root)
        yield ensemble_hosts + root
        zk.delete_tree(root)


@pytest.fixture
def connect(hosts: str) -> Connect:
    """Makes clients of the test's own root; `async with connect() as zk`."""
    return partial(coterie.connect, hosts, session_timeout_s=5.0, call_timeout_s=10.0)


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what has to come, for so long at most."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
