"""Contexts that shake hands in memory, and the one line for each file that is wrong."""

from __future__ import annotations

import datetime as dt
import ssl
import sys
import tempfile
from pathlib import Path
from ssl import MemoryBIO, SSLContext, SSLObject, TLSVersion, VerifyMode
from typing import cast

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate

from coterie.system import tls
from coterie.system.tls import (
    TLSError,
    TLSFiles,
    client_context,
    is_for,
    server_context,
    terms,
    wanted,
    words,
)
from tests.system.talk import talk

_CA = trustme.CA()
_ISSUED = {name: _CA.issue_cert(name) for name in ("zk.example", "other.example", "127.0.0.1")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what goes wrong and what does not."""
    folder = tmp_path_factory.mktemp("tls")
    issued = _ISSUED["zk.example"]
    key, certificate = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    encrypted = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    for name, data in {
        "ca.pem": b"The CA\xff of a test\n" + _CA.cert_pem.bytes(),
        "stranger.pem": trustme.CA().cert_pem.bytes(),
        "zk.pem": certificate,
        "zk.key": key,
        "both.pem": key + certificate,
        "other.key": _ISSUED["other.example"].private_key_pem.bytes(),
        "secret.key": encrypted,
        "text": b"nothing of the kind",
        "empty": b"",
        "cut.pem": certificate[:200],
        "spoilt.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "spoilt.key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "old.jks": bytes.fromhex("feedfeed00000002"),
        "spoilt.p12": b"\x30\x82\x01\x00",
        **_stores(key, certificate),
    }.items():
        (folder / name).write_bytes(data)
    return folder


def _stores(key_pem: bytes, certificate_pem: bytes) -> dict[str, bytes]:
    key = load_pem_private_key(key_pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    certificate = load_pem_x509_certificate(certificate_pem)
    ca = load_pem_x509_certificate(_CA.cert_pem.bytes())
    lock = BestAvailableEncryption(b"open sesame")
    make = pkcs12.serialize_key_and_certificates
    return {
        "zk.p12": make(b"zk", key, certificate, [ca], lock),
        "open.p12": make(b"zk", key, certificate, None, NoEncryption()),
        "ca.p12": make(None, None, None, [ca], lock),
        "empty.p12": make(b"zk", key, None, None, lock),
    }


def _at(folder: Path, **names: str) -> TLSFiles:
    """Files by name; passwords as they are."""
    paths = {k: v if "password" in k else str(folder / v) for k, v in names.items()}
    return TLSFiles(**paths)


def _served(certificate: trustme.LeafCert) -> SSLContext:
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _failure(client: SSLContext, server: SSLContext, name: str = "zk.example") -> str:
    with pytest.raises(ssl.SSLError) as caught:
        talk(client, server, name)
    return words(caught.value) or ""


@pytest.mark.parametrize(
    "names",
    [
        {"certificate": "zk.pem", "key": "zk.key"},
        {"certificate": "both.pem"},
        {"certificate": "both.pem", "password": "not needed"},
        {"certificate": "zk.pem", "key": "secret.key", "password": "open sesame"},
        {"certificate": "zk.p12", "password": "open sesame"},
        {"certificate": "open.p12"},
    ],
    ids=lambda names: "+".join(names.values()),
)
@pytest.mark.parametrize(
    "trust", [{"ca": "ca.pem"}, {"ca": "ca.p12", "ca_password": "open sesame"}]
)
def test_both_sides_prove_themselves_by_files(
    files: Path, names: dict[str, str], trust: dict[str, str]
) -> None:
    both = _at(files, **names, **trust)
    talk(client_context(both), server_context(both))


def test_a_key_out_of_a_store_is_left_nowhere(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client_context(_at(files, certificate="open.p12"))
    assert not list(tmp_path.iterdir())


def test_a_client_without_a_certificate_is_served_where_none_is_needed(files: Path) -> None:
    server = _at(files, certificate="both.pem", ca="ca.pem")
    client = client_context(_at(files, ca="ca.pem"))
    talk(client, server_context(server, VerifyMode.CERT_NONE))
    talk(client, server_context(server, VerifyMode.CERT_OPTIONAL))
    assert "wants a certificate" in _failure(client, server_context(server))


def test_a_client_whose_certificate_is_no_good_is_told(files: Path) -> None:
    server = server_context(_at(files, certificate="both.pem", ca="stranger.pem"))
    client = client_context(_at(files, certificate="both.pem", ca="ca.pem"))
    assert _failure(client, server) == "it refuses this client's certificate, or wants one"


def test_a_server_is_believed_only_for_its_name_and_address(files: Path) -> None:
    client = client_context(_at(files, ca="ca.pem"))
    talk(client, _served(_ISSUED["zk.example"]), "zk.example.")
    talk(client, _served(_ISSUED["127.0.0.1"]), "127.0.0.1")
    for name in ("zk.example", "127.0.0.1"):
        said = _failure(client, _served(_ISSUED["other.example"]), name)
        assert said.startswith("its certificate is refused: ")
        assert name in said


def test_a_server_of_another_ca_is_refused(files: Path) -> None:
    server = _served(_ISSUED["zk.example"])
    for client in (client_context(_at(files, ca="stranger.pem")), client_context()):
        assert _failure(client, server) == "no CA that is trusted here has signed its certificate"


def test_a_certificate_holds_for_its_time_only(files: Path) -> None:
    client = client_context(_at(files, ca="ca.pem"))
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    old = _CA.issue_cert("zk.example", not_before=now - 2 * day, not_after=now - day)
    new = _CA.issue_cert("zk.example", not_before=now + day, not_after=now + 2 * day)
    assert _failure(client, _served(old)) == "its certificate has expired"
    assert _failure(client, _served(new)) == "its certificate is not valid yet"


def test_tls_of_an_old_version_is_not_spoken(files: Path) -> None:
    assert client_context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_server_that_speaks_no_tls_is_told_from_one_that_fails() -> None:
    there, back = MemoryBIO(), MemoryBIO()
    ours = client_context().wrap_bio(back, there, server_hostname="zk.example")
    back.write(b"HTTP/1.0 400 what is this?\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        ours.do_handshake()
    assert words(caught.value) == "it does not speak TLS at this port"
    assert words(ConnectionResetError(104, "Connection reset by peer")) is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"ca": "none.pem"}, "cannot read {}/none.pem: No such file or directory"),
        ({"ca": "."}, "cannot read {}: Is a directory"),
        ({"ca": "text"}, "{}/text is neither PEM nor PKCS12"),
        ({"ca": "empty"}, "{}/empty is neither PEM nor PKCS12"),
        ({"ca": "zk.key"}, "{}/zk.key holds no certificate"),
        ({"ca": "cut.pem"}, "{}/cut.pem: a certificate cannot be understood"),
        ({"ca": "spoilt.pem"}, "{}/spoilt.pem: a certificate cannot be understood"),
        (
            {"ca": "old.jks"},
            (
                "{0}/old.jks is of Java's old format JKS: let keytool make PKCS12 of it: keytool "
                "-importkeystore -srckeystore {0}/old.jks -destkeystore {0}/old.p12 "
                "-deststoretype PKCS12"
            ),
        ),
        ({"ca": "ca.p12"}, "{}/ca.p12 is no PKCS12 file, or has a password, and none is given"),
        (
            {"ca": "ca.p12", "ca_password": "no"},
            "{}/ca.p12 is no PKCS12 file, or the password does not open it",
        ),
        (
            {"ca": "spoilt.p12", "ca_password": "no"},
            "{}/spoilt.p12 is no PKCS12 file, or the password does not open it",
        ),
        ({"ca": "empty.p12", "ca_password": "open sesame"}, "{}/empty.p12 holds no certificate"),
        ({"key": "zk.key"}, "{}/zk.key is of no use without a certificate"),
        ({"certificate": "none.pem"}, "cannot read {}/none.pem: No such file or directory"),
        ({"certificate": "zk.pem"}, "{}/zk.pem holds no private key"),
        ({"certificate": "zk.key"}, "{}/zk.key holds no certificate"),
        (
            {"certificate": "zk.pem", "key": "none"},
            "cannot read {}/none: No such file or directory",
        ),
        ({"certificate": "zk.pem", "key": "text"}, "{}/text holds no private key"),
        (
            {"certificate": "zk.pem", "key": "other.key"},
            "{0}/other.key is not the key of the certificate in {0}/zk.pem",
        ),
        (
            {"certificate": "zk.pem", "key": "secret.key"},
            "{}/secret.key is encrypted, and no password is given",
        ),
        (
            {"certificate": "zk.pem", "key": "secret.key", "password": "no"},
            "the password does not open {}/secret.key",
        ),
        (
            {"certificate": "spoilt.pem", "key": "zk.key"},
            "{}/spoilt.pem: a certificate cannot be understood",
        ),
        (
            {"certificate": "zk.pem", "key": "spoilt.key"},
            "{}/spoilt.key: the private key cannot be understood",
        ),
        (
            {"certificate": "open.p12", "key": "zk.key"},
            "{0}/zk.key is one key too many: {0}/open.p12 has to hold its own",
        ),
        (
            {"certificate": "ca.p12", "password": "open sesame"},
            "{}/ca.p12 holds no certificate with its key",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    files: Path, names: dict[str, str], said: str
) -> None:
    with pytest.raises(TLSError) as caught:
        client_context(_at(files, **names))
    assert str(caught.value) == said.format(files)


def test_pkcs12_without_the_library_is_told(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    with pytest.raises(TLSError, match=r"PKCS12 needs coterie\[tls\]"):
        client_context(_at(files, certificate="open.p12"))
    client_context(_at(files, certificate="both.pem", ca="ca.pem"))


def test_a_server_needs_a_certificate_and_a_ca_for_its_clients(files: Path) -> None:
    with pytest.raises(TLSError, match="a server needs a certificate"):
        server_context(_at(files, ca="ca.pem"))
    with pytest.raises(TLSError, match="takes a CA"):
        server_context(_at(files, certificate="both.pem"))


@pytest.mark.parametrize(
    ("protocols", "suites", "expected"),
    [
        (["TLSv1.2", "TLSv1.3"], [], (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3, None)),
        (["TLSv1.2"], [], (TLSVersion.TLSv1_2, TLSVersion.TLSv1_2, None)),
        (
            ["TLSv1.2", "TLSv1.3"],
            [
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
                "TLS_RSA_WITH_AES_128_CBC_SHA",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            ],
            (
                TLSVersion.TLSv1_2,
                TLSVersion.TLSv1_2,
                (
                    "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA256:"
                    "ECDHE-ECDSA-AES256-SHA384:AES128-SHA:ECDHE-RSA-CHACHA20-POLY1305"
                ),
            ),
        ),
        (
            ["TLSv1.2", "TLSv1.3"],
            ["TLS_AES_128_GCM_SHA256"],
            (TLSVersion.TLSv1_3, TLSVersion.TLSv1_3, None),
        ),
    ],
)
def test_versions_and_suites_by_javas_names(
    protocols: list[str],
    suites: list[str],
    expected: tuple[TLSVersion, TLSVersion, str | None],
    files: Path,
) -> None:
    said = terms(protocols, suites)
    assert said == expected
    context = client_context(_at(files, ca="ca.pem"), said)
    assert (context.minimum_version, context.maximum_version) == expected[:2]
    if expected[2] is not None:
        names = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
        assert set(names) == set(expected[2].split(":"))


@pytest.mark.parametrize("suites", [["TLS_RSA_WITH_NOTHING"], ["TLS_AES_128_GCM_SHA256"]])
def test_what_leaves_nothing_to_speak_is_refused(suites: list[str]) -> None:
    with pytest.raises(TLSError):
        terms(["TLSv1.2"], suites)


class _Shown:
    """As much of an SSLObject as is asked for a certificate."""

    def __init__(self, **certificate: object) -> None:
        self._certificate = certificate

    def getpeercert(self) -> dict[str, object]:
        return self._certificate


@pytest.mark.parametrize(
    ("names", "host", "is_it"),
    [
        ([("DNS", "zk1.example")], "zk1.example", True),
        ([("DNS", "ZK1.example.")], "zk1.Example", True),
        ([("DNS", "zk1.example")], "zk2.example", False),
        ([("DNS", "*.example")], "zk1.example", False),
        ([("DNS", "*.zk.example")], "a.zk.example", True),
        ([("DNS", "*.zk.example")], "a.b.zk.example", False),
        ([("DNS", "*.zk.example")], "zk.example", False),
        ([("IP Address", "127.0.0.1")], "127.0.0.1", True),
        ([("IP Address", "0:0:0:0:0:0:0:1")], "::1", True),
        ([("DNS", "127.0.0.1")], "127.0.0.1", False),
        ([("IP Address", "127.0.0.1")], "localhost", False),
        ([("IP Address", "<invalid>")], "127.0.0.1", False),
        ([], "common.example", True),
        ([("DNS", "zk1.example")], "common.example", False),
    ],
)
def test_whether_a_certificate_is_for_a_host(
    names: list[tuple[str, str]], host: str, is_it: bool
) -> None:
    subject = ((("organizationName", "zk1.example"),), (("commonName", "common.example"),))
    certificate = _Shown(subject=subject, **({"subjectAltName": tuple(names)} if names else {}))
    shown = cast(SSLObject, certificate)
    assert is_for(shown, ["other.example", host]) == is_it
    assert not is_for(None, [host])


def test_what_the_argument_of_a_client_means(files: Path) -> None:
    assert wanted(None) is None
    assert wanted(False) is None
    own = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert wanted(own) is own
    for context in (wanted(True), wanted(_at(files, ca="ca.pem"))):
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is VerifyMode.CERT_REQUIRED
    with pytest.raises(TLSError, match="for servers"):
        wanted(SSLContext(ssl.PROTOCOL_TLS_SERVER))


@pytest.mark.parametrize(
    ("host", "name"),
    [("zk.example", "zk.example"), ("zk.example.", "zk.example"), ("fe80::1%eth0", "fe80::1")],
)
def test_a_host_is_named_as_certificates_name_it(host: str, name: str) -> None:
    assert tls.server_name(host) == name
