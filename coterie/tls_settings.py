"""The settings of TLS: for the port of clients, for those of other members, for metrics.

Rules: they are part of `Config` (`settings.py`) and are written as Apache writes them; a file of
certificates is PEM or PKCS12, which is seen from its contents.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from coterie.kinds import (
    CLIENT_AUTH,
    MS,
    PORT,
    STORE,
    SUITES,
    TEXT,
    TLS_VERSION,
    TLS_VERSIONS,
    TRUE_FALSE,
    Kind,
    Setting,
)


def _of_members(key: str, kind: Kind, meaning: str) -> Setting:
    return Setting(key, kind, meaning, of_ensemble=True)


_KEY_STORE: Final = "the file with the certificate, what is between it and the CA, and the key"
_TRUST_STORE: Final = "the file with the certificates of CAs"
_PASSWORD_PATH: Final = "a file that has that password, instead"
_VERSION: Final = "the version to speak where enabledProtocols is unset; TLS: 1.2 and 1.3"
_VERSIONS: Final = "the versions to speak, with commas between them"
_CIPHER_SUITES: Final = (
    "cipher suites by Java's names, with commas between them; those of TLS 1.3 cannot be chosen "
    "among; unset: Python's"
)
_TIMEOUT: Final = "time (ms) that a handshake may take, and its first byte"


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """What one server is told about TLS."""

    secure_port: Annotated[
        int | None, Setting("secureClientPort", PORT, "the port for clients with TLS; unset: none")
    ] = None
    secure_port_address: Annotated[
        str,
        Setting(
            "secureClientPortAddress", TEXT, "the address to listen at with TLS; unset: every one"
        ),
    ] = ""
    client_port_unified: Annotated[
        bool,
        Setting("client.portUnification", TRUE_FALSE, "whether clientPort takes TLS as well"),
    ] = False
    client_key_store: Annotated[
        str | None, Setting("ssl.keyStore.location", TEXT, f"for clients: {_KEY_STORE}")
    ] = None
    client_key_password: Annotated[
        str | None, Setting("ssl.keyStore.password", TEXT, "the password of that file")
    ] = None
    client_key_password_path: Annotated[
        str | None, Setting("ssl.keyStore.passwordPath", TEXT, _PASSWORD_PATH)
    ] = None
    client_key_type: Annotated[
        str | None, Setting("ssl.keyStore.type", STORE, "of no use: its contents tell")
    ] = None
    client_trust_store: Annotated[
        str | None, Setting("ssl.trustStore.location", TEXT, f"for clients: {_TRUST_STORE}")
    ] = None
    client_trust_password: Annotated[
        str | None, Setting("ssl.trustStore.password", TEXT, "the password of that file")
    ] = None
    client_trust_password_path: Annotated[
        str | None, Setting("ssl.trustStore.passwordPath", TEXT, _PASSWORD_PATH)
    ] = None
    client_trust_type: Annotated[
        str | None, Setting("ssl.trustStore.type", STORE, "of no use: its contents tell")
    ] = None
    client_auth: Annotated[
        str,
        Setting("ssl.clientAuth", CLIENT_AUTH, "whether clients have to show certificates"),
    ] = "need"
    client_tls_version: Annotated[
        str, Setting("ssl.protocol", TLS_VERSION, f"for clients: {_VERSION}")
    ] = "TLS"
    client_tls_versions: Annotated[
        tuple[str, ...] | None,
        Setting("ssl.enabledProtocols", TLS_VERSIONS, f"for clients: {_VERSIONS}"),
    ] = None
    client_cipher_suites: Annotated[
        tuple[str, ...] | None,
        Setting("ssl.ciphersuites", SUITES, f"for clients: {_CIPHER_SUITES}"),
    ] = None
    client_handshake_ms: Annotated[
        int, Setting("ssl.handshakeDetectionTimeoutMillis", MS, f"for clients: {_TIMEOUT}")
    ] = 5000
    super_subject: Annotated[
        str | None,
        Setting(
            "X509AuthenticationProvider.superUser",
            TEXT,
            "whose certificate is above every ACL, as `CN=ann,O=Example`; unset: nobody's",
        ),
    ] = None
    quorum_tls: Annotated[
        bool,
        _of_members("sslQuorum", TRUE_FALSE, "whether members speak TLS with each other"),
    ] = False
    quorum_port_unified: Annotated[
        bool,
        _of_members(
            "portUnification",
            TRUE_FALSE,
            "whether members are heard with and without TLS, to change from one to the other",
        ),
    ] = False
    quorum_key_store: Annotated[
        str | None,
        _of_members("ssl.quorum.keyStore.location", TEXT, f"for members: {_KEY_STORE}"),
    ] = None
    quorum_key_password: Annotated[
        str | None,
        _of_members("ssl.quorum.keyStore.password", TEXT, "the password of that file"),
    ] = None
    quorum_key_password_path: Annotated[
        str | None, _of_members("ssl.quorum.keyStore.passwordPath", TEXT, _PASSWORD_PATH)
    ] = None
    quorum_key_type: Annotated[
        str | None,
        _of_members("ssl.quorum.keyStore.type", STORE, "of no use: its contents tell"),
    ] = None
    quorum_trust_store: Annotated[
        str | None,
        _of_members("ssl.quorum.trustStore.location", TEXT, f"for members: {_TRUST_STORE}"),
    ] = None
    quorum_trust_password: Annotated[
        str | None,
        _of_members("ssl.quorum.trustStore.password", TEXT, "the password of that file"),
    ] = None
    quorum_trust_password_path: Annotated[
        str | None, _of_members("ssl.quorum.trustStore.passwordPath", TEXT, _PASSWORD_PATH)
    ] = None
    quorum_trust_type: Annotated[
        str | None,
        _of_members("ssl.quorum.trustStore.type", STORE, "of no use: its contents tell"),
    ] = None
    quorum_auth: Annotated[
        str,
        _of_members(
            "ssl.quorum.clientAuth", CLIENT_AUTH, "whether who connects has to show a certificate"
        ),
    ] = "need"
    quorum_tls_version: Annotated[
        str, _of_members("ssl.quorum.protocol", TLS_VERSION, f"for members: {_VERSION}")
    ] = "TLS"
    quorum_tls_versions: Annotated[
        tuple[str, ...] | None,
        _of_members("ssl.quorum.enabledProtocols", TLS_VERSIONS, f"for members: {_VERSIONS}"),
    ] = None
    quorum_cipher_suites: Annotated[
        tuple[str, ...] | None,
        _of_members("ssl.quorum.ciphersuites", SUITES, f"for members: {_CIPHER_SUITES}"),
    ] = None
    quorum_handshake_ms: Annotated[
        int,
        _of_members("ssl.quorum.handshakeDetectionTimeoutMillis", MS, f"for members: {_TIMEOUT}"),
    ] = 5000
    quorum_host_names: Annotated[
        bool,
        _of_members(
            "ssl.quorum.hostnameVerification",
            TRUE_FALSE,
            "whether the certificate of a member that is connected to has to be for the host of "
            "its server line",
        ),
    ] = True
    quorum_client_host_names: Annotated[
        bool,
        _of_members(
            "ssl.quorum.clientHostnameVerification",
            TRUE_FALSE,
            "whether the certificate of who connects has to be for the host of a server line; "
            "not where hostnameVerification is false",
        ),
    ] = True
    metrics_tls_port: Annotated[
        int | None,
        Setting(
            "metricsProvider.httpsPort",
            PORT,
            "the port for metrics by TLS; unset: none; as httpPort: that takes both",
        ),
    ] = None
    metrics_key_store: Annotated[
        str | None,
        Setting("metricsProvider.ssl.keyStore.location", TEXT, f"for metrics: {_KEY_STORE}"),
    ] = None
    metrics_key_password: Annotated[
        str | None,
        Setting("metricsProvider.ssl.keyStore.password", TEXT, "the password of that file"),
    ] = None
    metrics_key_type: Annotated[
        str | None,
        Setting("metricsProvider.ssl.keyStore.type", STORE, "of no use: its contents tell"),
    ] = None
    metrics_trust_store: Annotated[
        str | None,
        Setting("metricsProvider.ssl.trustStore.location", TEXT, f"for metrics: {_TRUST_STORE}"),
    ] = None
    metrics_trust_password: Annotated[
        str | None,
        Setting("metricsProvider.ssl.trustStore.password", TEXT, "the password of that file"),
    ] = None
    metrics_trust_type: Annotated[
        str | None,
        Setting("metricsProvider.ssl.trustStore.type", STORE, "of no use: its contents tell"),
    ] = None
    metrics_client_auth: Annotated[
        bool,
        Setting(
            "metricsProvider.ssl.need.client.auth",
            TRUE_FALSE,
            "whether who comes for metrics by TLS has to show a certificate",
        ),
    ] = True
    metrics_wants_client_auth: Annotated[
        bool,
        Setting(
            "metricsProvider.ssl.want.client.auth",
            TRUE_FALSE,
            "whether who need not is asked for one, where there is a trust store",
        ),
    ] = True
    metrics_tls_versions: Annotated[
        tuple[str, ...] | None,
        Setting("metricsProvider.ssl.enabledProtocols", TLS_VERSIONS, f"for metrics: {_VERSIONS}"),
    ] = None
    metrics_cipher_suites: Annotated[
        tuple[str, ...] | None,
        Setting("metricsProvider.ssl.ciphersuites", SUITES, f"for metrics: {_CIPHER_SUITES}"),
    ] = None
