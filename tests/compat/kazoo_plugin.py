"""A pytest plugin that runs kazoo's own tests against one standalone server of ours.

    python -m pytest -c tests/compat/kazoo.ini -p tests.compat.kazoo_plugin --pyargs kazoo.tests

`--server` says whose server it is (coterie or apache), `--excluded` runs just what is left out. It
is started once, before the first test, and kazoo's harness gets a cluster of that one server in
place of the three that it would start itself: its tests keep apart by a chroot each, and those
that stop a server stop this one.

Rules: a test is left out only by an entry of `EXCLUSIONS`, which says why; an entry that fits no
test any more is an error. What kazoo skips by itself is in pytest's own list (-rs).
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, NamedTuple

import pytest

from tests.compat.servers import SERVERS, Server

_SASL: Final = "SASL: the server has none yet"
_TLS: Final = "TLS: the server has no secure port yet"
_ENSEMBLE: Final = "needs three servers that are one ensemble"
_RECONFIG: Final = "needs an ensemble: a standalone server has nothing to reconfigure"


class Exclusion(NamedTuple):
    """Tests left out: a module, and in it a class or `Class::test`."""

    module: str
    name: str
    reason: str


EXCLUSIONS: Final = (
    Exclusion("test_sasl", "TestLegacySASLDigestAuthentication", _SASL),
    Exclusion("test_sasl", "TestSASLDigestAuthentication", _SASL),
    Exclusion("test_sasl", "TestSASLGSSAPIAuthentication", _SASL),
    Exclusion("test_client", "TestSSLClient", _TLS),
    Exclusion("test_connection", "TestReadOnlyMode", _ENSEMBLE),
    Exclusion("test_client", "TestClient::test_update_host_list", _ENSEMBLE),
    Exclusion("test_eventlet_handler", "TestEventletClient::test_update_host_list", _ENSEMBLE),
    Exclusion("test_gevent_handler", "TestGeventClient::test_update_host_list", _ENSEMBLE),
    Exclusion("test_client", "TestReconfig", _RECONFIG),
)

# The super user's password is "test", as kazoo's harness has it.
_SETTINGS: Final = {
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
}


class StandingServer:
    """What kazoo's harness takes for a server that it manages: ours, which outlives its wishes."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def running(self) -> bool:
        return self._server.running

    @property
    def address(self) -> str:
        return self._server.address

    @property
    def client_port(self) -> int:
        return self._server.port

    def run(self) -> None:
        if not self._server.running:
            self._server.start()

    def stop(self) -> None:
        if self._server.running:
            self._server.stop()


class StandingCluster:
    """What kazoo's harness takes for its `ZookeeperCluster`: one server that was there before."""

    standing: ClassVar[Server]

    def __init__(self, *, size: int, **_unused: object) -> None:
        assert size == 1, f"the harness wants {size} servers, this plugin has one"
        self._servers = [StandingServer(self.standing)]

    def __getitem__(self, index: int) -> StandingServer:
        return self._servers[index]

    def __iter__(self) -> Iterator[StandingServer]:
        return iter(self._servers)

    def start(self) -> None:
        for server in self._servers:
            server.run()

    def terminate(self) -> None:
        """The harness ends its cluster after every class; the next one finds ours running."""

    def get_logs(self) -> list[str]:
        return [self.standing.said()]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", choices=sorted(SERVERS), default="coterie")
    parser.addoption("--excluded", action="store_true", help="run just what is left out")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server and put our cluster where kazoo's harness looks for its own."""
    kind = SERVERS[config.getoption("--server")]
    if reason := kind.missing():
        raise pytest.UsageError(reason)
    directory = Path(tempfile.mkdtemp(prefix="kazoo-"))
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    StandingCluster.standing = kind(directory, _SETTINGS).start()
    config.add_cleanup(StandingCluster.standing.__exit__)
    # Clients that no test stopped would mourn the server behind pytest's closing line.
    config.add_cleanup(logging.disable)
    # kazoo.testing.common cannot be imported without the libraries with which it makes key stores.
    stand_in: Any = ModuleType("kazoo.testing.common")
    stand_in.ZookeeperCluster = StandingCluster
    sys.modules["kazoo.testing.common"] = stand_in
    os.environ |= {"ZOOKEEPER_VERSION": "3.8.0", "ZOOKEEPER_CLUSTER_SIZE": "1"}


def pytest_report_header(config: pytest.Config) -> str:
    return f"server: {config.getoption('--server')}, standalone"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is left out; an entry of a collected module that fits no test is an error."""
    left_out = []
    modules = {_module(item) for item in items}
    unused = {entry for entry in EXCLUSIONS if entry.module in modules}
    for item in items:
        name = item.nodeid.partition("::")[2]
        for entry in EXCLUSIONS:
            whole = f"{name}::".startswith(f"{entry.name}::")
            if entry.module == _module(item) and whole:
                left_out.append((item, entry.reason))
                unused.discard(entry)
    if unused:
        lines = "\n".join(f"  {entry.module}::{entry.name}" for entry in sorted(unused))
        raise pytest.UsageError(f"exclusions that fit no test:\n{lines}")
    if config.getoption("--excluded"):
        items[:] = [item for item, _ in left_out]
        return
    for item, reason in left_out:
        item.add_marker(pytest.mark.skip(reason=reason))


def _module(item: pytest.Item) -> str:
    return item.path.stem
