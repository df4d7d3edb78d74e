"""Kerberos in a zoo.cfg: Apache's keys for names, ours for the key."""

from __future__ import annotations

import pytest

from coterie.config import ConfigError, parse

_LEAST = "dataDir=d\nclientPort=2181\nclientPortAddress=127.0.0.1\n"


def test_apaches_keys_say_what_clients_are_called() -> None:
    config, notes = parse(
        _LEAST + "sasl.keytab=k\nsasl.principal=zookeeper/h@A\n"
        "kerberos.removeHostFromPrincipal=true\nzookeeper.kerberos.removeRealmFromPrincipal=true\n"
        "security.auth_to_local=RULE:[1:$1](.*)s/a/b/ DEFAULT\nkerberos.minReLoginTimeMs=1\n"
        "sessionRequireClientSASLAuth=true\n"
    )
    assert (config.sasl_keytab, config.sasl_principal) == ("k", "zookeeper/h@A")
    assert config.kerberos_without_host
    assert config.kerberos_without_realm
    assert config.auth_to_local == "RULE:[1:$1](.*)s/a/b/ DEFAULT"
    assert config.has_users
    (note,) = notes
    assert "kerberos.minReLoginTimeMs is not used" in note


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("sasl.keytab=k\nsasl.usersFile=u", "sasl.keytab: sasl.usersFile is set as well"),
        ("sasl.keytab=k\nsasl.jaasFile=j", "sasl.keytab: sasl.jaasFile is set as well"),
        ("sasl.principal=zookeeper/h@A", "sasl.principal: is set, and sasl.keytab is not"),
        ("sasl.keytab=k\nsecurity.auth_to_local=RULE:[1:$2]", "is not DEFAULT, or rules"),
        ("sasl.keytab=k\nkerberos.removeHostFromPrincipal=yes", "is not true or false"),
    ],
)
def test_what_makes_no_sense_is_refused(lines: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why.replace("$", r"\$")):
        parse(_LEAST + lines)
