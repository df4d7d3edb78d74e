"""Where a server's key of Kerberos is, and what it calls who comes by it; with a real KDC in
tests/kerberos."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.config import Config
from coterie.runtime.kerberos import tickets
from coterie.system import kerberos
from coterie.system.kerberos import KerberosError
from coterie.users import UsersError
from coterie.wire.gssapi import OFFER
from tests.core.contexts import FakeContext

_JAAS = """Server { com.sun.security.auth.module.Krb5LoginModule required
  useKeyTab=true keyTab="/etc/zk.keytab" storeKey=true principal="zookeeper/h@A"; };
Users { org.apache.zookeeper.server.auth.DigestLoginModule required user_bob="x"; };"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None]]:
    """Keytabs and principals for which keys were asked."""
    asked: list[tuple[str | None, str | None]] = []

    def acceptor(keytab: str | None, principal: str | None) -> Callable[[], FakeContext]:
        if keytab == "none":
            raise KerberosError("there is no key in none")
        asked.append((keytab, principal))
        return FakeContext

    monkeypatch.setattr(kerberos, "acceptor", acceptor)
    monkeypatch.setattr(kerberos, "default_realm", lambda: "A")
    monkeypatch.setattr("coterie.runtime.kerberos.is_for_all", lambda path: False)
    return asked


def _user(config: Config, name: str) -> str | None:
    """What a server calls who proves to have a name."""
    found = tickets(config)
    assert found is not None
    client, handshake = FakeContext(name), found.handshake()
    handshake.answer(client.step(b""))
    handshake.answer(b"")
    handshake.answer(client.wrap(OFFER))
    return handshake.user


def test_the_key_is_in_a_keytab_or_a_section_of_jaas(
    asked: list[tuple[str | None, str | None]], tmp_path: Path
) -> None:
    assert tickets(Config(data_dir="d")) is None
    assert tickets(Config(data_dir="d", sasl_users_file="u")) is None
    assert tickets(Config(data_dir="d", sasl_keytab="k"))
    jaas = tmp_path / "jaas"
    jaas.write_text(_JAAS)
    assert tickets(Config(data_dir="d", sasl_jaas_file=str(jaas)))
    users = Config(data_dir="d", sasl_jaas_file=str(jaas), sasl_jaas_section="Users")
    assert tickets(users) is None
    assert asked == [("k", None), ("/etc/zk.keytab", "zookeeper/h@A")]


def test_names_are_made_by_the_settings(asked: list[tuple[str | None, str | None]]) -> None:
    config = Config(data_dir="d", sasl_keytab="k")
    assert _user(config, "bob/h@A") == "bob/h@A"
    assert _user(config, "bob@B") == "bob@B"
    config = Config(
        data_dir="d",
        sasl_keytab="k",
        kerberos_without_host=True,
        kerberos_without_realm=True,
        auth_to_local="RULE:[1:$1-$0](.*-B) DEFAULT",
    )
    assert _user(config, "bob/h@A") == "bob"
    assert _user(config, "bob@B") == "bob-B"


def test_what_cannot_be_used_is_one_line(
    asked: list[tuple[str | None, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsersError, match="there is no key in none"):
        tickets(Config(data_dir="d", sasl_keytab="none"))
    monkeypatch.setattr(kerberos, "default_realm", lambda: "")
    assert tickets(Config(data_dir="d", sasl_keytab="k"))
    with pytest.raises(UsersError, match=r"krb5.conf names no default realm"):
        tickets(Config(data_dir="d", sasl_keytab="k", kerberos_config_demanded=True))


def test_a_server_without_the_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(UsersError, match=r"pip install 'coterie\[kerberos\]'"):
        tickets(Config(data_dir="d", sasl_keytab="k"))
