"""The pytest plugin: servers and clients as fixtures, a chroot of its own for every test.

    coterie_server      a server in this process, which can be made to fail
    coterie_ensemble    three of them
    coterie_hosts       the connect string for this test: of the ensemble if it asks for that one
    coterie_client      a blocking client there
    coterie_connect     makes clients there: `async with coterie_connect() as zk`
    coterie_async_client  one that is connected, where pytest-asyncio or anyio runs the test

Rules: servers start when the first test asks for them, live as long as the session, and are mended
after every test; what a test made is deleted with its chroot. pytest loads this file in every run,
so nothing is imported before a fixture is used. `--coterie-hosts` names another ensemble to run
against; tests that let servers fail are skipped then.
"""

from __future__ import annotations

import re
import secrets
import warnings
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from coterie.client.blocking import BlockingClient
    from coterie.client.client import Client
    from coterie.testing.cluster import Cluster, Server

_LINES_SHOWN: Final = 30
_SHOWN: Final = pytest.StashKey[list["Server | Cluster"]]()
"""The servers that the running test uses."""


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "the connect string of a running ensemble to test against, instead of our own servers"
    group = parser.getgroup("coterie")
    group.addoption("--coterie-hosts", metavar="HOSTS", help=what)
    parser.addini("coterie_hosts", what, default="")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHOWN] = []
    # A fixture that is a coroutine has to be of the kind that whoever runs it knows.
    kind: Any = pytest.fixture
    if config.pluginmanager.hasplugin("asyncio"):
        kind = import_module("pytest_asyncio").fixture
    module = ModuleType("coterie.testing.plugin.coroutines", "Fixtures that are coroutines.")
    module.coterie_async_client = kind(_async_client)  # type: ignore[attr-defined]
    config.pluginmanager.register(module, "coterie-coroutines")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for target in item.config.stash[_SHOWN]:
            lines = target.last_lines(_LINES_SHOWN) or "(nothing was logged during this test)"
            report.sections.append((f"Coterie's log ({target.hosts})", lines))
    return report


def _external(config: pytest.Config) -> str:
    """The ensemble that was named to test against, or nothing."""
    return config.getoption("--coterie-hosts") or config.getini("coterie_hosts") or ""


@contextmanager
def _own_place(addresses: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new znode, as the root of one test; it goes with all that is below it."""
    from coterie.client.blocking import connect_blocking
    from coterie.errors import ZooKeeperError
    from coterie.testing.cluster import SUPER

    name = re.sub(r"[^\w.-]+", "-", request.node.name)[:60]
    path = f"/test-{secrets.token_hex(4)}-{name}"
    auth = () if _external(request.config) else (SUPER,)
    # It is ensured, not created: what is named may have a root itself, which has to be there.
    with connect_blocking(addresses, auth=auth) as zk:
        zk.ensure(path)
    yield path
    try:
        with connect_blocking(addresses, auth=auth) as zk:
            zk.delete_tree(path)
    except ZooKeeperError as error:
        warnings.warn(pytest.PytestWarning(f"{path} stays at {addresses}: {error}"))


def _lent(target: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server or an ensemble for one test: it has a root of its own, and is mended at the end."""
    shown = request.config.stash[_SHOWN]
    target.forget_log_lines()
    with _own_place(",".join(target.addresses), request) as path:
        target.chroot = path
        shown.append(target)
        yield target
        shown.remove(target)
        target.chroot = ""
        target.mend()


def _skip_if_external(config: pytest.Config) -> None:
    if hosts := _external(config):
        pytest.skip(f"servers are not ours to let fail: the tests run against {hosts}")


@pytest.fixture(scope="session")
def _coterie_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    _skip_if_external(pytestconfig)
    from coterie.testing.cluster import Server

    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def _coterie_ensemble(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    _skip_if_external(pytestconfig)
    from coterie.testing.cluster import Cluster

    with Cluster(3) as cluster:
        yield cluster


@pytest.fixture
def coterie_server(_coterie_server: Server, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A Coterie server in this process; `hosts` is where this test connects."""
    yield from _lent(_coterie_server, request)


@pytest.fixture
def coterie_ensemble(
    _coterie_ensemble: Cluster, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """Three Coterie servers as one ensemble; `hosts` is where this test connects."""
    yield from _lent(_coterie_ensemble, request)


@pytest.fixture
def coterie_hosts(request: pytest.FixtureRequest) -> Iterator[str]:
    """The connect string for this test, with a root of its own: of `coterie_ensemble` if the test
    uses that, or else of `coterie_server`; or what --coterie-hosts says."""
    if hosts := _external(request.config):
        with _own_place(hosts, request) as path:
            yield hosts.rstrip("/") + path
    elif "coterie_ensemble" in request.fixturenames:
        yield request.getfixturevalue("coterie_ensemble").hosts
    else:
        yield request.getfixturevalue("coterie_server").hosts


class Connect:
    """Makes clients for one test. They take what `coterie.connect` takes."""

    def __init__(self, hosts: str) -> None:
        self.hosts = hosts
        self._opened: list[BlockingClient] = []

    def __call__(self, **options: Any) -> Client:
        """A client, to be connected: `async with coterie_connect() as zk`."""
        from coterie.client.client import connect

        return connect(self.hosts, **options)

    def blocking(self, **options: Any) -> BlockingClient:
        """A blocking client that is connected; it is closed when the test ends."""
        from coterie.client.blocking import connect_blocking

        client = connect_blocking(self.hosts, **options)
        client.start()
        self._opened.append(client)
        return client

    def close(self) -> None:
        """Close the blocking clients, the last first."""
        while self._opened:
            self._opened.pop().close()


@pytest.fixture
def coterie_connect(coterie_hosts: str, pytestconfig: pytest.Config) -> Iterator[Connect]:
    """Makes clients for this test: `async with coterie_connect() as zk`, or
    `zk = coterie_connect.blocking()`."""
    made = Connect(coterie_hosts)
    yield made
    for target in pytestconfig.stash[_SHOWN]:
        # A client that leaves would wait for one that stands still.
        target.resume()
    made.close()


@pytest.fixture
def coterie_client(coterie_connect: Connect) -> BlockingClient:
    """A blocking client that is connected, and closed when the test ends."""
    return coterie_connect.blocking()


async def _async_client(coterie_connect: Callable[[], Client]) -> AsyncIterator[Client]:
    """A client that is connected, in the loop of pytest-asyncio or anyio."""
    async with coterie_connect() as client:
        yield client
