"""A pytest plugin that runs kazoo's own tests against servers of ours: one alone, or an ensemble.

    python -m pytest -c tests/compat/kazoo.ini -p tests.compat.kazoo_plugin --pyargs kazoo.tests

`--server` says whose server it is (coterie or apache), `--members 3` makes it an ensemble,
`--excluded` runs just what is left out. The servers are started once, before the first test, and
kazoo's harness gets a cluster of them in place of that which it would start itself: its tests keep
apart by a chroot each, and those that stop a server stop one of these.

Rules: a test is left out only by an entry of `EXCLUSIONS`, which says why; an entry that fits no
test any more is an error. What kazoo skips by itself is in pytest's own list (-rs).
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, NamedTuple

import pytest

from coterie.testing.ports import free_port
from tests.compat.servers import SERVERS, Coterie, Server, Settings
from tests.interop.ensembles import Ensemble
from tests.runtime.certificates import Authority

_KERBEROS: Final = "Kerberos: the server has none"
_SASL: Final = "SASL: Apache's server is started without users here"
_TLS: Final = "TLS: Apache's server is started without a secure port here"
_ENSEMBLE: Final = "needs three servers that are one ensemble"
_RECONFIG: Final = "the members of an ensemble cannot be changed yet"


class Exclusion(NamedTuple):
    """Tests left out: a module, and in it a class or `Class::test`."""

    module: str
    name: str
    reason: str
    ensembles: bool = True
    """Whether it is left out with an ensemble, too."""


EXCLUSIONS: Final = (
    Exclusion("test_sasl", "TestSASLGSSAPIAuthentication", _KERBEROS),
    Exclusion("test_connection", "TestReadOnlyMode", _ENSEMBLE, False),
    Exclusion("test_client", "TestClient::test_update_host_list", _ENSEMBLE, False),
    Exclusion(
        "test_eventlet_handler", "TestEventletClient::test_update_host_list", _ENSEMBLE, False
    ),
    Exclusion("test_gevent_handler", "TestGeventClient::test_update_host_list", _ENSEMBLE, False),
    Exclusion("test_client", "TestReconfig", _RECONFIG),
)
_OF_APACHE: Final = (
    Exclusion("test_client", "TestSSLClient", _TLS),
    Exclusion("test_sasl", "TestLegacySASLDigestAuthentication", _SASL),
    Exclusion("test_sasl", "TestSASLDigestAuthentication", _SASL),
)

# The super user's password is "test", as kazoo's harness has it.
_SETTINGS: Final = {
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
}
# The user that kazoo's harness gives to its servers.
_USERS: Final = "super:super_secret\njaasuser:jaas_password\n"
_OF_ENSEMBLES: Final[Settings] = {"readonlymode.enabled": "true", "tickTime": 2000}


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
    def secure_address(self) -> str:
        return f"{self._server.host}:{self._server.settings['secureClientPort']}"

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
    """What kazoo's harness takes for its `ZookeeperCluster`: servers that were there before."""

    standing: ClassVar[list[Server]]
    authority: ClassVar[Authority]

    def __init__(self, *, size: int, **_unused: object) -> None:
        assert size == len(self.standing), f"the harness wants {size} servers"
        self._servers = [StandingServer(server) for server in self.standing]

    def __getitem__(self, index: int) -> StandingServer:
        return self._servers[index]

    def __iter__(self) -> Iterator[StandingServer]:
        return iter(self._servers)

    def start(self) -> None:
        for server in self._servers:
            server.run()

    def terminate(self) -> None:
        """The harness ends its cluster after every class; the next one finds ours running."""

    def get_ssl_client_configuration(self) -> dict[str, bytes]:
        """The certificate and the key of a client, in one."""
        both = (self.authority.directory / "client.pem").read_bytes()
        ca = self.authority.trust.read_bytes()
        return {"client_key": both, "client_cert": both, "ca_cert": ca}

    def get_logs(self) -> list[str]:
        return [server.said() for server in self.standing]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", choices=sorted(SERVERS), default="coterie")
    parser.addoption("--members", type=int, default=1, help="an ensemble of so many")
    parser.addoption("--excluded", action="store_true", help="run just what is left out")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server and put our cluster where kazoo's harness looks for its own."""
    kind = SERVERS[config.getoption("--server")]
    if reason := kind.missing():
        raise pytest.UsageError(reason)
    directory = Path(tempfile.mkdtemp(prefix="kazoo-"))
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    size: int = config.getoption("--members")
    StandingCluster.authority = authority = Authority(directory / "tls")
    if size == 1:
        alone = kind(directory, _SETTINGS)
        _guard([alone], authority)
        alone.start()
        config.add_cleanup(alone.__exit__)
        StandingCluster.standing = [alone]
    else:
        kinds = [config.getoption("--server")] * size
        ensemble = Ensemble(directory, kinds, {**_SETTINGS, **_OF_ENSEMBLES})
        _guard(list(ensemble.members.values()), authority)
        ensemble.start()
        config.add_cleanup(ensemble.__exit__)
        StandingCluster.standing = list(ensemble.members.values())
    # Clients that no test stopped would mourn the server behind pytest's closing line.
    config.add_cleanup(logging.disable)
    # kazoo.testing.common cannot be imported without the libraries with which it makes key stores.
    stand_in: Any = ModuleType("kazoo.testing.common")
    stand_in.ZookeeperCluster = StandingCluster
    sys.modules["kazoo.testing.common"] = stand_in
    version = _version(StandingCluster.standing[0])
    os.environ |= {"ZOOKEEPER_VERSION": version, "ZOOKEEPER_CLUSTER_SIZE": str(size)}


def _guard(servers: list[Server], authority: Authority) -> None:
    """Give ours a port for TLS, and users; Apache's would need another factory of connections,
    and users on its command line."""
    users = authority.directory / "users"
    users.write_text(_USERS)
    key = authority.issue("server")
    authority.issue("client", "client.test")
    for server in servers:
        if isinstance(server, Coterie):
            server.settings |= {
                "secureClientPort": free_port(),
                "secureClientPortAddress": server.host,
                "ssl.keyStore.location": str(key),
                "ssl.trustStore.location": str(authority.trust),
                "sasl.usersFile": str(users),
            }


def pytest_report_header(config: pytest.Config) -> str:
    size = config.getoption("--members")
    return f"server: {config.getoption('--server')}, {size if size > 1 else 'standalone'}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is left out; an entry of a collected module that fits no test is an error."""
    left_out = []
    modules = {_module(item) for item in items}
    alone = config.getoption("--members") == 1
    of_apache = config.getoption("--server") == "apache"
    listed = (*EXCLUSIONS, *(_OF_APACHE if of_apache else ()))
    exclusions = [entry for entry in listed if alone or entry.ensembles]
    unused = {entry for entry in exclusions if entry.module in modules}
    for item in items:
        name = item.nodeid.partition("::")[2]
        for entry in exclusions:
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


def _version(server: Server) -> str:
    """What the server says that it is: kazoo's tests leave out what is too new for it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as asking:
        asking.sendall(b"srvr")
        answer = asking.makefile().read()
    return answer.partition("version: ")[2].partition(",")[0]


def _module(item: pytest.Item) -> str:
    return item.path.stem
