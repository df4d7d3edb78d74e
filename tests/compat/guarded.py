"""Servers with users (SASL DIGEST-MD5), or Apache's with certificates (TLS on an own port).

Rules: settings that only the command line of the JVM takes are written there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from coterie.testing.ports import free_port
from tests.compat.servers import Apache, Coterie, Settings

_NETTY_FACTORY: Final = "org.apache.zookeeper.server.NettyServerCnxnFactory"
_SASL_PROVIDER: Final = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
_LOGIN_MODULE: Final = "org.apache.zookeeper.server.auth.DigestLoginModule"


class WithUsers(Apache):
    """A server that knows users and their passwords, and ACLs of the scheme sasl."""

    def __init__(
        self, directory: Path, users: Mapping[str, str], settings: Settings | None = None
    ) -> None:
        super().__init__(directory, {"authProvider.1": _SASL_PROVIDER, **(settings or {})})
        self._jaas = _jaas(directory, users)

    def command(self) -> list[str]:
        java, *rest = super().command()
        return [java, f"-Djava.security.auth.login.config={self._jaas}", *rest]


class CoterieWithUsers(Coterie):
    """This checkout's server with the same file and the same keys."""

    def __init__(
        self, directory: Path, users: Mapping[str, str], settings: Settings | None = None
    ) -> None:
        super().__init__(directory, {"authProvider.1": _SASL_PROVIDER, **(settings or {})})
        self.settings["sasl.jaasFile"] = str(_jaas(directory, users))


def _jaas(directory: Path, users: Mapping[str, str]) -> Path:
    """A JAAS file of these users, as Apache's server is told them."""
    file = directory / "jaas.conf"
    escaped = {
        user: password.replace("\\", "\\\\").replace('"', '\\"')
        for user, password in users.items()
    }
    lines = "".join(f'  user_{user}="{escaped[user]}"\n' for user in users)
    file.write_text(f"Server {{\n  {_LOGIN_MODULE} required\n{lines};\n}};\n", "utf-8")
    return file


class WithCertificate(Apache):
    """A server that speaks TLS at `secure_port`, beside the port in the clear."""

    def __init__(
        self, directory: Path, certificate: trustme.LeafCert, ca: trustme.CA, clients: str
    ) -> None:
        """`clients` is need, want or none: whether these have to have certificates, too."""
        directory.mkdir(parents=True, exist_ok=True)
        keystore, truststore = directory / "keystore.pem", directory / "truststore.pem"
        # Apache's reads no other keys than those of PKCS8.
        key = load_pem_private_key(certificate.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        keystore.write_bytes(key + b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        truststore.write_bytes(ca.cert_pem.bytes())
        self.secure_port = free_port()
        super().__init__(
            directory,
            {
                "serverCnxnFactory": _NETTY_FACTORY,
                "secureClientPort": self.secure_port,
                "secureClientPortAddress": self.host,
                "ssl.keyStore.location": str(keystore),
                "ssl.trustStore.location": str(truststore),
                "ssl.clientAuth": clients,
            },
        )
