"""Members of two kinds that speak TLS with each other, and change to it one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat import raw
from tests.interop.conftest import Gather
from tests.interop.ensembles import ALL_WELL, CASES, MIXES, Ensemble, until
from tests.runtime.certificates import Authority

pytestmark = pytest.mark.timeout(240)


def stores(authority: Authority, prefix: str = "ssl.quorum.") -> dict[str, str]:
    """Stores for loopback, which all members of a test share."""
    return {
        f"{prefix}keyStore.location": str(authority.issue("member", "127.0.0.1", "localhost")),
        f"{prefix}trustStore.location": str(authority.trust),
    }


def _write(ensemble: Ensemble, path: str) -> None:
    with ensemble.client(1) as client:
        client.ok(raw.CREATE, raw.create(path, b"by TLS"))
        client.close_session()


@pytest.mark.parametrize(("mix", "leader"), CASES)
def test_a_mix_elects_follows_and_writes_over_tls(
    gather: Gather, tmp_path: Path, mix: str, leader: int
) -> None:
    settings = {"sslQuorum": "true", **stores(Authority(tmp_path / "tls"))}
    ensemble = gather(MIXES[mix], settings).start_led_by(leader)
    until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
    _write(ensemble, "/secret")
    ensemble.kill(1)
    with ensemble.client(2) as client:
        client.ok(raw.CREATE, raw.create("/without-1", bytes(100_000)))
        client.close_session()
    ensemble.start(1)
    until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
    assert {"/secret", "/without-1"} <= ensemble.same_tree().keys()


@pytest.mark.parametrize("mix", MIXES)
def test_members_change_to_tls_one_by_one(gather: Gather, tmp_path: Path, mix: str) -> None:
    """As Apache's guide has it: all hear both, then all dial by TLS, then only TLS is heard."""
    ensemble = gather(MIXES[mix], stores(Authority(tmp_path / "tls"))).start()
    steps = [
        {"portUnification": "true"},
        {"sslQuorum": "true"},
        {"portUnification": "false"},
    ]
    for number, step in enumerate(steps):
        for id, member in ensemble.members.items():
            ensemble.kill(id)
            member.settings.update(step)
            ensemble.start(id)
            until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
        _write(ensemble, f"/step-{number}")
    assert {"/step-0", "/step-1", "/step-2"} <= ensemble.same_tree().keys()


def test_a_member_of_another_ca_stays_out(gather: Gather, tmp_path: Path) -> None:
    settings = {"sslQuorum": "true", **stores(Authority(tmp_path / "tls"))}
    ensemble = gather(MIXES["coterie-apache-coterie"], settings)
    ensemble[1].settings.update(stores(Authority(tmp_path / "other")))
    ensemble.spawn()
    until(lambda: ensemble.roles()[-2:] == ["follower", "leader"], ensemble.said)
    until(
        lambda: any("no CA that is trusted here" in line for line in ensemble[3].lines()),
        ensemble.said,
    )
    assert ensemble.roles() != ALL_WELL
