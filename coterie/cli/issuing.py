"""A small CA in a directory: keys, certificates and stores as PEM and PKCS12.

A PEM file has the key first, in PKCS8, then the certificate and the CA's: what Apache's server and
Python read alike. Certificates of servers are for clients, too, for members dial each other. The
subject of NAME is CN=NAME.
"""

from __future__ import annotations

import datetime as dt
import os
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_DAYS = 3650
_BACKDATED = dt.timedelta(hours=1)
"""Clocks differ."""


class IssuingError(Exception):
    """What cannot be made, in one line."""


class Issuer:
    """The CA of a directory; made if there is none. Raises `IssuingError`, as all it does."""

    def __init__(self, directory: str, days: int, password: str, renew: bool) -> None:
        self.made: list[str] = []
        """The files that were written."""
        self._directory = os.path.abspath(directory)
        self._days = days
        self._password = password.encode()
        self._renew = renew
        self.trust = os.path.join(self._directory, "ca.pem")
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._key, self._certificate = self._load() or self._found()
        except OSError as error:
            raise IssuingError(f"{error.filename}: {error.strerror}") from None

    def path(self, name: str) -> str:
        """Where the PEM of a name is."""
        return os.path.join(self._directory, f"{name}.pem")

    def server(self, names: list[str]) -> str:
        """A certificate for a server that has these names; returns the path of its PEM."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        alternative = x509.SubjectAlternativeName([_name(name) for name in names])
        return self._issue(names[0], usages, alternative)

    def client(self, name: str) -> str:
        """A certificate for who is to be known as CN=name; returns the path of its PEM."""
        return self._issue(name, [ExtendedKeyUsageOID.CLIENT_AUTH], None)

    def _issue(
        self,
        name: str,
        usages: list[x509.ObjectIdentifier],
        alternative: x509.SubjectAlternativeName | None,
    ) -> str:
        path = self.path(name)
        if os.path.exists(path) and not self._renew:
            return path
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(name, self._certificate.subject, key.public_key(), self._days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        store = pkcs12.serialize_key_and_certificates(
            name.encode(),
            key,
            certificate,
            [self._certificate],
            BestAvailableEncryption(self._password),
        )
        self._write(os.path.join(self._directory, f"{name}.p12"), store)
        self._write(path, _pem(key) + _pem(certificate) + _pem(self._certificate))
        return path

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
        key_path = os.path.join(self._directory, "ca.key")
        if not os.path.exists(key_path) and not os.path.exists(self.trust):
            return None
        try:
            with open(key_path, "rb") as file:
                key = load_pem_private_key(file.read(), None)
            with open(self.trust, "rb") as file:
                certificate = x509.load_pem_x509_certificate(file.read())
        except (ValueError, TypeError):
            raise IssuingError(
                f"{key_path} and {self.trust} are no CA of this command's"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise IssuingError(f"{key_path} is no key of this command's")
        return key, certificate

    def _found(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """Make the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Coterie test CA")])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder("Coterie test CA", issuer, key.public_key(), _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        self._write(os.path.join(self._directory, "ca.key"), _pem(key))
        self._write(self.trust, _pem(certificate), 0o644)
        return key, certificate

    def _write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """All of a file at once: a server may be reading it."""
        new = f"{path}.new"
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(new, path)
        except OSError as error:
            raise IssuingError(f"cannot write {path}: {error.strerror}") from None
        self.made.append(path)


def _builder(
    name: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    begins = dt.datetime.now(dt.UTC) - _BACKDATED
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError:
        raise IssuingError(f"{name!r} is too long for a certificate") from None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=days))
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise IssuingError(f"{host!r} is no host that a certificate can name") from None


def _pem(what: ec.EllipticCurvePrivateKey | x509.Certificate) -> bytes:
    if isinstance(what, x509.Certificate):
        return what.public_bytes(Encoding.PEM)
    return what.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
