"""What members of a configuration prove to each other, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.config import Config
from coterie.core.introduction import Hearing, Introduction, Proving
from coterie.core.link import QUORUM, Link
from coterie.ensemble import Ensemble
from coterie.runtime.sasl import MemberSasl
from coterie.users import UsersError

_MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"


def jaas(password: str = "secret") -> str:
    """A file as Apache's servers have it."""
    return (
        f'QuorumServer {{ {_MODULE} required user_peer="{password}"; }};\n'
        f"QuorumLearner {{ {_MODULE} required "
        f'username="peer" password="{password}"; }};\n'
    )


def sasl(path: Path, text: str, *, demanded: bool = True, dials: bool = True) -> MemberSasl:
    path.write_text(text)
    path.chmod(0o640)
    config = Config(
        data_dir="/data",
        ensemble=Ensemble.parse("server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4"),
        server_id=1,
        quorum_sasl=True,
        quorum_sasl_dials=dials,
        quorum_sasl_demanded=demanded,
        quorum_jaas_file=str(path),
    )
    return MemberSasl(config)


def _meet(here: Introduction, there: Introduction) -> bool:
    for _ in range(3):
        for one, other in ((here, there), (there, here)):
            said = b"".join(one.out)
            one.out.clear()
            if said and not other.done and other.failure is None:
                other.heard(said)
    return here.done and there.done


def _knows(one: MemberSasl, other: MemberSasl) -> bool:
    here = one.introduction(Link(QUORUM, 2, (("127.0.0.1", 1),)))
    there = other.introduction(Link(QUORUM))
    assert isinstance(here, Proving)
    assert isinstance(there, Hearing)
    return _meet(here, there)


def test_members_of_one_file_know_each_other(tmp_path: Path) -> None:
    one, other = sasl(tmp_path / "a", jaas()), sasl(tmp_path / "b", jaas("other"))
    assert _knows(one, one)
    assert not _knows(one, other)


def test_a_file_that_changes_counts_from_the_next_link_on(tmp_path: Path) -> None:
    one, other = sasl(tmp_path / "a", jaas()), sasl(tmp_path / "b", jaas("other"))
    (tmp_path / "b").write_text(jaas())
    assert _knows(one, other)
    (tmp_path / "b").write_text("QuorumServer {")
    assert _knows(one, other)
    (tmp_path / "b").write_text(jaas("other"))
    (tmp_path / "b").chmod(0o644)
    assert _knows(one, other)


def test_who_need_not_prove_anything_dials_as_ever(tmp_path: Path) -> None:
    lenient = sasl(tmp_path / "a", jaas(), demanded=False, dials=False)
    assert lenient.introduction(Link(QUORUM, 2, (("127.0.0.1", 1),))) is None


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (None, 0o600, "cannot be read: No such file"),
        (jaas(), 0o604, "may be read by every user of this machine: chmod 600"),
        (jaas().replace("QuorumServer", "Server"), 0o600, "there is no section QuorumServer"),
        (jaas().replace("username", "user"), 0o600, "QuorumLearner has no username"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, mode: int, why: str) -> None:
    path = tmp_path / "jaas.conf"
    config = Config(
        data_dir="/data",
        ensemble=Ensemble.parse("server.1=127.0.0.1:1:2"),
        sasl_jaas_file=str(path),
        quorum_sasl=True,
    )
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(UsersError, match=why) as caught:
        MemberSasl(config)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
