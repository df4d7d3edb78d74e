"""What a configuration says about Kerberos: the key of the server, and what it calls its clients.

Rules: the key is that of `sasl.keytab`, or of a section of the JAAS file that has Java's module
for Kerberos; then nobody comes in by a password, as in Apache's server. What cannot be used when
the server starts is a `UsersError` of one line. The keytab is read anew whenever somebody comes.
"""

from __future__ import annotations

import logging
from functools import partial

from coterie.config import Config
from coterie.core.kerberos import Tickets
from coterie.principals import identity, rules
from coterie.runtime.users import read
from coterie.system import kerberos
from coterie.system.kerberos import KerberosError
from coterie.system.owners import is_for_all
from coterie.users import Key, UsersError, key_of_jaas

log = logging.getLogger("coterie.server")


def tickets(config: Config) -> Tickets | None:
    """Who comes in by a ticket; None where Kerberos is not asked for. Raises `UsersError`."""
    key = _key(config)
    if key is None:
        return None
    try:
        accept = kerberos.acceptor(key.keytab, key.principal)
        realm = kerberos.default_realm()
    except KerberosError as error:
        raise UsersError(str(error)) from None
    if not realm and config.kerberos_config_demanded:
        raise UsersError("krb5.conf names no default realm, and requireKerberosConfig is true")
    if key.keytab is not None and is_for_all(key.keytab):
        log.warning("%s is a secret, and every user of this machine may read it", key.keytab)
    called = partial(
        identity,
        known=rules(config.auth_to_local),
        own_realm=realm,
        without_host=config.kerberos_without_host,
        without_realm=config.kerberos_without_realm,
    )
    return Tickets(accept, called)


def _key(config: Config) -> Key | None:
    if config.sasl_keytab is not None:
        return Key(config.sasl_keytab, config.sasl_principal)
    if config.sasl_jaas_file is None:
        return None
    return read(config.sasl_jaas_file, partial(key_of_jaas, section=config.sasl_jaas_section))
