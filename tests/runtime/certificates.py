"""Certificates in files, for servers and clients under test."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from coterie.system.tls import TLSFiles


class Authority:
    """A CA whose certificates are written as PEM, into files that are replaced at once."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca = trustme.CA()
        self.trust = directory / "ca.pem"
        self.trust.write_bytes(self.ca.cert_pem.bytes())

    def write(self, name: str, certificate: trustme.LeafCert) -> Path:
        """One file with the key, as PKCS8, which is all that Apache's server reads, and chain."""
        key = load_pem_private_key(certificate.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        path = self.directory / f"{name}.pem"
        new = self.directory / f"{name}.new"
        new.write_bytes(key + b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        os.replace(new, path)
        return path

    def issue(
        self, name: str, *hosts: str, begins: dt.datetime | None = None, days: int = 1
    ) -> Path:
        """A certificate for hosts, this machine's loopback if none is named, and its key.

        Its subject is CN=name,OU=Ops,O=Example.
        """
        begins = begins or dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        certificate = self.ca.issue_cert(
            *(hosts or ("127.0.0.1", "localhost")),
            common_name=name,
            organization_name="Example",
            organization_unit_name="Ops",
            not_before=begins,
            not_after=begins + dt.timedelta(days=days),
        )
        return self.write(name, certificate)

    def files(self, certificate: Path | None = None) -> TLSFiles:
        """What a client of this CA's servers has."""
        return TLSFiles(
            certificate=None if certificate is None else str(certificate), ca=str(self.trust)
        )
