"""The settings of Kerberos: the server's key, and what clients are called who come in by it.

Rules: they are part of `Config` (`settings.py`). The names of users are made as Apache makes them,
by its keys (`principals.py`); the file is ours, for Apache's server has it in a JAAS file.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from coterie.kinds import TEXT, TRUE_FALSE, Kind, Setting
from coterie.principals import DEFAULT_RULES, rules
from coterie.tls_settings import TLSConfig


def _read_rules(text: str) -> str:
    rules(text)
    return text


_RULES: Final = Kind(
    "DEFAULT, or rules such as RULE:[1:$1@$0](.*@A)s/@.*//, with patterns that Python reads",
    _read_rules,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KerberosConfig(TLSConfig):
    """How clients come in by tickets."""

    sasl_keytab: Annotated[
        str | None,
        Setting(
            "sasl.keytab",
            TEXT,
            "a keytab with the server's key: clients come in by Kerberos (GSSAPI), and not by "
            "passwords",
        ),
    ] = None
    sasl_principal: Annotated[
        str | None,
        Setting(
            "sasl.principal",
            TEXT,
            "whose key of sasl.keytab that is, as zookeeper/host@REALM; unset: any that is in it",
        ),
    ] = None
    auth_to_local: Annotated[
        str,
        Setting(
            "security.auth_to_local", _RULES, "how a short name is made of a name of Kerberos"
        ),
    ] = DEFAULT_RULES
    kerberos_without_host: Annotated[
        bool,
        Setting(
            "kerberos.removeHostFromPrincipal",
            TRUE_FALSE,
            "whether the second part of a name of Kerberos is left out of the user's",
        ),
    ] = False
    kerberos_without_realm: Annotated[
        bool,
        Setting(
            "kerberos.removeRealmFromPrincipal",
            TRUE_FALSE,
            "whether the realm is left out of it",
        ),
    ] = False
    kerberos_config_demanded: Annotated[
        bool,
        Setting(
            "requireKerberosConfig",
            TRUE_FALSE,
            "whether no server with a keytab starts if krb5.conf names no realm of its own",
        ),
    ] = False
