"""Members of two kinds that prove themselves to each other by SASL, and begin to one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat import raw
from tests.interop.conftest import Gather
from tests.interop.ensembles import ALL_WELL, CASES, MIXES, Ensemble, TellingApache, until
from tests.interop.test_tls import stores
from tests.runtime.certificates import Authority

pytestmark = pytest.mark.timeout(240)

_MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"
_STEPS = (
    {"quorum.auth.enableSasl": "true"},
    {"quorum.auth.learnerRequireSasl": "true"},
    {"quorum.auth.serverRequireSasl": "true"},
)
"""As Apache's guide has it: all know it, then all who dial prove themselves, then they have to."""
_ALL = {key: value for step in _STEPS for key, value in step.items()}


def _jaas(path: Path, password: str = "a long one") -> Path:
    path.write_text(
        f'QuorumServer {{ {_MODULE} required user_peer="{password}"; }};\n'
        f'QuorumLearner {{ {_MODULE} required username="peer" password="{password}"; }};\n'
    )
    path.chmod(0o600)
    return path


def _give(ensemble: Ensemble, id: int, jaas: Path) -> None:
    member = ensemble[id]
    if isinstance(member, TellingApache):
        member.jaas = jaas
    else:
        member.settings["quorum.auth.jaasFile"] = str(jaas)


def _write(ensemble: Ensemble, path: str, number: int = 1) -> None:
    with ensemble.client(number) as client:
        client.ok(raw.CREATE, raw.create(path, bytes(100_000)))
        client.close_session()


@pytest.mark.parametrize(("mix", "leader"), CASES)
def test_a_mix_elects_follows_and_writes(
    gather: Gather, tmp_path: Path, mix: str, leader: int
) -> None:
    # Within TLS for half of them: that comes first.
    settings = {"sslQuorum": "true", **stores(Authority(tmp_path / "tls"))} if leader == 3 else {}
    ensemble = gather(MIXES[mix], {**_ALL, **settings})
    jaas = _jaas(tmp_path / "jaas.conf")
    for id in ensemble.members:
        _give(ensemble, id, jaas)
    ensemble.start_led_by(leader)
    until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
    _write(ensemble, "/proved")
    ensemble.kill(1)
    _give(ensemble, 1, _jaas(tmp_path / "other.conf", "another"))
    ensemble.spawn(1)
    until(lambda: _refused(ensemble), ensemble.said)
    assert ensemble.mode(1) not in ("follower", "leader")
    _write(ensemble, "/with-a-stranger", 2)
    ensemble.kill(1)
    _give(ensemble, 1, jaas)
    ensemble.start(1)
    until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
    assert {"/proved", "/with-a-stranger"} <= ensemble.same_tree().keys()


def _refused(ensemble: Ensemble) -> bool:
    """Whether the first member has said, or was told, that its proof is no good."""
    said = "Authentication failed against" if ensemble.kind(1) == "apache" else "wrong user or"
    return any(said in line for line in ensemble[1].lines())


def test_members_change_to_sasl_one_by_one(gather: Gather, tmp_path: Path) -> None:
    ensemble = gather(MIXES["coterie-apache-coterie"]).start()
    jaas = _jaas(tmp_path / "jaas.conf")
    for number, step in enumerate(_STEPS):
        for id, member in ensemble.members.items():
            ensemble.kill(id)
            _give(ensemble, id, jaas)
            member.settings.update(step)
            ensemble.start(id)
            until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)
        _write(ensemble, f"/step-{number}")
    assert {"/step-0", "/step-1", "/step-2"} <= ensemble.same_tree().keys()
