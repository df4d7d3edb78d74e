"""What a configuration says about TLS, as contexts: for clients, members, pages and metrics.

Rules: what cannot be used is a `TLSError` of one line when the server starts. The names in the
certificates of members are compared with the hosts of the server lines, never with what reverse
DNS says. A member's files serve both ends of a link: whoever is dialled may dial tomorrow.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from coterie.config import Config
from coterie.settings import NO_PORT
from coterie.system.certificates import Certificates
from coterie.system.handshakes import Secure
from coterie.system.tls import (
    CLIENT_CERTIFICATES,
    Terms,
    TLSError,
    TLSFiles,
    client_context,
    is_for,
    pinned_context,
    secret,
    server_context,
    terms,
)

if TYPE_CHECKING:
    from asyncio import BaseTransport
    from ssl import SSLContext


class Stores(NamedTuple):
    """The files of a port, as the configuration names them."""

    prefix: str
    key: str | None
    key_password: str | None
    key_password_path: str | None
    trust: str | None
    trust_password: str | None
    trust_password_path: str | None
    auth: str
    version: str
    versions: tuple[str, ...] | None
    suites: tuple[str, ...] | None

    def paths(self) -> tuple[str, ...]:
        """Every file that a context is made of."""
        files = self.key, self.trust, self.key_password_path, self.trust_password_path
        return tuple(file for file in files if file is not None)

    def files(self) -> TLSFiles:
        """Raises `TLSError`."""
        if self.key is None:
            raise TLSError(f"TLS needs {self.prefix}keyStore.location: a certificate and its key")
        if self.trust is None and self.auth != "none":
            raise TLSError(
                f"{self.prefix}clientAuth is {self.auth}, and there is no "
                f"{self.prefix}trustStore.location to check certificates with"
            )
        key_path, trust_path = self.key_password_path, self.trust_password_path
        return TLSFiles(
            certificate=self.key,
            password=self.key_password if key_path is None else secret(key_path),
            ca=self.trust,
            ca_password=self.trust_password if trust_path is None else secret(trust_path),
        )

    def terms(self) -> Terms:
        versions = self.versions
        if versions is None:
            versions = ("TLSv1.2", "TLSv1.3") if self.version == "TLS" else (self.version,)
        return terms(versions, self.suites or ())


Place = tuple[str, int, Secure | None]
"""An address to listen at, its port, and how handshakes are done there, if at all."""


def client_ports(config: Config) -> list[Place]:
    """Where clients are served. Raises `TLSError`."""
    unified = config.client_port_unified and config.client_port != NO_PORT
    if config.secure_port is None and not unified:
        return [(config.client_port_address, config.client_port, None)]
    certificates, seconds_max = (
        _following(_client_stores(config)),
        config.client_handshake_ms / 1000,
    )
    ports: list[Place] = []
    if config.client_port != NO_PORT:
        both = Secure(certificates, seconds_max, both=True) if unified else None
        ports.append((config.client_port_address, config.client_port, both))
    if config.secure_port is not None:
        secure = Secure(certificates, seconds_max)
        ports.append((config.secure_port_address, config.secure_port, secure))
    return ports


def _client_stores(config: Config) -> Stores:
    return Stores(
        "ssl.",
        config.client_key_store,
        config.client_key_password,
        config.client_key_password_path,
        config.client_trust_store,
        config.client_trust_password,
        config.client_trust_password_path,
        config.client_auth,
        config.client_tls_version,
        config.client_tls_versions,
        config.client_cipher_suites,
    )


def _member_stores(config: Config) -> Stores:
    return Stores(
        "ssl.quorum.",
        config.quorum_key_store,
        config.quorum_key_password,
        config.quorum_key_password_path,
        config.quorum_trust_store,
        config.quorum_trust_password,
        config.quorum_trust_password_path,
        config.quorum_auth,
        config.quorum_tls_version,
        config.quorum_tls_versions,
        config.quorum_cipher_suites,
    )


def _following(stores: Stores) -> Certificates:
    return Certificates(stores.paths(), partial(_listening, stores))


def of_pages(config: Config) -> Secure | None:
    """How handshakes are done at the port of the pages; None for HTTP in the clear.

    The certificate is that for members, as in Apache's server, or else that for clients.
    Raises `TLSError`.
    """
    if not (config.admin_tls_only or config.admin_port_unified):
        return None
    of_members = config.quorum_key_store is not None
    stores = _member_stores(config) if of_members else _client_stores(config)
    seconds_max = (config.quorum_handshake_ms if of_members else config.client_handshake_ms) / 1000
    stores = stores._replace(auth="need" if config.admin_client_auth else "none")
    return Secure(_following(stores), seconds_max, both=not config.admin_tls_only)


def of_metrics(config: Config) -> Secure | None:
    """How handshakes are done at the port for metrics by TLS, if there is one.

    Raises `TLSError`.
    """
    if not config.exports_metrics or config.metrics_tls_port is None:
        return None
    secure = _following(_metrics_stores(config))
    both = config.metrics_port == config.metrics_tls_port
    return Secure(secure, config.client_handshake_ms / 1000, both)


def _metrics_stores(config: Config) -> Stores:
    wanted = config.metrics_wants_client_auth and config.metrics_trust_store is not None
    return Stores(
        "metricsProvider.ssl.",
        config.metrics_key_store,
        config.metrics_key_password,
        None,
        config.metrics_trust_store,
        config.metrics_trust_password,
        None,
        # What nobody could check is not asked for.
        "need" if config.metrics_client_auth else "want" if wanted else "none",
        "TLS",
        config.metrics_tls_versions,
        config.metrics_cipher_suites,
    )


class ItselfTLS:
    """How a server that takes clients by TLS alone is a client of itself, and of other members.

    It knows itself by its own certificate, whatever host that is for, and trusts no other there.
    """

    def __init__(self, config: Config) -> None:
        stores = _client_stores(config)
        self.shows_one = config.admin_client_key_store is not None
        """Whether it has a certificate to show as a client."""
        self.wants_one = config.client_auth == "need"
        shown = stores._replace(
            key=config.admin_client_key_store,
            key_password=None,
            key_password_path=config.admin_client_key_password_path,
        )
        paths = tuple(dict.fromkeys((*stores.paths(), *shown.paths())))
        self._own = Certificates(paths, partial(_to_itself, stores, shown))
        self._others = Certificates(paths, partial(_to_others, shown))

    def own(self) -> SSLContext:
        """What to connect to this server with."""
        return self._own.context()

    def others(self) -> SSLContext:
        """What to ask another member with."""
        return self._others.context()


def of_itself(config: Config) -> ItselfTLS | None:
    """None for a server that has a port in the clear. Raises `TLSError`."""
    return ItselfTLS(config) if config.client_port == NO_PORT else None


class MemberTLS:
    """How a member hears others and dials them."""

    def __init__(self, config: Config) -> None:
        assert config.ensemble is not None
        stores = _member_stores(config)
        listening = _following(stores)
        seconds_max, both = config.quorum_handshake_ms / 1000, config.quorum_port_unified
        self.secure = Secure(listening, seconds_max, both)
        """How others are heard."""
        self._dialling: Certificates | None = None
        if config.quorum_tls:
            dialling = partial(_dialling, stores, config.quorum_host_names)
            self._dialling = Certificates(stores.paths(), dialling)
        names = config.quorum_host_names and config.quorum_client_host_names
        self._checks_names = names and config.quorum_auth == "need"
        self._hosts = {
            host
            for seat in config.ensemble.seats.values()
            for host, _ in (*seat.quorum, *seat.election)
        }

    def dialling(self) -> SSLContext | None:
        """What to dial another member with; None for the clear."""
        return None if self._dialling is None else self._dialling.context()

    def refusal(self, transport: BaseTransport) -> str | None:
        """Why somebody who has connected, and whose certificate is trusted, is no member."""
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is None or not self._checks_names or is_for(ssl_object, self._hosts):
            return None
        return "its certificate is for no host of a server line"


def of_members(config: Config) -> MemberTLS | None:
    """What the ports for other members do; None where they know no TLS at all."""
    if config.ensemble is None or not (config.quorum_tls or config.quorum_port_unified):
        return None
    return MemberTLS(config)


def _listening(stores: Stores) -> SSLContext:
    return server_context(stores.files(), CLIENT_CERTIFICATES[stores.auth], stores.terms())


def _dialling(stores: Stores, host_names: bool) -> SSLContext:
    files = stores.files()
    if files.ca is None:
        raise TLSError(f"members need {stores.prefix}trustStore.location to know each other")
    context = client_context(files, stores.terms())
    context.check_hostname = host_names
    return context


def _as_client(shown: Stores, *, trusts: bool) -> TLSFiles:
    password = None if shown.key_password_path is None else secret(shown.key_password_path)
    if not trusts or shown.trust is None:
        return TLSFiles(certificate=shown.key, password=password)
    trust_path = shown.trust_password_path
    return TLSFiles(
        certificate=shown.key,
        password=password,
        ca=shown.trust,
        ca_password=shown.trust_password if trust_path is None else secret(trust_path),
    )


def _to_itself(stores: Stores, shown: Stores) -> SSLContext:
    return pinned_context(_as_client(shown, trusts=False), stores.files(), stores.terms())


def _to_others(shown: Stores) -> SSLContext:
    return client_context(_as_client(shown, trusts=True), shown.terms())
