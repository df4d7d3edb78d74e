"""A KDC for all tests here, and the environment by which this process and its children know it.

Every test is marked `compat` and runs by tests/kerberos/run.sh, which installs what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.compat.servers import Apache, Settings
from tests.kerberos.kdc import KDC, SERVICE
from tests.kerberos.servers import ApacheWithKey, CoterieWithJaas, CoterieWithKey, Kind, WithKey


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hooks see all items of the session: only those of this folder are marked."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.compat)


class Realm(NamedTuple):
    """A KDC that serves, and keytabs of its principals."""

    kdc: KDC
    service: Path
    bob: Path
    ann: Path
    admin: Path


@pytest.fixture(scope="session")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    pytest.importorskip("gssapi", reason="the extra kerberos is not installed")
    if reason := KDC.missing() or Apache.missing():
        pytest.skip(reason)
    kdc = KDC(tmp_path_factory.mktemp("kdc"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in kdc.environment.items():
            patch.setenv(name, value)
        kdc.start()
        try:
            names = SERVICE, "bob", "ann", "bob/admin"
            yield Realm(kdc, *(kdc.add(name) for name in names))
        finally:
            kdc.stop()


@pytest.fixture(
    scope="session",
    params=[ApacheWithKey, CoterieWithKey, CoterieWithJaas],
    ids=lambda k: k.__name__,
)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


Begin = Callable[..., WithKey]


@pytest.fixture
def begin(tmp_path: Path, realm: Realm, kind: Kind) -> Iterator[Begin]:
    """Start a server of that kind, which is killed at the end of the test."""
    begun: list[WithKey] = []

    def begin_one(settings: Settings | None = None) -> WithKey:
        begun.append(kind(tmp_path, realm.kdc, realm.service, settings))
        begun[-1].start()
        return begun[-1]

    yield begin_one
    for server in begun:
        server.__exit__()


@pytest.fixture(scope="session")
def strict(
    tmp_path_factory: pytest.TempPathFactory, realm: Realm, kind: Kind
) -> Iterator[WithKey]:
    """A server that serves nobody who has no ticket, for tests that leave nothing behind."""
    settings = {"sessionRequireClientSASLAuth": "true"}
    with kind(tmp_path_factory.mktemp("strict"), realm.kdc, realm.service, settings) as server:
        yield server
