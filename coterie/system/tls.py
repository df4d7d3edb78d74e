"""TLS contexts out of certificate files, for clients and servers, and why there was no TLS.

Files are PEM or, where `cryptography` is installed (`pip install coterie[tls]`), PKCS12, as Java's
keystores are; what a file is, is seen from its contents. Rules:
- a client checks the server's certificate, and that it is for the host as the connect string names
  it; whoever wants less makes a context of their own;
- with a `ca` only what that signed is trusted; without one a client trusts what the system trusts,
  and a server no client, for there anybody could get a certificate;
- nobody is ever asked for a password at a terminal;
- whatever is wrong with a file is one line that names it: `TLSError`.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from ssl import SSLContext, SSLObject, TLSVersion, VerifyMode
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates
    from cryptography.x509 import Certificate

_JKS_MAGIC: Final = bytes.fromhex("feedfeed")
_DER_SEQUENCE: Final = b"\x30"
_UNTRUSTED: Final = "no CA that is trusted here has signed its certificate"
_REFUSED: Final = "it refuses this client's certificate, or wants one"
_BY_VERIFY_CODE: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
}
"""By OpenSSL's numbers (X509_V_ERR)."""
_BY_REASON: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this port",
    "HTTP_REQUEST": "it does not speak TLS at this port",
    "UNSUPPORTED_PROTOCOL": "it speaks no version of TLS that is allowed here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no version of TLS that is allowed here",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of this client",
    "SSLV3_ALERT_BAD_CERTIFICATE": _REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _REFUSED,
    "TLSV1_ALERT_UNKNOWN_CA": _REFUSED,
    "TLSV1_ALERT_ACCESS_DENIED": _REFUSED,
}
"""By OpenSSL's names, of which some are older than what they now mean."""
_DISTRUSTED: Final = "it does not trust the certificate of this server"
_BY_REASON_OF_CLIENTS: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks HTTP in the clear",
    "UNKNOWN_PROTOCOL": "it does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it speaks no version of TLS that is allowed here",
    "NO_SHARED_CIPHER": "it has no cipher that is allowed here",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": _DISTRUSTED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "to it, the certificate of this server has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _DISTRUSTED,
    "TLSV1_ALERT_UNKNOWN_CA": _DISTRUSTED,
}
"""The same from the side of a server, of who connects."""


CLIENT_CERTIFICATES: Final = {
    "need": VerifyMode.CERT_REQUIRED,
    "want": VerifyMode.CERT_OPTIONAL,
    "none": VerifyMode.CERT_NONE,
}
"""What a server asks of clients, by Apache's words for it."""


class TLSError(ValueError):
    """A certificate, a key or a password that cannot be used; the message says which and why."""


class Terms(NamedTuple):
    """What is spoken, beyond what this Python does by itself."""

    lowest: TLSVersion = TLSVersion.TLSv1_2
    highest: TLSVersion = TLSVersion.MAXIMUM_SUPPORTED
    ciphers: str | None = None
    """Of TLS 1.2, by OpenSSL's names; those of 1.3 are fixed."""


class TLSFiles(NamedTuple):
    """The files that say who one is, and whom one trusts."""

    certificate: str | None = None
    """One's own, with what is between it and the CA; the key may be in there, too."""
    key: str | None = None
    password: str | None = None
    """Of the key, or of the PKCS12 file."""
    ca: str | None = None
    """Certificates to trust."""
    ca_password: str | None = None
    """Of a PKCS12 file."""


def client_context(files: TLSFiles | None = None, terms: Terms | None = None) -> SSLContext:
    """What a client connects with. Raises `TLSError`."""
    files = files or TLSFiles()
    if files.key is not None and files.certificate is None:
        raise TLSError(f"{files.key} is of no use without a certificate")
    return _context(ssl.Purpose.SERVER_AUTH, files, terms)


def pinned_context(files: TLSFiles, server: TLSFiles, terms: Terms | None = None) -> SSLContext:
    """What a client connects with to the one server that has the certificate of `server`, by
    whatever name it is reached. Raises `TLSError`."""
    if server.certificate is None:
        raise TLSError("a server needs a certificate")
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _agree(context, terms)
    context.check_hostname = False
    # Else only a certificate that has signed itself could be trusted by itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=_first(server.certificate, server.password))
    if files.certificate is not None:
        _show(context, files.certificate, files)
    return context


def server_context(
    files: TLSFiles,
    clients: VerifyMode = VerifyMode.CERT_REQUIRED,
    terms: Terms | None = None,
) -> SSLContext:
    """What a server listens with; `clients` says whether they need certificates, too."""
    if files.certificate is None:
        raise TLSError("a server needs a certificate")
    if clients is not VerifyMode.CERT_NONE and files.ca is None:
        raise TLSError("it takes a CA to check the certificates of clients")
    context = _context(ssl.Purpose.CLIENT_AUTH, files, terms)
    context.verify_mode = clients
    return context


def wanted(tls: SSLContext | TLSFiles | bool | None) -> SSLContext | None:
    """The context that a client's `tls=` means; None for a connection that is in the clear."""
    if isinstance(tls, SSLContext):
        if tls.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise TLSError("this SSLContext is for servers: it takes one of PROTOCOL_TLS_CLIENT")
        return tls
    if isinstance(tls, TLSFiles):
        return client_context(tls)
    return client_context() if tls else None


def server_name(host: str) -> str:
    """A host as certificates and SNI name it: without the dot of the root, without a zone."""
    return host.partition("%")[0].removesuffix(".")


def words(error: BaseException) -> str | None:
    """Why TLS with a server did not come about, in one line; None if it was something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message.rstrip(".")
        return _BY_VERIFY_CODE.get(error.verify_code, f"its certificate is refused: {message}")
    if isinstance(error, ssl.SSLError):
        return _BY_REASON.get(error.reason, f"TLS failed: {error.reason or error}")
    return None


def refusal(error: BaseException) -> str:
    """Why a server has no TLS with who connected, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return words(error) or ""
    if isinstance(error, ssl.SSLError):
        return _BY_REASON_OF_CLIENTS.get(error.reason, f"TLS failed: {error.reason or error}")
    return "it ended the handshake"


def terms(protocols: Collection[str], suites: Collection[str] = ()) -> Terms:
    """What `TLSv1.2` and `TLSv1.3`, and names of cipher suites as Java has them, come to.

    Which suites TLS 1.3 has cannot be chosen here: naming some of them only lets it be spoken, and
    a version of which none is named is not spoken. Raises `TLSError`.
    """
    of_1_3 = [suite for suite in suites if "_WITH_" not in suite and suite.startswith("TLS_")]
    of_1_2 = [_openssl_name(suite) for suite in suites if suite not in of_1_3]
    spoken = {"TLSv1.2", "TLSv1.3"} & set(protocols)
    if suites:
        spoken -= {"TLSv1.3"} if not of_1_3 else set()
        spoken -= {"TLSv1.2"} if not of_1_2 else set()
    if not spoken:
        raise TLSError("no version of TLS is left by the protocols and the cipher suites")
    ciphers = ":".join(of_1_2) or None
    try:
        if ciphers is not None:
            SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(ciphers)
    except ssl.SSLError:
        raise TLSError(f"there are no such cipher suites here: {', '.join(suites)}") from None
    return Terms(
        TLSVersion.TLSv1_2 if "TLSv1.2" in spoken else TLSVersion.TLSv1_3,
        TLSVersion.TLSv1_3 if "TLSv1.3" in spoken else TLSVersion.TLSv1_2,
        ciphers,
    )


def _openssl_name(suite: str) -> str:
    """TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256 is ECDHE-RSA-AES128-SHA256; others stay."""
    exchange, with_, cipher = suite.removeprefix("TLS_").partition("_WITH_")
    if not with_:
        return suite
    cipher = cipher.replace("AES_", "AES").replace("_CBC_", "_")
    if "POLY1305" in cipher:
        cipher = cipher.removesuffix("_SHA256")
    parts = cipher if exchange == "RSA" else f"{exchange}_{cipher}"
    return parts.replace("_", "-")


def is_for(ssl_object: SSLObject | None, hosts: Collection[str]) -> bool:
    """Whether who is at the other end shows a certificate for one of these hosts."""
    shown = ssl_object.getpeercert() if ssl_object is not None else None
    if not shown:
        return False
    names: list[str] = []
    addresses: list[str] = []
    for kind, name in cast("tuple[tuple[str, str], ...]", shown.get("subjectAltName", ())):
        if kind == "DNS":
            names.append(name)
        elif kind == "IP Address":
            addresses.append(name)
    if not names and not addresses:
        subject = cast("tuple[tuple[tuple[str, str], ...], ...]", shown.get("subject", ()))
        names = [value for part in subject for key, value in part if key == "commonName"]
    return any(_named(server_name(host), names, addresses) for host in hosts)


def _named(host: str, names: list[str], addresses: list[str]) -> bool:
    try:
        wanted_address = ip_address(host)
    except ValueError:
        low = host.lower()
        return any(_matches(low, name.lower().removesuffix(".")) for name in names)
    return any(_is_address(address.strip(), wanted_address) for address in addresses)


def _is_address(text: str, wanted: IPv4Address | IPv6Address) -> bool:
    """A certificate may say what is none: then it names nobody."""
    try:
        return ip_address(text) == wanted
    except ValueError:
        return False


def _matches(host: str, pattern: str) -> bool:
    if not pattern.startswith("*."):
        return host == pattern
    _, dot, rest = host.partition(".")
    return bool(dot) and "." in rest and rest == pattern[2:]


def shown(ssl_object: SSLObject | None) -> bytes | None:
    """The certificate that the other end has shown, and TLS has checked, in DER; or None."""
    return ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None


def secret(path: str) -> str:
    """A password out of a file, without the end of its line. Raises `TLSError`."""
    return _read(path).decode("utf-8", "replace").rstrip("\r\n")


def _context(purpose: ssl.Purpose, files: TLSFiles, terms: Terms | None) -> SSLContext:
    trusted = None if files.ca is None else _trusted(files.ca, files.ca_password)
    try:
        context = ssl.create_default_context(purpose, cadata=trusted)
    except ssl.SSLError:
        raise TLSError(f"{files.ca}: a certificate cannot be understood") from None
    _agree(context, terms)
    if files.certificate is not None:
        _show(context, files.certificate, files)
    return context


def _agree(context: SSLContext, terms: Terms | None) -> None:
    wished = terms or Terms()
    context.minimum_version = wished.lowest
    context.maximum_version = wished.highest
    if wished.ciphers is not None:
        context.set_ciphers(wished.ciphers)


def _first(path: str, password: str | None) -> bytes:
    """The certificate that a file is about, in DER: the first in PEM, as OpenSSL has it."""
    data = _read(path)
    if not _is_pem(data):
        store = _pkcs12(path, data, password)
        if store.cert is None:
            raise TLSError(f"{path} holds no certificate with its key")
        return _der(store.cert.certificate)
    _demand(path, data, "CERTIFICATE")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = data.decode("ascii", "ignore").partition(begin)[2].partition(end)[0]
    try:
        return ssl.PEM_cert_to_DER_cert(f"{begin}{first}{end}")
    except ValueError:
        raise TLSError(f"{path}: a certificate cannot be understood") from None


def _trusted(path: str, password: str | None) -> str:
    """Certificates as PEM."""
    data = _read(path)
    if _is_pem(data):
        _demand(path, data, "CERTIFICATE")
        return data.decode("ascii", "ignore")
    store = _pkcs12(path, data, password)
    held = [each.certificate for each in (store.cert, *store.additional_certs) if each]
    if not held:
        raise TLSError(f"{path} holds no certificate")
    return "".join(ssl.DER_cert_to_PEM_cert(_der(each)) for each in held)


def _show(context: SSLContext, path: str, files: TLSFiles) -> None:
    """Let the context show a certificate and prove that it has the key."""
    data = _read(path)
    if not _is_pem(data):
        if files.key is not None:
            raise TLSError(f"{files.key} is one key too many: {path} has to hold its own")
        _show_pkcs12(context, path, data, files.password)
        return
    key_path = files.key or path
    key = _read(key_path)
    _demand(path, data, "CERTIFICATE")
    _demand(key_path, key, "PRIVATE KEY")
    encrypted = b"ENCRYPTED" in key
    if encrypted and files.password is None:
        raise TLSError(f"{key_path} is encrypted, and no password is given")
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(path, key_path, files.password or "")
    except (ssl.SSLError, ValueError) as error:
        raise TLSError(_why(error, path, key_path, encrypted)) from None


def _why(error: Exception, path: str, key_path: str, encrypted: bool) -> str:
    """OpenSSL says "PEM lib" to nearly everything."""
    reason = getattr(error, "reason", None)
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"{key_path} is not the key of the certificate in {path}"
    if reason:
        return f"{path} cannot be used: {reason.replace('_', ' ').lower()}"
    try:
        text = _read(path).decode("ascii", "ignore")
        SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except ssl.SSLError:
        return f"{path}: a certificate cannot be understood"
    if encrypted:
        return f"the password does not open {key_path}"
    return f"{key_path}: the private key cannot be understood"


def _show_pkcs12(context: SSLContext, path: str, data: bytes, password: str | None) -> None:
    store = _pkcs12(path, data, password)
    if store.key is None or store.cert is None:
        raise TLSError(f"{path} holds no certificate with its key")
    import secrets
    import tempfile

    from cryptography.hazmat.primitives import serialization

    # OpenSSL's Python takes a key from a file only. It is encrypted: a file may outlive a crash.
    passing = secrets.token_hex(16)
    key = store.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passing.encode()),
    ).decode()
    chain = [each.certificate for each in (store.cert, *store.additional_certs)]
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.writelines([key, *(ssl.DER_cert_to_PEM_cert(_der(each)) for each in chain)])
        file.flush()
        try:
            context.load_cert_chain(file.name, password=passing)
        except ssl.SSLError as error:
            raise TLSError(_why(error, path, path, False)) from None


def _pkcs12(path: str, data: bytes, password: str | None) -> PKCS12KeyAndCertificates:
    if data.startswith(_JKS_MAGIC):
        raise TLSError(
            f"{path} is of Java's old format JKS: let keytool make PKCS12 of it: keytool "
            f"-importkeystore -srckeystore {path} -destkeystore {_renamed(path)} "
            "-deststoretype PKCS12"
        )
    if not data.startswith(_DER_SEQUENCE):
        raise TLSError(f"{path} is neither PEM nor PKCS12")
    try:
        from cryptography.hazmat.primitives.serialization import pkcs12
    except ImportError:
        raise TLSError(
            f"{path} is not PEM, and PKCS12 needs coterie[tls] to be installed"
        ) from None
    try:
        return pkcs12.load_pkcs12(data, None if password is None else password.encode())
    except ValueError:
        raise TLSError(
            f"{path} is no PKCS12 file, or has a password, and none is given"
            if password is None
            else f"{path} is no PKCS12 file, or the password does not open it"
        ) from None


def _renamed(path: str) -> str:
    return path.removesuffix(".jks") + ".p12"


def _der(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _is_pem(data: bytes) -> bool:
    return b"-----BEGIN " in data


def _demand(path: str, pem: bytes, what: str) -> None:
    if f"{what}-----".encode() not in pem:
        raise TLSError(f"{path} holds no {what.lower()}")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TLSError(f"cannot read {path}: {error.strerror or error}") from None
