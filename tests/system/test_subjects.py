"""Subjects as Java's X500Principal shows them, by the rules of RFC 2253."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from coterie.system.subjects import SubjectError, subject

_KEY = ec.generate_private_key(ec.SECP256R1())


def _certificate(*parts: list[x509.NameAttribute[str]]) -> bytes:
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.RelativeDistinguishedName(part) for part in parts])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the issuer")]))
        .public_key(_KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(_KEY, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def _cn(text: str) -> list[x509.NameAttribute[str]]:
    return [x509.NameAttribute(NameOID.COMMON_NAME, text)]


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ([_cn("ann")], "CN=ann"),
        ([], ""),
        (
            [
                [x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")],
                [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Org.")],
                [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Ops")],
                _cn("ann"),
            ],
            "CN=ann,OU=Ops,O=Example Org.,C=DE",
        ),
        (
            [
                [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "example")],
                [x509.NameAttribute(NameOID.USER_ID, "u1"), *_cn("ann")],
            ],
            # A set is in the order of its DER.
            "CN=ann+UID=u1,DC=example",
        ),
        ([_cn('a,b=c+d<e>f#g;h"i\\j')], r"CN=a\,b\=c\+d\<e\>f\#g\;h\"i\\j"),
        ([_cn("  a  b ")], r"CN=\ \ a  b\ "),
        ([_cn("zoë")], "CN=zoë"),
        (
            [[x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.c")], _cn("ann")],
            "CN=ann,1.2.840.113549.1.9.1=#1605" + b"a@b.c".hex(),
        ),
    ],
)
def test_a_subject_is_shown_as_java_shows_it(
    parts: list[list[x509.NameAttribute[str]]], shown: str
) -> None:
    assert subject(_certificate(*parts)) == shown


@pytest.mark.parametrize("length", [0, 1, 5, 40, 100])
def test_what_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(SubjectError):
        subject(_certificate(_cn("ann"))[:length])


def test_a_number_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.system.subjects._NUMBER_BYTES_MAX", 2)
    with pytest.raises(SubjectError, match="too long"):
        subject(_certificate(_cn("ann")))
