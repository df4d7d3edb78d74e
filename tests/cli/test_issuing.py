"""What a small CA signs: for whom, for how long, and how its files are kept."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from coterie.cli.issuing import Issuer, IssuingError
from coterie.system.subjects import subject


def _issuer(tmp_path: Path) -> Issuer:
    return Issuer(str(tmp_path), 30, "secret", False)


def _first(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(Path(path).read_bytes())[0]


def test_a_server_has_its_names_and_may_dial_others(tmp_path: Path) -> None:
    path = _issuer(tmp_path).server(["zk.example", "10.0.0.1", "::1"])
    assert path == str(tmp_path / "zk.example.pem")
    extensions = _first(path).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["zk.example", "10.0.0.1", "::1"]
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_client_is_known_by_its_name_and_for_its_time(tmp_path: Path) -> None:
    path = _issuer(tmp_path).client("ann")
    certificate = _first(path)
    pem = Path(path).read_text()
    start = pem.index("-----BEGIN CERT")
    end = pem.index("-----BEGIN CERT", start + 1)
    assert subject(ssl.PEM_cert_to_DER_cert(pem[start:end])) == "CN=ann"
    holds = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert holds == dt.timedelta(days=30)
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    path = Path(_issuer(tmp_path).client("ann"))
    store = pkcs12.load_pkcs12(path.with_suffix(".p12").read_bytes(), b"secret")
    key = load_pem_private_key(path.read_bytes(), None)
    assert store.key is not None
    assert store.key.private_numbers() == key.private_numbers()  # type: ignore[union-attr]
    chain = x509.load_pem_x509_certificates(path.read_bytes())
    assert store.cert is not None
    assert [store.cert.certificate, *(one.certificate for one in store.additional_certs)] == chain
    # PKCS8, with the key first: Apache's server reads no other.
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IssuingError, match=r"file.*: Not a directory"):
        _issuer(tmp_path / "file" / "below")
