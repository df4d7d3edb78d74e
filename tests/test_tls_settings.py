"""TLS is set for clients and for members by the same words."""

from __future__ import annotations

from coterie.settings import SETTINGS
from coterie.tls_settings import TLSConfig

_ONE_SIDED = {"hostnameVerification", "clientHostnameVerification"}
"""Of members, who have to be at the hosts of the server lines."""


def test_members_have_every_setting_of_tls_that_clients_have() -> None:
    for_clients = {
        key.removeprefix("ssl."): SETTINGS[key][1].kind
        for key in SETTINGS
        if key.startswith("ssl.") and not key.startswith("ssl.quorum.")
    }
    for_members = {
        key.removeprefix("ssl.quorum."): SETTINGS[key][1]
        for key in SETTINGS
        if key.startswith("ssl.quorum.")
    }
    assert for_members.keys() - for_clients.keys() == _ONE_SIDED
    assert all(for_members[key].kind is kind for key, kind in for_clients.items())
    assert all(setting.of_ensemble for setting in for_members.values())


def test_what_nobody_has_asked_for_is_apaches_default() -> None:
    config = TLSConfig()
    assert (config.client_auth, config.quorum_auth) == ("need", "need")
    assert config.client_handshake_ms == config.quorum_handshake_ms == 5000
    assert not any((config.quorum_tls, config.quorum_port_unified, config.client_port_unified))
    assert config.quorum_host_names
